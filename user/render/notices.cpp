// SPDX-License-Identifier: GPL-2.0
#include "render/output.h"

namespace pathtrace {
namespace {

std::string backends(const std::vector<Backend>& seen) {
  std::string out;
  for (const Backend backend : seen) out += (out.empty() ? "" : " + ") + std::string(word(backend));
  return out.empty() ? "no firewall rules yet" : out;
}

std::string counted(std::uint64_t count, const char* what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

}  // namespace

std::string readiness_notice(const StartRecord& start) {
  return "pathtrace: ready. Linux " + sanitise(start.kernel) + ", " + backends(start.backends) +
         "; tracing " + sanitise(start.filter) + "\n";
}

std::string closing_notice(const EndRecord& end) {
  return "pathtrace: " + counted(end.connections, "connection") + ", " + counted(end.packets, "packet") +
         ", " + std::to_string(end.lost) + " lost (" + sanitise(end.reason) + ")\n";
}

}  // namespace pathtrace
