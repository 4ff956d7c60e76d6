// SPDX-License-Identifier: GPL-2.0
// Observations → packets → connections. Pure: no I/O and no clock; the same input gives
// the same output. Time advances only by the observations' own times and by advance().
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "timeline/model.h"
#include "timeline/observation.h"

namespace pathtrace {

// A fact about a connection that isn't a packet's step: what sockets did, in order.
struct SocketFact {
  std::int64_t ts_ns = 0;
  Netns netns;
  Endpoint source;         // the socket's own address
  bool at_client = false;  // the socket is the client's end
  SocketObservation what;
};

// A RST or ICMP error and the packet it answers.
struct Answer {
  std::int64_t ts_ns = 0;                      // when it was made
  std::uint64_t packet = 0;                    // id of the answered packet
  std::optional<std::uint64_t> answer_packet;  // id of the RST or ICMP error, where it was seen
  std::variant<RejectObservation, StackResetObservation, IcmpAnswerObservation> what;
};

struct ListenerFact {
  std::int64_t ts_ns = 0;
  std::uint64_t packet = 0;
  Netns netns;
  ListenerSynObservation what;
};

struct DropFact {
  std::uint64_t packet = 0;
  DropObservation what;
};

// A packet that has not left: its next hop has not answered ARP or neighbour discovery so far.
struct WaitFact {
  std::uint64_t packet = 0;
  std::string next_hop;
};

// An ICMP error that quotes a packet of the connection.
struct IcmpErrorFact {
  std::uint64_t packet = 0;  // id of the ICMP error
  bool ipv6 = false;
  std::uint8_t type = 0;
  std::uint8_t code = 0;
};

// How far a connection has come, by the packets that no rule dropped and by what its sockets say.
// UDP and ICMP: opened and established (a reply was seen) only.
struct Progress {
  bool opened = false;  // a SYN was seen, or a client's socket in SYN_SENT; UDP, ICMP: a packet
  bool syn_ack = false;
  bool established = false;  // the client's ACK, or a socket that says so
  bool fin_client = false;
  bool fin_server = false;
  bool reset = false;          // a RST of either end, or a socket that sent or accepted one
  bool client_closed = false;  // the client's socket is in CLOSE
  bool server_closed = false;
  bool last_ack = false;  // a socket went LAST_ACK or CLOSING → CLOSE: both FINs and their ACKs are over
  bool stalled = false;   // the last packet of an open connection was dropped, and none got through since
  // When all was said: both FINs were acknowledged. A RST after that (an ACK from TIME_WAIT that finds the
  // other end's socket gone) resets nothing. 0: it wasn't.
  std::int64_t closed_ns = 0;
};

// Why a connection is reported when it is.
enum class Occasion {
  due,          // its fate is known, or was waited for
  trace_ended,  // Timeline::finish()
  no_room,      // it was let go of before its fate was known
};

// How much was known of a connection when it was reported for good. What comes later and doesn't take it any
// further (the last ACK again, a RST to a segment that was on its way) is reported, and decides nothing.
struct Decided {
  std::size_t packets = 0, sockets = 0, answers = 0, listeners = 0, drops = 0, icmp_errors = 0;
  Progress progress;
  std::optional<std::int64_t> ended_ns;
  std::int64_t as_of_ns = 0;
};

// Everything known of one connection when it is reported. `connection` has id, protocol,
// client, server, netns, started_ns, ended_ns and packets set; outcome, cause and the rest are
// the diagnosis's to fill in.
struct ConnectionTrace {
  Connection connection;
  std::vector<Packet> packets;       // all so far, in time order
  std::size_t new_packets_from = 0;  // packets[i], i >= this, were not reported before
  std::vector<SocketFact> sockets;
  std::vector<Answer> answers;
  std::vector<ListenerFact> listeners;
  std::vector<DropFact> drops;
  std::vector<IcmpErrorFact> icmp_errors;
  std::vector<WaitFact> waits;
  Progress progress;
  std::uint32_t retransmissions = 0;  // SYNs sent again
  std::uint64_t packets_omitted = 0;  // seen, but beyond max_packets
  bool final = false;                 // nothing more is expected of it
  bool again = false;                 // it was reported before (established, now closed)
  // It was reported for good before, and what came since changes nothing; see as_decided().
  std::optional<Decided> decided;
  std::int64_t last_ns = 0;
  std::int64_t opened_ns = 0;  // when the first SYN (UDP, ICMP: packet) was seen; 0 if it wasn't
  std::int64_t as_of_ns = 0;   // what happened later is not in it
  Occasion occasion = Occasion::due;
  // An answer has had its time: unanswered_ns have passed since it was opened, or the client has given up.
  bool waited = false;
};

// What the outcome and cause of `trace` rest on: without what came late, if it was decided before that.
ConnectionTrace as_decided(const ConnectionTrace& trace);

struct TimelineSettings {
  // After the last event of a packet or connection that looks decided, how long to wait
  // for what belongs to it and comes later (the RST's own way out, the second FIN).
  std::int64_t settle_ns = 50'000'000;
  // A SYN that was dropped or got no answer: report after this long, without waiting for
  // the client to give up (which takes 127 s).
  std::int64_t unanswered_ns = 1'500'000'000;
  // A connection that was reported and is silent is forgotten after this long.
  std::int64_t forget_ns = 120'000'000'000;
  // UDP and ICMP have no end: a packet after this much silence starts another connection.
  std::int64_t datagram_idle_ns = 30'000'000'000;
  // Bounds of what is remembered. Beyond them the connections that were silent for longest are reported as
  // far as they are known, if they weren't (evicted() counts those), and their packets or they are forgotten.
  std::size_t max_connections = 200'000;
  std::size_t max_steps = 200'000;  // of all packets together; a step takes about 700 bytes
  std::size_t max_packets = 4'096;  // of one connection
  // Of connections that were reported for good, kept so that something late is reported with the same
  // outcome. Those that were silent for longest are forgotten beyond that.
  std::size_t max_decided_steps = 20'000;
  // Events arrive out of order by at most this much: those of several CPUs, and a walk, which is
  // reported when it ends, after everything that happened inside it. A walk takes microseconds, but
  // its CPU may be a virtual one that is not running.
  std::int64_t reorder_ns = 100'000'000;
};

class Timeline {
 public:
  explicit Timeline(TimelineSettings settings = {});
  ~Timeline();
  Timeline(Timeline&&) noexcept;
  Timeline& operator=(Timeline&&) noexcept;

  void add(Observation observation);
  // `now_ns`, by the clock of the observations, has come: reports what is due.
  void advance(std::int64_t now_ns);
  // The trace is over, at `now_ns` or with the latest observation, whichever is later: reports everything
  // that was not.
  void finish(std::int64_t now_ns = 0);
  // The connections that became due, in order of their start; each is returned once.
  [[nodiscard]] std::vector<ConnectionTrace> take();
  // When advance() should be called next, if nothing else happens; 0 = no need.
  [[nodiscard]] std::int64_t next_due_ns() const;
  // Connections that were reported before they were decided, for want of room.
  [[nodiscard]] std::uint64_t evicted() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pathtrace
