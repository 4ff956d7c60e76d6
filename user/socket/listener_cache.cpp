// SPDX-License-Identifier: GPL-2.0
#include "socket/listener_cache.h"

#include <algorithm>

namespace pathtrace {

namespace {

constexpr std::int64_t usable_ns = 500'000'000;
constexpr std::int64_t shortest_rest_ns = 10'000'000;
constexpr std::int64_t rest_factor = 10;  // at most a tenth of the time is spent asking
constexpr std::size_t most_begun = 1024;

// How long it is not asked again, for what it took.
std::int64_t rest_ns(std::int64_t took_ns) { return std::max(shortest_rest_ns, rest_factor * took_ns); }

}  // namespace

ListenerCache::Known& ListenerCache::ask(const std::string& protocol) {
  Known fresh;
  fresh.asked_ns = clock_();
  fresh.snapshot = ask_(protocol);
  fresh.took_ns = clock_() - fresh.asked_ns;
  return known_[protocol] = std::move(fresh);
}

ListenerCache::Answer ListenerCache::on_port(Known& known, std::uint16_t port) {
  if (!known.snapshot) return std::nullopt;
  const auto found = known.by_port.find(port);
  if (found != known.by_port.end()) return found->second;
  const std::int64_t began_ns = clock_();
  const auto& listeners = known.by_port[port] = (*known.snapshot)(port);
  known.took_ns += clock_() - began_ns;
  return listeners;
}

bool ListenerCache::began_between(std::uint16_t port, std::int64_t after_ns, std::int64_t until_ns) const {
  for (auto it = began_.lower_bound({port, 0, {}}); it != began_.end() && it->first.port == port; ++it)
    if (it->second > after_ns && it->second <= until_ns) return true;
  return false;
}

bool ListenerCache::is_usable(const Known& known, std::uint16_t port, std::int64_t as_of_ns) const {
  if (held_) return true;
  const std::int64_t age_ns = clock_() - known.asked_ns;
  if (age_ns >= usable_ns) return false;
  if (known.asked_ns >= as_of_ns) return true;
  return age_ns < rest_ns(known.took_ns) && !began_between(port, known.asked_ns, as_of_ns);
}

void ListenerCache::prepare(const std::string& protocol, std::uint16_t port) {
  if (held_) return;
  const auto known = known_.find(protocol);
  const bool rests =
      known != known_.end() && clock_() - known->second.asked_ns < rest_ns(known->second.took_ns);
  // whose they are is looked up while they are there
  (void)on_port(rests ? known->second : ask(protocol), port);
}

void ListenerCache::began(std::uint32_t netns, const std::string& address, std::uint16_t port,
                          std::int64_t ts_ns) {
  if (began_.size() >= most_begun)
    began_.erase(std::min_element(began_.begin(), began_.end(),
                                  [](const auto& a, const auto& b) { return a.second < b.second; }));
  began_[{port, netns, address}] = ts_ns;
}

void ListenerCache::hold() {
  for (const char* protocol : {"tcp", "udp"}) ask(protocol);
  held_ = true;
}

ListenerCache::Answer ListenerCache::get(const std::string& protocol, std::uint16_t port,
                                         std::int64_t as_of_ns) {
  const auto known = known_.find(protocol);
  const bool usable = known != known_.end() && is_usable(known->second, port, as_of_ns);
  Answer answer = on_port(usable ? known->second : ask(protocol), port);
  if (answer)
    std::erase_if(*answer, [&](const Listener& listener) {
      const auto since = began_.find({listener.port, listener.netns.inode, listener.address});
      return since != began_.end() && since->second > as_of_ns;
    });
  return answer;
}

}  // namespace pathtrace
