// SPDX-License-Identifier: GPL-2.0
// A capture is the --json stream in a file. Writing: what is on disk after each connection is a
// whole stream up to there, so that a kill costs the last lines only. Reading: the file may come from
// anywhere and is checked line by line.
#include "capture/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "capture/line_reader.h"
#include "render/write.h"
#include "support/fd.h"

namespace pathtrace {
namespace {

// A packet of 300 steps with long rules takes 200 KB.
constexpr std::size_t longest_line = std::size_t{4} << 20;

std::string reason() { return std::strerror(errno); }

bool is_in_a_directory(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_directory(std::filesystem::absolute(path, error).parent_path(), error);
}

Error output_error(const std::string& path) {
  std::string message = "cannot create the capture file " + sanitise(path) + ": " + reason();
  switch (errno) {
    case ENOENT:
      message += is_in_a_directory(path) ? "; choose another file" : "; create its directory first";
      break;
    case EACCES:
    case EPERM:
    case EROFS:
      message += "; choose a directory you may write to";
      break;
    case EISDIR:
      message += "; name a file in it";
      break;
    case ENOSPC:
      message += "; free some space or write elsewhere";
      break;
    default:
      message += "; choose another file";
      break;
  }
  return {ExitStatus::output_failed, message, {}};
}

class CaptureSink final : public Sink {
 public:
  CaptureSink(std::FILE* file, std::string path, bool created)
      : file_(file), path_(std::move(path)), created_(created) {}
  CaptureSink(const CaptureSink&) = delete;
  CaptureSink& operator=(const CaptureSink&) = delete;
  ~CaptureSink() override {
    if (created_ && !begun_) remove_it();
    std::fclose(file_);
  }

  Result<void> write(const Record& record) override {
    // Not when it is opened: a run that fails before it traces anything leaves the old capture alone.
    if (!std::exchange(begun_, true)) {
      struct stat status {};
      if (::fstat(::fileno(file_), &status) == 0 && S_ISREG(status.st_mode) &&
          ::ftruncate(::fileno(file_), 0) != 0)
        return output_error(path_);
    }
    if (auto result = named(write_text(file_, to_json_line(record) + "\n")); !result) return result;
    // Packets come just before their connection.
    return std::holds_alternative<Packet>(record) ? Result<void>() : flush();
  }
  Result<void> flush() override { return named(flush_text(file_)); }

 private:
  // Unless the name is another file's by now.
  void remove_it() {
    struct stat ours {};
    struct stat named {};
    if (::fstat(::fileno(file_), &ours) == 0 && ::lstat(path_.c_str(), &named) == 0 &&
        ours.st_dev == named.st_dev && ours.st_ino == named.st_ino)
      (void)::unlink(path_.c_str());
  }
  [[nodiscard]] Result<void> named(Result<void> result) const {
    if (result || result.error().status == ExitStatus::success) return result;
    return Error{result.error().status, sanitise(path_) + ": " + result.error().message, {}};
  }

  std::FILE* file_;
  std::string path_;
  bool created_;
  bool begun_ = false;
};

// Keeps where it is, for the messages.
class Replay {
 public:
  Replay(int fd, const std::string& name, const std::function<Result<void>(const Record&)>& take)
      : lines_(fd, longest_line), name_(sanitise(name)), take_(take) {}

  Result<ReplayResult> run();

 private:
  // Takes one line; `more` turns false where the file ends.
  Result<void> step(bool& more);
  Result<void> take_line(const std::string& line);
  Result<void> check_order(const Record& record);
  [[nodiscard]] Error wrong(const std::string& what) const {
    return {ExitStatus::input_failed, name_ + ":" + std::to_string(number_) + ": " + what, {}};
  }
  [[nodiscard]] Error not_a_capture(const std::string& what) const {
    return wrong(what + "; this is not a capture of pathtrace (-w or --json makes one)");
  }

  LineReader lines_;
  std::string name_;
  const std::function<Result<void>(const Record&)>& take_;
  std::size_t number_ = 0;  // of the current line, from 1
  bool started_ = false;
  ReplayResult result_;
  Result<void> last_;  // of the current line
};

Result<void> Replay::check_order(const Record& record) {
  const bool is_start = std::holds_alternative<StartRecord>(record);
  if (!started_ && !is_start) return not_a_capture("the first record is not \"start\"");
  if (started_ && is_start)
    return wrong("a second \"start\": split the file, it holds more than one capture");
  if (result_.has_end) return wrong("a record after \"end\"");
  started_ = true;
  result_.has_end = std::holds_alternative<EndRecord>(record);
  return {};
}

Result<void> Replay::take_line(const std::string& line) {
  const auto record = from_json_line(line);
  if (!record) {
    const std::string& what = record.error().message;
    if (what.starts_with("\"schema\" is ")) return wrong(what + "; another version of pathtrace made it");
    return started_ ? wrong(what) : not_a_capture(what);
  }
  if (auto result = check_order(*record); !result) return result;
  ++result_.lines;
  return take_(*record);
}

Result<void> Replay::step(bool& more) {
  std::string line;
  const auto status = lines_.next(line);
  if (status != LineReader::Status::end) ++number_;
  switch (status) {
    case LineReader::Status::end:
      if (number_ == 0) return Error{ExitStatus::input_failed, name_ + " is empty; it holds no capture", {}};
      more = false;
      return {};
    case LineReader::Status::too_long: {
      const std::string what = "the line is longer than " + std::to_string(longest_line) + " bytes";
      return started_ ? wrong(what) : not_a_capture(what);
    }
    case LineReader::Status::failed:
      return wrong("cannot read on: " + reason());
    case LineReader::Status::cut_off:
      result_.truncated = started_ && !from_json_line(line);
      more = false;
      if (result_.truncated) return {};
      break;
    case LineReader::Status::line:
      break;
  }
  return take_line(line);
}

Result<ReplayResult> Replay::run() {
  for (bool more = true; more;) {
    last_ = step(more);
    if (!last_) return last_.error();
  }
  return result_;
}

}  // namespace

Result<std::unique_ptr<Sink>> create_capture(const std::string& path) {
  constexpr int flags = O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY;
  const bool standard = path == "-";
  Fd fd(standard ? ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0) : ::open(path.c_str(), flags | O_EXCL, 0644));
  const bool created = !standard && fd;
  if (!standard && !created && errno == EEXIST) fd = Fd(::open(path.c_str(), flags, 0644));
  if (!fd) return output_error(path);
  std::FILE* file = ::fdopen(fd.get(), "w");
  if (file == nullptr) return output_error(path);
  (void)fd.release();
  return std::unique_ptr<Sink>(std::make_unique<CaptureSink>(file, path, created));
}

Result<ReplayResult> replay(const std::string& path, const std::function<Result<void>(const Record&)>& take) {
  const bool standard = path == "-";
  const Fd file(standard ? -1 : ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!standard && !file)
    return Error{
        ExitStatus::input_failed,
        "cannot open the capture " + sanitise(path) + ": " + reason() + "; check its name and rights",
        {}};
  return Replay(standard ? STDIN_FILENO : file.get(), standard ? "standard input" : path, take).run();
}

}  // namespace pathtrace
