// SPDX-License-Identifier: GPL-2.0
// The guest's part of the differential test: plays cases, and writes down what the kernel's own
// tracing says.
//
//   player play PLAN OUTPUT LOG   plays PLAN (below) while pathtrace writes its JSON to the file OUTPUT
//   player kmsg                   the kernel's log from now on, a line a record; "LOST" where some are gone
//   player nftrace NETNS          nftables' trace records (what `nft monitor trace` prints), a line each
//   player load NETNS MODE        background UDP traffic until killed: send ADDR PORT, from a process
//
// A plan has a word and its arguments a line:
//   run FILE ARGUMENT...          a command in namespace h with FILE as its input
//   packet NETNS HEX              an IP packet: from c and s through their eth0, from h through a raw socket
//   datagram SRC SPORT DST DPORT SIZE TTL TOS   by an ordinary UDP socket of h
//   churn FILE FILE COMMAND...    COMMAND is run with each FILE in turn until `settle`
//   pause MS
//   save FILE                     the nftables ruleset of h: "family table chain handle" a rule, in order
//   marker ADDRESS PORT           connects in namespace m, and waits until pathtrace has reported that
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

extern char** environ;

namespace {

volatile std::sig_atomic_t churn_over = 0;

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "player: %s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(2);
}

void enter(const std::string& netns) {
  const int fd = ::open(("/run/netns/" + netns).c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0 || ::setns(fd, CLONE_NEWNET) != 0) die("namespace " + netns);
  ::close(fd);
}

void sleep_ms(long ms) {
  const timespec time{ms / 1000, ms % 1000 * 1'000'000};
  ::nanosleep(&time, nullptr);
}

long now_ms() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000 + time.tv_nsec / 1'000'000;
}

struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;

  Address(const std::string& text, std::uint16_t port) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
    if (::inet_pton(AF_INET, text.c_str(), &v4->sin_addr) == 1) {
      v4->sin_family = AF_INET;
      v4->sin_port = htons(port);
      size = sizeof *v4;
    } else if (::inet_pton(AF_INET6, text.c_str(), &v6->sin6_addr) == 1) {
      v6->sin6_family = AF_INET6;
      v6->sin6_port = htons(port);
      size = sizeof *v6;
    } else {
      die("address " + text);
    }
  }
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  [[nodiscard]] int family() const { return storage.ss_family; }
};

// Sends through an interface of a namespace, from the link layer up.
class Wire {
 public:
  explicit Wire(const std::string& netns) {
    enter(netns);
    fd_ = ::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd_ < 0) die("packet socket");
    index_ = static_cast<int>(::if_nametoindex("eth0"));
  }
  void send(const std::vector<std::uint8_t>& packet) const {
    sockaddr_ll to{};
    to.sll_family = AF_PACKET;
    to.sll_protocol = htons(packet[0] >> 4 == 4 ? ETHERTYPE_IP : ETHERTYPE_IPV6);
    to.sll_ifindex = index_;
    to.sll_halen = 6;
    const std::uint8_t host[] = {2, 0, 0, 0, 0, 1};  // what the host's interfaces have
    std::memcpy(to.sll_addr, host, sizeof host);
    if (::sendto(fd_, packet.data(), packet.size(), 0, reinterpret_cast<sockaddr*>(&to), sizeof to) < 0)
      std::cerr << "player: sending: " << std::strerror(errno) << '\n';
  }

 private:
  int fd_ = -1;
  int index_ = 0;
};

std::vector<std::uint8_t> from_hex(const std::string& text) {
  std::vector<std::uint8_t> bytes;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2)
    bytes.push_back(static_cast<std::uint8_t>(std::stoul(text.substr(i, 2), nullptr, 16)));
  return bytes;
}

// A command with a file as input, in the namespace we are in; its output goes to ours.
pid_t start(const std::string& input, const std::vector<std::string>& words) {
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 0, input.c_str(), O_RDONLY, 0);
  pid_t pid = 0;
  if ((errno = ::posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ)) != 0) die(words[0]);
  ::posix_spawn_file_actions_destroy(&actions);
  return pid;
}

