// SPDX-License-Identifier: GPL-2.0
// Reading the members of a JSON object that is not trusted: the first thing that is wrong is kept
// with the name of its member, everything after it reads as a default value.
#pragma once

#include <charconv>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "timeline/words.h"

namespace pathtrace {

class Fields {
 public:
  using Json = nlohmann::json;

  // `error` and `value` outlive this; `path` names `value` in messages ("" = the line itself).
  Fields(const Json& value, std::string path, std::string& error);

  [[nodiscard]] bool has(const char* name) const { return value_.is_object() && value_.contains(name); }
  void fail(const char* name, const std::string& what) const;

  [[nodiscard]] std::string text(const char* name) const;
  [[nodiscard]] std::uint64_t id(const char* name) const;
  template <typename T>
  [[nodiscard]] T number(const char* name) const {
    const Json* member = find(name);
    return member == nullptr ? T{} : integer<T>(*member, name);
  }
  template <typename E>
  [[nodiscard]] E one_of(const char* name) const {
    const std::string value = text(name);
    if (!error_.empty()) return E{};
    const auto found = from_word<E>(value);
    if (!found) fail(name, "has the unknown word \"" + value.substr(0, 40) + "\"");
    return found.value_or(E{});
  }

  // The same where null means "not known".
  [[nodiscard]] bool null(const char* name) const;
  [[nodiscard]] std::optional<std::string> text_or_null(const char* name) const;
  [[nodiscard]] std::optional<std::uint64_t> id_or_null(const char* name) const;
  template <typename T>
  [[nodiscard]] std::optional<T> number_or_null(const char* name) const {
    if (null(name)) return std::nullopt;
    return number<T>(name);
  }
  template <typename E>
  [[nodiscard]] std::optional<E> one_of_or_null(const char* name) const {
    if (null(name)) return std::nullopt;
    return one_of<E>(name);
  }

  // A member that is an object, and the elements of one that is an array.
  [[nodiscard]] Fields object(const char* name) const;
  template <typename F>
  void each(const char* name, F&& one) const {
    const Json* member = find(name);
    if (member == nullptr) return;
    if (!member->is_array()) return fail(name, "is not an array");
    for (std::size_t i = 0; i < member->size() && error_.empty(); ++i)
      one(Fields((*member)[i], name_of(name) + "[" + std::to_string(i) + "]", error_));
  }

  // This value itself, as an element of an array.
  [[nodiscard]] std::string as_text() const;
  [[nodiscard]] std::uint64_t as_id() const;

 private:
  [[nodiscard]] const Json* find(const char* name) const;
  [[nodiscard]] std::string name_of(const char* name) const;
  [[nodiscard]] std::string string_of(const Json& value, const char* name) const;
  [[nodiscard]] std::uint64_t id_of(const std::string& digits, const char* name) const;

  template <typename T>
  T integer(const Json& value, const char* name) const {
    if (value.is_number_unsigned()) {
      const auto number = value.get<std::uint64_t>();
      if (number <= static_cast<std::uint64_t>(std::numeric_limits<T>::max())) return static_cast<T>(number);
    } else if (value.is_number_integer() && std::is_signed_v<T>) {
      const auto number = value.get<std::int64_t>();
      if (number >= static_cast<std::int64_t>(std::numeric_limits<T>::min())) return static_cast<T>(number);
    } else if (!value.is_number_integer()) {
      fail(name, "is not a whole number");
      return T{};
    }
    fail(name, "is out of range");
    return T{};
  }

  const Json& value_;
  std::string path_;
  std::string& error_;
};

}  // namespace pathtrace
