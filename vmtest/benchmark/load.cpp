// SPDX-License-Identifier: GPL-2.0
// What the benchmark runs in the VM. With -icount a guest nanosecond is an instruction, so what is printed as
// `name value` are instructions; of several rounds the least, as a timer or another process may fall into any
// of them. One process is both ends: nothing waits, and no scheduling is measured.
//
//   load udp PORT PACKETS ROUNDS      packet: a UDP packet of 64 bytes sent and received over loopback
//   load connect PORT COUNT ROUNDS    setup: a TCP connect() alone, SYN, SYN-ACK and ACK; cycle: with
//   accept() and both close() load stream PORT BYTES COUNT ROUNDS
//                                     packet: a packet on the wire while COUNT times BYTES go over one
//                                     established connection; packets: how many there were for each send()
//   load flood ADDRESS PORT COUNT     COUNT SYNs from as many source ports and addresses; nothing is measured
//   load start COMMAND…               starts it in a session of its own, prints pid, and attach: the time
//   until it wrote to
//                                     its file descriptor 9
//   load stop PID                     SIGINT; detach: the time until its end
//   load ring                         what is in the ring buffer `events` and not read yet: events, bytes,
//   lost load empty FUNCTION               attaches an empty fentry program to it, prints READY, waits for
//   its end load nflog GROUP                  reads packets of that nfnetlink_log group, prints READY, and
//   their number at its end
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <libmnl/libmnl.h>
#include <linux/bpf.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <map>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include "pathtrace/event.h"

namespace {

[[noreturn]] void die(const char* what) {
  std::fprintf(stderr, "load: %s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

std::int64_t now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1'000'000'000LL + time.tv_nsec;
}

// What several rounds gave, each the mean of what it repeated.
class Rounds {
 public:
  void add(double value) { values_.push_back(value); }
  void say(const char* name) const {
    const double sum = std::accumulate(values_.begin(), values_.end(), 0.0);
    std::printf("%s %.1f %.1f\n", name, *std::min_element(values_.begin(), values_.end()),
                sum / static_cast<double>(values_.size()));
  }

 private:
  std::vector<double> values_;
};

sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  return address;
}

int bound(int type, std::uint16_t port) {
  const int fd = socket(AF_INET, type, 0);
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const sockaddr_in address = loopback(port);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) die("bind");
  return fd;
}

// Bounds a receive that would otherwise wait for a packet that was dropped.
void bound_waiting(int fd) {
  const timeval bound{2, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof bound);
}

int udp(std::uint16_t port, long packets, long rounds) {
  const int receiver = bound(SOCK_DGRAM, port);
  bound_waiting(receiver);
  const int sender = socket(AF_INET, SOCK_DGRAM, 0);
  const sockaddr_in to = loopback(port);
  std::array<char, 64> data{};
  Rounds packet;
  for (long round = 0; round < rounds; ++round) {
    const std::int64_t began = now();
    for (long i = 0; i < packets; ++i) {
      if (sendto(sender, data.data(), data.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to) < 0)
        die("sendto");
      if (recv(receiver, data.data(), data.size(), 0) < 0) die("recv");
    }
    packet.add(static_cast<double>(now() - began) / static_cast<double>(packets));
  }
  packet.say("packet");
  return 0;
}

// Client and server end of one connection.
struct Connection {
  int client = -1;
  int server = -1;
  std::int64_t setup_ns = 0;

