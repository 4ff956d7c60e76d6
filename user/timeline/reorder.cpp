// SPDX-License-Identifier: GPL-2.0
#include "timeline/reorder.h"

#include <algorithm>
#include <cstring>
#include <tuple>
#include <utility>

namespace pathtrace {

namespace {

int hook_rank(const std::optional<Hook>& hook) {
  if (!hook) return 9;
  switch (*hook) {  // the order in which a packet that never leaves the host meets them
    case Hook::output:
      return 0;
    case Hook::postrouting:
      return 1;
    case Hook::egress:
      return 2;
    case Hook::ingress:
      return 3;
    case Hook::prerouting:
      return 4;
    case Hook::forward:
      return 5;
    case Hook::input:
      return 6;
  }
  return 9;
}

std::int64_t end_of(const Observation& o) {
  const auto* walk = std::get_if<WalkObservation>(&o.detail);
  return walk == nullptr ? 0 : walk->end_ns;
}

// Walks are the first kind of detail: a walk comes before what it causes at the same nanosecond.
bool happens_later(const Observation& a, const Observation& b) {
  const auto key = [](const Observation& o) {
    return std::make_tuple(o.ts_ns, o.detail.index(), o.netns.inode, hook_rank(o.hook), o.skb, o.head,
                           o.flow.seq, o.flow.ack_seq, o.flow.sport, o.flow.dport, o.flow.ip_id, end_of(o),
                           o.cpu);
  };
  const auto ka = key(a);
  const auto kb = key(b);
  if (ka != kb) return ka > kb;
  return std::memcmp(a.flow.saddr, b.flow.saddr, sizeof(a.flow.saddr)) > 0;
}

}  // namespace

bool ReorderBuffer::comes_later(const Entry& a, const Entry& b) const {
  if (a.ts_ns != b.ts_ns) return a.ts_ns > b.ts_ns;
  return happens_later(waiting_[a.place], waiting_[b.place]);
}

void ReorderBuffer::push(Observation observation) {
  newest_ns_ = std::max(newest_ns_, observation.ts_ns);
  Entry entry{observation.ts_ns, waiting_.size()};
  if (free_.empty()) {
    waiting_.push_back(std::move(observation));
  } else {
    entry.place = free_.back();
    free_.pop_back();
    waiting_[entry.place] = std::move(observation);
  }
  heap_.push_back(entry);
  std::push_heap(heap_.begin(), heap_.end(),
                 [this](const Entry& a, const Entry& b) { return comes_later(a, b); });
}

std::optional<Observation> ReorderBuffer::pop(std::int64_t before_ns) {
  if (heap_.empty() || heap_.front().ts_ns >= before_ns) return std::nullopt;
  std::pop_heap(heap_.begin(), heap_.end(),
                [this](const Entry& a, const Entry& b) { return comes_later(a, b); });
  const std::size_t place = heap_.back().place;
  heap_.pop_back();
  free_.push_back(place);
  return std::move(waiting_[place]);
}

std::optional<std::int64_t> ReorderBuffer::earliest_ns() const {
  if (heap_.empty()) return std::nullopt;
  return heap_.front().ts_ns;
}

}  // namespace pathtrace
