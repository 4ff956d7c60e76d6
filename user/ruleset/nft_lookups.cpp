// SPDX-License-Identifier: GPL-2.0
// Registers are followed as the kernel fills them: 64 bytes, sixteen of 32 bits (NFT_REG32_*) or four of 128
// (NFT_REG_*). Whatever isn't a plain load of a known header field makes all of them unknown, but for
// expressions that write none.
#include "ruleset/nft_lookups.h"

#include <linux/netfilter/nf_tables.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "ruleset/nft_netlink.h"

namespace pathtrace::nft {
namespace {

constexpr std::size_t kRegisterBytes = 4;

// The first 32-bit register of one of either kind.
std::optional<std::size_t> register_place(std::uint32_t number) {
  if (number >= NFT_REG_1 && number <= NFT_REG_4) return (number - NFT_REG_1) * 4U;
  if (number >= NFT_REG32_00 && number <= NFT_REG32_15) return number - NFT_REG32_00;
  return std::nullopt;
}

std::optional<KeyPart> header_field(const Attributes& payload) {
  struct Known {
    std::uint32_t base, offset, length;
    KeyPart part;
  };
  static constexpr auto known = std::to_array<Known>({
      {NFT_PAYLOAD_NETWORK_HEADER, 12, 4, {Field::saddr, 4, AF_INET}},
      {NFT_PAYLOAD_NETWORK_HEADER, 16, 4, {Field::daddr, 4, AF_INET}},
      {NFT_PAYLOAD_NETWORK_HEADER, 8, 16, {Field::saddr, 16, AF_INET6}},
      {NFT_PAYLOAD_NETWORK_HEADER, 24, 16, {Field::daddr, 16, AF_INET6}},
      {NFT_PAYLOAD_TRANSPORT_HEADER, 0, 2, {Field::sport, 2, 0}},
      {NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, {Field::dport, 2, 0}},
  });
  const auto base = payload.u32(NFTA_PAYLOAD_BASE);
  const auto offset = payload.u32(NFTA_PAYLOAD_OFFSET);
  const auto length = payload.u32(NFTA_PAYLOAD_LEN);
  for (const Known& one : known)
    if (base == one.base && offset == one.offset && length == one.length) return one.part;
  return std::nullopt;
}

class Registers {
 public:
  void follow(std::string_view name, const Attributes& data) {
    if (name == "payload" && data.get(NFTA_PAYLOAD_SREG) == nullptr)
      load(data.u32(NFTA_PAYLOAD_DREG), header_field(data), data.u32(NFTA_PAYLOAD_LEN));
    else if (name == "meta" && data.u32(NFTA_META_KEY) == NFT_META_L4PROTO &&
             data.get(NFTA_META_DREG) != nullptr)
      load(data.u32(NFTA_META_DREG), KeyPart{Field::protocol, 1, 0}, 1);
    else if (!writes_none(name, data))
      known_.clear();
  }

  // What is known from a register on, up to the first that isn't. How much of it is the key the set knows.
  [[nodiscard]] std::vector<KeyPart> read(std::optional<std::uint32_t> number) const {
    std::vector<KeyPart> parts;
    auto place = number ? register_place(*number) : std::nullopt;
    if (!place) return parts;
    for (auto found = known_.find(*place); found != known_.end(); found = known_.find(*place)) {
      parts.push_back(found->second);
      *place += (found->second.length + kRegisterBytes - 1) / kRegisterBytes;
    }
    return parts;
  }

 private:
  void load(std::optional<std::uint32_t> number, std::optional<KeyPart> part,
            std::optional<std::uint32_t> length) {
    const auto place = number ? register_place(*number) : std::nullopt;
    if (!place || !length) {
      known_.clear();
      return;
    }
    const std::size_t end = *place + (*length + kRegisterBytes - 1) / kRegisterBytes;
    std::erase_if(known_, [&](const auto& one) {
      const std::size_t last = one.first + (one.second.length + kRegisterBytes - 1) / kRegisterBytes;
      return last > *place && one.first < end;
    });
    if (part) known_[*place] = *part;
  }

  static bool writes_none(std::string_view name, const Attributes& data) {
    static constexpr auto none = std::to_array<std::string_view>(
        {"cmp", "range", "counter", "limit", "log", "quota", "last", "match", "reject", "notrack"});
    if (name == "lookup") return data.get(NFTA_LOOKUP_DREG) == nullptr;
    return std::find(none.begin(), none.end(), name) != none.end();
  }

  std::map<std::size_t, KeyPart> known_;  // by their first 32-bit register
};

}  // namespace

bool changes_looked_up(std::string_view name, const Attributes& data) {
  if (name != "payload" || data.get(NFTA_PAYLOAD_SREG) == nullptr) return false;
  const std::uint32_t offset = data.u32(NFTA_PAYLOAD_OFFSET).value_or(0);
  const std::uint32_t length = data.u32(NFTA_PAYLOAD_LEN).value_or(0);
  switch (data.u32(NFTA_PAYLOAD_BASE).value_or(NFT_PAYLOAD_NETWORK_HEADER)) {
    case NFT_PAYLOAD_LL_HEADER:
      return false;
    case NFT_PAYLOAD_TRANSPORT_HEADER:
      return offset < 4;
    default:  // IPv6 addresses begin at 8, IPv4 ones at 12; a TTL is written as two bytes at 8
      return offset + length > 12 || (offset >= 8 && length > 2);
  }
}

std::vector<Lookup> read_lookups(const nlattr* expressions) {
  std::vector<Lookup> lookups;
  Registers registers;
  each_nested(expressions, [&](const nlattr* element) {
    const Attributes expression(element);
    const std::string name = expression.string(NFTA_EXPR_NAME);
    const Attributes data(expression.get(NFTA_EXPR_DATA));
    const bool inverted = (data.u32(NFTA_LOOKUP_FLAGS).value_or(0) & NFT_LOOKUP_F_INV) != 0;
    if (name == "lookup" && !inverted)
      lookups.push_back({data.string(NFTA_LOOKUP_SET), registers.read(data.u32(NFTA_LOOKUP_SREG)),
                         data.get(NFTA_LOOKUP_DREG) != nullptr &&
                             data.u32(NFTA_LOOKUP_DREG) == std::uint32_t{NFT_REG_VERDICT}});
    registers.follow(name, data);
  });
  return lookups;
}

}  // namespace pathtrace::nft