  Connection(int listener, std::uint16_t port) : client(socket(AF_INET, SOCK_STREAM, 0)) {
    const sockaddr_in to = loopback(port);
    const std::int64_t began = now();
    if (::connect(client, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) die("connect");
    setup_ns = now() - began;
    server = accept(listener, nullptr, nullptr);
    if (server < 0) die("accept");
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() {
    close(client);
    close(server);
  }
};

int listening(std::uint16_t port) {
  const int listener = bound(SOCK_STREAM, port);
  if (listen(listener, 128) != 0) die("listen");
  return listener;
}

int connect(std::uint16_t port, long count, long rounds) {
  const int listener = listening(port);
  Rounds setup;
  Rounds cycle;
  for (long round = 0; round < rounds; ++round) {
    std::int64_t in_setup = 0;
    const std::int64_t began = now();
    for (long i = 0; i < count; ++i) in_setup += Connection(listener, port).setup_ns;
    cycle.add(static_cast<double>(now() - began) / static_cast<double>(count));
    setup.add(static_cast<double>(in_setup) / static_cast<double>(count));
  }
  setup.say("setup");
  cycle.say("cycle");
  return 0;
}

double packets_of_loopback() {
  std::ifstream file("/sys/class/net/lo/statistics/rx_packets");
  double packets = 0;
  file >> packets;
  return packets;
}

void transfer(const Connection& connection, std::vector<char>& data) {
  if (send(connection.client, data.data(), data.size(), 0) != static_cast<ssize_t>(data.size())) die("send");
  if (recv(connection.server, data.data(), data.size(), MSG_WAITALL) != static_cast<ssize_t>(data.size()))
    die("recv");
}

int stream(std::uint16_t port, std::size_t bytes, long count, long rounds) {
  const Connection connection(listening(port), port);
  const int on = 1;
  setsockopt(connection.client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  bound_waiting(connection.server);
  std::vector<char> data(bytes);
  for (int i = 0; i < 200; ++i)
    transfer(connection, data);  // past the connection's start, and its windows grown
  Rounds packet;
  Rounds packets;
  for (long round = 0; round < rounds; ++round) {
    const double packets_before = packets_of_loopback();
    const std::int64_t began = now();
    for (long i = 0; i < count; ++i) transfer(connection, data);
    const auto took = static_cast<double>(now() - began);
    const double seen = packets_of_loopback() - packets_before;
    packet.add(took / seen);
    packets.add(seen / static_cast<double>(count));
  }
  packet.say("packet");
  packets.say("packets");
  return 0;
}

std::uint16_t checksum(const void* data, std::size_t size, std::uint32_t sum = 0) {
  const auto* words = static_cast<const std::uint16_t*>(data);
  for (std::size_t i = 0; i < size / 2; ++i) sum += words[i];
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

int flood(const char* destination, std::uint16_t port, std::uint32_t count) {
  const int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
  if (fd < 0) die("raw socket");
  sockaddr_in to = loopback(0);
  inet_pton(AF_INET, destination, &to.sin_addr);
  struct {
    iphdr ip;
    tcphdr tcp;
  } packet{};
  packet.ip.version = 4;
  packet.ip.ihl = 5;
  packet.ip.ttl = 64;
  packet.ip.protocol = IPPROTO_TCP;
  packet.ip.daddr = to.sin_addr.s_addr;
  packet.ip.tot_len = htons(sizeof packet);
  packet.tcp.dest = htons(port);
  packet.tcp.doff = 5;
  packet.tcp.syn = 1;
  for (std::uint32_t i = 0; i < count; ++i) {
    packet.ip.saddr = htonl(0x0a800000 + (i >> 15));  // 10.128.0.0 and on
    packet.tcp.source = htons(static_cast<std::uint16_t>(0x8000 | (i & 0x7fff)));
    packet.tcp.seq = htonl(i);
    packet.tcp.check = 0;
    packet.tcp.check = checksum(&packet.tcp, sizeof packet.tcp);
    while (sendto(fd, &packet, sizeof packet, 0, reinterpret_cast<const sockaddr*>(&to), sizeof to) < 0)
      if (errno != ENOBUFS) die("sendto");
  }
  return 0;
}

// BPF objects by name: what pathtrace made, seen from outside.

int map_named(std::string_view name, bpf_map_info& info) {
  std::uint32_t id = 0;
  while (bpf_map_get_next_id(id, &id) == 0) {
    const int fd = bpf_map_get_fd_by_id(id);
    std::uint32_t size = sizeof info;
    info = {};
    if (fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &size) == 0 && name == info.name) return fd;
    if (fd >= 0) close(fd);
  }
  errno = ENOENT;
  die(std::string(name).c_str());
}

std::uint64_t lost_events() {
  bpf_map_info info{};
  const int fd = map_named("lost_events", info);
  std::vector<std::uint64_t> values(static_cast<std::size_t>(libbpf_num_possible_cpus()));
  const std::uint32_t all = 0;
  if (bpf_map_lookup_elem(fd, &all, values.data()) != 0) die("lost_events");
  std::uint64_t sum = 0;
  for (const auto value : values) sum += value;
  return sum;
}

// Layout: BPF_MAP_TYPE_RINGBUF in the kernel's Documentation/bpf/ringbuf.rst; consumer page, producer page,
// data.
int ring() {
  bpf_map_info info{};
  const int fd = map_named("events", info);
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  void* mapped = mmap(nullptr, 2 * page + info.max_entries, PROT_READ, MAP_SHARED, fd, 0);
  if (mapped == MAP_FAILED) die("mmap of the ring buffer");
  const auto* bytes = static_cast<const char*>(mapped);
  const auto position = [](const char* at) { return *reinterpret_cast<const volatile std::uint64_t*>(at); };
  const std::uint64_t end = position(bytes + page);
  std::map<int, std::pair<std::uint64_t, std::uint64_t>> kinds;  // number and bytes
  std::uint64_t events = 0;
  std::uint64_t at = position(bytes);
  const std::uint64_t total = end - at;
  while (at < end) {
    const char* record = bytes + 2 * page + at % info.max_entries;
    const auto length =
        *reinterpret_cast<const std::uint32_t*>(record) & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
    const std::uint64_t size = (std::uint64_t{length} + BPF_RINGBUF_HDR_SZ + 7) / 8 * 8;
    auto& kind = kinds[static_cast<std::uint8_t>(record[BPF_RINGBUF_HDR_SZ + offsetof(pt_event, kind)])];
    kind.first += 1;
    kind.second += size;
    events += 1;
    at += size;
  }
  std::printf("events %lu\nbytes %lu\nlost %lu\n", events, total, lost_events());
  for (const auto& [kind, sums] : kinds) std::printf("kind_%d %lu %lu\n", kind, sums.first, sums.second);
  return 0;
}

int start(const std::vector<const char*>& command) {
  constexpr int ready_fd = 9;
  std::array<int, 2> ready{};
  if (pipe(ready.data()) != 0) die("pipe");
  const std::int64_t began = now();
  const pid_t child = fork();
  if (child < 0) die("fork");
  if (child == 0) {
    setsid();
    dup2(ready[1], ready_fd);
    close(ready[0]);
    close(ready[1]);
    freopen("/dev/null", "w", stdout);
    auto arguments = command;
    arguments.push_back(nullptr);
    execvp(arguments[0], const_cast<char* const*>(arguments.data()));
    die(arguments[0]);
  }
  close(ready[1]);
  char byte = 0;
  if (read(ready[0], &byte, 1) != 1) {
    std::fprintf(stderr, "load: %s ended before it was ready\n", command[0]);
    return 1;
  }
  const std::int64_t attach = now() - began;
  std::printf("pid %d\nattach %ld\n", child, attach);
  return 0;
}

int stop(pid_t pid) {
  const auto fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0) die("pidfd_open");
  const std::int64_t began = now();
  kill(pid, SIGINT);
  pollfd end{fd, POLLIN, 0};
  constexpr int patience_ms = 60'000;
  if (poll(&end, 1, patience_ms) != 1) die("no end after SIGINT");
  std::printf("detach %ld\n", now() - began);
  return 0;
}

volatile std::sig_atomic_t ended = 0;

void wait_for_end() {
  struct sigaction action {};  // without SA_RESTART: what waits returns
  action.sa_handler = [](int) { ended = 1; };
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGINT, &action, nullptr);
  std::puts("READY");
  std::fflush(stdout);
}

int empty(const char* function) {
  const std::array<bpf_insn, 2> instructions{{
      {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
      {.code = BPF_JMP | BPF_EXIT},
  }};
  LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = BPF_TRACE_FENTRY);
  const int type = libbpf_find_vmlinux_btf_id(function, BPF_TRACE_FENTRY);
  if (type < 0) die(function);
  options.attach_btf_id = static_cast<std::uint32_t>(type);
  const int program = bpf_prog_load(BPF_PROG_TYPE_TRACING, "empty", "GPL", instructions.data(),
                                    instructions.size(), &options);
  if (program < 0 || bpf_raw_tracepoint_open(nullptr, program) < 0) die("empty program");
  wait_for_end();
  while (ended == 0) pause();
  return 0;
}

void configure_nflog(mnl_socket* socket, std::uint8_t family, std::uint16_t group, std::uint8_t command) {
  std::array<char, 512> buffer{};
  nlmsghdr* header = mnl_nlmsg_put_header(buffer.data());
  header->nlmsg_type = (NFNL_SUBSYS_ULOG << 8) | NFULNL_MSG_CONFIG;
  header->nlmsg_flags = NLM_F_REQUEST;
  auto* message = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(header, sizeof(nfgenmsg)));
  message->nfgen_family = family;
  message->res_id = htons(group);
  const nfulnl_msg_config_cmd wanted{command};
  mnl_attr_put(header, NFULA_CFG_CMD, sizeof wanted, &wanted);
  if (command == NFULNL_CFG_CMD_BIND) {
    nfulnl_msg_config_mode mode{};
    mode.copy_mode = NFULNL_COPY_PACKET;
    mode.copy_range = htonl(128);
    mnl_attr_put(header, NFULA_CFG_MODE, sizeof mode, &mode);
  }
  if (mnl_socket_sendto(socket, header, header->nlmsg_len) < 0) die("nfnetlink_log");
}

