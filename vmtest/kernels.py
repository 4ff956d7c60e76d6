#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Which kernels are tested, and where they come from: Debian's own packages, unpacked into a cache.

  python3 vmtest/kernels.py                 list the table
  python3 vmtest/kernels.py 6.1 [latest…]   fetch if need be, print the paths
  python3 vmtest/kernels.py --update 6.1    ask the mirror again, even if it was asked today

The machine's apt is left alone: a configuration of our own names other suites, with its own lists, at the mirror the machine uses.
Point releases rotate out of the archive, so the newest of a series is taken and every .deb is kept. Without a network the
newest cached build serves. The cache is $PATHTRACE_KERNEL_CACHE, or ~/.cache/pathtrace/kernels.
"""

import dataclasses
import fcntl
import functools
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
DEFAULT_MIRRORS = {"main": "http://deb.debian.org/debian", "security": "http://deb.debian.org/debian-security"}
ARCHIVE = "http://archive.debian.org/debian"  # where suites go when the mirrors drop them
ASK_AGAIN_AFTER = 24 * 3600  # seconds; the mirror is asked once a day for a newer build


@dataclasses.dataclass(frozen=True)
class Row:
    """One tested kernel: the newest package `linux-image-RELEASE` whose RELEASE matches `release`, in these suites."""

    suites: tuple[str, ...]
    release: str
    packages: tuple[str, ...] = ("linux-image-{}",)
    why: str = ""


# From 7.x on the image is a metapackage, and the files are in two others.
SPLIT = ("linux-binary-{}", "linux-modules-{}")

TABLE = {
    "6.1": Row(("bookworm-security", "bookworm"), r"6\.1\.0-\d+-cloud-amd64", why="Debian 12 with security updates"),
    "6.1-old": Row(("bookworm",), r"6\.1\.0-\d+-cloud-amd64", why="Debian 12's point release: other signatures, same series"),
    "6.12": Row(
        ("bookworm-security", "bookworm-backports", "trixie", "trixie-security"), r"6\.12\.\d+\S*-cloud-amd64", why="Debian 13"
    ),
    "6.12-rt": Row(
        ("bookworm-security", "bookworm-backports", "trixie", "trixie-security"), r"6\.12\.\d+\S*-rt-amd64", why="PREEMPT_RT"
    ),
    "5.10": Row(("bullseye-security", "bullseye"), r"5\.10\.0-\d+-cloud-amd64", why="Debian 11: no BTF of modules"),
    "latest": Row(("sid",), r"\d+\.\d+\.\d+\S*-cloud-amd64", SPLIT, why="the newest there is"),
}


@dataclasses.dataclass(frozen=True)
class Kernel:
    name: str  # the row's
    release: str  # as uname -r says
    version: str  # of the package
    root: Path  # holds boot/ and lib/modules/

    @property
    def series(self) -> str:
        return re.match(r"\d+\.\d+", self.release).group()

    @property
    def image(self) -> Path:
        return self.root / "boot" / f"vmlinuz-{self.release}"

    @property
    def modules(self) -> Path:
        return self.root / "lib" / "modules" / self.release


class KernelError(Exception):
    pass


def cache() -> Path:
    given = os.environ.get("PATHTRACE_KERNEL_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(given) if given else Path(base) / "pathtrace" / "kernels"


def find(name: str, update: bool = False) -> Kernel:
    """The kernel of that row, or of that series if `latest` is of it (`7.2`)."""
    row = name
    if name not in TABLE:
        if not re.fullmatch(r"\d+\.\d+", name):
            raise KernelError(f"no kernel {name!r}: one of {', '.join(TABLE)}")
        row = "latest"
    cache().mkdir(parents=True, exist_ok=True)
    with open(cache() / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two runs may share the cache
        kernel = cached(row)
        if kernel is None or update or asked_long_ago(row):
            kernel = fetch(row, kernel)
    if name not in TABLE and kernel.series != name:
        raise KernelError(f"no kernel {name!r}: the newest is {kernel.release}; otherwise one of {', '.join(TABLE)}")
    return kernel


def fetch(name: str, have: Kernel | None) -> Kernel:
    row = TABLE[name]
    try:
        apt = Apt(name, row.suites)
        release = newest(apt, row)
        packages = [template.format(release) for template in row.packages]
        version = apt.version(packages[0])
        kernel = Kernel(name, release, version, cache() / "unpacked" / f"{release}_{version}")
        if not kernel.image.exists():
            say(f"fetching {', '.join(packages)} {version}")
            unpack(kernel, [apt.deb(package, version) for package in packages])
    except (KernelError, subprocess.CalledProcessError) as error:
        if have is None:
            raise KernelError(f"kernel {name}: {error}") from error
        say(f"kernel {name}: {str(error).splitlines()[0]}; using {have.release} {have.version} from the cache")
        return have
    remember(kernel)
    return kernel


# The apt configuration of our own


def machine_mirrors() -> dict[str, str]:
    """The mirrors named in the machine's own apt sources, so that a proxied mirror keeps working."""
    mirrors = dict(DEFAULT_MIRRORS)
    found = set()
    for path in ["/etc/apt/sources.list", *sorted(glob.glob("/etc/apt/sources.list.d/*"))]:
        if not path.endswith((".list", ".sources")) or not os.path.exists(path):
            continue
        for line in Path(path).read_text(errors="replace").splitlines():
            if line.lstrip().startswith("#"):
                continue
            for url in re.findall(r"https?://\S+", line):
                kind = next((kind for kind, tail in (("security", "/debian-security"), ("main", "/debian"))
                             if url.rstrip("/").endswith(tail)), None)
                if kind and kind not in found:
                    found.add(kind)
                    mirrors[kind] = url.rstrip("/")
    return mirrors


