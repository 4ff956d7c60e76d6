// SPDX-License-Identifier: GPL-2.0
#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "render/output.h"
#include "render/text_block.h"
#include "render/text_steps.h"

namespace pathtrace {
namespace {

constexpr std::size_t most_times = 8;  // listed one by one; a default client sends six SYNs more
// Packets among which a repeated one is sought: more than one SYN makes on its way through a host.
constexpr std::size_t most_looked_back = 16;

// Differences of times from a file that may hold any number.
std::int64_t elapsed(std::int64_t from, std::int64_t to) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(to) - static_cast<std::uint64_t>(from));
}

struct Shown {
  const Packet* packet = nullptr;
  std::int64_t first_ns = 0;        // its own time, or in an earlier block that of the packet that it repeats
  std::vector<std::int64_t> again;  // ts_ns of the packets that repeat it
  std::vector<StepRow> rows;
  bool before = false;  // an earlier block showed it: `packet` is the first that repeats it here
};

bool is_handshake(const Packet& packet) {
  return packet.flags && packet.flags->find('S') != std::string::npos &&
         packet.flags->find('R') == std::string::npos;
}

// The packet without what differs between a SYN and the same SYN sent again.
Packet path_of(Packet packet) {
  packet.id = 0;
  packet.ts_ns = 0;
  packet.length.reset();
  for (auto& step : packet.steps) step.offset_ns = 0;
  return packet;
}

Shown* repeated_by(const Packet& packet, std::vector<Shown>& shown) {
  if (!is_handshake(packet)) return nullptr;
  const Packet path = path_of(packet);
  const std::size_t last = shown.size() - std::min(shown.size(), most_looked_back);
  for (std::size_t i = shown.size(); i > last && is_handshake(*shown[i - 1].packet); --i)
    if (path_of(*shown[i - 1].packet) == path) return &shown[i - 1];
  return nullptr;
}

// The packet's path in an earlier block; it is noted there if it is new.
const Told::Handshake* told_before(const Packet& packet, Told& told) {
  if (!is_handshake(packet)) return nullptr;
  const std::size_t path = std::hash<std::string>()(to_json_line(path_of(packet)));
  for (const auto& one : told.handshake)
    if (one.path == path) return &one;
  if (told.handshake.size() < most_looked_back) told.handshake.push_back({path, packet.ts_ns});
  return nullptr;
}

std::vector<Shown> fold(const std::vector<Packet>& packets, Told& told) {
  std::vector<Shown> shown;
  for (const auto& packet : packets) {
    if (Shown* first = repeated_by(packet, shown)) {
      first->again.push_back(packet.ts_ns);
    } else if (const auto* before = told_before(packet, told)) {
      shown.push_back({&packet, before->ts_ns, {packet.ts_ns}, {}, true});
    } else {
      shown.push_back({&packet, packet.ts_ns, {}, {}, false});
    }
  }
  return shown;
}

std::string flags_words(const std::string& flags) {
  const auto has = [&](char flag) { return flags.find(flag) != std::string::npos; };
  if (has('R')) return "RST";
  if (has('S')) return has('A') ? "SYN-ACK" : "SYN";
  if (has('F')) return "FIN";
  if (has('P')) return "data";
  if (flags == "A") return "ACK";
  return flags == "none" ? "TCP without flags" : sanitise(flags);
}

std::string packet_words(const Packet& packet) {
  if (packet.flags) return flags_words(*packet.flags);
  if (packet.protocol == "icmpv6") return "ICMPv6";
  std::string name = sanitise(packet.protocol);
  std::transform(name.begin(), name.end(), name.begin(),
                 [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; });
  return name;
}

std::string origin_words(const Packet& packet, bool after_reject) {
  if (packet.origin == Origin::reject)
    return after_reject ? "   made by the REJECT above, not by a service"
                        : "   made by a REJECT, not by a service";
  if (packet.origin == Origin::stack)
    return fmt::format("   made by the {} stack, not by a service", packet.flags ? "TCP" : "IP");
  return "";
}

