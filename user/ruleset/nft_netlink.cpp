// SPDX-License-Identifier: GPL-2.0
#include "ruleset/nft_netlink.h"

#include <arpa/inet.h>
#include <endian.h>

#include <cerrno>

#include "ruleset/nft_model.h"

namespace pathtrace::nft {

Socket::Socket() : socket_(mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC)) {
  if (socket_ != nullptr && mnl_socket_bind(socket_, 0, MNL_SOCKET_AUTOPID) < 0) close();
}

Socket::~Socket() { close(); }

bool Socket::ask(const Question& question, const Receive& receive) {
  std::array<char, 1024> request{};
  nlmsghdr* header = mnl_nlmsg_put_header(request.data());
  header->nlmsg_type = static_cast<std::uint16_t>((NFNL_SUBSYS_NFTABLES << 8) | question.message);
  header->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | (question.dump ? NLM_F_DUMP : NLM_F_ACK));
  header->nlmsg_seq = ++sequence_;
  auto* family = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(header, sizeof(nfgenmsg)));
  family->nfgen_family = question.family;
  family->version = NFNETLINK_V0;
  for (const Name& name : question.names)
    if (!mnl_attr_put_strz_check(header, request.size(), name.type, std::string(name.value).c_str())) {
      errno = ENAMETOOLONG;
      return false;
    }
  if (mnl_socket_sendto(socket_, header, header->nlmsg_len) < 0) return false;
  return collect(receive);
}

bool Socket::collect(const Receive& receive) {
  const unsigned port = mnl_socket_get_portid(socket_);
  std::vector<char> buffer(std::size_t{128} << 10);
  const auto callback = [](const nlmsghdr* message, void* data) {
    (*static_cast<const Receive*>(data))(message);
    return MNL_CB_OK;
  };
  while (true) {
    const ssize_t got = mnl_socket_recvfrom(socket_, buffer.data(), buffer.size());
    if (got < 0) return false;
    const int state = mnl_cb_run(buffer.data(), static_cast<std::size_t>(got), sequence_, port, callback,
                                 const_cast<Receive*>(&receive));  // NOLINT: C interface
    if (given_up_) {
      errno = E2BIG;
      return false;
    }
    if (state < 0) return false;
    if (state == MNL_CB_STOP) return true;
  }
}

void Socket::close() {
  if (socket_ != nullptr) mnl_socket_close(socket_);
  socket_ = nullptr;
}

Attributes::Attributes(const nlmsghdr* message) {
  if (mnl_nlmsg_get_payload_len(message) < sizeof(nfgenmsg)) return;
  each_attribute(mnl_nlmsg_get_payload_offset(message, sizeof(nfgenmsg)),
                 mnl_nlmsg_get_payload_len(message) - MNL_ALIGN(sizeof(nfgenmsg)),
                 [this](const nlattr* attribute) { add(attribute); });
}

Attributes::Attributes(const nlattr* nest) {
  each_nested(nest, [this](const nlattr* attribute) { add(attribute); });
}

std::string Attributes::string(unsigned type) const {
  const std::string raw = bytes(type);
  return raw.substr(0, raw.find('\0'));
}

std::optional<std::uint32_t> Attributes::u32(unsigned type) const {
  const nlattr* attribute = get(type);
  if (attribute == nullptr || mnl_attr_get_payload_len(attribute) < 4) return std::nullopt;
  return ntohl(mnl_attr_get_u32(attribute));
}

std::uint64_t Attributes::u64(unsigned type) const {
  const nlattr* attribute = get(type);
  if (attribute == nullptr || mnl_attr_get_payload_len(attribute) < 8) return 0;
  return be64toh(mnl_attr_get_u64(attribute));
}

std::string Attributes::bytes(unsigned type) const {
  const nlattr* attribute = get(type);
  if (attribute == nullptr) return {};
  return {static_cast<const char*>(mnl_attr_get_payload(attribute)), mnl_attr_get_payload_len(attribute)};
}

void Attributes::add(const nlattr* attribute) {
  const unsigned type = mnl_attr_get_type(attribute);
  if (type < found_.size()) found_.at(type) = attribute;
}

std::optional<Family> message_family(const nlmsghdr* message) {
  return family_of(static_cast<const nfgenmsg*>(mnl_nlmsg_get_payload(message))->nfgen_family);
}

}  // namespace pathtrace::nft
