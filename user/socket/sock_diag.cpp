// SPDX-License-Identifier: GPL-2.0
// A request for a protocol whose diag module isn't loaded makes the kernel load it
// (sock_load_diag_module), even for an unprivileged caller. A tracer that promises to change nothing
// must not: where tcp_diag or udp_diag is neither built in nor loaded, /proc/net says nearly as much
// (no limit of the queue, and nothing of IPV6_V6ONLY).
#include "socket/sock_diag.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <unistd.h>

#include <array>
#include <memory>

#include "socket/proc_net.h"

namespace pathtrace {
namespace {

constexpr std::uint32_t state_listen = 10;      // TCP_LISTEN
constexpr std::uint32_t state_unconnected = 7;  // TCP_CLOSE: what an unconnected UDP socket is in
constexpr std::size_t buffer_size = std::size_t{64} << 10;

bool is_available(bool tcp, const BuiltInDiag& built_in) {
  return (tcp ? built_in.tcp : built_in.udp) ||
         access(tcp ? "/sys/module/tcp_diag" : "/sys/module/udp_diag", F_OK) == 0;
}

struct Query {
  bool tcp;
  std::vector<FoundSocket> found;
};

FoundSocket socket_of(const inet_diag_msg& message, bool tcp) {
  FoundSocket out;
  std::array<char, INET6_ADDRSTRLEN> address{};
  inet_ntop(message.idiag_family, message.id.idiag_src, address.data(), address.size());
  out.listener.address = address.data();
  out.listener.port = ntohs(message.id.idiag_sport);
  out.inode = message.idiag_inode;
  if (!tcp) return out;
  out.listener.backlog = message.idiag_rqueue;      // sk_ack_backlog
  out.listener.max_backlog = message.idiag_wqueue;  // sk_max_ack_backlog
  return out;
}

int take_attribute(const nlattr* attribute, void* data) {
  if (mnl_attr_get_type(attribute) == INET_DIAG_SKV6ONLY && mnl_attr_get_payload_len(attribute) >= 1)
    static_cast<Listener*>(data)->v6only = mnl_attr_get_u8(attribute) != 0;
  return MNL_CB_OK;
}

int take_message(const nlmsghdr* header, void* data) {
  auto& query = *static_cast<Query*>(data);
  if (mnl_nlmsg_get_payload_len(header) < sizeof(inet_diag_msg)) return MNL_CB_OK;
  const auto& message = *static_cast<const inet_diag_msg*>(mnl_nlmsg_get_payload(header));
  FoundSocket found = socket_of(message, query.tcp);
  mnl_attr_parse(header, sizeof(inet_diag_msg), take_attribute, &found.listener);
  query.found.push_back(std::move(found));
  return MNL_CB_OK;
}

using Socket = std::unique_ptr<mnl_socket, int (*)(mnl_socket*)>;

bool dump(mnl_socket* socket, int family, std::uint32_t sequence, Query& query) {
  std::vector<char> buffer(buffer_size);
  nlmsghdr* header = mnl_nlmsg_put_header(buffer.data());
  header->nlmsg_type = SOCK_DIAG_BY_FAMILY;
  header->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  header->nlmsg_seq = sequence;
  auto* request =
      static_cast<inet_diag_req_v2*>(mnl_nlmsg_put_extra_header(header, sizeof(inet_diag_req_v2)));
  request->sdiag_family = static_cast<std::uint8_t>(family);
  request->sdiag_protocol = query.tcp ? IPPROTO_TCP : IPPROTO_UDP;
  request->idiag_states = 1U << (query.tcp ? state_listen : state_unconnected);
  if (mnl_socket_sendto(socket, header, header->nlmsg_len) < 0) return false;
  for (int go_on = MNL_CB_OK; go_on > MNL_CB_STOP;) {
    const ssize_t got = mnl_socket_recvfrom(socket, buffer.data(), buffer.size());
    if (got < 0) return false;
    go_on = mnl_cb_run(buffer.data(), static_cast<std::size_t>(got), sequence, mnl_socket_get_portid(socket),
                       take_message, &query);
    if (go_on < 0) return false;
  }
  return true;
}

std::optional<std::vector<FoundSocket>> ask_sock_diag(bool tcp) {
  const Socket socket(mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC), mnl_socket_close);
  if (!socket || mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) < 0) return std::nullopt;
  Query query{tcp, {}};
  if (!dump(socket.get(), AF_INET, 1, query)) return std::nullopt;
  (void)dump(socket.get(), AF_INET6, 2, query);  // refused where IPv6 is off
  return query.found;
}

}  // namespace

std::optional<std::vector<FoundSocket>> ask_namespace(const std::string& protocol,
                                                      const BuiltInDiag& built_in) {
  const bool tcp = protocol == "tcp";
  if (!tcp && protocol != "udp") return std::vector<FoundSocket>();
  if (is_available(tcp, built_in))
    if (auto found = ask_sock_diag(tcp)) return found;
  return ask_proc_net(tcp);
}

}  // namespace pathtrace
