// SPDX-License-Identifier: GPL-2.0
// The traffic of the VM tests: a listener that echoes, and a client that says what connect() said.
//
//   traffic listen ADDR PORT [--udp] [--backlog N] [--no-accept] [--v6only] [--then unread|abort|hang]
//                  [--md5 PEER] [--name NAME] [--background]
//       Prints READY when it listens; with --background it returns at that moment and a child serves on.
//       A TCP connection is read to its end, echoed, and closed in order; --then: it is closed once there is
//       data, unread; aborted once there is data (SO_LINGER 0); or left alone.
//       --no-accept leaves connections in the accept queue. --md5 wants segments of PEER signed (RFC 2385).
//       --name is what the process is called.
//   traffic connect ADDR PORT [--udp] [--source ADDR[,PORT]] [--timeout MS] [--send N] [--linger0]
//                   [--count N] [--flood N] [--hold NAME] [--user-timeout MS] [--keepalive] [--stay MS]
//                   [--parallel] [--who]
//       Prints a line a connection: `ok`, or the name of the errno (ECONNREFUSED, …); ETIMEDOUT also
//       when our own bound is hit. --send N sends N bytes, ends the sending side and reads to the end.
//       --linger0 closes with an RST. --flood N sends N datagrams as fast as it can and waits for no answer.
//       --hold NAME makes the file NAME.open once it is connected, and sends when there is a file NAME.go.
//       --stay MS waits that long for what the peer says unasked. --parallel begins all of --count before it
//       waits for the first. --user-timeout sets TCP_USER_TIMEOUT; --keepalive probes after a
//       second of silence, once. --who adds the client's end to each line:
//       ok@10.1.0.2,51514
//   traffic remote DEVICE
//       Makes the TUN device and is the hosts behind it, in the background; see remote.h.
//   traffic unignore COMMAND…
//       Runs the command with SIGINT and SIGQUIT as they were: a shell's background jobs ignore both.
//
// Exit status: 0, or 2 when the traffic could not even be tried.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/tcp.h>  // not netinet/tcp.h: tcp_md5sig
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "remote.h"

