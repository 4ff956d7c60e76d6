# SPDX-License-Identifier: GPL-2.0
"""The root of the test VM, as cpio parts that the kernel unpacks one after the other:

  base      the tools: dash, busybox, iproute2, iptables, nftables, ipset, conntrack, bpftool, with their libraries
  modules   those of this kernel that networking tests need, unpacked, with their dependencies
  tested    what is under test and the scripts that test it

Parts are cached by what goes into them; only the last changes from run to run.
"""

import fcntl
import hashlib
import lzma
import os
import re
import shutil
import subprocess
from pathlib import Path

from cpio import USR_LINKS, Archive
from kernels import Kernel

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent / "build" / "vmtest"

XTABLES_PLUGINS = "/usr/lib/x86_64-linux-gnu/xtables"
TOOLS = """
/usr/bin/dash /usr/bin/busybox /usr/bin/kmod /usr/bin/tar /usr/bin/setpriv
/usr/bin/ss /usr/bin/ip /usr/sbin/tc /usr/sbin/bridge /usr/sbin/sysctl
/usr/sbin/nft /usr/sbin/ipset /usr/sbin/conntrack /usr/sbin/bpftool
/usr/sbin/xtables-legacy-multi /usr/sbin/xtables-nft-multi /usr/sbin/arptables-legacy /usr/sbin/ebtables-legacy
""".split()
# What LANG=C.UTF-8 of guest/init needs.
LOCALE = Path("/usr/lib/locale/C.utf8/LC_CTYPE")
KMOD_NAMES = ("modprobe", "insmod", "rmmod", "lsmod", "modinfo", "depmod")

# Applets that the real tools stand for; busybox would also prefer its own `ip` and `nc` inside its own shell, so that is left out too.
NOT_APPLETS = {"ip", "nc", "sh", "ash", "tar", "setpriv", "sysctl", "tc", "ss", "busybox", "init", "linuxrc", "dpkg", "dpkg-deb", "rpm", *KMOD_NAMES}

# Kernel modules, as patterns of paths below kernel/. What they depend on comes along.
MODULES = [
    r"net/(ipv4/|ipv6/|bridge/|)netfilter/.*",
    r"net/(bridge|ipv4|ipv6|sched|8021q|packet|unix|netlink|llc|802)/.*",
    r"net/(xfrm|core|psample|ife)/.*",
    r"drivers/net/(veth|dummy|ifb|tun|tap|vrf|nlmon|macvlan|virtio_net)\.ko",
    r"drivers/net/(ipvlan|vxlan|geneve|bonding)/.*",
    r"drivers/virtio/virtio(_ring|_pci|_pci_legacy_dev|_pci_modern_dev)?\.ko",
    r"drivers/block/virtio_blk\.ko",
    r"(arch/x86/)?crypto/crc32c.*",
    r"lib/(libcrc32c|crc-ccitt|ts_.*)\.ko",
]

# Names that tools look up; Debian keeps them in netbase, which a build machine need not have.
ETC = {
    "passwd": "root:x:0:0:root:/root:/bin/dash\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    "group": "root:x:0:\nnogroup:x:65534:\n",
    "protocols": "ip 0 IP\nicmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\nipv6-icmp 58 IPv6-ICMP\nsctp 132 SCTP\n",
    "ethertypes": "IPv4 0800 ip ip4\nARP 0806 ether-arp\nIPv6 86DD ip6\n802_1Q 8100\n",
    "hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\nprotocols: files\nservices: files\n",
}


class InitramfsError(Exception):
    pass


def build(kernel: Kernel, tested: Archive, initrd: Path) -> None:
    parts = BUILD / "parts"
    parts.mkdir(parents=True, exist_ok=True)
    with open(parts / "lock", "w") as lock, open(initrd, "wb") as file:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several runs may share the folder
        for part in (base_part(parts), modules_part(parts, kernel)):
            file.write(part.read_bytes())
        tested.write(file)


# Base


