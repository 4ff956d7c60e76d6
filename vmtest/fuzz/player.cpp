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
//   churn FILE FILE COMMAND...    what COMMAND makes of each FILE is put in the other's place again and
//                                 again, until the marker; the second FILE is in place already
//   pause MS
//   save FILE                     the nftables ruleset of h: "family table chain handle" a rule, in order
//   marker ADDRESS PORT           connects in namespace m, and waits until pathtrace has reported that
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "guest.h"
#include "legacy_table.h"

namespace {

volatile std::sig_atomic_t churn_over = 0;

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
  argv.reserve(words.size() + 1);
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 0, input.c_str(), O_RDONLY, 0);
  pid_t pid = 0;
  errno = ::posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  if (errno != 0) die(words[0]);
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
      if (++played_ % 5 == 0) std::cout << "case " << case_ << std::endl;
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
    const bool legacy = argv[0].find("legacy") != std::string::npos;
    std::vector<LegacyTable> first, second;
    if (legacy) {
      first = read_tables(argv[0][2] == 't');
      run(a, argv);
      second = read_tables(argv[0][2] == 't');
    }
    churner_ = ::fork();
    if (churner_ != 0) return;
    std::signal(SIGTERM, [](int) { churn_over = 1; });
    while (!churn_over && !legacy) {
      run(a, argv);
      run(b, argv);
    }
    while (!churn_over) {
      // Not all at once, so that a packet meets different ones; and with pauses that let pathtrace
      // read some of them in time.
      for (std::size_t i = 0; i < first.size() && i < second.size(); ++i) {
        first[i].put(second[i].entries());
        sleep_ms(std::rand() % 50);
      }
      for (std::size_t i = 0; i < first.size() && i < second.size(); ++i) {
        second[i].put(first[i].entries());
        sleep_ms(std::rand() % 50);
      }
    }
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
    const long deadline = now_ms() + 60'000;  // on a busy machine
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
    log_ << "case " << case_ << ": pathtrace has not reported the marker within 60 s" << std::endl;
  }

  Wire client_, behind_;
  int marker_netns_ = -1, host_netns_ = -1;
  int raw4_ = -1, raw6_ = -1;
  std::ifstream output_;
  std::streampos at_ = 0;
  std::ofstream log_;
  int case_ = 0, played_ = 0;
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

// Background traffic: bursts of datagrams, so that the other CPU or the softirq of this one is now and then
// inside a table. More than that keeps the emulator busy with little else.
int load(const std::string& netns, const std::string& destination, std::uint16_t port) {
  enter(netns);
  const Address to(destination, port);
  const int fd = ::socket(to.family(), SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (::connect(fd, to.get(), to.size) != 0) die("connect");
  for (;;) {
    for (int i = 0; i < 8; ++i) (void)::send(fd, "background", 10, 0);
    sleep_ms(30);
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
