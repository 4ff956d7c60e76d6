// SPDX-License-Identifier: GPL-2.0
// When which connection has to be looked at again. A deadline that moves later leaves its entry
// where it is and is queued anew when that entry comes up, so that an event costs no queue operation.
#pragma once

#include <cstdint>
#include <functional>
#include <queue>
#include <utility>
#include <vector>

#include "timeline/tracked.h"

namespace pathtrace {

class Deadlines {
 public:
  void set(TrackedConnection& connection, std::int64_t due_ns) {
    if (due_ns == 0 || (connection.scheduled_ns != 0 && connection.scheduled_ns <= due_ns)) return;
    connection.scheduled_ns = due_ns;
    queue_.emplace(due_ns, connection.id);
  }

  // The time of the earliest entry; 0 if there is none.
  [[nodiscard]] std::int64_t earliest_ns() const { return queue_.empty() ? 0 : queue_.top().first; }

  // The earliest entry that is due at `now_ns`: its time and its connection, which may be gone.
  bool pop(std::int64_t now_ns, std::pair<std::int64_t, std::uint64_t>& entry) {
    if (queue_.empty() || queue_.top().first > now_ns) return false;
    entry = queue_.top();
    queue_.pop();
    return true;
  }

 private:
  using Entry = std::pair<std::int64_t, std::uint64_t>;
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> queue_;
};

}  // namespace pathtrace