def base_part(parts: Path) -> Path:
    missing = [str(path) for path in (*TOOLS, LOCALE) if not os.path.exists(path)]
    if missing:
        raise InitramfsError(f"not installed: {' '.join(missing)} (vmtest/install installs what is needed)")
    plugins = sorted(Path(XTABLES_PLUGINS).glob("*.so"))
    inputs = [Path(tool) for tool in TOOLS] + plugins + [LOCALE]
    path = parts / f"base-{key(inputs)}.cpio"
    if path.exists():
        return path
    root = Archive()
    for name in USR_LINKS:
        root.directory(f"usr/{name}")
        root.link(name, f"usr/{name}")
    for name in ("proc", "sys", "dev", "run", "tmp", "root", "artifacts", "etc/iproute2", "var/lib", "var/log"):
        root.directory(name)
    root.link("var/run", "/run")
    root.device("dev/console", 5, 1)
    for name, text in ETC.items():
        root.file(f"etc/{name}", text.encode())
    for source in Path("/etc/iproute2").glob("*"):
        if source.is_file():
            root.copy(source, f"etc/iproute2/{source.name}")
    applets = subprocess.run(["/usr/bin/busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
    for applet in applets:
        if applet not in NOT_APPLETS:
            root.link(f"usr/bin/{applet}", "busybox")
    root.link("usr/bin/sh", "dash")
    for tool in TOOLS:
        program(root, Path(tool), tool)
    root.copy(LOCALE, str(LOCALE))
    root.link("usr/sbin/ip", "../bin/ip")
    for name in KMOD_NAMES:
        root.link(f"usr/sbin/{name}", "../bin/kmod")
    for tool in ("iptables", "ip6tables"):
        for backend, target in (("legacy", "xtables-legacy-multi"), ("nft", "xtables-nft-multi")):
            for suffix in ("", "-save", "-restore"):
                root.link(f"usr/sbin/{tool}-{backend}{suffix}", target)
    for tool in ("arptables", "ebtables"):
        for suffix in ("", "-save", "-restore"):
            root.link(f"usr/sbin/{tool}-nft{suffix}", "xtables-nft-multi")
    for plugin in plugins:
        program(root, plugin, str(plugin))
    discard_old(parts, "base")
    root.save(path)
    return path


def program(root: Archive, source: Path, path: str) -> None:
    """A file and, if it is linked dynamically, the libraries it needs."""
    root.copy(source, path)
    with open(source, "rb") as file:
        if file.read(4) != b"\x7fELF":
            return
    listed = subprocess.run(["ldd", source], capture_output=True, text=True)
    if "not found" in listed.stdout:
        raise InitramfsError(f"{source} needs a library that isn't here:\n{listed.stdout}")
    for library in re.findall(r"(/\S+) \(0x", listed.stdout):
        folder = os.path.realpath(os.path.dirname(library))
        root.copy(Path(library), f"{folder}/{os.path.basename(library)}")
        if "ld-linux" in library:
            root.copy(Path(library), library)


# Modules


def modules_part(parts: Path, kernel: Kernel) -> Path:
    path = parts / f"modules-{kernel.release}_{kernel.version}-{key([])}.cpio"
    if path.exists():
        return path
    work = parts / f"modules-{kernel.release}.work"
    target = work / "lib" / "modules" / kernel.release
    shutil.rmtree(work, ignore_errors=True)
    target.mkdir(parents=True)
    depmod(kernel.root, kernel.release)
    for relative in wanted_modules(kernel):
        name = re.sub(r"\.(xz|zst)$", "", relative)
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(decompressed(kernel.modules / relative))
    for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        if (kernel.modules / name).exists():
            shutil.copy(kernel.modules / name, target)
    depmod(work, kernel.release)
    root = Archive()
    for source in sorted(target.rglob("*")):
        if source.is_file():
            root.copy(source, str(source.relative_to(work)))
    discard_old(parts, f"modules-{kernel.release}_")
    root.save(path)
    shutil.rmtree(work)
    return path


def wanted_modules(kernel: Kernel) -> list[str]:
    depends = {}
    for line in (kernel.modules / "modules.dep").read_text().splitlines():
        name, _, rest = line.partition(":")
        depends[name] = rest.split()
    pattern = re.compile("|".join(f"kernel/(?:{each})" for each in MODULES))
    wanted = set()
    for name, needed in depends.items():
        if pattern.fullmatch(re.sub(r"\.(xz|zst)$", "", name)):
            wanted.add(name)
            wanted.update(needed)  # modules.dep lists the whole closure
    if not wanted:
        raise InitramfsError(f"no modules found in {kernel.modules}")
    return sorted(wanted)


def decompressed(path: Path) -> bytes:
    if path.suffix == ".xz":
        return lzma.decompress(path.read_bytes())
    if path.suffix == ".zst":
        return subprocess.run(["zstd", "-dcq", path], capture_output=True, check=True).stdout
    return path.read_bytes()


def depmod(root: Path, release: str) -> None:
    subprocess.run(["/sbin/depmod", "-b", root, release], check=True, capture_output=True)


# Tested


def tested_part(programs: dict[str, Path], files: dict[str, bytes]) -> Archive:
    """`programs` by their path in the guest come with their libraries; the scripts of guest/ are always there."""
    root = Archive()
    for source in sorted((HERE / "guest").iterdir()):
        root.file("init" if source.name == "init" else f"test/{source.name}", source.read_bytes(), 0o755)
    for path, source in programs.items():
        program(root, source, path)
    for path, data in files.items():
        root.file(path, data, 0o755)
    return root


# Cache


def key(inputs: list[Path]) -> str:
    digest = hashlib.sha256()
    for source in (HERE / "initramfs.py", HERE / "cpio.py"):
        digest.update(source.read_bytes())
    for path in inputs:
        status = os.stat(path)
        digest.update(f"{path} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:12]


def discard_old(parts: Path, prefix: str) -> None:
    for old in parts.glob(f"{prefix}*.cpio"):
        old.unlink()
