# SPDX-License-Identifier: GPL-2.0
"""The witness for iptables-legacy: what the TRACE target makes the kernel write to its log.

    TRACE: filter:web:rule:2 IN=eth0 OUT= MAC=... SRC=10.9.0.1 DST=10.1.0.1 LEN=60 ...

A record comes for every rule that matched after the TRACE rule. Known mislabelling (get_chainname_rulenum): a rule without a match
whose target is ACCEPT, DROP or RETURN is called "policy" in a built-in chain and "return" in a user's. Its number is right all the
same; and the policy, or the return at the end of a user chain, has the number after the last rule's.
"""

import collections
import dataclasses
import ipaddress
import re
from pathlib import Path

import vm
from walks import BUILTIN, OPEN, POLICY, Step, Walk
from xtables import HOOKS, Ruleset, verdict_of

LINE = re.compile(r"(?:TRACE: (\w+):(.+?):(rule|policy|return):(\d+)|v=([AB])) IN=(\S*) OUT=(\S*) (?:.*? )?SRC=(\S+) DST=(\S+) LEN=(\d+) ")


@dataclasses.dataclass
class Record:
    table: str
    chain: str
    label: str
    number: int
    inward: bool  # has an interface that it came in by
    outward: bool
    variant: str = ""  # which ruleset of two says so; then the rest is not set

    @property
    def way(self) -> tuple[bool, bool]:
        return self.inward, self.outward


class Log:
    """Records by packet, in the order in which they were made."""

    def __init__(self, path: Path, is_client):
        self.records: dict[tuple, list[Record]] = collections.defaultdict(list)
        self.lost, self.count = 0, 0
        other = []
        for line in path.read_text(errors="replace").splitlines():
            if line == "LOST":
                self.lost += 1
                continue
            found = LINE.search(line.split("[", 1)[0] + " ")
            if not found:
                other.append(line)
                continue
            table, chain, label, number, variant, came_in, out, source, destination, length = found.groups()
            source, destination = (str(ipaddress.ip_address(each)) for each in (source, destination))
            from_client = is_client(source)
            key = (source if from_client else destination, from_client, int(length))
            self.records[key].append(Record(table, chain, label, int(number or 0), bool(came_in), bool(out), variant or ""))
            self.count += 1
        self.splats = vm.find_splats("\n".join(other))


class Reader:
    """The records of one packet as walks, with what the ruleset says of the verdicts that TRACE leaves out."""

    def __init__(self, variants: dict[str, Ruleset], from_client: bool, mislabelled: collections.Counter):
        self.variants, self.from_client, self.mislabelled = variants, from_client, mislabelled
        self.walks: list[Walk] = []
        # A copy made by TEE goes out while its original comes in or through: one of each may be open. At POSTROUTING the copy has
        # a device that it came in by, too, from 5.19 on: then its walk is inside that of the original, the last one is the innermost.
        self.open: collections.defaultdict[tuple[bool, bool], list[Walk]] = collections.defaultdict(list)
        self.rules: collections.defaultdict[tuple[bool, bool], Ruleset] = collections.defaultdict(lambda: variants["A"])

    def read(self, records: list[Record]) -> list[Walk]:
        for place, record in enumerate(records):
            if record.variant:
                self.variant(record)
                continue
            following = records[place + 1] if place + 1 < len(records) else None
            if following and following.variant and following.way == record.way and record.number == 1 and record.table != "raw":
                self.variant(following)  # this record's rule is the one that says it
            self.step(record)
        for walk in self.walks:
            # Something was matched after it, so it let the packet go on.
            walk.steps[:-1] = [dataclasses.replace(step, verdict="continue") if step.verdict in OPEN else step for step in walk.steps[:-1]]
            walk.ambiguous = is_ambiguous(walk)
        return self.walks

    def variant(self, record: Record) -> None:
        self.rules[record.way] = self.variants[record.variant]

    def step(self, record: Record) -> None:
        rules, opened = self.rules[record.way], self.open[record.way]
        chains = rules.tables.get(record.table, {})
        length = len(chains.get(record.chain, []))
        fits = [i for i, walk in enumerate(opened) if walk.table == record.table and (record.chain not in BUILTIN or record.chain == walk.base)]
        if fits:
            del opened[fits[-1] + 1 :]  # those inside it are over
        else:
            if opened and not makes_a_copy(opened[-1]):  # it is over
                opened.clear()
            walk = Walk(record.table, record.chain, outward=record.outward, rules=chains)
            self.walks.append(walk)
            opened.append(walk)
            self.add_untraced(walk, record, rules)
        walk = opened[-1]
        if record.number > length:
            if record.chain in BUILTIN:  # else the return that ends every user chain, which is no rule
                policy = rules.policies.get((record.table, record.chain), "ACCEPT").lower()
                walk.steps.append(Step(record.chain, POLICY, policy))
                self.close(record)
            return
        self.mislabelled[record.label] += record.label != "rule"
        verdict = verdict_of(chains[record.chain][record.number - 1])
        walk.steps.append(Step(record.chain, record.number, verdict))
        if verdict in ("accept", "drop", "reject", "queue"):
            self.close(record)

    def close(self, record: Record) -> None:
        self.open[record.way].pop().ended = True

    def add_untraced(self, walk: Walk, record: Record, rules: Ruleset) -> None:
        """The rule that turns tracing on is not traced itself."""
        if walk.table != "raw" or "raw" not in rules.tables:
            return
        numbers = rules.untraced(walk.base, self.from_client)
        if record.number > max(numbers, default=0):
            walk.steps += [Step(walk.base, number, "continue") for number in numbers]


def before_tracing(variants: dict[str, Ruleset], from_client: bool) -> list[list[Step]]:
    """What a packet may have matched before it is traced: nothing, or the rules that turn tracing on."""
    found: list[list[Step]] = [[]]
    for rules in variants.values():
        found += [[Step(base, number, "continue") for number in rules.untraced(base, from_client)] for base in HOOKS["raw"]]
    return found


def makes_a_copy(walk: Walk) -> bool:
    """Is the last rule that matched one with TEE?"""
    step = walk.steps[-1] if walk.steps else None
    return bool(step and step.rule != POLICY and walk.rules[step.chain][step.rule - 1].jumps_to == "TEE")


def is_ambiguous(walk: Walk) -> bool:
    """A chain was visited more than once, and one of its rules matched, but not in each of the visits."""
    counts = collections.Counter((step.chain, step.rule) for step in walk.steps if step.rule != POLICY)
    visits: collections.Counter = collections.Counter()
    for (chain, number), count in counts.items():
        rule = walk.rules[chain][number - 1]
        if verdict_of(rule) in ("jump", "goto"):
            visits[rule.jumps_to] += count
    return any(count < visits[chain] for (chain, _), count in counts.items())
