// SPDX-License-Identifier: GPL-2.0
#include <fmt/format.h>

#include <utility>

#include "cli/option_table.h"
#include "cli/options.h"

namespace pathtrace {
namespace {

std::string one_line(const OptionSpec& option) {
  std::string names = option.names;
  if (const std::size_t comma = names.find(','); comma != std::string::npos)
    names.replace(comma, 1, ", ");
  else
    names.insert(0, "    ");
  if (option.value != nullptr) names += std::string(" ") + option.value;
  return fmt::format("  {:<28}{}\n", names, option.help);
}

std::string group(OptionGroup which) {
  std::string out;
  for (const auto& option : option_table)
    if (option.group == which) out += one_line(option);
  return out;
}

}  // namespace

std::string help_text() {
  return "Usage: pathtrace [FILTER] [OPTIONS] [-- COMMAND...]\n"
         "       pathtrace -r FILE [FILTER] [OPTIONS]\n"
         "Says per connection which rule decided and who answered. Changes nothing.\n"
         "\nFilter (replies of a matching connection match, too)\n" +
         group(OptionGroup::filter) + "\nOutput\n" + group(OptionGroup::output) + "\nControl\n" +
         group(OptionGroup::control) +
         "\nWith COMMAND, tracing ends when it does.\n"
         "\nExamples\n"
         "  pathtrace -p tcp -s 10.0.0.9 --dport 80\n"
         "  pathtrace --dport 5432 -w db.jsonl -- psql -h db -c 'select 1'\n"
         "\nExit status\n"
         "  0 fine   1 failed   2 wrong use   3 no permission   4 kernel not supported\n"
         "  5 no such namespace   6 can't write   7 can't read   8 COMMAND not started\n"
         "  130 interrupted twice\n";
}

std::vector<std::string_view> option_names() {
  std::vector<std::string_view> out;
  for (const auto& option : option_table) {
    std::string_view names = option.names;
    if (const std::size_t comma = names.find(','); comma != std::string_view::npos) {
      out.push_back(names.substr(0, comma));
      names.remove_prefix(comma + 1);
    }
    out.push_back(names);
  }
  return out;
}

}  // namespace pathtrace
