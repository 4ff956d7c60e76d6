// SPDX-License-Identifier: GPL-2.0
#include "capture/line_reader.h"

#include <unistd.h>

#include <cerrno>

namespace pathtrace {
namespace {

constexpr std::size_t chunk = std::size_t{64} << 10;

}  // namespace

bool LineReader::fill() {
  buffer_.erase(0, start_);
  scanned_ -= start_;
  start_ = 0;
  const std::size_t had = buffer_.size();
  buffer_.resize(had + chunk);
  ssize_t got = 0;
  do got = ::read(fd_, buffer_.data() + had, chunk);
  while (got < 0 && errno == EINTR);
  buffer_.resize(had + static_cast<std::size_t>(got > 0 ? got : 0));
  at_end_ = got == 0;
  return got >= 0;
}

LineReader::Status LineReader::next(std::string& line) {
  for (;;) {
    const std::size_t newline = buffer_.find('\n', scanned_);
    const std::size_t length = (newline == std::string::npos ? buffer_.size() : newline) - start_;
    if (length > longest_) return Status::too_long;
    if (newline != std::string::npos) {
      line.assign(buffer_, start_, length);
      start_ = scanned_ = newline + 1;
      return Status::line;
    }
    scanned_ = buffer_.size();
    if (at_end_) {
      if (length == 0) return Status::end;
      line.assign(buffer_, start_, length);
      start_ = buffer_.size();
      return Status::cut_off;
    }
    if (!fill()) return Status::failed;
  }
}

}  // namespace pathtrace