class Apt:
    def __init__(self, name: str, suites: tuple[str, ...]):
        self.dir = cache() / "apt"
        for folder in ("lists/partial", "archives/partial", "sources", "trusted", "empty"):
            (self.dir / folder).mkdir(parents=True, exist_ok=True)
        self.sources = self.dir / "sources" / f"{name}.list"
        mirrors = machine_mirrors()
        try:
            self.update(mirrors, suites)
        except KernelError:
            if not any(suite.startswith("bullseye") for suite in suites):
                raise
            self.update({"main": ARCHIVE, "security": ARCHIVE + "-security"}, suites)

    def update(self, mirrors: dict[str, str], suites: tuple[str, ...]) -> None:
        lines = []
        for suite in suites:
            mirror = mirrors["security" if suite.endswith("-security") else "main"]
            lines.append(f"deb [arch=amd64 target=Packages signed-by={KEYRING}] {mirror} {suite} main\n")
        self.sources.write_text("".join(lines))
        self.apt("apt-get", "-q", "--error-on=any", "update")

    def apt(self, command: str, *arguments: str, cwd: Path | None = None) -> str:
        options = {
            "Dir::Etc::SourceList": self.sources,
            "Dir::Etc::SourceParts": self.dir / "empty",
            "Dir::Etc::Preferences": "/dev/null",
            "Dir::Etc::PreferencesParts": self.dir / "empty",
            "Dir::State::Lists": self.dir / "lists",
            "Dir::State::Status": "/dev/null",
            "Dir::Cache::Archives": self.dir / "archives",
            "Dir::Cache::PkgCache": "",
            "Dir::Cache::SrcPkgCache": "",
            "APT::Get::List-Cleanup": "0",
            "APT::Architecture": "amd64",
            "APT::Sandbox::User": "",  # the lists are in a user's folder
            "Acquire::Languages": "none",
            "Acquire::Retries": "2",
        }
        argv = [command] + [f"-o{key}={value}" for key, value in options.items()] + list(arguments)
        done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=900)
        if done.returncode != 0:
            wrong = [line for line in (done.stderr + done.stdout).splitlines() if line.startswith(("E:", "Err:"))]
            raise KernelError(f"{command} {arguments[-1]}: {'; '.join(wrong[:3]) or done.stderr.strip()}")
        return done.stdout

    def names(self, prefix: str) -> list[str]:
        return self.apt("apt-cache", "pkgnames", prefix).split()

    @functools.lru_cache
    def version(self, package: str) -> str:
        """The newest version on offer; "" for a name that is only mentioned by other packages."""
        candidate = re.search(r"Candidate: (\S+)", self.apt("apt-cache", "policy", package))
        return candidate.group(1) if candidate and candidate.group(1) != "(none)" else ""

    def deb(self, package: str, version: str) -> Path:
        debs = cache() / "debs"
        debs.mkdir(exist_ok=True)
        path = debs / f"{package}_{version.replace(':', '%3a')}_amd64.deb"
        if not path.exists():
            self.apt("apt-get", "-q", "download", f"{package}={version}", cwd=debs)
        if not path.exists():
            raise KernelError(f"apt-get download left no {path.name}")
        return path


