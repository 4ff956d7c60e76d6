// SPDX-License-Identifier: GPL-2.0
// A packet and a connection while they are being watched: the records that will be reported
// and what is needed to tell what belongs to them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <vector>

#include "timeline/identity.h"
#include "timeline/model.h"
#include "timeline/observation.h"
#include "timeline/timeline.h"

namespace pathtrace {

struct TrackedPacket {
  // What happened to it besides walks; each happens once to a packet.
  enum Fact : unsigned { rejected = 1, stack_reset = 2, at_listener = 4, freed = 8, icmp_answer = 16 };

  Packet record;
  pt_flow flow{};
  bool icmp_error = false;
  std::uint64_t skb = 0;
  std::uint64_t head = 0;
  std::int64_t last_ns = 0;
  std::int64_t walk_ns = 0;  // begin of the last walk; when it was sent, if it had to wait after that
  std::optional<Hook> first_hook;
  std::optional<Hook> hook;              // of the last walk
  bool on_bridge = false;                // that was one of family bridge
  std::optional<std::string> egress;     // where it is about to leave
  std::optional<std::string> waits_for;  // the next hop that it must not leave without
  unsigned facts = 0;
  bool dropped = false;
};

// How sure it is which end is the client, weakest first.
enum class ClientEvidence { guess, reversed, syn_ack, syn };

// How far the story of a connection has come. A later phase is worth another report.
enum class Phase {
  observed,    // nothing that asks for a report
  unanswered,  // opened, no answer
  answered,    // refused, or told by ICMP
  established,
  stalled,  // was open; now its packets are dropped
  ended,
};

// What is let go of first if there is too much: from last to first.
enum class Shelf {
  active,   // has packets that were not reported, or may get some
  decided,  // reported for good; what its outcome rests on is kept
  bare,     // its packets were let go
};

struct TrackedConnection {
  std::uint64_t id = 0;
  Tuple tuple;
  End client, server;
  ClientEvidence client_evidence = ClientEvidence::guess;
  std::optional<std::uint32_t> isn;  // the client's
  std::optional<std::uint32_t> server_isn;
  std::vector<std::uint32_t> namespaces;
  std::vector<std::uint64_t> socks;

  std::vector<TrackedPacket> packets;
  std::vector<SocketFact> sockets;
  std::vector<Answer> answers;
  std::vector<ListenerFact> listeners;
  std::vector<DropFact> drops;
  std::vector<IcmpErrorFact> icmp_errors;
  Progress progress;
  std::uint32_t retransmissions = 0;
  std::uint64_t packets_omitted = 0;

  std::int64_t started_ns = 0;
  std::int64_t last_ns = 0;
  std::int64_t opened_ns = 0;
  std::int64_t established_ns = 0;
  std::size_t answers_before = 0;  // answers to attempts before the one that was established
  std::int64_t stalled_ns = 0;
  std::optional<Netns> opened_in;                       // where the SYN was last seen
  std::optional<std::uint32_t> client_fin, server_fin;  // their sequence numbers
  bool client_fin_acked = false, server_fin_acked = false;
  Phase phase = Phase::observed;
  std::int64_t phase_ns = 0;  // when it became that

  bool reported = false;
  Phase reported_phase = Phase::observed;
  std::int64_t reported_ns = 0;
  std::size_t reported_packets = 0;
  std::uint64_t reported_omitted = 0;
  std::optional<Decided> decided;  // it was reported for good
  std::int64_t late_ns = 0;        // when the first packet came that was not reported since
  unsigned late_reports = 0;

  std::int64_t scheduled_ns = 0;  // its entry in the queue of deadlines; 0 = none
  std::list<std::uint64_t>::iterator by_age;
  Shelf shelf = Shelf::active;

  [[nodiscard]] bool has_unreported() const {
    return packets.size() > reported_packets || packets_omitted > reported_omitted;
  }
  [[nodiscard]] bool is_tcp() const { return tuple.protocol == protocol_tcp; }
  [[nodiscard]] bool is_from_client(const pt_flow& flow) const { return source_of(flow) == client; }
};

}  // namespace pathtrace
