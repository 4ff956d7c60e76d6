// SPDX-License-Identifier: GPL-2.0
#include "capture/reader.h"

#include <bpf/libbpf.h>
#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "capture/decode.h"

namespace pathtrace {

struct EventReader::State {
  Take take;
  ring_buffer* ring = nullptr;
  std::uint64_t malformed = 0;
  std::uint64_t left = 0;  // to be taken in this turn

  ~State() { ring_buffer__free(ring); }

  static int on_event(void* context, void* data, std::size_t size) {
    auto* self = static_cast<State*>(context);
    if (const pt_event* event = checked_event(data, size)) {
      self->take(*event);
    } else {
      ++self->malformed;
    }
    return --self->left == 0 ? -ECANCELED : 0;  // libbpf stops behind this one
  }
};

EventReader::EventReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
EventReader::EventReader(EventReader&&) noexcept = default;
EventReader& EventReader::operator=(EventReader&&) noexcept = default;
EventReader::~EventReader() = default;

Result<EventReader> EventReader::open(int map_fd, Take take) {
  auto state = std::make_unique<State>();
  state->take = std::move(take);
  state->ring = ring_buffer__new(map_fd, State::on_event, state.get(), nullptr);
  if (state->ring == nullptr)
    return Error{
        ExitStatus::failure, fmt::format("the event buffer can't be mapped: {}", std::strerror(errno)), {}};
  return EventReader(std::move(state));
}

int EventReader::fd() const { return ring_buffer__epoll_fd(state_->ring); }

std::uint64_t EventReader::drain(std::uint64_t most) {
  state_->left = most;
  ring_buffer__consume(state_->ring);
  return most - state_->left;
}

std::uint64_t EventReader::malformed() const { return state_->malformed; }

}  // namespace pathtrace
