// SPDX-License-Identifier: GPL-2.0
#include "render/write.h"

#include <cerrno>
#include <cstring>

namespace pathtrace {
namespace {

Error write_error(int reason) {
  if (reason == EPIPE) return {ExitStatus::success, "the reader of the output has gone away", {}};
  return {ExitStatus::output_failed,
          std::string("cannot write the output: ") + std::strerror(reason) +
              (reason == ENOSPC ? "; free some space or write elsewhere" : ""),
          {}};
}

}  // namespace

Result<void> write_text(std::FILE* out, const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), out) != text.size()) return write_error(errno);
  return {};
}

Result<void> flush_text(std::FILE* out) {
  if (std::fflush(out) != 0) return write_error(errno);
  return {};
}

}  // namespace pathtrace
