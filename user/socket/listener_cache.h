// SPDX-License-Identifier: GPL-2.0
// Who listens, as of when it mattered. A cause is looked for some 150 ms after the packet; a service that
// was started in between must not be taken for one that was there. So the question is asked as soon as the
// event arrives, the answer kept for the diagnosis, and sockets that the kernel reported to have begun to
// listen later are left out of it. One question is about all ports: however many connections wait for their
// diagnosis, it is asked once.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "timeline/model.h"

namespace pathtrace {

class ListenerCache {
 public:
  using Answer = std::optional<std::vector<Listener>>;
  // The sockets of one moment, by port. Called at most once for each.
  using Snapshot = std::function<std::vector<Listener>(std::uint16_t port)>;
  using Ask = std::function<std::optional<Snapshot>(const std::string& protocol)>;
  using Clock = std::function<std::int64_t()>;  // ns, that of the events

  ListenerCache(Ask ask, Clock clock) : ask_(std::move(ask)), clock_(std::move(clock)) {}

  // Something happened on this port that will need the answer. Asks unless that was done a moment ago; asking
  // takes long on a host of many processes, so the moment is a multiple of that.
  void prepare(const std::string& protocol, std::uint16_t port);
  // A socket began to listen (inet_sock_set_state) at `ts_ns`.
  void began(std::uint32_t netns, const std::string& address, std::uint16_t port, std::int64_t ts_ns);
  // The trace is over, and what begins from now on is not reported any more: for what is left to be
  // diagnosed, however long that takes, the answers of this moment hold.
  void hold();
  // Who listened at `as_of_ns`: an answer of the last half second, and of no earlier time than that (or from
  // before, but only by the moment that prepare() rests, and nothing began to listen on the port since), else
  // a fresh one; without what began to listen later.
  Answer get(const std::string& protocol, std::uint16_t port, std::int64_t as_of_ns);

 private:
  struct Known {
    std::int64_t asked_ns = 0;
    std::int64_t took_ns = 0;  // with what the ports took that were looked up in it
    std::optional<Snapshot> snapshot;
    std::map<std::uint16_t, std::vector<Listener>> by_port;
  };
  struct Begun {
    std::uint16_t port = 0;
    std::uint32_t netns = 0;
    std::string address;

    auto operator<=>(const Begun&) const = default;
  };

  Known& ask(const std::string& protocol);
  Answer on_port(Known& known, std::uint16_t port);
  [[nodiscard]] bool is_usable(const Known& known, std::uint16_t port, std::int64_t as_of_ns) const;
  [[nodiscard]] bool began_between(std::uint16_t port, std::int64_t after_ns, std::int64_t until_ns) const;

  Ask ask_;
  Clock clock_;
  bool held_ = false;
  std::map<std::string, Known> known_;  // by protocol
  std::map<Begun, std::int64_t> began_;
};

}  // namespace pathtrace
