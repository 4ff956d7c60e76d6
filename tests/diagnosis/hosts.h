// SPDX-License-Identifier: GPL-2.0
// What several tests of causes set up.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "diagnosis/diagnosis.h"
#include "timeline/stream.h"

namespace pathtrace {

inline Listener nginx(const std::string& address = "0.0.0.0", const Netns& netns = stream::host) {
  Listener listener;
  listener.address = address;
  listener.port = 80;
  listener.pid = 812;
  listener.program = "nginx";
  listener.netns = netns;
  return listener;
}

inline Facts listening(std::vector<Listener> listeners) {
  Facts facts;
  facts.listeners = [listeners = std::move(listeners)](const std::string&, std::uint16_t) {
    return std::optional(listeners);
  };
  return facts;
}

inline Facts unknown_listeners() {
  Facts facts;
  facts.listeners = [](const std::string&, std::uint16_t) { return std::nullopt; };
  return facts;
}

inline Connection diagnosed(const stream::Events& events, const Facts& facts = {}) {
  ConnectionTrace trace = stream::only(events);
  diagnose(trace, facts);
  return trace.connection;
}

// Of a connection that is reported more than once.
inline Connection last_diagnosis(const stream::Events& events, const Facts& facts = {}) {
  auto traces = stream::run(events);
  diagnose(traces.back(), facts);
  return traces.back().connection;
}

inline stream::Events handshake() {
  using namespace stream;  // NOLINT(google-build-using-namespace)
  return {accepted(syn(), 0, Hook::input), at_listener(syn(), 5),
          accepted(syn_ack().to("eth0"), 20, Hook::output), accepted(ack(), 500, Hook::input),
          socket(server, client, 501, state(3, 1))};
}

// FIN, the other end's, and its ACK.
inline stream::Events closed_in_order() {
  using namespace stream;  // NOLINT(google-build-using-namespace)
  Events events = handshake();
  append(events,
         {accepted(tcp(client, server, tcp_fin | tcp_ack, isn + 1, server_isn + 1).from("eth0"), 900,
                   Hook::input),
          accepted(tcp(server, client, tcp_fin | tcp_ack, server_isn + 1, isn + 2).to("eth0"), 950,
                   Hook::output),
          accepted(tcp(client, server, tcp_ack, isn + 2, server_isn + 2).from("eth0"), 990, Hook::input)});
  return events;
}

inline stream::Events refused_by_stack() {
  using namespace stream;  // NOLINT(google-build-using-namespace)
  const Skb packet = syn();
  return {accepted(packet, 0, Hook::input), stack_reset(packet, 10),
          accepted(rst_to(packet, Origin::stack).to("eth0"), 20, Hook::output)};
}

inline stream::Events dropped_by_input_rule() {
  using namespace stream;  // NOLINT(google-build-using-namespace)
  return {walk(syn(), 0, Hook::input, {rule("INPUT", 3, Verdict::drop, "-s 10.0.0.0/8 -j DROP")}),
          dropped(syn(), 10, "NETFILTER_DROP")};
}

}  // namespace pathtrace
