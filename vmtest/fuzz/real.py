# SPDX-License-Identifier: GPL-2.0
"""Rulesets from real hosts as cases, with packets to the addresses and ports that they speak of.

They are not part of the project: PATHTRACE_RULESETS names their folder (files *.rules: iptables-save's output, or a native ruleset). Names of
their interfaces are replaced by those of the test's host, so that packets get further than the first match of an interface.
"""

import dataclasses
import os
import random
import re
from pathlib import Path

import case as cases
import nft_rules
import packets
import xtables

FOLDER = Path(os.environ.get("PATHTRACE_RULESETS") or "/nonexistent")
CASES_A_FILE = 8
INTERFACES = [(r"\b(br-dummy|br-lan|qr-[\w-]+)", "eth1"), (r"\b(pppoe-wan|qg-[\w-]+)", "eth0")]


@dataclasses.dataclass
class Listing:
    """A native ruleset as text; the witness's table beside it."""

    text_: str

    def text(self) -> str:
        return nft_rules.witness_table("ip") + self.text_

    def text_after(self, used: set[str]) -> tuple[str, set[str]]:
        return "flush ruleset\n" + self.text(), set()


def files(backend: str) -> list[Path]:
    """Those for this backend: a save of iptables begins a table with a star."""
    found = sorted(FOLDER.glob("*.rules")) if FOLDER.is_dir() else []
    return [path for path in found if bool(re.search(r"^\*", path.read_text(), re.M)) == (backend != "nftables")]


def generate(path: Path, backend: str, seed: int) -> list[cases.Case]:
    text = path.read_text()
    for pattern, name in INTERFACES:
        text = re.sub(pattern, name, text)
    rules = Listing(text) if backend == "nftables" else parse(text)
    found = []
    for number in range(CASES_A_FILE):
        rng = random.Random(f"{path.name}/{seed}/{number}")
        found.append(cases.Case(number, backend, 4, rules, packets_for(rng, text), note=path.name, sets=ipsets(text)))
    return found


def parse(text: str) -> xtables.Ruleset:
    tables: dict[str, dict[str, list[xtables.Rule]]] = {}
    policies: dict[tuple[str, str], str] = {}
    for line in text.splitlines():
        if line.startswith("*"):
            chains = tables.setdefault(line[1:].strip(), {})
            table = line[1:].strip()
        elif line.startswith(":"):
            name, policy = line[1:].split()[:2]
            chains[name] = []
            if policy != "-":
                policies[table, name] = policy
        elif found := re.match(r"-A (\S+) ?(.*)", re.sub(r"^\[\d+:\d+\] ", "", line)):
            chains.setdefault(found[1], []).append(rule(found[2]))
    raw = tables.setdefault("raw", {})
    for hook in xtables.HOOKS["raw"]:
        raw.setdefault(hook, [])
        policies.setdefault(("raw", hook), "ACCEPT")
        raw[hook][:0] = xtables.trace_rules(4)
    return xtables.Ruleset(4, tables, policies)


def rule(text: str) -> xtables.Rule:
    quoted = re.sub(r'"(?:[^"\\]|\\.)*"', lambda found: "x" * len(found[0]), text)
    place = re.search(r"(?:^| )-[jg] \S+", quoted)
    if not place:
        return xtables.Rule(text)
    start = place.start() + (quoted[place.start()] == " ")
    return xtables.Rule(text[:start].strip(), text[start:])


def ipsets(text: str) -> str:
    """What `ipset restore` reads to create the sets that the rules speak of."""
    lines = []
    for name, dimensions in sorted(set(re.findall(r"--match-set (\S+) (\S+)", text))):
        lines.append(f"create {name} {'hash:ip,port' if ',' in dimensions else 'hash:net'} family inet -exist")
    return "\n".join(lines) + "\n" if lines else ""


def packets_for(rng: random.Random, text: str) -> list[packets.Packet]:
    addresses = [each for each in re.findall(r"\b(?:\d{1,3}\.){3}\d{1,3}\b", text) if usable(each)] or packets.HOST[4] + packets.BEHIND[4]
    ports = [int(each) for each in re.findall(r"dport(?:s)? (?:=+ )?(\d+)\b", text)] or [80]
    found = []
    for flow in range(packets.CLIENTS_A_CASE):
        sent = packets.flow_packets(rng, 4, flow)
        target, port = rng.choice(addresses), rng.choice([*ports, 80])
        # From the client or from the host itself, to an address of the ruleset.
        if rng.random() < 0.7:
            for packet in sent:
                if packet.from_client and packet.sender == "c":
                    packet.destination = target
                elif packet.sender == "s":
                    packet.source = target
                elif packet.sender == "h" and not packet.socket:
                    packet.source = rng.choice(packets.HOST[4])
                if "dport" in packet.transport and packet.from_client and not packet.socket:
                    packet.transport["dport"] = port
        found += sent
    return found


def usable(address: str) -> bool:
    numbers = [int(part) for part in address.split(".")]
    return max(numbers) < 256 and 0 < numbers[0] < 224 and numbers[0] != 127 and not address.startswith("10.9.") and numbers[3] not in (0, 255)
