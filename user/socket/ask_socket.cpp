// SPDX-License-Identifier: GPL-2.0
#include "socket/ask_socket.h"

#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <optional>

#include "support/fd.h"

namespace pathtrace {
namespace {

Fd copy_of(const Owner& owner, std::uint64_t inode) {
  const Fd process(static_cast<int>(::syscall(SYS_pidfd_open, owner.pid, 0)));
  if (!process) return {};
  Fd copy(static_cast<int>(::syscall(SYS_pidfd_getfd, process.get(), owner.fd, 0)));
  struct stat file {};
  // its number may stand for another file by now
  if (!copy || ::fstat(copy.get(), &file) != 0 || file.st_ino != inode) return {};
  return copy;
}

template <typename T>
std::optional<T> option(int socket, int level, int name) {
  T value{};
  socklen_t size = sizeof(value);
  if (::getsockopt(socket, level, name, &value, &size) != 0) return std::nullopt;
  return value;
}

}  // namespace

void ask_socket(const Owner& owner, std::uint64_t inode, Listener& listener) {
  const Fd socket = copy_of(owner, inode);
  if (!socket) return;
  const bool ipv6 = listener.address.find(':') != std::string::npos;
  if (const auto only = option<int>(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY); ipv6 && only)
    listener.v6only = *only != 0;
  const auto device = option<std::array<char, IF_NAMESIZE>>(socket.get(), SOL_SOCKET, SO_BINDTODEVICE);
  if (device && device->front() != '\0') listener.device = device->data();
  if (listener.max_backlog) return;
  // of a listening socket: its queue and that queue's limit (tcp_get_info())
  const auto info = option<tcp_info>(socket.get(), IPPROTO_TCP, TCP_INFO);
  if (info && info->tcpi_state == TCP_LISTEN) listener.max_backlog = info->tcpi_sacked;
}

}  // namespace pathtrace
