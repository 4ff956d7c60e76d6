# SPDX-License-Identifier: GPL-2.0
"""Compares, packet by packet and walk by walk, what pathtrace says with what the kernel's own tracing says.

wrong    pathtrace names a rule that the witness doesn't, or in another order, or with another verdict
missing  pathtrace doesn't mention what the witness saw
partial  pathtrace names no rule for a walk, and says why; explained if what the witness saw shows that it couldn't know
"""

import collections
import dataclasses
import difflib

from walks import Walk


@dataclasses.dataclass
class Result:
    packets: int = 0
    rules: int = 0  # of the witness that pathtrace named, too
    wrong: list[str] = dataclasses.field(default_factory=list)
    missing: list[str] = dataclasses.field(default_factory=list)
    partial: collections.Counter = dataclasses.field(default_factory=collections.Counter)  # why
    unexplained: list[str] = dataclasses.field(default_factory=list)  # those of them that need not have been
    problems: list[str] = dataclasses.field(default_factory=list)  # neither's fault: the test itself

    def add(self, other: "Result") -> None:
        self.packets += other.packets
        self.rules += other.rules
        self.wrong += other.wrong
        self.missing += other.missing
        self.partial.update(other.partial)
        self.unexplained += other.unexplained
        self.problems += other.problems

    @property
    def failed(self) -> bool:
        return bool(self.wrong or self.missing or self.problems)


# Counters don't tell in which of two visits to a chain a rule matched that did so in one of them only.
AMBIGUOUS = "the counted rules explain more than one way through the table"


def compare(name: str, witness: list[Walk], traced: list[Walk], result: Result) -> None:
    """One packet."""
    result.packets += 1
    for outward in (False, True):
        seen = [walk for walk in witness if walk.outward == outward]
        told = [walk for walk in traced if walk.outward == outward]
        places = difflib.SequenceMatcher(None, [place(walk) for walk in seen], [place(walk) for walk in told], autojunk=False)
        for kind, i1, i2, j1, j2 in places.get_opcodes():
            if kind == "equal":
                for i, j in zip(range(i1, i2), range(j1, j2)):
                    compare_walk(name, seen[i], told[j], result)
                continue
            for walk in seen[i1:i2]:
                result.missing.append(f"{name}: not told: {walk}")
            for walk in told[j1:j2]:
                if walk.missing and not walk.steps:
                    result.partial.update(walk.missing)
                    result.unexplained.append(f"{name}: told, but not seen: {walk}")
                else:
                    result.wrong.append(f"{name}: told, but not seen: {walk}")


def place(walk: Walk) -> tuple[str, str]:
    return walk.table, walk.base


def compare_walk(name: str, seen: Walk, told: Walk, result: Result) -> None:
    if seen.steps == told.steps and not told.missing:
        result.rules += len(seen.steps)
        return
    if told.missing:
        result.partial.update(told.missing)
        if AMBIGUOUS not in told.missing or not seen.ambiguous:
            result.unexplained.append(f"{name}: {difference(seen, told)}")
        if told.steps != seen.steps[: len(told.steps)]:
            result.wrong.append(f"{name}: {difference(seen, told)}")
        return
    if len(told.steps) < len(seen.steps) and is_part(told.steps, seen.steps):
        result.missing.append(f"{name}: {difference(seen, told)}")
    else:
        result.wrong.append(f"{name}: {difference(seen, told)}")


def is_part(part: list, whole: list) -> bool:
    rest = iter(whole)
    return all(each in rest for each in part)


def difference(seen: Walk, told: Walk) -> str:
    return f"\n    kernel:    {seen}\n    pathtrace: {told}"
