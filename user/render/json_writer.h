// SPDX-License-Identifier: GPL-2.0
// Writes one line of JSON from front to back: no tree is built, as a trace has a line for every packet.
#pragma once

#include <charconv>
#include <concepts>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "timeline/words.h"

namespace pathtrace {

class JsonWriter {
 public:
  [[nodiscard]] std::string take() && { return std::move(out_); }

  void begin_object() { open('{'); }
  void end_object() { out_ += '}'; }
  void begin_array() { open('['); }
  void end_array() { out_ += ']'; }

  // A member's name, before its value. Of ours: not escaped.
  void key(std::string_view name) {
    separate();
    out_ += '"';
    out_ += name;
    out_ += "\":";
  }

  void null() {
    separate();
    out_ += "null";
  }
  // A word of ours: not escaped.
  void word(std::string_view value) {
    separate();
    out_ += '"';
    out_ += value;
    out_ += '"';
  }
  // Anybody's text: what isn't valid UTF-8 becomes \xNN, what a terminal acts upon \uNNNN.
  void text(std::string_view value);
  template <std::integral T>
  void number(T value) {
    separate();
    append_number(value);
  }
  // 64 bits as a string: a double holds 53, and most readers use doubles.
  void id(std::uint64_t value) {
    separate();
    out_ += '"';
    append_number(value);
    out_ += '"';
  }

  // A member with its value.
  void member(std::string_view name, const std::string& value) { key(name), text(value); }
  template <std::integral T>
  void member(std::string_view name, T value) {
    key(name), number(value);
  }
  template <typename E>
    requires std::is_enum_v<E>
  void member(std::string_view name, E value) {
    key(name), word(pathtrace::word(value));
  }
  template <typename T>
  void member(std::string_view name, const std::optional<T>& value) {
    if (value)
      member(name, *value);
    else
      key(name), null();
  }
  template <typename T, typename F>
  void list(std::string_view name, const std::vector<T>& values, F&& one) {
    key(name);
    begin_array();
    for (const auto& value : values) one(value);
    end_array();
  }

 private:
  void open(char bracket) {
    separate();
    out_ += bracket;
  }
  // Every value ends in a quote, a digit, a letter or a closing bracket.
  void separate() {
    if (!out_.empty() && out_.back() != '{' && out_.back() != '[' && out_.back() != ':') out_ += ',';
  }
  template <std::integral T>
  void append_number(T value) {
    char digits[24];
    const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
    out_.append(digits, end);
  }

  std::string out_;
};

}  // namespace pathtrace
