// SPDX-License-Identifier: GPL-2.0
// Connection + facts → outcome, cause, evidence, fixes. Pure.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "timeline/loss.h"
#include "timeline/timeline.h"

namespace pathtrace {

// Something that was not watched for a while: its module was there, the programs weren't yet.
struct Gap {
  std::string what;  // "rules of iptables-legacy"
  std::int64_t since_ns = 0;
  std::int64_t until_ns = 0;
};

// Facts of the host that a cause may need, asked for only then. Each may be empty (replay,
// or not permitted); an answer of std::nullopt is "can't be known".
struct Facts {
  // TCP or UDP sockets that listen on `port` in any namespace of this host.
  std::function<std::optional<std::vector<Listener>>(const std::string& protocol, std::uint16_t port)>
      listeners;
  // Which backend the host's iptables (ip6tables, arptables) works on.
  std::function<std::optional<Backend>(Family)> iptables_backend;
  // What this run can't see (other namespaces, a probe that isn't attached): causes that are concluded from
  // what was not seen are partial then.
  std::vector<std::string> blind_spots;
  // Likewise, for those that lasted at that time.
  std::vector<Gap> gaps;
  // Events that were lost: connections that lasted at that time are partial.
  LossLog losses;
  // How many runs of programs the kernel may have skipped in [from_ns, to_ns]: for what is concluded from
  // what was not seen, as blind_spots.
  std::function<std::uint64_t(std::int64_t from_ns, std::int64_t to_ns)> left_out;
};

// Fills in trace.connection: outcome, error (errno), cause, fixes, netns, confidence, missing; and each
// packet's outcome.
void diagnose(ConnectionTrace& trace, const Facts& facts);

}  // namespace pathtrace
