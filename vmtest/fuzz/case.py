# SPDX-License-Identifier: GPL-2.0
"""One case: a ruleset and the packets that go through it. The seed and its number make it the same wherever it runs."""

import dataclasses
import random
from pathlib import Path

import nft_rules
import packets
import xtables

HERE = Path(__file__).resolve().parent
FILES = "/root/fuzz"  # in the guest
# One of so many legacy rulesets is large: pathtrace then copies only the counters that a packet can raise.
LARGE_EACH = 10
# It begins to once it has read the table, for which the first packet gives the occasion.
READ_PAUSE_MS = 400
# So long after a change no walk of an nftables ruleset can have begun before it.
SETTLED_MS = 35
# Between two flows while rulesets are replaced, so that they meet all of them.
CHURN_PAUSE_MS = 80


@dataclasses.dataclass
class Case:
    number: int  # in the seed's sequence
    backend: str
    version: int
    rules: xtables.Ruleset | nft_rules.Ruleset
    packets: list[packets.Packet]
    place: int = 0  # in the boot: which clients it has
    note: str = ""  # where it comes from, if it isn't random
    sets: str = ""  # what `ipset restore` makes beforehand
    large: bool = False  # one of its tables has thousands of rules

    @property
    def variants(self) -> list:
        """Two rulesets to put in each other's place: the same rules under other numbers. The witness must tell which it was."""
        if self.backend != "legacy":
            return [self.rules, self.rules]
        return [self.rules.labelled("A"), self.rules.labelled("B")]

    def client(self, packet: packets.Packet) -> str:
        return packets.client_address(self.version, self.place * packets.CLIENTS_A_CASE + packet.flow)

    def keys(self) -> list[packets.Key]:
        return list(dict.fromkeys(packet.key(self.client(packet)) for packet in self.packets))


def generate(backend: str, seed: int, number: int) -> Case:
    rng = random.Random(f"{backend}/{seed}/{number}")
    version = rng.choice([4, 6])
    large = backend == "legacy" and number % LARGE_EACH == LARGE_EACH - 1
    if backend == "nftables":
        rules = nft_rules.Generator(rng, version).ruleset()
    elif large:
        rules = xtables.Generator(rng, version, False).large_ruleset(rng.randint(2000, 3000))
    else:
        rules = xtables.Generator(rng, version, backend == "iptables-nft").ruleset()
    return Case(number, backend, version, rules, packets.generate(rng, version), large=large)


def send_lines(case: Case) -> list[str]:
    lines = []
    for packet in case.packets:
        client = case.client(packet)
        if packet.socket:
            source, destination = packet.filled(client)
            ports = packet.transport
            lines.append(f"datagram {source} {ports['sport']} {destination} {ports['dport']} {packet.payload} {packet.hops} {packet.tos}")
        else:
            lines.append(f"packet {packet.sender} {packet.bytes(client).hex()}")
    return lines


RESTORE = {
    ("legacy", 4): "iptables-legacy-restore",
    ("legacy", 6): "ip6tables-legacy-restore",
    ("iptables-nft", 4): "iptables-nft-restore",
    ("iptables-nft", 6): "ip6tables-nft-restore",
    ("nftables", 4): "nft -f -",
    ("nftables", 6): "nft -f -",
}


def guest_files(played: list[Case], backend: str, load: bool, churn: bool, arguments: str = "") -> dict[str, bytes]:
    """Gives the cases their places in the boot, and makes what the guest needs to play them."""
    files = {f"{FILES}/differential.sh".lstrip("/"): (HERE / "differential.sh").read_bytes(), "test/main": b". /root/fuzz/differential.sh\n"}
    files["root/fuzz/settings"] = f"backend={backend}\nload={int(load)}\narguments='{arguments}'\n".encode()
    plans: dict[int, list[str]] = {4: [], 6: []}
    used: dict[int, set[str]] = {4: set(), 6: set()}
    for place, case in enumerate(played, start=1):
        case.place = place
        plan, command = plans[case.version], RESTORE[backend, case.version]
        rules = f"{FILES}/rules{place}"
        texts = []
        for each in case.variants if churn else [case.rules]:
            text, used[case.version] = each.text_after(used[case.version])
            texts.append(text)
            files[f"{rules}.{len(texts)}".lstrip("/")] = text.encode()
        if case.sets:
            files[f"{rules}.sets".lstrip("/")] = case.sets.encode()
            plan.append(f"run {rules}.sets ipset restore")
        plan += [f"case {case.number}", f"run {rules}.1 {command}"]
        if churn:
            plan += [f"churn {rules}.2 {rules}.1 {command}", "pause 5"]
            for number, line in enumerate(send_lines(case)):
                # Between flows only: what comes on a connection after it was reported for good is not reported any more.
                if number and case.packets[number].flow != case.packets[number - 1].flow:
                    plan.append(f"pause {CHURN_PAUSE_MS}")
                plan.append(line)
        else:
            if backend != "legacy":
                plan += [f"save /artifacts/v{case.version}/rules{place}", f"pause {SETTLED_MS}"]
            first, *others = send_lines(case)
            plan += [first, *[f"pause {READ_PAUSE_MS}"] * case.large, *others]
        address = "10.9.255.1" if case.version == 4 else "fd09::ffff:1"
        plan.append(f"marker {address} {10000 + place}")
    for version, plan in plans.items():
        files[f"root/fuzz/plan{version}"] = ("\n".join(plan) + "\n").encode() if plan else b""
    return files


def shown(case: Case) -> str:
    return case.rules.text() + "\n".join(map(str, case.packets))
