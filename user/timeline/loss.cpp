// SPDX-License-Identifier: GPL-2.0
#include "timeline/loss.h"

#include <algorithm>
#include <numeric>
#include <ranges>
#include <string_view>

namespace pathtrace {

namespace {

// A packet whose first events were lost is seen for the first time a moment later, with its next hook or
// with the answer to it.
constexpr std::int64_t aftermath_ns = 100'000'000;
// Losses that follow each other are told apart no finer than this.
constexpr std::int64_t finest_ns = 500'000'000;
// Beyond that many, the oldest are one.
constexpr std::size_t most_intervals = 4096;

struct Place {
  pt_event_kind kind;
  std::string_view words;
};

// Walks are also lost if more are nested or under way on a CPU than there is room for, or if their end was
// never seen: bpf/iptables.bpf.c and bpf/nftables.bpf.c count these with the others.
constexpr auto places = std::to_array<Place>({
    {PT_EVENT_LEGACY_WALK, "rules of iptables-legacy: ring buffer full, or too many walks at once"},
    {PT_EVENT_NFT_WALK,
     "rules of nftables: ring buffer full, too many walks at once, or a packet taken away before it was "
     "seen"},
    {PT_EVENT_REJECT, "rejects: ring buffer full"},
    {PT_EVENT_STACK_RESET, "RSTs of the TCP stack: ring buffer full"},
    {PT_EVENT_ACTIVE_RESET, "RSTs by an application's close: ring buffer full"},
    {PT_EVENT_RECEIVED_RESET, "RSTs accepted by a socket: ring buffer full"},
    {PT_EVENT_TCP_STATE, "states of TCP sockets: ring buffer full"},
    {PT_EVENT_LISTENER_SYN, "SYNs at a listener: ring buffer full"},
    {PT_EVENT_LISTENER_ACK, "ACKs turned away by a listener: ring buffer full"},
    {PT_EVENT_ICMP_ERROR, "ICMP errors of this host: ring buffer full"},
    {PT_EVENT_NEIGHBOUR, "packets that wait for their next hop: ring buffer full"},
    {PT_EVENT_DROP, "drops: ring buffer full"},
    {PT_EVENT_RETRANSMIT, "retransmissions: ring buffer full"},
    {PT_EVENT_TRACE_LOG, "records of iptables TRACE: ring buffer full"},
    {PT_EVENT_MODULE_LOADED, "loaded modules: ring buffer full"},
});

std::string_view where(std::size_t kind) {
  if (kind == 0) return "events that could not be read";
  const auto* place =
      std::find_if(places.begin(), places.end(), [kind](const Place& p) { return p.kind == kind; });
  return place == places.end() ? "ring buffer full" : place->words;
}

}  // namespace

std::vector<LostRecord> LossLog::note(const LostCounts& counts, std::int64_t begin_ns, std::int64_t end_ns) {
  std::vector<LostRecord> records;
  Interval all{looked_ns_, end_ns + aftermath_ns, 0};
  for (std::size_t kind = 0; kind < counts.size(); ++kind) {
    const std::uint64_t count = counts[kind] - noted_[kind];
    if (count == 0) continue;
    records.push_back({count, looked_ns_, std::string(where(kind))});
    all.count += count;
  }
  noted_ = counts;
  looked_ns_ = begin_ns;
  if (all.count != 0) remember(all);
  return records;
}

void LossLog::remember(const Interval& loss) {
  const auto join = [](Interval& to, const Interval& next) {
    to.until_ns = next.until_ns;
    to.count += next.count;
  };
  if (!intervals_.empty() && loss.until_ns - intervals_.back().since_ns <= finest_ns) {
    join(intervals_.back(), loss);
    return;
  }
  intervals_.push_back(loss);
  if (intervals_.size() <= most_intervals) return;
  const Interval oldest = intervals_.front();
  intervals_.pop_front();
  intervals_.front().since_ns = oldest.since_ns;
  intervals_.front().count += oldest.count;
}

std::uint64_t LossLog::within(std::int64_t from_ns, std::int64_t to_ns) const {
  std::uint64_t count = 0;
  for (const Interval& loss : std::views::reverse(intervals_)) {
    if (loss.until_ns < from_ns) break;
    if (loss.since_ns <= to_ns) count += loss.count;
  }
  return count;
}

std::uint64_t LossLog::total() const {
  return std::accumulate(noted_.begin(), noted_.end(), std::uint64_t{0});
}

}  // namespace pathtrace
