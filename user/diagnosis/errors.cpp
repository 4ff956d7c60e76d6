// SPDX-License-Identifier: GPL-2.0
// The kernel's own tables: icmp_err_convert[] (net/ipv4/icmp.c) and icmpv6_err_convert()
// (net/ipv6/icmp.c). A TCP socket in SYN_SENT fails with these at once;
// a UDP socket with those that are fatal.
#include "diagnosis/errors.h"

#include <array>
#include <utility>

#include "timeline/identity.h"

namespace pathtrace {

namespace {

using Outcome = ConnectionOutcome;

constexpr std::uint8_t icmp_dest_unreach = 3;
constexpr std::uint8_t icmpv6_dest_unreach = 1;

struct Named {
  std::string_view word;
  Outcome outcome;
  std::string_view error;
  bool fatal = true;  // as those tables have it
};

constexpr std::array<Named, 14> errors_of_rejects{{
    {"tcp-reset", Outcome::refused, "ECONNREFUSED"},
    {"icmp-port-unreachable", Outcome::refused, "ECONNREFUSED"},
    {"icmp-net-unreachable", Outcome::unreachable, "ENETUNREACH", false},
    {"icmp-net-prohibited", Outcome::unreachable, "ENETUNREACH"},
    {"icmp-host-unreachable", Outcome::unreachable, "EHOSTUNREACH", false},
    {"icmp-host-prohibited", Outcome::unreachable, "EHOSTUNREACH"},
    {"icmp-admin-prohibited", Outcome::unreachable, "EHOSTUNREACH"},
    {"icmp-proto-unreachable", Outcome::unreachable, "ENOPROTOOPT"},
    {"icmp6-port-unreachable", Outcome::refused, "ECONNREFUSED"},
    {"icmp6-adm-prohibited", Outcome::unreachable, "EACCES"},
    {"icmp6-policy-fail", Outcome::unreachable, "EACCES"},
    {"icmp6-reject-route", Outcome::unreachable, "EACCES"},
    {"icmp6-no-route", Outcome::unreachable, "ENETUNREACH", false},
    {"icmp6-addr-unreachable", Outcome::unreachable, "EHOSTUNREACH", false},
}};

struct Numbered {
  std::uint32_t number;
  Outcome outcome;
  std::string_view error;
};

constexpr std::array<Numbered, 9> errors_of_sockets{{
    {13, Outcome::unreachable, "EACCES"},
    {92, Outcome::unreachable, "ENOPROTOOPT"},
    {101, Outcome::unreachable, "ENETUNREACH"},
    {104, Outcome::reset, "ECONNRESET"},
    {110, Outcome::timed_out, "ETIMEDOUT"},
    {111, Outcome::refused, "ECONNREFUSED"},
    {112, Outcome::unreachable, "EHOSTDOWN"},
    {113, Outcome::unreachable, "EHOSTUNREACH"},
    {71, Outcome::unreachable, "EPROTO"},
}};

}  // namespace

ClientError error_of_reject(std::string_view with, bool tcp) {
  for (const Named& known : errors_of_rejects) {
    if (known.word != with) continue;
    if (!tcp && !known.fatal) return {Outcome::timed_out, std::nullopt};
    return {known.outcome, std::string(known.error)};
  }
  return {Outcome::unreachable, std::nullopt};
}

std::optional<ClientError> error_of_icmp(bool ipv6, std::uint8_t type, std::uint8_t code, bool tcp) {
  if (type != (ipv6 ? icmpv6_dest_unreach : icmp_dest_unreach)) return std::nullopt;
  if (!ipv6 && code == 4) return std::nullopt;  // fragmentation needed: path MTU discovery
  return error_of_reject(reject_word(ipv6, code), tcp);
}

std::optional<ClientError> error_of_number(std::uint32_t number) {
  for (const Numbered& known : errors_of_sockets)
    if (known.number == number) return ClientError{known.outcome, std::string(known.error)};
  return std::nullopt;
}

}  // namespace pathtrace