int run(const std::string& input, const std::vector<std::string>& words) {
  const pid_t pid = start(input, words);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// netlink

class Netlink {
 public:
  Netlink() {
    fd_ = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    if (fd_ < 0) die("netlink");
    // Without a port of its own, a socket gets no multicast.
    sockaddr_nl local{};
    local.nl_family = AF_NETLINK;
    if (::bind(fd_, reinterpret_cast<sockaddr*>(&local), sizeof local) != 0) die("netlink bind");
    const int size = 64 << 20;
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
  }
  ~Netlink() { ::close(fd_); }
  Netlink(const Netlink&) = delete;
  Netlink& operator=(const Netlink&) = delete;

  void join(int group) const {
    if (::setsockopt(fd_, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) != 0) die("group");
  }
  void dump(int type) const {
    struct {
      nlmsghdr header;
      nfgenmsg body;
    } request{};
    request.header.nlmsg_len = sizeof request;
    request.header.nlmsg_type = static_cast<std::uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | type);
    request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    if (::send(fd_, &request, sizeof request, 0) < 0) die("netlink send");
  }
  // Calls `each` with type, family and attributes of every message; false at a dump's end.
  template <typename Each>
  bool receive(Each each) {
    const ssize_t got = ::recv(fd_, buffer_.data(), buffer_.size(), 0);
    if (got < 0) {
      if (errno == ENOBUFS) std::cout << "LOST" << std::endl;
      return errno == ENOBUFS || errno == EINTR;
    }
    auto left = static_cast<std::size_t>(got);
    for (auto* m = reinterpret_cast<nlmsghdr*>(buffer_.data()); NLMSG_OK(m, left); m = NLMSG_NEXT(m, left)) {
      if (m->nlmsg_type == NLMSG_DONE || m->nlmsg_type == NLMSG_ERROR) return false;
      const auto* body = static_cast<nfgenmsg*>(NLMSG_DATA(m));
      each(m->nlmsg_type & 0xff, body->nfgen_family,
           reinterpret_cast<const std::uint8_t*>(body) + sizeof *body,
           m->nlmsg_len - NLMSG_HDRLEN - sizeof *body);
    }
    return true;
  }

 private:
  int fd_ = -1;
  std::vector<char> buffer_ = std::vector<char>(1 << 20);
};

using Attributes = std::map<int, std::pair<const std::uint8_t*, std::size_t>>;

Attributes attributes(const std::uint8_t* data, std::size_t size) {
  Attributes found;
  while (size >= sizeof(nlattr)) {
    nlattr head{};
    std::memcpy(&head, data, sizeof head);
    if (head.nla_len < sizeof head || head.nla_len > size) break;
    found[head.nla_type & NLA_TYPE_MASK] = {data + sizeof head, head.nla_len - sizeof head};
    const std::size_t step = std::min<std::size_t>((head.nla_len + 3U) & ~3U, size);
    data += step;
    size -= step;
  }
  return found;
}

std::string text(const Attributes& all, int which) {
  const auto it = all.find(which);
  return it == all.end()
             ? "-"
             : std::string(reinterpret_cast<const char*>(it->second.first), it->second.second - 1);
}

// An unsigned number in network order, of whatever size.
std::uint64_t number(const Attributes& all, int which) {
  std::uint64_t value = 0;
  if (const auto it = all.find(which); it != all.end())
    for (std::size_t i = 0; i < it->second.second; ++i) value = value << 8 | it->second.first[i];
  return value;
}

std::string hex(const Attributes& all, int which) {
  const auto it = all.find(which);
  if (it == all.end()) return "-";
  std::string out;
  char byte[3];
  for (std::size_t i = 0; i < it->second.second; ++i) {
    std::snprintf(byte, sizeof byte, "%02x", it->second.first[i]);
    out += byte;
  }
  return out;
}

// id family table chain type handle verdict target policy oif header, where there is none "-" or 0
void print_trace(int family, const Attributes& all) {
  std::int32_t code = 0x7fff;
  std::string target = "-";
  if (const auto it = all.find(NFTA_TRACE_VERDICT); it != all.end()) {
    const Attributes verdict = attributes(it->second.first, it->second.second);
    code = static_cast<std::int32_t>(number(verdict, NFTA_VERDICT_CODE));
    target = text(verdict, NFTA_VERDICT_CHAIN);
  }
  std::cout << number(all, NFTA_TRACE_ID) << ' ' << family << ' ' << text(all, NFTA_TRACE_TABLE) << ' '
            << text(all, NFTA_TRACE_CHAIN) << ' ' << number(all, NFTA_TRACE_TYPE) << ' '
            << number(all, NFTA_TRACE_RULE_HANDLE) << ' ' << code << ' ' << target << ' '
            << number(all, NFTA_TRACE_POLICY) << ' ' << number(all, NFTA_TRACE_OIF) << ' '
            << hex(all, NFTA_TRACE_NETWORK_HEADER) << '\n';
}

