// SPDX-License-Identifier: GPL-2.0
// How rules, packets and listeners are called in summaries and evidence.
#pragma once

#include <cstdint>
#include <string>

#include "diagnosis/story.h"

namespace pathtrace {

// "filter/web rule 2", "inet filter/input handle 7", "policy of filter/INPUT"
std::string short_rule(const Step& step);
// "iptables (legacy) filter/web rule 2", "nftables inet filter/input handle 7 (rule 3)",
// "the policy of iptables (legacy) filter/INPUT"
std::string long_rule(const Step& step);
// "iptables (legacy) table filter": all that is known of a walk whose rule isn't
std::string table_of(const Step& step);
// "The rule is in iptables-legacy; `iptables -L` here shows the nft backend": for a rule that the host's own
// command, which works on `shown`, doesn't list.
std::string other_backend_text(const Step& step, Backend shown);
// What the rule's text says it is for: "10.0.0.0/8" of "-s 10.0.0.0/8 ..."; else "it".
std::string object_of(const Step& step);
// Does the rule's text say that it is for packets that conntrack calls invalid, and for no others?
// "-m conntrack --ctstate INVALID", "ct state invalid", "ct state vmap { ..., invalid : drop }"
bool is_for_invalid(const Step& step);
// "SYN", "SYN-ACK", "RST", "FIN", "packet"
std::string packet_name(const Packet& packet);
// Of a connection that was made: "the client's packet in mid-connection"
std::string later_packet(const Packet& packet);
// "10.0.0.1:80", "[fd00::1]:80"
std::string endpoint_text(const Endpoint& endpoint);
std::string address_port(const std::string& address, std::uint16_t port);
// "nginx (pid 812)", "a process"
std::string owner_text(const Listener& listener);
// "nginx (pid 812) listens on 0.0.0.0:80"
std::string listens_text(const Listener& listener);

// "12 ms", "3 s".
std::string duration_text(std::int64_t ns);

}  // namespace pathtrace
