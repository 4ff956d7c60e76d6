// SPDX-License-Identifier: GPL-2.0
// Lines of a file that is not trusted: none is longer than a bound.
#pragma once

#include <cstddef>
#include <string>

namespace pathtrace {

class LineReader {
 public:
  enum class Status {
    line,     // `line` is a whole line, without its newline
    cut_off,  // `line` is what the file ends in, without a newline
    end,
    too_long,  // more than `longest` bytes without a newline
    failed     // errno says why
  };

  // `fd` is not owned.
  LineReader(int fd, std::size_t longest) : fd_(fd), longest_(longest) {}
  Status next(std::string& line);

 private:
  [[nodiscard]] bool fill();

  int fd_;
  std::size_t longest_;
  std::string buffer_;
  std::size_t start_ = 0;    // of what was not returned yet
  std::size_t scanned_ = 0;  // no newline before
  bool at_end_ = false;
};

}  // namespace pathtrace
