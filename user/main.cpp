// SPDX-License-Identifier: GPL-2.0
// pathtrace: which rule decided, and who answered. Options → a live trace or a replay → sinks.
#include <fcntl.h>
#include <fmt/format.h>
#include <langinfo.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "capture/file.h"
#include "cli/live.h"
#include "cli/match.h"
#include "cli/options.h"
#include "cli/outputs.h"
#include "cli/version.h"
#include "render/output.h"
#include "render/write.h"
#include "support/notice.h"

namespace {

using namespace pathtrace;

TextOptions terminal_options() {
  TextOptions text;
  text.utf8 = std::string_view(nl_langinfo(CODESET)) == "UTF-8";
  if (isatty(STDOUT_FILENO) == 0) return text;
  const char* no_color = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  text.color = (no_color == nullptr || *no_color == '\0') && terminal != nullptr &&
               std::string_view(terminal) != "dumb";
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0) text.width = size.ws_col;
  return text;
}

bool is_same_file(const std::string& a, const std::string& b) {
  struct stat one {};
  struct stat other {};
  return stat(a.c_str(), &one) == 0 && stat(b.c_str(), &other) == 0 && one.st_dev == other.st_dev &&
         one.st_ino == other.st_ino;
}

Result<std::unique_ptr<Sink>> make_output(const Options& options) {
  std::vector<std::pair<std::string, std::unique_ptr<Sink>>> sinks;
  sinks.emplace_back("standard output",
                     options.json ? make_json_sink(stdout) : make_text_sink(stdout, terminal_options()));
  if (options.write_file && options.read_file && is_same_file(*options.write_file, *options.read_file))
    return Error{ExitStatus::usage, "-r and -w name the same file; write to another one", {}};
  if (options.write_file) {
    auto capture = create_capture(*options.write_file);
    if (!capture) return capture.error();
    sinks.emplace_back(sanitise(*options.write_file), std::move(*capture));
  }
  return std::unique_ptr<Sink>(
      std::make_unique<Outputs>(std::move(sinks), [quiet = options.quiet](const std::string& what) {
        if (!quiet) notice("{}", what);
      }));
}

void tell_what_is_cut_off(const std::string& file, const ReplayResult& result) {
  notice("{} has no end: cut off after {} line{}{}; what came before is shown",
         file == "-" ? "standard input" : sanitise(file), result.lines, result.lines == 1 ? "" : "s",
         result.truncated ? ", within the next" : "");
}

Result<void> write_all(Sink& output, const std::vector<Record>& records) {
  for (const Record& record : records)
    if (auto written = output.write(record); !written) return written;
  return {};
}

Result<void> replay_file(const Options& options, Sink& output) {
  ReplayFilter filter(options.filter, describe(options.filter, std::nullopt));
  std::string of_all;
  const auto result = replay(*options.read_file, [&](const Record& record) {
    if (const auto* end = std::get_if<EndRecord>(&record)) of_all = fmt::format(" of {}", end->connections);
    return write_all(output, filter.take(record));
  });
  if (!result) return result.error();
  if (auto written = write_all(output, filter.rest()); !written) return written;
  if (auto finished = output.finish(); !finished) return finished;
  if (filter.picks() && !options.quiet)
    notice("{}{} connection{} match{}", filter.connections(), of_all,
           of_all.empty() && filter.connections() == 1 ? "" : "s",
           of_all.empty() && filter.connections() == 1 ? "es" : "");
  if (!result->has_end && !options.quiet) tell_what_is_cut_off(*options.read_file, *result);
  return {};
}

int fail(const Error& error, int verbosity) {
  if (error.status == ExitStatus::success) return 0;  // the reader of the output has gone away
  notice("{}", error.message);
  if (error.details.empty()) return static_cast<int>(error.status);
  if (verbosity == 0)
    notice("-v shows what the kernel said");
  else  // libbpf's lines and the verifier's log
    to_stderr(error.details + (error.details.ends_with('\n') ? "" : "\n"));
  return static_cast<int>(error.status);
}

int print(const std::string& text) {
  auto printed = write_text(stdout, text);
  if (printed) printed = flush_text(stdout);
  return printed ? 0 : fail(printed.error(), 0);
}

int run(const std::vector<std::string>& arguments) {
  auto options = parse_options(arguments);
  if (!options) return fail(options.error(), 0);
  if (options->help) return print(help_text());
  if (options->version) return print(fmt::format("pathtrace {}\n", version()));
  // before anything is opened, or it might be that
  if (options->ready_fd && fcntl(*options->ready_fd, F_GETFD) < 0)
    return fail({ExitStatus::output_failed,
                 fmt::format("--ready-fd {}: {}", *options->ready_fd, std::strerror(errno)),
                 {}},
                0);
  const auto output = make_output(*options);
  if (!output) return fail(output.error(), options->verbosity);
  const auto result = options->read_file ? replay_file(*options, **output) : trace_live(*options, **output);
  return result ? 0 : fail(result.error(), options->verbosity);
}

// A standard descriptor that is closed would go to the next file that is opened, and what is meant for stderr
// into a capture. These take their places: not to be used, and closed for COMMAND as they were for us.
void fill_standard_descriptors() {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})
    if (fcntl(fd, F_GETFD) < 0)  // the lowest that is free
      (void)open("/dev/null", (fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) | O_CLOEXEC);
}

}  // namespace

int main(int argc, char** argv) {
  fill_standard_descriptors();
  std::signal(SIGPIPE, SIG_IGN);
  std::setlocale(LC_CTYPE, "");
  try {
    return run({argv + 1, argv + argc});
  } catch (const std::exception& exception) {
    return fail({ExitStatus::failure, fmt::format("internal error: {}", exception.what()), {}}, 0);
  }
}
