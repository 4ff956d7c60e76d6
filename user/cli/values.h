// SPDX-License-Identifier: GPL-2.0
// Values of options: text → number, prefix, time. The error is what to print after the option's name.
#pragma once

#include <cstdint>
#include <string>

#include "pathtrace/event.h"
#include "pathtrace/filter.h"
#include "support/result.h"

namespace pathtrace {

// What is wrong with how the program was called.
[[nodiscard]] inline Error usage(const std::string& message) { return {ExitStatus::usage, message, {}}; }

Result<std::uint64_t> parse_number(const std::string& text, std::uint64_t least, std::uint64_t most);
// A number or a name of /etc/services (of `protocol`, "tcp" or "udp"; nullptr = either).
Result<std::uint16_t> parse_port(const std::string& text, const char* protocol);
// "10.0.0.9", "10.0.0.0/8", "fd00::/8"; bits beyond the prefix are cleared.
Result<pt_prefix> parse_prefix(const std::string& text);
// "524288", "512K", "8M", "1G" → bytes, the next power of two: a ring buffer has no other size.
Result<std::uint32_t> parse_buffer(const std::string& text);
// "30", "30s", "1.5m", "2h" → seconds.
Result<double> parse_duration(const std::string& text);
// A name the kernel could give an interface.
Result<std::string> parse_interface(const std::string& text);

struct ProtocolChoice {
  std::uint8_t protocol = 0;  // as in pt_filter: IPPROTO_ICMP for ICMPv6, too
  std::uint8_t family = 0;    // that the protocol implies, 0 = none
};
Result<ProtocolChoice> parse_protocol(const std::string& text);

}  // namespace pathtrace
