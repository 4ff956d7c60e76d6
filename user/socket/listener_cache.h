// SPDX-License-Identifier: GPL-2.0
// Who listens, as of when it mattered. A cause is looked for some 150 ms after the packet; a service that
// was started in between must not be taken for one that was there. So the question is asked as soon as the
// event arrives, the answer kept for the diagnosis, and sockets that the kernel reported to have begun to
// listen later are left out of it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "timeline/model.h"

namespace pathtrace {

class ListenerCache {
 public:
  using Answer = std::optional<std::vector<Listener>>;
  using Ask = std::function<Answer(const std::string& protocol, std::uint16_t port)>;
  using Clock = std::function<std::int64_t()>;  // ns, any epoch

  ListenerCache(Ask ask, Clock clock) : ask_(std::move(ask)), clock_(std::move(clock)) {}

  // Something happened that will need the answer. Asks unless that was done a moment ago; asking takes
  // long on a host of many processes, so the moment is a multiple of that.
  void prepare(const std::string& protocol, std::uint16_t port);
  // A socket began to listen (inet_sock_set_state) at `ts_ns`.
  void began(std::uint32_t netns, const std::string& address, std::uint16_t port, std::int64_t ts_ns);
  // The answer prepared within the last half second, else a fresh one, without what began to listen after
  // `as_of_ns` (of began()'s clock).
  Answer get(const std::string& protocol, std::uint16_t port, std::int64_t as_of_ns);

 private:
  struct Known {
    std::int64_t asked_ns = 0;
    std::int64_t took_ns = 0;
    Answer answer;
  };
  using Key = std::pair<std::string, std::uint16_t>;
  const Known& ask(const Key& key);

  Ask ask_;
  Clock clock_;
  std::map<Key, Known> known_;
  std::map<std::tuple<std::uint32_t, std::string, std::uint16_t>, std::int64_t> began_;
};

}  // namespace pathtrace