int nflog(std::uint16_t group) {
  mnl_socket* socket = mnl_socket_open(NETLINK_NETFILTER);
  if (socket == nullptr || mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0) die("netlink");
  configure_nflog(socket, AF_INET, 0, NFULNL_CFG_CMD_PF_BIND);
  configure_nflog(socket, AF_INET, group, NFULNL_CFG_CMD_BIND);
  wait_for_end();
  std::array<char, 65536> buffer{};
  long packets = 0;
  while (ended == 0) {
    const ssize_t size = mnl_socket_recvfrom(socket, buffer.data(), buffer.size());
    if (size < 0) continue;
    auto left = static_cast<int>(size);
    const auto* header = reinterpret_cast<const nlmsghdr*>(buffer.data());
    for (; mnl_nlmsg_ok(header, left); header = mnl_nlmsg_next(header, &left)) ++packets;
  }
  std::printf("packets %ld\n", packets);
  return 0;
}

long number(const char* text) {
  char* end = nullptr;
  const long value = std::strtol(text, &end, 10);
  if (*end != '\0' || value < 0) die(text);
  return value;
}

int run(const std::vector<const char*>& arguments) {
  const std::string_view what = arguments.empty() ? "" : arguments[0];
  const std::size_t given = arguments.empty() ? 0 : arguments.size() - 1;
  const auto value = [&](std::size_t i) { return number(arguments[i]); };
  const auto port = [&](std::size_t i) { return static_cast<std::uint16_t>(value(i)); };
  if (what == "udp" && given == 3) return udp(port(1), value(2), value(3));
  if (what == "connect" && given == 3) return connect(port(1), value(2), value(3));
  if (what == "stream" && given == 4)
    return stream(port(1), static_cast<std::size_t>(value(2)), value(3), value(4));
  if (what == "flood" && given == 3)
    return flood(arguments[1], port(2), static_cast<std::uint32_t>(value(3)));
  if (what == "start" && given >= 1) return start({arguments.begin() + 1, arguments.end()});
  if (what == "stop" && given == 1) return stop(static_cast<pid_t>(value(1)));
  if (what == "ring" && given == 0) return ring();
  if (what == "empty" && given == 1) return empty(arguments[1]);
  if (what == "nflog" && given == 1) return nflog(static_cast<std::uint16_t>(value(1)));
  std::fprintf(stderr, "load: udp|connect|stream|flood|start|stop|ring|empty|nflog, see load.cpp\n");
  return 2;
}

}  // namespace

int main(int count, char** arguments) { return run({arguments + 1, arguments + count}); }
