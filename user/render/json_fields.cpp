// SPDX-License-Identifier: GPL-2.0
#include "render/json_fields.h"

namespace pathtrace {
namespace {

const Fields::Json nothing = Fields::Json::object();

}  // namespace

Fields::Fields(const Json& value, std::string path, std::string& error)
    : value_(value), path_(std::move(path)), error_(error) {}

std::string Fields::name_of(const char* name) const {
  if (path_.empty() || *name == '\0') return path_ + name;
  return path_ + "." + name;
}

void Fields::fail(const char* name, const std::string& what) const {
  if (error_.empty()) error_ = "\"" + name_of(name) + "\" " + what;
}

const Fields::Json* Fields::find(const char* name) const {
  if (!error_.empty()) return nullptr;
  if (!value_.is_object()) {
    fail("", "is not an object");
    return nullptr;
  }
  const auto member = value_.find(name);
  if (member == value_.end()) {
    fail(name, "is missing");
    return nullptr;
  }
  return &*member;
}

std::string Fields::string_of(const Json& value, const char* name) const {
  if (value.is_string()) return value.get<std::string>();
  fail(name, "is not a string");
  return {};
}

std::uint64_t Fields::id_of(const std::string& digits, const char* name) const {
  if (!error_.empty()) return 0;
  std::uint64_t id = 0;
  const char* end = digits.data() + digits.size();
  const auto [stopped, reason] = std::from_chars(digits.data(), end, id);
  if (digits.empty() || stopped != end || reason != std::errc()) fail(name, "is not a 64-bit id");
  return id;
}

std::string Fields::text(const char* name) const {
  const Json* member = find(name);
  return member == nullptr ? std::string() : string_of(*member, name);
}

std::uint64_t Fields::id(const char* name) const { return id_of(text(name), name); }

bool Fields::null(const char* name) const {
  const Json* member = find(name);
  return member == nullptr || member->is_null();
}

std::optional<std::string> Fields::text_or_null(const char* name) const {
  if (null(name)) return std::nullopt;
  return text(name);
}

std::optional<std::uint64_t> Fields::id_or_null(const char* name) const {
  if (null(name)) return std::nullopt;
  return id(name);
}

Fields Fields::object(const char* name) const {
  const Json* member = find(name);
  return {member == nullptr ? nothing : *member, name_of(name), error_};
}

std::string Fields::as_text() const { return string_of(value_, ""); }

std::uint64_t Fields::as_id() const { return id_of(as_text(), ""); }

}  // namespace pathtrace