namespace {

struct Options {
  std::string address;
  std::uint16_t port = 0;
  std::string source;
  std::uint16_t source_port = 0;
  std::string then;
  std::string md5;
  std::string name;
  std::string hold;
  int user_timeout_ms = 0;
  int stay_ms = 0;
  int backlog = 128;
  int timeout_ms = 5000;
  int count = 1;
  long send = 0;
  long flood = 0;
  bool udp = false;
  bool accept = true;
  bool v6only = false;
  bool background = false;
  bool linger0 = false;
  bool who = false;
  bool parallel = false;
  bool keepalive = false;
};

[[noreturn]] void die(const std::string& what) {
  std::fprintf(stderr, "traffic: %s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(2);
}

[[noreturn]] void usage(const std::string& wrong) {
  std::fprintf(stderr, "traffic: %s (usage: traffic listen|connect ADDR PORT [options])\n", wrong.c_str());
  std::exit(2);
}

struct Endpoint {
  sockaddr_storage storage{};
  socklen_t size = 0;

  Endpoint(const std::string& address, std::uint16_t port) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
    if (inet_pton(AF_INET, address.c_str(), &v4->sin_addr) == 1) {
      v4->sin_family = AF_INET;
      v4->sin_port = htons(port);
      size = sizeof *v4;
    } else if (inet_pton(AF_INET6, address.c_str(), &v6->sin6_addr) == 1) {
      v6->sin6_family = AF_INET6;
      v6->sin6_port = htons(port);
      size = sizeof *v6;
    } else {
      usage("no address: " + address);
    }
  }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  int family() const { return storage.ss_family; }
};

int open_socket(const Endpoint& endpoint, const Options& options) {
  int fd = socket(endpoint.family(), (options.udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
  if (fd < 0) die("socket");
  int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  return fd;
}

// What the peer experienced, in the words of errno(3).
std::string errno_name(int error) {
  const char* name = strerrorname_np(error);
  return name ? name : std::to_string(error);
}

// listen

void echo_stream(int fd) {
  std::string received;
  char buffer[65536];
  ssize_t size = 0;
  while ((size = read(fd, buffer, sizeof buffer)) > 0)
    received.append(buffer, static_cast<std::size_t>(size));
  for (std::size_t sent = 0; sent < received.size();) {
    size = write(fd, received.data() + sent, received.size() - sent);
    if (size <= 0) break;
    sent += static_cast<std::size_t>(size);
  }
  close(fd);
}

void echo_datagrams(int fd) {
  char buffer[65536];
  for (;;) {
    sockaddr_storage peer{};
    socklen_t peer_size = sizeof peer;
    ssize_t size = recvfrom(fd, buffer, sizeof buffer, 0, reinterpret_cast<sockaddr*>(&peer), &peer_size);
    if (size >= 0)
      sendto(fd, buffer, static_cast<std::size_t>(size), 0, reinterpret_cast<sockaddr*>(&peer), peer_size);
  }
}

// Waits until the socket is ready; false if the bound is hit first.
bool ready(int fd, short events, int timeout_ms) {
  pollfd waiting{fd, events, 0};
  int count = 0;
  do count = poll(&waiting, 1, timeout_ms);
  while (count < 0 && errno == EINTR);
  return count > 0;
}

void close_by_rst(int fd) {
  linger abort{1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
  close(fd);
}

void serve_stream(int fd, const Options& options) {
  if (options.then.empty()) {
    echo_stream(fd);
    return;
  }
  if (options.then == "hang") return;
  ready(fd, POLLIN, -1);
  if (options.then == "unread") {
    close(fd);
    return;
  }
  char buffer[65536];
  while (read(fd, buffer, sizeof buffer) == sizeof buffer) {
  }
  close_by_rst(fd);
}

void want_md5(int fd, const Options& options) {
  const Endpoint peer(options.md5, 0);
  tcp_md5sig wanted{};
  std::memcpy(&wanted.tcpm_addr, &peer.storage, peer.size);
  wanted.tcpm_keylen = 6;
  std::memcpy(wanted.tcpm_key, "secret", 6);
  if (setsockopt(fd, IPPROTO_TCP, TCP_MD5SIG, &wanted, sizeof wanted) < 0) die("TCP_MD5SIG");
}

int serve(const Options& options) {
  Endpoint endpoint(options.address, options.port);
  int fd = open_socket(endpoint, options);
  if (endpoint.family() == AF_INET6) {
    int only = options.v6only;
    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof only);
  }
  if (!options.md5.empty()) want_md5(fd, options);
  if (!options.name.empty()) prctl(PR_SET_NAME, options.name.c_str());
  if (bind(fd, endpoint.get(), endpoint.size) < 0) die("bind " + options.address);
  if (!options.udp && listen(fd, options.backlog) < 0) die("listen");
  std::signal(SIGPIPE, SIG_IGN);
  if (options.background) {
    pid_t child = fork();
    if (child < 0) die("fork");
    if (child > 0) return 0;
    setsid();
  } else {
    std::puts("READY");
    std::fflush(stdout);
  }
  if (options.udp) echo_datagrams(fd);
  while (options.accept) {
    int connection = accept4(fd, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection >= 0) serve_stream(connection, options);
  }
  for (;;) pause();
}

// connect

// Until somebody who saw NAME.open makes NAME.go.
void hold(const std::string& name) {
  close(open((name + ".open").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  while (access((name + ".go").c_str(), F_OK) != 0) usleep(10'000);
}

// "@ADDRESS,PORT", or nothing where there is no port.
std::string own_end(int fd) {
  sockaddr_storage own{};
  socklen_t size = sizeof own;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&own), &size) < 0) return "";
  const bool is_v4 = own.ss_family == AF_INET;
  const auto* v4 = reinterpret_cast<const sockaddr_in*>(&own);
  const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&own);
  char text[INET6_ADDRSTRLEN] = "";
  inet_ntop(own.ss_family, is_v4 ? static_cast<const void*>(&v4->sin_addr) : &v6->sin6_addr, text,
            sizeof text);
  return "@" + std::string(text) + "," + std::to_string(ntohs(is_v4 ? v4->sin_port : v6->sin6_port));
}

int pending_error(int fd) {
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  return error;
}

// Sends, and reads until the peer closes (stream) or answers (datagram). Returns 0 or an errno.
int exchange(int fd, const Options& options) {
  std::string data(static_cast<std::size_t>(options.send), 'x');
  for (std::size_t sent = 0; sent < data.size();) {
    ssize_t size = send(fd, data.data() + sent, data.size() - sent, MSG_NOSIGNAL);
    if (size < 0 && errno == EAGAIN && ready(fd, POLLOUT, options.timeout_ms)) continue;
    if (size < 0) return errno == EAGAIN ? ETIMEDOUT : errno;
    sent += static_cast<std::size_t>(size);
  }
  if (!options.udp && !options.linger0) shutdown(fd, SHUT_WR);
  for (;;) {
    char buffer[65536];
    if (options.linger0) return 0;
    if (!ready(fd, POLLIN, options.timeout_ms)) return ETIMEDOUT;
    ssize_t size = recv(fd, buffer, sizeof buffer, 0);
    if (size < 0) return errno;
    if (size == 0 || options.udp) return 0;
  }
}

// Errors that ICMP brings back are no reason to stop.
void flood(int fd, const Options& options) {
  for (long number = 0; number < options.flood; ++number) {
    const char datagram = 'x';
    if (send(fd, &datagram, 1, MSG_NOSIGNAL) < 0 && errno == EAGAIN) ready(fd, POLLOUT, options.timeout_ms);
  }
}

using Clock = std::chrono::steady_clock;

struct Attempt {
  int fd = -1;
  Clock::time_point begun = Clock::now();
  int error = 0;
  std::string end;  // the socket's own
};

void probe_when_silent(int fd) {
  const int one = 1;
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
  for (const int seconds_or_count : {TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT})
    setsockopt(fd, IPPROTO_TCP, seconds_or_count, &one, sizeof one);
}

Attempt begin(const Options& options) {
  Endpoint endpoint(options.address, options.port);
  Attempt attempt;
  attempt.fd = open_socket(endpoint, options);
  if (!options.source.empty()) {
    Endpoint source(options.source, options.source_port);
    if (bind(attempt.fd, source.get(), source.size) < 0) die("bind " + options.source);
  }
  if (options.user_timeout_ms > 0)
    setsockopt(attempt.fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &options.user_timeout_ms,
               sizeof options.user_timeout_ms);
  if (options.keepalive) probe_when_silent(attempt.fd);
  // Blocking sockets would retry a SYN for two minutes: connect in the background, and bound the wait.
  int on = 1;
  ioctl(attempt.fd, FIONBIO, &on);
  if (connect(attempt.fd, endpoint.get(), endpoint.size) < 0) attempt.error = errno;
  attempt.end = own_end(attempt.fd);
  return attempt;
}

int ms_left(const Attempt& attempt, int of_ms) {
  const auto passed = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - attempt.begun);
  return std::max(0, of_ms - static_cast<int>(passed.count()));
}

// What the peer says unasked: 0 if that is nothing, or its end.
int stay(int fd, int ms) {
  char buffer[65536];
  return ready(fd, POLLIN, ms) && recv(fd, buffer, sizeof buffer, 0) < 0 ? errno : 0;
}

// 0 or an errno.
int finish(const Attempt& attempt, const Options& options) {
  const int fd = attempt.fd;
  int error = attempt.error;
  if (error == EINPROGRESS)
    error = ready(fd, POLLOUT, ms_left(attempt, options.timeout_ms)) ? pending_error(fd) : ETIMEDOUT;
  if (error == 0 && !options.hold.empty()) hold(options.hold);
  if (error == 0 && options.flood > 0)
    flood(fd, options);
  else if (error == 0 && (options.send > 0 || options.udp))
    error = exchange(fd, options);
  if (error == 0 && options.stay_ms > 0) error = stay(fd, ms_left(attempt, options.stay_ms));
  if (options.linger0)
    close_by_rst(fd);
  else
    close(fd);
  return error;
}

void say(const Attempt& attempt, int error, const Options& options) {
  std::puts(((error == 0 ? "ok" : errno_name(error)) + (options.who ? attempt.end : "")).c_str());
  std::fflush(stdout);
}

int connect_all(const Options& options) {
  std::vector<Attempt> begun;
  for (int number = 0; number < options.count; ++number) {
    begun.push_back(begin(options));
    if (!options.parallel) say(begun.back(), finish(begun.back(), options), options);
  }
  if (options.parallel)
    for (const Attempt& attempt : begun) say(attempt, finish(attempt, options), options);
  return 0;
}

// Options

long number(std::string_view name, const char* text) {
  char* end = nullptr;
  long value = text ? std::strtol(text, &end, 10) : -1;
  if (value < 0 || *end != '\0') usage(std::string(name) + " wants a number");
  return value;
}

Options parse(char** argument) {
  Options options;
  if (!argument[0] || !argument[1]) usage("ADDR and PORT are needed");
  options.address = argument[0];
  options.port = static_cast<std::uint16_t>(number("PORT", argument[1]));
  for (argument += 2; *argument; ++argument) {
    std::string_view name = *argument;
    auto value = [&] { return number(name, *++argument); };
    if (name == "--udp")
      options.udp = true;
    else if (name == "--no-accept")
      options.accept = false;
    else if (name == "--v6only")
      options.v6only = true;
    else if (name == "--background")
      options.background = true;
    else if (name == "--linger0")
      options.linger0 = true;
    else if (name == "--keepalive")
      options.keepalive = true;
    else if (name == "--parallel")
      options.parallel = true;
    else if (name == "--stay")
      options.stay_ms = static_cast<int>(value());
    else if (name == "--who")
      options.who = true;
    else if (name == "--then" && argument[1])
      options.then = *++argument;
    else if (name == "--md5" && argument[1])
      options.md5 = *++argument;
    else if (name == "--name" && argument[1])
      options.name = *++argument;
    else if (name == "--hold" && argument[1])
      options.hold = *++argument;
    else if (name == "--user-timeout")
      options.user_timeout_ms = static_cast<int>(value());
    else if (name == "--backlog")
      options.backlog = static_cast<int>(value());
    else if (name == "--timeout")
      options.timeout_ms = static_cast<int>(value());
    else if (name == "--count")
      options.count = static_cast<int>(value());
    else if (name == "--send")
      options.send = value();
    else if (name == "--flood")
      options.flood = value();
    else if (name == "--source" && argument[1]) {
      options.source = *++argument;
      if (auto comma = options.source.find(','); comma != std::string::npos) {
        options.source_port =
            static_cast<std::uint16_t>(number("source port", options.source.c_str() + comma + 1));
        options.source.resize(comma);
      }
    } else
      usage("unknown option " + std::string(name));
  }
  return options;
}

int be_remote_host(const char* device) {
  const int tun = open_tun(device);
  if (tun < 0) die(device);
  const pid_t child = fork();
  if (child < 0) die("fork");
  if (child > 0) return 0;
  setsid();
  be_remote(tun);
}

int unignore(char** command) {
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGQUIT, SIG_DFL);
  execvp(command[0], command);
  die(command[0]);
}

}  // namespace

int main(int argc, char** argv) {
  std::string_view verb = argc > 2 ? argv[1] : "";
  if (verb == "listen") return serve(parse(argv + 2));
  if (verb == "connect") return connect_all(parse(argv + 2));
  if (verb == "remote") return be_remote_host(argv[2]);
  if (verb == "unignore") return unignore(argv + 2);
  usage("what to do?");
}
