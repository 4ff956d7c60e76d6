// SPDX-License-Identifier: GPL-2.0
// What an answer means to connect() at the client.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "timeline/words.h"

namespace pathtrace {

struct ClientError {
  ConnectionOutcome outcome = ConnectionOutcome::refused;
  std::optional<std::string> name;  // "ECONNREFUSED"; none where it isn't known
};

// Of a REJECT's answer in its own words: "tcp-reset", "icmp-port-unreachable", "icmp6-adm-prohibited". A UDP
// socket (without IP_RECVERR) is not told of errors that may pass, as "no route": it waits in vain.
ClientError error_of_reject(std::string_view with, bool tcp);
// Of an ICMP (ICMPv6) error; nullopt for types that don't end a connection attempt.
std::optional<ClientError> error_of_icmp(bool ipv6, std::uint8_t type, std::uint8_t code, bool tcp);
// Of the number in sk_err.
std::optional<ClientError> error_of_number(std::uint32_t number);

}  // namespace pathtrace
