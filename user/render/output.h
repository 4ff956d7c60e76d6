// SPDX-License-Identifier: GPL-2.0
// Everything that prints. A sink takes the records of a trace, live or replayed; it decides
// nothing.
#pragma once

#include <cstdio>
#include <memory>
#include <string>

#include "support/result.h"
#include "timeline/model.h"

namespace pathtrace {

class Sink {
 public:
  Sink() = default;
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;
  virtual ~Sink() = default;
  // Fails on a write error (EPIPE: with ExitStatus::success, the reader has gone away).
  virtual Result<void> write(const Record& record) = 0;
  virtual Result<void> flush() = 0;
  // Nothing comes any more, be it that the stream has an EndRecord or that it was cut off. Flushes.
  virtual Result<void> finish() { return flush(); }
};

struct TextOptions {
  bool color = false;
  int width = 0;     // columns; 0 = don't shorten
  bool utf8 = true;  // false: "->" and "..." for a locale that isn't UTF-8
};

// The timeline view on `out` (not owned). StartRecord and EndRecord are not printed here: notices
// go to stderr, by readiness_notice() and closing_notice(). LostRecord is printed where it happened.
// Packets wait for their connection; those whose connection was never reported (a capture cut
// off) are printed by finish().
std::unique_ptr<Sink> make_text_sink(std::FILE* out, TextOptions options);
// JSON Lines on `out` (not owned), a line a record.
std::unique_ptr<Sink> make_json_sink(std::FILE* out);

// What to write to stderr, each line with its newline.
std::string readiness_notice(const StartRecord& start);
std::string closing_notice(const EndRecord& end);

// One record as its JSON line, without the newline, and back. Unknown members are ignored;
// an unknown word or a missing member is an error that names it.
std::string to_json_line(const Record& record);
Result<Record> from_json_line(const std::string& line);

// The one sanitiser for every foreign string: C0, DEL, C1, bidi controls (U+202A-202E,
// U+2066-2069) and invalid UTF-8 become \xNN.
std::string sanitise(const std::string& text);

}  // namespace pathtrace