int nftrace(const std::string& netns) {
  enter(netns);
  Netlink netlink;
  netlink.join(NFNLGRP_NFTRACE);
  std::cout << "READY" << std::endl;
  for (;;) {
    netlink.receive([](int type, int family, const std::uint8_t* data, std::size_t size) {
      if (type == NFT_MSG_TRACE) print_trace(family, attributes(data, size));
    });
    std::cout.flush();
  }
}

void save_rules(const std::string& path) {
  std::ofstream out(path);
  Netlink netlink;
  netlink.dump(NFT_MSG_GETRULE);
  while (netlink.receive([&](int, int family, const std::uint8_t* data, std::size_t size) {
    const Attributes all = attributes(data, size);
    out << family << ' ' << text(all, NFTA_RULE_TABLE) << ' ' << text(all, NFTA_RULE_CHAIN) << ' '
        << number(all, NFTA_RULE_HANDLE) << '\n';
  })) {
  }
}

// The kernel's log

int kmsg() {
  const int fd = ::open("/dev/kmsg", O_RDONLY);
  if (fd < 0) die("/dev/kmsg");
  ::lseek(fd, 0, SEEK_END);
  std::cout << "READY" << std::endl;
  char record[8192];
  for (;;) {
    const ssize_t got = ::read(fd, record, sizeof record - 1);
    if (got < 0 && errno == EPIPE) {
      std::cout << "LOST" << std::endl;
    } else if (got > 0) {
      // "level,sequence,time,flags;text", then lines of key=value
      const std::string line(record, static_cast<std::size_t>(got));
      std::cout << line.substr(0, line.find('\n')) << std::endl;
    } else if (errno != EINTR) {
      die("/dev/kmsg");
    }
  }
}

// Plays

class Play {
 public:
  Play(const std::string& output, const std::string& log)
      : client_("c"), behind_("s"), output_(output), log_(log) {
    enter("m");
    marker_netns_ = ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    enter("h");
    host_netns_ = ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    raw4_ = ::socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
    raw6_ = ::socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
    if (raw4_ < 0 || raw6_ < 0) die("raw socket");
  }

  void line(const std::string& line) {
    std::istringstream words(line);
    std::string word;
    words >> word;
    if (word == "case") {
      words >> case_;
      if (case_ % 10 == 0) std::cout << "case " << case_ << std::endl;
    } else if (word == "run") {
      command(words);
    } else if (word == "packet") {
      packet(words);
    } else if (word == "datagram") {
      datagram(words);
    } else if (word == "churn") {
      churn(words);
    } else if (word == "pause") {
      long ms = 0;
      words >> ms;
      sleep_ms(ms);
    } else if (word == "save") {
      std::string path;
      words >> path;
      save_rules(path);
    } else if (word == "marker") {
      marker(words);
    } else {
      die("plan: " + line);
    }
  }

 private:
  void command(std::istringstream& words) {
    std::string input, word;
    std::vector<std::string> argv;
    words >> input;
    while (words >> word) argv.push_back(word);
    const int status = run(input, argv);
    if (status != 0)
      log_ << "case " << case_ << ": " << argv[0] << " ended with status " << status << std::endl;
  }

