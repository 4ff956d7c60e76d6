# SPDX-License-Identifier: GPL-2.0
"""Writes cpio archives in the `newc` format, which the kernel unpacks as its root. No root needed, same input gives the same bytes."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

# The root has /bin, /sbin, /lib and /lib64 as links into /usr, as Debian does. A directory entry of that name in a later part would
# replace the link, so every path is written as its /usr one.
USR_LINKS = ("bin", "sbin", "lib", "lib64")


class Archive:
    def __init__(self):
        self.entries: dict[str, tuple[int, bytes, tuple[int, int]]] = {}

    def directory(self, path: str, mode: int = 0o755) -> None:
        self._put(path, stat.S_IFDIR | mode, b"")

    def file(self, path: str, data: bytes, mode: int = 0o644) -> None:
        self._put(path, stat.S_IFREG | mode, data)

    def copy(self, source: Path, path: str) -> None:
        source = Path(source)
        self.file(path, source.read_bytes(), stat.S_IMODE(os.stat(source).st_mode) | 0o444)

    def link(self, path: str, target: str) -> None:
        self._put(path, stat.S_IFLNK | 0o777, target.encode())

    def device(self, path: str, major: int, minor: int) -> None:
        self._put(path, stat.S_IFCHR | 0o600, b"", (major, minor))

    def write(self, out: BinaryIO) -> None:
        for number, name in enumerate(sorted(self.entries), start=1):
            mode, data, device = self.entries[name]
            out.write(_record(name, number, mode, data, device))
        out.write(_record("TRAILER!!!", 0, 0, b"", (0, 0)))
        out.write(b"\0" * (-out.tell() % 512))

    def save(self, path: Path) -> None:
        partial = path.with_name(path.name + ".partial")
        with open(partial, "wb") as out:
            self.write(out)
        partial.rename(path)

    def _put(self, path: str, mode: int, data: bytes, device: tuple[int, int] = (0, 0)) -> None:
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if parts[0] in USR_LINKS and not (len(parts) == 1 and stat.S_ISLNK(mode)):
            parts.insert(0, "usr")
        for depth in range(1, len(parts)):
            self.entries.setdefault("/".join(parts[:depth]), (stat.S_IFDIR | 0o755, b"", (0, 0)))
        self.entries["/".join(parts)] = (mode, data, device)


def _record(name: str, inode: int, mode: int, data: bytes, device: tuple[int, int]) -> bytes:
    encoded = name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    fields = (inode, mode, 0, 0, links, 0, len(data), 0, 0, *device, len(encoded), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)
