// SPDX-License-Identifier: GPL-2.0
// Network namespaces. The kernel names one by the inode of its nsfs file; there is no lookup
// by inode, so one is found by looking at every file that refers to a namespace: the
// caller's own, the named ones, every process's.
#include "kernel/netns.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <exception>
#include <fstream>
#include <map>
#include <mutex>
#include <string_view>
#include <system_error>
#include <thread>
#include <unordered_map>
#include <unordered_set>

namespace pathtrace {
namespace {

constexpr auto kNamedDirectories = std::to_array<const char*>({"/run/netns", "/run/docker/netns"});
constexpr std::string_view kNamedByUsers = "/run/netns/";

std::vector<std::string> directory_entries(const std::string& path) {
  std::vector<std::string> names;
  DIR* directory = ::opendir(path.c_str());
  if (directory == nullptr) return names;
  while (const dirent* entry = ::readdir(directory)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  ::closedir(directory);
  std::sort(names.begin(), names.end());
  return names;
}

bool is_number(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
}

// The device that files of namespaces are on; nullopt without /proc.
std::optional<dev_t> nsfs_device() {
  struct stat own {};
  if (::stat("/proc/self/ns/net", &own) != 0) return std::nullopt;
  return own.st_dev;
}

// The inode of the namespace `path` refers to without opening it; 0 if it refers to none.
// A name in /run/netns whose mount is gone is an ordinary empty file on the directory's own
// device, hence the comparison.
std::uint32_t netns_inode(const std::string& path) {
  static const std::optional<dev_t> device = nsfs_device();
  struct stat file {};
  if (!device || ::stat(path.c_str(), &file) != 0) return 0;
  return file.st_dev == *device ? static_cast<std::uint32_t>(file.st_ino) : 0;
}

// "/proc/PID" of each.
std::vector<std::string> process_directories() {
  std::vector<std::string> paths;
  for (const std::string& name : directory_entries("/proc"))
    if (is_number(name)) paths.push_back("/proc/" + name);
  return paths;
}

// The caller's own namespace, and those that are mounted somewhere.
std::vector<std::string> mounted_paths() {
  std::vector<std::string> paths = {"/proc/self/ns/net"};
  for (const char* directory : kNamedDirectories)
    for (const std::string& name : directory_entries(directory))
      paths.push_back(std::string(directory) + "/" + name);
  return paths;
}

Fd open_if(const std::string& path, std::uint32_t inode) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat file {};
  // The path may have come to mean another namespace since it was listed.
  if (!fd || ::fstat(fd.get(), &file) != 0 || file.st_ino != inode) return {};
  return fd;
}

// Where each namespace was found last, so that the next look-up need not read all of /proc.
// A hint only: open_if() checks it.
std::optional<std::string> remembered_path(std::uint32_t inode, std::optional<std::string> found = {}) {
  static std::mutex mutex;
  static std::map<std::uint32_t, std::string> paths;
  const std::lock_guard lock(mutex);
  if (found) paths[inode] = *found;
  const auto it = paths.find(inode);
  return it == paths.end() ? std::nullopt : std::optional(it->second);
}

std::optional<std::string> name_in_run(std::uint32_t inode) {
  for (const std::string& name : directory_entries("/run/netns"))
    if (netns_inode("/run/netns/" + name) == inode) return name;
  return std::nullopt;
}

// The id of a container from the control group of one of its processes: a run of 64 hex
// digits (Docker, containerd, CRI-O, podman); short form as the tools print it.
std::optional<std::string> container_id(const std::string& process_directory) {
  std::ifstream file(process_directory + "/cgroup");
  std::string line;
  while (std::getline(file, line)) {
    std::size_t run = 0;
    for (std::size_t i = 0; i < line.size(); ++i) {
      run = std::isxdigit(static_cast<unsigned char>(line[i])) != 0 ? run + 1 : 0;
      if (run == 64) return line.substr(i - 63, 12);
    }
  }
  return std::nullopt;
}

std::optional<std::string> container_of(const std::string& process_directory) {
  const auto id = container_id(process_directory);
  return id ? std::optional("container:" + *id) : std::nullopt;
}

std::optional<std::string> container_name(std::uint32_t inode) {
  for (const std::string& process : process_directories())
    if (netns_inode(process + "/ns/net") == inode) return container_of(process);
  return std::nullopt;
}

Error no_namespace(const std::string& arg, const std::string& why) {
  return {ExitStatus::no_such_namespace,
          "network namespace '" + arg + "': " + why +
              "; `ip netns` lists the named ones, a pid or a path works too",
          {}};
}

std::string netns_path(const std::string& arg) {
  if (arg == "self") return "/proc/self/ns/net";
  if (arg.find('/') != std::string::npos) return arg;
  for (const char* directory : kNamedDirectories) {
    std::string path = std::string(directory) + "/" + arg;
    if (netns_inode(path) != 0) return path;
  }
  return is_number(arg) ? "/proc/" + arg + "/ns/net" : "/run/netns/" + arg;
}

}  // namespace

std::uint32_t own_netns() { return netns_inode("/proc/thread-self/ns/net"); }

std::optional<std::string> netns_name(std::uint32_t inode) {
  if (auto name = name_in_run(inode)) return name;
  // The first namespace of the machine is nobody's container, whatever runs in it.
  if (inode == netns_inode("/proc/1/ns/net")) return std::nullopt;
  return container_name(inode);
}

// Each process is looked at once, however many namespaces there are.
std::vector<Netns> all_netns() {
  std::vector<Netns> found;
  std::unordered_map<std::uint32_t, std::size_t> places;
  const auto place = [&](const std::string& path) {
    const std::uint32_t inode = netns_inode(path);
    const auto [known, is_new] = places.emplace(inode, found.size());
    if (is_new && inode != 0) {
      remembered_path(inode, path);
      found.push_back({inode, std::nullopt});
    }
    return inode == 0 ? nullptr : &found[known->second];
  };
  for (const std::string& path : mounted_paths()) {
    Netns* netns = place(path);
    if (netns != nullptr && !netns->name && path.starts_with(kNamedByUsers))
      netns->name = path.substr(kNamedByUsers.size());
  }
  // A named one is no container, whatever runs in it, and the first namespace of the machine neither.
  const std::uint32_t first = netns_inode("/proc/1/ns/net");
  std::unordered_set<std::uint32_t> asked;
  for (const std::string& process : process_directories()) {
    Netns* netns = place(process + "/ns/net");
    if (netns == nullptr || netns->name || netns->inode == first || !asked.insert(netns->inode).second)
      continue;
    netns->name = container_of(process);
  }
  return found;
}

Result<Netns> find_netns(const std::string& arg) {
  const std::string path = netns_path(arg);
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd && errno == EACCES)
    return Error{ExitStatus::no_permission,
                 "network namespace '" + arg + "': " + std::strerror(errno) + "; run as root",
                 {}};
  if (!fd) return no_namespace(arg, std::strerror(errno));
  if (::ioctl(fd.get(), NS_GET_NSTYPE) != CLONE_NEWNET) return no_namespace(arg, "not a network namespace");
  struct stat file {};
  if (::fstat(fd.get(), &file) != 0) return no_namespace(arg, std::strerror(errno));
  const auto inode = static_cast<std::uint32_t>(file.st_ino);
  remembered_path(inode, path);
  return Netns{inode, netns_name(inode)};
}

Fd open_netns(std::uint32_t inode) {
  if (const auto path = remembered_path(inode))
    if (Fd fd = open_if(*path, inode)) return fd;
  std::vector<std::string> paths = mounted_paths();
  for (const std::string& process : process_directories()) paths.push_back(process + "/ns/net");
  for (const std::string& path : paths) {
    if (netns_inode(path) != inode) continue;
    if (Fd fd = open_if(path, inode)) {
      remembered_path(inode, path);
      return fd;
    }
  }
  return {};
}

bool in_netns(std::uint32_t inode, const std::function<void()>& work) {
  Fd fd;
  // One's own needs no privilege and no setns().
  const bool own = inode == own_netns();
  if (!own) {
    fd = open_netns(inode);
    if (!fd) return false;
  }
  bool entered = false;
  std::exception_ptr thrown;
  try {
    std::thread([&] {
      entered = own || ::setns(fd.get(), CLONE_NEWNET) == 0;
      fd.reset();
      if (!entered) return;
      try {
        work();
      } catch (...) {
        thrown = std::current_exception();
      }
    }).join();
  } catch (const std::system_error&) {
    return false;
  }
  if (thrown) std::rethrow_exception(thrown);
  return entered;
}

}  // namespace pathtrace