  void packet(std::istringstream& words) {
    std::string netns, text;
    words >> netns >> text;
    const auto bytes = from_hex(text);
    if (netns == "c") return client_.send(bytes);
    if (netns == "s") return behind_.send(bytes);
    sockaddr_in v4{};
    sockaddr_in6 v6{};
    v4.sin_family = AF_INET;
    v6.sin6_family = AF_INET6;
    const bool is_v4 = bytes[0] >> 4 == 4;
    if (is_v4)
      std::memcpy(&v4.sin_addr, &bytes[16], 4);
    else
      std::memcpy(&v6.sin6_addr, &bytes[24], 16);
    // EPERM: a rule dropped it
    if (is_v4)
      (void)::sendto(raw4_, bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&v4), sizeof v4);
    else
      (void)::sendto(raw6_, bytes.data(), bytes.size(), 0, reinterpret_cast<sockaddr*>(&v6), sizeof v6);
  }

  static void datagram(std::istringstream& words) {
    std::string source, destination;
    std::uint16_t sport = 0, dport = 0;
    int size = 0, hops = 0, tos = 0;
    words >> source >> sport >> destination >> dport >> size >> hops >> tos;
    const Address from(source, sport), to(destination, dport);
    const int fd = ::socket(from.family(), SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const bool v4 = from.family() == AF_INET;
    const int level = v4 ? IPPROTO_IP : IPPROTO_IPV6;
    ::setsockopt(fd, level, v4 ? IP_TTL : IPV6_UNICAST_HOPS, &hops, sizeof hops);
    ::setsockopt(fd, level, v4 ? IP_TOS : IPV6_TCLASS, &tos, sizeof tos);
    if (::bind(fd, from.get(), from.size) != 0) die("bind " + source);
    const std::string payload(static_cast<std::size_t>(size), 'A');
    (void)::sendto(fd, payload.data(), payload.size(), 0, to.get(), to.size);
    ::close(fd);
  }

  void churn(std::istringstream& words) {
    std::string a, b, word;
    std::vector<std::string> argv;
    words >> a >> b;
    while (words >> word) argv.push_back(word);
    churner_ = ::fork();
    if (churner_ != 0) return;
    std::signal(SIGTERM, [](int) { churn_over = 1; });
    for (bool first = false; !churn_over; first = !first) run(first ? a : b, argv);
    std::_Exit(0);
  }

  void marker(std::istringstream& words) {
    if (churner_ != 0) {
      ::kill(churner_, SIGTERM);
      ::waitpid(churner_, nullptr, 0);
      churner_ = 0;
    }
    std::string address;
    std::uint16_t port = 0;
    words >> address >> port;
    const Address to(address, port);
    ::setns(marker_netns_, CLONE_NEWNET);
    const int fd = ::socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (::connect(fd, to.get(), to.size) == 0 || errno != ECONNREFUSED) die("marker");
    ::close(fd);
    ::setns(host_netns_, CLONE_NEWNET);
    const std::string wanted = "\"type\":\"connection\"";
    const std::string server =
        "\"server\":{\"address\":\"" + address + "\",\"port\":" + std::to_string(port) + "}";
    const long deadline = now_ms() + 20'000;
    std::string line;
    while (now_ms() < deadline) {
      while (std::getline(output_, line)) {
        if (output_.eof()) break;  // not whole yet
        at_ = output_.tellg();
        if (line.find(wanted) != std::string::npos && line.find(server) != std::string::npos) return;
      }
      output_.clear();
      output_.seekg(at_);
      sleep_ms(5);
    }
    log_ << "case " << case_ << ": pathtrace has not reported the marker within 20 s" << std::endl;
  }

  Wire client_, behind_;
  int marker_netns_ = -1, host_netns_ = -1;
  int raw4_ = -1, raw6_ = -1;
  std::ifstream output_;
  std::streampos at_ = 0;
  std::ofstream log_;
  int case_ = 0;
  pid_t churner_ = 0;
};

int play(const std::string& plan, const std::string& output, const std::string& log) {
  Play player(output, log);
  std::ifstream in(plan);
  if (!in) die(plan);
  for (std::string line; std::getline(in, line);)
    if (!line.empty()) player.line(line);
  return 0;
}

// Background traffic: bursts of datagrams, so that the other CPU or the softirq of this one is often
// inside a table.
int load(const std::string& netns, const std::string& destination, std::uint16_t port) {
  enter(netns);
  const Address to(destination, port);
  const int fd = ::socket(to.family(), SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ::connect(fd, to.get(), to.size);
  for (;;) {
    for (int i = 0; i < 20; ++i) (void)::send(fd, "background", 10, 0);
    sleep_ms(2);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  std::signal(SIGPIPE, SIG_IGN);
  if (words.size() == 4 && words[0] == "play") return play(words[1], words[2], words[3]);
  if (words.size() == 1 && words[0] == "kmsg") return kmsg();
  if (words.size() == 2 && words[0] == "nftrace") return nftrace(words[1]);
  if (words.size() == 4 && words[0] == "load")
    return load(words[1], words[2], static_cast<std::uint16_t>(std::stoul(words[3])));
  std::fputs("usage: player play PLAN OUTPUT LOG | kmsg | nftrace NETNS | load NETNS ADDRESS PORT\n", stderr);
  return 2;
}
