# SPDX-License-Identifier: GPL-2.0
"""The witness for nftables: the kernel's trace records, which `nft monitor trace` prints, as `player nftrace` wrote them down.

They are read without nft, which looks rules up in a cache of its own and would print nothing for those that it doesn't know.
"""

import collections
import dataclasses
import ipaddress
from pathlib import Path

from walks import POLICY, Step, Walk

FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
TYPE_POLICY = 1  # else RETURN 2, RULE 3
WORDS = {-1: "continue", -3: "jump", -4: "goto", -5: "return", 0: "drop", 1: "accept", 2: "stolen", 3: "queue"}


class Records:
    def __init__(self, path: Path, is_client):
        self.walks: dict[tuple, list[Walk]] = collections.defaultdict(list)
        self.lost, self.count = 0, 0
        current: dict[str, Walk] = {}
        for line in path.read_text(errors="replace").splitlines():
            if line == "LOST":
                self.lost += 1
                continue
            if line.count(" ") != 10:
                continue  # READY
            number, family, table, chain, kind, handle, code, _, policy, oif, header = line.split(" ")
            self.count += 1
            if header != "-":
                # The first record of each traversal has the packet's headers.
                walk = Walk(f"{FAMILIES[int(family)]} {table}", chain, outward=oif != "0")
                self.walks[key_of(bytes.fromhex(header), is_client)].append(walk)
                current[number] = walk
            walk = current.get(number)
            if walk is None:
                self.lost += 1
                continue
            kind, code = int(kind), int(code)
            if kind == TYPE_POLICY:
                walk.steps.append(Step(walk.base, POLICY, WORDS[int(policy)]))
            elif handle != "0":
                walk.steps.append(Step(chain, int(handle), WORDS[code if code < 0 else code & 0xFF]))
            # else the end of a chain, which is no rule: of type RETURN on 6.1, of type RULE on 6.12 and 7.2


def key_of(header: bytes, is_client) -> tuple:
    if header[0] >> 4 == 4:
        source, destination = header[12:16], header[16:20]
        length = int.from_bytes(header[2:4], "big")
    else:
        source, destination = header[8:24], header[24:40]
        length = 40 + int.from_bytes(header[4:6], "big")
    source, destination = (str(ipaddress.ip_address(each)) for each in (source, destination))
    from_client = is_client(source)
    return (source if from_client else destination, from_client, length)


@dataclasses.dataclass
class Numbers:
    """Which number each rule of a case has in its chain, as the kernel listed them after it was loaded."""

    of: dict[tuple[str, str, int], int]  # table with its family, chain, handle

    @classmethod
    def read(cls, path: Path) -> "Numbers":
        counts: collections.Counter = collections.Counter()
        of = {}
        for line in path.read_text().splitlines() if path.exists() else []:
            family, table, chain, handle = line.split()
            place = (f"{FAMILIES[int(family)]} {table}", chain)
            counts[place] += 1
            of[*place, int(handle)] = counts[place]
        return cls(of)
