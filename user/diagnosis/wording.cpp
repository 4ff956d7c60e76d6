// SPDX-License-Identifier: GPL-2.0
#include "diagnosis/wording.h"

#include <array>
#include <sstream>

namespace pathtrace {

namespace {

std::string tool_of(const Step& step) {
  if (step.family == Family::arp) return "arptables";
  return step.family == Family::ip6 ? "ip6tables" : "iptables";
}

std::string backend_text(const Step& step) {
  const std::string tool = tool_of(step);
  if (step.backend == Backend::iptables_legacy) return tool + " (legacy)";
  if (step.backend == Backend::iptables_nft) return tool + " (nf_tables)";
  return "nftables";
}

// nftables names a table by its family; iptables by its command.
std::string chain_text(const Step& step) {
  std::string text = step.table.value_or("?") + "/" + step.chain.value_or("?");
  if (step.backend == Backend::nftables && step.family) text = std::string(word(*step.family)) + " " + text;
  return text;
}

std::string rule_text(const Step& step, bool whole) {
  const bool by_handle = step.backend == Backend::nftables && step.handle;
  std::string text = chain_text(step);
  if (by_handle) text += " handle " + std::to_string(*step.handle);
  if (!step.rule) return text;
  if (!by_handle) return text + " rule " + std::to_string(*step.rule);
  return whole ? text + " (rule " + std::to_string(*step.rule) + ")" : text;
}

}  // namespace

std::string short_rule(const Step& step) {
  if (step.missing) return "an unnamed rule of " + step.table.value_or("an unknown table");
  if (step.kind == StepKind::policy) return "policy of " + chain_text(step);
  return rule_text(step, false);
}

std::string long_rule(const Step& step) {
  const std::string backend = backend_text(step) + " ";
  if (step.kind == StepKind::policy) return "the policy of " + backend + chain_text(step);
  return backend + rule_text(step, true);
}

std::string table_of(const Step& step) {
  std::string text = backend_text(step);
  if (!step.table) return text;
  text += " table ";
  if (step.backend == Backend::nftables && step.family) text += std::string(word(*step.family)) + " ";
  return text + *step.table;
}

std::string other_backend_text(const Step& step, Backend shown) {
  const std::string tool = tool_of(step);
  const bool legacy = step.backend == Backend::iptables_legacy;
  return std::string(step.kind == StepKind::policy ? "The policy" : "The rule") + " is in " + tool +
         (legacy ? "-legacy" : "-nft") + "; `" + tool + " -L` here shows the " +
         (shown == Backend::iptables_legacy ? "legacy" : "nft") + " backend";
}

std::string object_of(const Step& step) {
  if (!step.text) return "it";
  std::istringstream words(*step.text);
  std::string before;
  std::string token;
  std::string value;
  while (words >> token) {
    const bool legacy = token == "-s" && before != "!";
    const bool nft = token == "saddr" && (before == "ip" || before == "ip6");
    if ((legacy || nft) && words >> value) {
      const bool plain = value.find_first_not_of("0123456789abcdefABCDEF.:/") == std::string::npos;
      return plain ? value : "it";
    }
    before = token;
  }
  return "it";
}

bool is_for_invalid(const Step& step) {
  if (!step.text) return false;
  const std::string text = " " + *step.text + " ";
  const auto has = [&text](std::string_view words) { return text.find(words) != std::string::npos; };
  if (has(" ! --ctstate ") || has(" ! --state ")) return false;
  if (has(" --ctstate INVALID ") || has(" --state INVALID ") || has(" ct state invalid ")) return true;
  const auto drop = text.find(" : drop");
  return has(" ct state vmap { ") && has(" invalid : drop") &&
         text.find(" : drop", drop + 1) == std::string::npos;
}

std::string packet_name(const Packet& packet) {
  if (is_syn_ack(packet)) return "SYN-ACK";
  if (is_syn(packet)) return "SYN";
  if (is_reset(packet)) return "RST";
  if (packet.flags && packet.flags->find('F') != std::string::npos) return "FIN";
  return "packet";
}

std::string later_packet(const Packet& packet) {
  return (packet.direction == Direction::original ? "the client's " : "the server's ") + packet_name(packet) +
         " in mid-connection";
}

std::string address_port(const std::string& address, std::uint16_t port) {
  const bool ipv6 = address.find(':') != std::string::npos;
  return (ipv6 ? "[" + address + "]" : address) + ":" + std::to_string(port);
}

std::string endpoint_text(const Endpoint& endpoint) {
  return endpoint.port ? address_port(endpoint.address, *endpoint.port) : endpoint.address;
}

std::string owner_text(const Listener& listener) {
  const std::string pid = listener.pid ? "pid " + std::to_string(*listener.pid) : "";
  if (listener.program) return pid.empty() ? *listener.program : *listener.program + " (" + pid + ")";
  return pid.empty() ? "a process" : pid;
}

std::string listens_text(const Listener& listener) {
  return owner_text(listener) + " listens on " + address_port(listener.address, listener.port) +
         (listener.device ? " of device " + *listener.device : "");
}

std::string duration_text(std::int64_t ns) {
  constexpr std::int64_t ms = 1'000'000;
  if (ns < ms) return "less than 1 ms";
  return ns < 10'000 * ms ? std::to_string(ns / ms) + " ms" : std::to_string(ns / (1'000 * ms)) + " s";
}

}  // namespace pathtrace
