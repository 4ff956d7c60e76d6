// SPDX-License-Identifier: GPL-2.0
// The records of a trace: what a JSON line holds, what the text view shows and what a
// capture file keeps. Absent knowledge is std::nullopt (JSON null), never "" or 0.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "timeline/words.h"

namespace pathtrace {

// One jump or goto that led to a rule.
struct PathElement {
  std::string chain;
  int rule = 0;  // number in `chain`, from 1

  bool operator==(const PathElement&) const = default;
};

// The element of a set or map by which a rule matched.
struct SetElement {
  std::optional<std::string> set;      // none: an anonymous one, which the rule's text shows
  std::optional<std::string> element;  // "10.0.0.0/8"; none: packets and time change the set, it may be gone

  bool operator==(const SetElement&) const = default;
};

// One thing that happened to a packet. Which members are set depends on the kind; see
// docs/json.md.
struct Step {
  std::int64_t offset_ns = 0;  // since the packet was first seen
  StepKind kind = StepKind::rule;

  // rule, policy
  std::optional<Backend> backend;
  std::optional<Family> family;
  std::optional<std::string> table;
  std::optional<std::string> chain;
  std::optional<Hook> hook;
  std::optional<int> priority;          // nftables: of the base chain on its hook
  std::optional<int> rule;              // number in its chain, from 1
  std::optional<std::uint64_t> handle;  // nftables
  std::optional<Verdict> verdict;
  std::optional<std::string> target;  // the chain jumped to, or the target's name (REJECT, LOG, ...)
  std::optional<std::string> text;    // as iptables-save or nft prints it, without "-A CHAIN"
  std::optional<std::string> comment;
  std::vector<SetElement> elements;    // nftables, where rule and packet determine them
  std::vector<PathElement> path;       // the jumps that led here, outermost first
  std::optional<std::string> missing;  // why no rule is named, where none is
  bool every_packet = false;           // see WalkObservation; not in JSON

  // nat
  std::optional<std::string> which;  // "src", "dst"
  std::optional<std::string> from;   // "address:port"
  std::optional<std::string> to;
  // conntrack
  std::optional<std::string> state;
  // reject
  std::optional<std::string> with;  // "tcp-reset", "icmp-port-unreachable", ...
  // drop
  std::optional<std::string> reason;  // the kernel's own name: "NETFILTER_DROP"
  std::optional<std::string> where;   // kernel function
  // deliver
  std::optional<std::string> listener;  // "0.0.0.0:80"
  // transmit, receive
  std::optional<std::string> interface;

  bool operator==(const Step&) const = default;
};

struct Netns {
  std::uint32_t inode = 0;
  std::optional<std::string> name;  // from /run/netns, or a container's

  bool operator==(const Netns&) const = default;
};

struct Endpoint {
  std::string address;  // numeric
  std::optional<std::uint16_t> port;

  bool operator==(const Endpoint&) const = default;
};

struct Packet {
  std::uint64_t id = 0;
  std::uint64_t connection = 0;
  std::int64_t ts_ns = 0;  // CLOCK_REALTIME
  Netns netns;
  Direction direction = Direction::original;
  std::string protocol;              // "tcp", "udp", "icmp", "icmpv6", else the number
  Endpoint source;                   // JSON: src, sport; no address: who sent an ICMP error was not seen
  Endpoint destination;              // JSON: dst, dport
  std::optional<std::string> flags;  // TCP: "S", "SA", "R", "FA", "PA", "A", ...
  std::optional<std::uint32_t> length;
  std::optional<std::string> iif;
  std::optional<std::string> oif;
  std::optional<Origin> origin;
  std::vector<Step> steps;
  PacketOutcome outcome = PacketOutcome::unknown;

  bool operator==(const Packet&) const = default;
};

struct Listener {
  std::string address;
  std::uint16_t port = 0;
  std::optional<std::uint32_t> pid;
  std::optional<std::string> program;
  Netns netns;
  std::optional<std::uint32_t> backlog;  // connections waiting for accept()
  std::optional<std::uint32_t> max_backlog;
  std::optional<std::string> device;  // the only interface it is bound to (SO_BINDTODEVICE)
  // Of "::": it doesn't serve IPv4 as well (IPV6_V6ONLY). nullopt: not known. Not in JSON.
  std::optional<bool> v6only;

  bool operator==(const Listener&) const = default;
};

struct Cause {
  CauseKind kind = CauseKind::unknown;
  std::string summary;       // one sentence
  std::optional<Step> rule;  // the deciding rule or policy, where one is to blame
  std::optional<Listener> listener;
  std::optional<std::string> reason;  // the kernel's own word, where it has one
  std::optional<Step> shadowed;       // a rule that would have accepted it, had it come first
  std::vector<std::string> evidence;  // what each claim rests on, in order

  bool operator==(const Cause&) const = default;
};

struct Fix {
  std::string command;  // printed, never run
  std::string why;

  bool operator==(const Fix&) const = default;
};

struct Nat {
  Endpoint original_source, original_destination;
  Endpoint translated_source, translated_destination;

  bool operator==(const Nat&) const = default;
};

struct Connection {
  std::uint64_t id = 0;
  std::string protocol;
  Endpoint client;
  Endpoint server;
  std::optional<Nat> nat;
  Netns netns;  // where it was decided: the namespace of the deciding rule or of the server's socket
  std::int64_t started_ns = 0;  // CLOCK_REALTIME
  std::optional<std::int64_t> ended_ns;
  ConnectionOutcome outcome = ConnectionOutcome::in_progress;
  std::optional<std::string> error;  // JSON: errno; what connect() returns at the client: "ECONNREFUSED"
  Cause cause;
  std::vector<Fix> fixes;
  std::vector<std::uint64_t> packets;
  Confidence confidence = Confidence::exact;
  std::vector<std::string> missing;  // what evidence is missing, if partial

  bool operator==(const Connection&) const = default;
};

enum class ProbeState { attached, unavailable };
PATHTRACE_WORDS(ProbeState, "attached", "unavailable");

struct ProbeStatus {
  std::string name;
  ProbeState state = ProbeState::attached;
  std::optional<std::string> why;   // it is unavailable
  std::optional<std::string> lost;  // what can't be told without it

  bool operator==(const ProbeStatus&) const = default;
};

struct StartRecord {
  int schema = 1;
  std::string version;
  std::string kernel;
  std::string arch;
  std::int64_t ts_ns = 0;
  std::string filter;  // as understood, in words: "tcp,udp port 80"
  std::vector<Backend> backends;
  std::vector<ProbeStatus> probes;

  bool operator==(const StartRecord&) const = default;
};

struct LostRecord {
  std::uint64_t count = 0;
  std::int64_t since_ns = 0;
  std::string where;  // of which kind, and how: "drops: ring buffer full"

  bool operator==(const LostRecord&) const = default;
};

struct EndRecord {
  std::int64_t ts_ns = 0;
  std::uint64_t connections = 0;
  std::uint64_t packets = 0;
  std::uint64_t lost = 0;
  std::uint64_t left_out = 0;  // runs of programs that the kernel skipped, each a step of some packet
  std::string reason;  // "interrupted", "count reached", "duration over", "command ended", "end of file"

  bool operator==(const EndRecord&) const = default;
};

using Record = std::variant<StartRecord, Packet, Connection, LostRecord, EndRecord>;

}  // namespace pathtrace
