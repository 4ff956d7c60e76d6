// SPDX-License-Identifier: GPL-2.0
// Questions to nf_tables by netlink, read-only, and the attributes of its answers.
#pragma once

#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "timeline/words.h"

namespace pathtrace::nft {

// Of the calling thread's network namespace.
class Socket {
 public:
  using Receive = std::function<void(const nlmsghdr*)>;
  struct Name {
    std::uint16_t type;
    std::string_view value;
  };
  struct Question {
    std::uint16_t message;  // NFT_MSG_GET*
    bool dump = false;
    std::uint8_t family = 0;  // NFPROTO_*, 0 = all
    std::vector<Name> names;
  };

  Socket();
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket();
  explicit operator bool() const { return socket_ != nullptr; }

  // False: errno tells why; EINTR: the ruleset changed under the dump (NLM_F_DUMP_INTR).
  bool ask(const Question& question, const Receive& receive);
  // From within `receive`: the rest of the answer is not wanted. ask() fails with E2BIG; the socket is of no
  // further use.
  void give_up() { given_up_ = true; }

 private:
  bool collect(const Receive& receive);
  void close();

  mnl_socket* socket_;
  std::uint32_t sequence_ = 0;
  bool given_up_ = false;
};

// mnl_attr_for_each() and its nested kin, which do not compile as C++.
template <typename Function>
void each_attribute(const void* begin, std::size_t size, Function function) {
  const auto* at = static_cast<const nlattr*>(begin);
  auto left = static_cast<int>(size);
  while (mnl_attr_ok(at, left)) {
    function(at);
    left -= static_cast<int>(MNL_ALIGN(at->nla_len));
    at = mnl_attr_next(at);
  }
}

template <typename Function>
void each_nested(const nlattr* nest, Function function) {
  if (nest != nullptr) each_attribute(mnl_attr_get_payload(nest), mnl_attr_get_payload_len(nest), function);
}

// Attributes of a message or of a nest, by type.
class Attributes {
 public:
  explicit Attributes(const nlmsghdr* message);
  explicit Attributes(const nlattr* nest);
  [[nodiscard]] const nlattr* get(unsigned type) const {
    return type < found_.size() ? found_.at(type) : nullptr;
  }
  [[nodiscard]] std::string string(unsigned type) const;  // up to its NUL
  [[nodiscard]] std::optional<std::uint32_t> u32(unsigned type) const;
  [[nodiscard]] std::uint64_t u64(unsigned type) const;
  [[nodiscard]] std::string bytes(unsigned type) const;  // as they are

 private:
  void add(const nlattr* attribute);
  std::array<const nlattr*, 32> found_{};
};

std::optional<Family> message_family(const nlmsghdr* message);

}  // namespace pathtrace::nft