bool denied(const Packet& packet) {
  return packet.outcome == PacketOutcome::dropped || packet.outcome == PacketOutcome::rejected;
}

std::string headline(const Packet& packet, std::int64_t start_ns, bool many_netns, bool after_reject) {
  std::string out = fmt::format("{:9.3f} ms  {}", static_cast<double>(elapsed(start_ns, packet.ts_ns)) / 1e6,
                                packet_words(packet));
  if (packet.iif) out += " in " + sanitise(*packet.iif);
  if (packet.oif) out += " out " + sanitise(*packet.oif);
  if (many_netns)
    out += " @" + (packet.netns.name ? sanitise(*packet.netns.name) : std::to_string(packet.netns.inode));
  return out + origin_words(packet, after_reject);
}

std::string again_line(const Shown& shown, std::int64_t start_ns) {
  std::string times;
  const std::size_t listed = std::min(shown.again.size(), most_times);
  for (std::size_t i = 0; i < listed; ++i)
    times += fmt::format("{}{:.1f} s", i == 0 ? "" : ", ",
                         static_cast<double>(elapsed(shown.first_ns, shown.again[i])) / 1e9);
  if (listed < shown.again.size()) times += fmt::format(" and {} more", shown.again.size() - listed);
  return fmt::format("{:9.3f} ms  {} again after {}: same path\n",
                     static_cast<double>(elapsed(start_ns, shown.again.front())) / 1e6,
                     packet_words(*shown.packet), times);
}

// The repeats of the handshake packets in [from, to). One SYN passes several namespaces: the same
// line is said once.
std::string again_lines(const std::vector<Shown>& shown, std::size_t from, std::size_t to,
                        std::int64_t start_ns) {
  std::string out;
  std::vector<std::string> said;
  for (std::size_t i = from; i < to; ++i) {
    if (shown[i].again.empty()) continue;
    const std::string line = again_line(shown[i], start_ns);
    const std::string words = line.substr(line.find(" ms "));
    if (std::find(said.begin(), said.end(), words) != said.end()) continue;
    said.push_back(words);
    out += line;
  }
  return out;
}

// The rows of each packet, and all of them: those stay where they are.
std::vector<const StepRow*> make_rows(const std::vector<Packet>& packets, std::vector<Shown>& shown,
                                      const Style& style) {
  const TableNaming naming = naming_of(packets);
  std::vector<const StepRow*> all;
  for (auto& one : shown) {
    if (one.before) continue;
    one.rows = step_rows(*one.packet, naming, style);
    if (one.rows.empty() && denied(*one.packet)) {
      StepRow row;
      row.label = true;
      row.table = word(one.packet->outcome);
      row.text = "where is not known";
      one.rows.push_back(row);
    }
    for (const StepRow& row : one.rows) all.push_back(&row);
  }
  return all;
}

}  // namespace

std::string packet_lines(const std::vector<Packet>& packets, Told& told, const Style& style) {
  std::vector<Shown> shown = fold(packets, told);
  const StepTable table(make_rows(packets, shown, style), style);
  const bool many_netns = std::any_of(packets.begin(), packets.end(), [&](const Packet& packet) {
    return packet.netns.inode != packets.front().netns.inode;
  });
  std::string out;
  bool after_reject = false;
  std::size_t handshake_from = 0;
  for (std::size_t i = 0; i < shown.size(); ++i) {
    const Packet& packet = *shown[i].packet;
    if (!shown[i].before) out += headline(packet, told.start_ns, many_netns, after_reject) + "\n";
    for (const auto& row : shown[i].rows) out += table.line(row) + "\n";
    after_reject = after_reject || packet.outcome == PacketOutcome::rejected;
    const bool run_ends = i + 1 == shown.size() || !is_handshake(*shown[i + 1].packet);
    if (!run_ends) continue;
    out += again_lines(shown, handshake_from, i + 1, told.start_ns);
    handshake_from = i + 1;
  }
  return out;
}

}  // namespace pathtrace
