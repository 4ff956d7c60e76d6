// SPDX-License-Identifier: GPL-2.0
// Reads the kernel's events off the ring buffer.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "pathtrace/event.h"
#include "support/result.h"

struct ring_buffer;

namespace pathtrace {

class EventReader {
 public:
  using Take = std::function<void(const pt_event&)>;

  // `map_fd` is the ring buffer's (not owned). `take` gets each event whole: e.size bytes.
  static Result<EventReader> open(int map_fd, Take take);
  EventReader(EventReader&&) noexcept;
  EventReader& operator=(EventReader&&) noexcept;
  ~EventReader();

  // Readable when events wait.
  [[nodiscard]] int fd() const;
  // Takes the events that wait now, up to `most`; how many.
  std::uint64_t drain(std::uint64_t most);
  // Events that were not as long as their kind is; none of them was taken.
  [[nodiscard]] std::uint64_t malformed() const;

 private:
  struct State;
  explicit EventReader(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace pathtrace