def newest(apt: Apt, row: Row) -> str:
    prefix = row.packages[0].split("{")[0]
    releases = [name.removeprefix(prefix) for name in apt.names(prefix)]
    releases = [release for release in releases if re.fullmatch(row.release, release) and "unsigned" not in release]
    for release in sorted(releases, key=natural, reverse=True):
        if all(apt.version(template.format(release)) for template in row.packages):
            return release
    raise KernelError(f"no package {prefix}{row.release} in {', '.join(row.suites)}")


def natural(text: str) -> list:
    """Sorts 6.1.0-9 before 6.1.0-10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", text)]


def unpack(kernel: Kernel, debs: list[Path]) -> None:
    partial = kernel.root.with_name(kernel.root.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for deb in debs:
        subprocess.run(["dpkg", "-x", deb, partial], check=True, capture_output=True)
    if not (partial / "lib/modules").exists():
        (partial / "lib").mkdir(exist_ok=True)
        (partial / "usr/lib/modules").rename(partial / "lib/modules")
    image = partial / "boot" / kernel.image.name
    if not image.exists():  # newer packages keep the image beside the modules
        image.parent.mkdir(exist_ok=True)
        shutil.copy(partial / "lib/modules" / kernel.release / "vmlinuz", image)
    shutil.rmtree(partial / "usr", ignore_errors=True)
    shutil.rmtree(kernel.root, ignore_errors=True)
    partial.rename(kernel.root)


# What was found last time


def remember(kernel: Kernel) -> None:
    fields = {"release": kernel.release, "version": kernel.version, "asked": int(time.time())}
    (cache() / f"{kernel.name}.json").write_text(json.dumps(fields) + "\n")


def cached(name: str) -> Kernel | None:
    try:
        fields = json.loads((cache() / f"{name}.json").read_text())
        release, version = fields["release"], fields["version"]
    except (OSError, ValueError, KeyError):
        return None
    kernel = Kernel(name, release, version, cache() / "unpacked" / f"{release}_{version}")
    return kernel if kernel.image.exists() else None


def asked_long_ago(name: str) -> bool:
    fields = json.loads((cache() / f"{name}.json").read_text())
    return not 0 <= time.time() - fields.get("asked", 0) < ASK_AGAIN_AFTER


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    if "-h" in arguments or "--help" in arguments:
        print(__doc__.strip())
        return 0
    update = "--update" in arguments
    names = [name for name in arguments if name != "--update"]
    if not names:
        for name, row in TABLE.items():
            kernel = cached(name)
            print(f"{name:8} {kernel.release if kernel else '(not fetched)':32} {row.why}")
        return 0
    try:
        for name in names:
            kernel = find(name, update)
            print(f"{name} {kernel.release} {kernel.version} {kernel.image} {kernel.modules}")
    except KernelError as error:
        say(f"kernels.py: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
