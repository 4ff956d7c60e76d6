// SPDX-License-Identifier: GPL-2.0
// CLI11 splits the line into options and their values; what a value means, and what makes no sense
// together, is decided here, so that every message says what to do instead.
#include "cli/options.h"

#include <netinet/in.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstring>
#include <limits>
#include <map>

#include "cli/option_table.h"
#include "cli/suggest.h"
#include "cli/values.h"
#include "pathtrace/table_index.h"

namespace pathtrace {
namespace {

std::string last_name(const OptionSpec& option) {
  const std::string names = option.names;
  return names.substr(names.rfind(',') + 1);
}

// What was given, by the option's last name: the values, or as many "true" as a flag was repeated.
class Given {
 public:
  [[nodiscard]] bool has(const char* name) const { return values_.contains(name); }
  [[nodiscard]] int times(const char* name) const {
    const auto found = values_.find(name);
    return found == values_.end() ? 0 : static_cast<int>(found->second.size());
  }
  [[nodiscard]] const std::string& value(const char* name) const { return values_.at(name).front(); }
  void set(const std::string& name, std::vector<std::string> values) { values_[name] = std::move(values); }

 private:
  std::map<std::string, std::vector<std::string>, std::less<>> values_;
};

Error unexpected(const std::string& word) {
  if (word == "!") return usage("'!' is not supported: a filter can't be negated");
  if (!word.starts_with('-') || word == "-")
    return usage("'" + word +
                 "' is not an option; a command to run goes after --, as in: pathtrace --dport 80 -- " +
                 word);
  const std::string name = word.substr(0, word.find('='));
  const auto near = nearest_option(name);
  return usage("unknown option " + name +
               (near ? "; did you mean " + *near + "?" : "; see pathtrace --help"));
}

// `words` is taken in reverse, as CLI11 wants it.
Result<Given> split(std::vector<std::string> words) {
  CLI::App app;
  app.set_help_flag();
  app.allow_extras();
  std::map<std::string, CLI::Option*> registered;
  for (const auto& option : option_table)
    registered[last_name(option)] =
        option.value != nullptr
            ? app.add_option(option.names)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
            : app.add_flag(option.names)
                  ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
                  ->disable_flag_override();
  std::reverse(words.begin(), words.end());
  try {
    app.parse(words);
  } catch (const CLI::ArgumentMismatch& mismatch) {
    const std::string what = mismatch.what();
    if (what.find("flag override") != std::string::npos)
      return usage("--" + what.substr(0, what.find(' ')) + " takes no value; see pathtrace --help");
    return usage(what.substr(0, what.find(':')) + " needs a value; see pathtrace --help");
  } catch (const CLI::ParseError& error) {
    return usage(std::string(error.what()) + "; see pathtrace --help");
  }
  Given given;
  for (const auto& option : option_table)
    if (const auto* one = registered[last_name(option)]; one->count() > 0)
      given.set(last_name(option), one->results());
  if (!given.has("--help") && !app.remaining().empty()) return unexpected(app.remaining().front());
  return given;
}

Result<void> refuse_repeats(const Given& given) {
  for (const auto& option : option_table) {
    const std::string name = last_name(option);
    if (option.value != nullptr && given.times(name.c_str()) > 1)
      return usage(name + " was given " + std::to_string(given.times(name.c_str())) +
                   " times; once is enough");
  }
  return {};
}

struct Pair {
  const char *one, *other, *why;
};

constexpr Pair exclusive[] = {
    {"--port", "--dport", "--port is either end's port"},
    {"--port", "--sport", "--port is either end's port"},
    {"--host", "--src", "--host is either end's address"},
    {"--host", "--dst", "--host is either end's address"},
    {"--ipv4", "--ipv6", "without them both are traced"},
    {"--quiet", "--verbose", "one asks for less, the other for more"},
    {"--read", "--netns", "a kept trace is not read from a namespace"},
    {"--read", "--duration", "a kept trace ends with its file"},
    {"--read", "--ready-fd", "nothing has to be waited for"},
    {"--read", "--all-packets", "a kept trace holds what was kept"},
    {"--read", "--trace-key", "nothing is traced"},
    {"--read", "--no-trace-key", "nothing is traced"},
    {"--trace-key", "--no-trace-key", "without them the key is held where that is safe"},
    {"--read", "--no-fentry", "nothing is traced"},
    {"--read", "--max-rules", "nothing is traced"},
    {"--read", "--buffer", "nothing is traced"},
    {"--read", "--count", "a kept trace is shown whole; a filter picks from it"},
};

Result<void> refuse_contradictions(const Given& given) {
  for (const auto& pair : exclusive)
    if (given.has(pair.one) && given.has(pair.other))
      return usage(std::string(pair.one) + " and " + pair.other + " don't go together: " + pair.why);
  return {};
}

// Reads one option's value into `target`, if it was given.
template <typename T, typename Parse>
Result<void> take(const Given& given, const char* name, T& target, Parse&& parse) {
  if (!given.has(name)) return {};
  auto value = parse(given.value(name));
  if (!value) return usage(std::string(name) + ": " + value.error().message);
  target = static_cast<T>(*value);
  return {};
}

// Runs the steps until one fails.
template <typename... Step>
Result<void> in_order(Step&&... step) {
  Result<void> result;
  (void)(static_cast<bool>(result = step()) && ...);
  return result;
}

const char* family_name(std::uint8_t family) { return family == AF_INET ? "IPv4" : "IPv6"; }

Result<void> take_addresses(const Given& given, pt_filter& filter) {
  return in_order([&] { return take(given, "--src", filter.src, parse_prefix); },
                  [&] { return take(given, "--dst", filter.dst, parse_prefix); },
                  [&] { return take(given, "--host", filter.host, parse_prefix); });
}

Result<void> take_ports(const Given& given, pt_filter& filter) {
  const char* protocol = nullptr;
  if (filter.protocol == IPPROTO_TCP) protocol = "tcp";
  if (filter.protocol == IPPROTO_UDP) protocol = "udp";
  const auto port = [&](const std::string& text) { return parse_port(text, protocol); };
  for (const char* name : {"--sport", "--dport", "--port"})
    if (given.has(name) && (filter.protocol == IPPROTO_ICMP || filter.protocol == PT_PROTOCOL_ARP))
      return usage(std::string(name) + " has no meaning with -p " + given.value("--proto") +
                   ": it has no ports");
  return in_order([&] { return take(given, "--sport", filter.sport, port); },
                  [&] { return take(given, "--dport", filter.dport, port); },
                  [&] { return take(given, "--port", filter.port, port); });
}

// One address family must satisfy everything that implies one; the filter tests it first.
Result<void> settle_family(const Given& given, std::uint8_t of_protocol, pt_filter& filter) {
  struct Claim {
    std::string what;
    std::uint8_t family;
  };
  const auto flag = [&](const char* name, int family) {
    return Claim{name, static_cast<std::uint8_t>(given.has(name) ? family : 0)};
  };
  const auto address = [&](const char* name, const pt_prefix& prefix) {
    return Claim{given.has(name) ? std::string(name) + " " + given.value(name) : "", prefix.family};
  };
  const Claim claims[] = {
      flag("--ipv4", AF_INET),
      flag("--ipv6", AF_INET6),
      {given.has("--proto") ? "-p " + given.value("--proto") : "", of_protocol},
      address("--src", filter.src),
      address("--dst", filter.dst),
      address("--host", filter.host),
  };
  const Claim* first = nullptr;
  for (const auto& claim : claims) {
    if (claim.family == 0) continue;
    if (first == nullptr) first = &claim;
    if (first->family != claim.family)
      return usage(first->what + " is " + family_name(first->family) + " and " + claim.what + " is " +
                   family_name(claim.family) + ": no packet is both");
  }
  filter.family = first == nullptr ? 0 : first->family;
  return {};
}

Result<void> take_filter(const Given& given, pt_filter& filter) {
  ProtocolChoice protocol;
  std::string interface;
  auto result = in_order([&] { return take(given, "--proto", protocol, parse_protocol); },
                         [&] {
                           filter.protocol = protocol.protocol;
                           return take_ports(given, filter);
                         },
                         [&] { return take_addresses(given, filter); },
                         [&] { return settle_family(given, protocol.family, filter); },
                         [&] { return take(given, "--interface", interface, parse_interface); });
  if (interface != "any") interface.copy(filter.interface, PT_IFNAMSIZ - 1);  // tcpdump's word
  filter.all_packets = given.has("--all-packets") ? 1 : 0;
  return result;
}

Result<std::string> not_empty(const std::string& text) {
  if (text.empty()) return usage("the value is empty");
  return text;
}

Result<void> take_rest(const Given& given, Options& options) {
  const auto at_least_one = [](const std::string& text) {
    return parse_number(text, 1, std::numeric_limits<std::uint64_t>::max());
  };
  const auto descriptor = [](const std::string& text) {
    return parse_number(text, 0, std::numeric_limits<int>::max());
  };
  const auto rules = [](const std::string& text) {
    return parse_number(text, 1, std::uint64_t{PT_MAX_BLOCKS} * PT_COUNTERS_PER_BLOCK);
  };
  std::uint64_t fd = 0;
  std::uint64_t max_rules = default_max_rules;
  auto result = in_order([&] { return take(given, "--write", options.write_file, not_empty); },
                         [&] { return take(given, "--read", options.read_file, not_empty); },
                         [&] { return take(given, "--netns", options.netns, not_empty); },
                         [&] { return take(given, "--count", options.count, at_least_one); },
                         [&] { return take(given, "--duration", options.duration, parse_duration); },
                         [&] { return take(given, "--ready-fd", fd, descriptor); },
                         [&] { return take(given, "--max-rules", max_rules, rules); },
                         [&] { return take(given, "--buffer", options.buffer_bytes, parse_buffer); });
  if (given.has("--ready-fd")) options.ready_fd = static_cast<int>(fd);
  options.max_rules = static_cast<std::uint32_t>(max_rules);
  options.json = given.has("--json");
  options.quiet = given.has("--quiet");
  options.verbosity = given.times("--verbose");
  if (given.has("--trace-key")) options.trace_key = TraceKeyUse::always;
  if (given.has("--no-trace-key")) options.trace_key = TraceKeyUse::never;
  options.fentry = !given.has("--no-fentry");
  return result;
}

Result<void> settle_files(Options& options) {
  if (options.read_file && !options.command.empty())
    return usage("--read and a command don't go together: a kept trace needs no traffic");
  if (options.read_file && *options.read_file != "-" && options.read_file == options.write_file)
    return usage("--read and --write name the same file, which would be lost");
  if (options.write_file == "-") {
    options.json = true;
    options.write_file.reset();
  }
  return {};
}

}  // namespace

Result<Options> parse_options(const std::vector<std::string>& args) {
  Options options;
  const auto dashes = std::find(args.begin(), args.end(), "--");
  const auto given = split({args.begin(), dashes});
  if (!given) return given.error();
  options.help = given->has("--help");
  options.version = given->has("--version");
  if (options.help || options.version) return options;
  if (dashes != args.end()) {
    options.command.assign(dashes + 1, args.end());
    if (options.command.empty()) return usage("no command after --; name one, or leave -- out");
  }
  const auto result =
      in_order([&] { return refuse_repeats(*given); }, [&] { return refuse_contradictions(*given); },
               [&] { return take_filter(*given, options.filter); },
               [&] { return take_rest(*given, options); }, [&] { return settle_files(options); });
  if (!result) return result.error();
  return options;
}

}  // namespace pathtrace
