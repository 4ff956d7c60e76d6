// SPDX-License-Identifier: GPL-2.0
#include "socket/listener_cache.h"

#include <algorithm>

namespace pathtrace {

namespace {

constexpr std::int64_t usable_ns = 500'000'000;
constexpr std::int64_t shortest_rest_ns = 10'000'000;
constexpr std::int64_t rest_factor = 10;  // at most a tenth of the time is spent asking
constexpr std::size_t most_known = 1024;

}  // namespace

const ListenerCache::Known& ListenerCache::ask(const Key& key) {
  if (known_.size() >= most_known) known_.clear();
  Known fresh;
  fresh.asked_ns = clock_();
  fresh.answer = ask_(key.first, key.second);
  fresh.took_ns = clock_() - fresh.asked_ns;
  return known_[key] = std::move(fresh);
}

void ListenerCache::prepare(const std::string& protocol, std::uint16_t port) {
  const Key key{protocol, port};
  const auto known = known_.find(key);
  if (known != known_.end() &&
      clock_() - known->second.asked_ns < std::max(shortest_rest_ns, rest_factor * known->second.took_ns))
    return;
  ask(key);
}

void ListenerCache::began(std::uint32_t netns, const std::string& address, std::uint16_t port,
                          std::int64_t ts_ns) {
  if (began_.size() >= most_known) began_.clear();
  began_[{netns, address, port}] = ts_ns;
}

ListenerCache::Answer ListenerCache::get(const std::string& protocol, std::uint16_t port,
                                         std::int64_t as_of_ns) {
  const Key key{protocol, port};
  const auto known = known_.find(key);
  const bool usable = known != known_.end() && clock_() - known->second.asked_ns < usable_ns;
  Answer answer = usable ? known->second.answer : ask(key).answer;
  if (answer)
    std::erase_if(*answer, [&](const Listener& listener) {
      const auto since = began_.find({listener.netns.inode, listener.address, listener.port});
      return since != began_.end() && since->second > as_of_ns;
    });
  return answer;
}

}  // namespace pathtrace
