// SPDX-License-Identifier: GPL-2.0
// A value or the error that prevented it. Recoverable errors are returned as a
// Result; nothing below main() calls exit().
#pragma once

#include <string>
#include <utility>
#include <variant>

namespace pathtrace {

// The exit status of the program; `pathtrace(1)` lists them.
enum class ExitStatus {
  success = 0,
  failure = 1,        // anything not listed below
  usage = 2,          // options that make no sense, a filter that can't match
  no_permission = 3,  // not root, or a missing capability
  unsupported = 4,    // no BTF, or a kernel that refuses tracing programs
  no_such_namespace = 5,
  output_failed = 6,   // an output file can't be written
  input_failed = 7,    // a capture file can't be read
  command_failed = 8,  // the COMMAND after -- could not be started
};

// What failed, on which object, the error's text and the next step, in `message`;
// long details (a verifier log), shown only with -v, in `details`.
struct Error {
  ExitStatus status = ExitStatus::failure;
  std::string message;
  std::string details;
};

template <typename T>
class [[nodiscard]] Result {
 public:
  // Implicit, so that a function returns its value or an Error as they are.
  // NOLINTBEGIN(google-explicit-constructor)
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}
  // NOLINTEND(google-explicit-constructor)

  explicit operator bool() const { return state_.index() == 0; }
  T& value() & { return std::get<0>(state_); }
  const T& value() const& { return std::get<0>(state_); }
  T&& value() && { return std::get<0>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  const Error& error() const { return std::get<1>(state_); }

 private:
  std::variant<T, Error> state_;
};

// For functions that return nothing but may fail.
template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  // NOLINTNEXTLINE(google-explicit-constructor)
  Result(Error error) : state_(std::move(error)) {}

  explicit operator bool() const { return state_.index() == 0; }
  const Error& error() const { return std::get<1>(state_); }

 private:
  std::variant<std::monostate, Error> state_;
};

}  // namespace pathtrace
