// SPDX-License-Identifier: GPL-2.0
// The command line → typed options. Pure but for /etc/services: opens nothing, prints nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernel/trace_key.h"
#include "pathtrace/event.h"
#include "pathtrace/filter.h"
#include "support/result.h"

namespace pathtrace {

inline constexpr std::uint32_t default_max_rules = 16384;
inline constexpr std::uint32_t default_buffer_bytes = 8 << 20;

struct Options {
  pt_filter filter{};  // filter.netns is left 0: `netns` names it, user/kernel finds it
  bool json = false;   // JSON Lines on stdout instead of the text view; also what "-w -" means
  std::optional<std::string> write_file;  // never "-"
  std::optional<std::string> read_file;   // "-" = stdin
  std::optional<std::uint64_t> count;     // connections, at least 1
  std::optional<double> duration;         // seconds, > 0
  std::optional<int> ready_fd;
  bool quiet = false;
  int verbosity = 0;
  std::optional<std::string> netns;
  TraceKeyUse trace_key = TraceKeyUse::if_safe;  // --trace-key, --no-trace-key
  bool fentry = true;                            // false: --no-fentry
  std::uint32_t max_rules = default_max_rules;
  std::uint32_t buffer_bytes = default_buffer_bytes;  // a power of two
  std::vector<std::string> command;
  bool help = false;  // then nothing else was looked at
  bool version = false;
};

// `args` without the program's name. ExitStatus::usage says what is wrong and what to do.
Result<Options> parse_options(const std::vector<std::string>& args);

std::string help_text();

// Every option's names ("-s", "--src", ...), for the tests of the man page and the completion.
std::vector<std::string_view> option_names();

// The filter in words: "tcp,udp port 80, from 10.0.0.0/8, all network namespaces". `netns` as given
// to --netns.
std::string describe(const pt_filter& filter, const std::optional<std::string>& netns);

}  // namespace pathtrace
