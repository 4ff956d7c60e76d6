# SPDX-License-Identifier: GPL-2.0
"""Compares, packet by packet and walk by walk, what pathtrace says with what the kernel's own tracing says.

wrong    pathtrace names a rule that the witness doesn't, or in another order, or with another verdict
missing  pathtrace doesn't mention what the witness saw
partial  pathtrace names no rule for a walk, and says why; explained if what the witness saw shows that it couldn't know
"""

import collections
import dataclasses
from typing import Sequence

from walks import DROP_OR_CONTINUE, UNSAID, Step, Walk


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
# Nor does anything tell which rule's match found a packet too broken to go on: it is dropped without having matched.
HOTDROP = "dropped by a match of a later rule, which no counter shows"
TARGET_OR_HOTDROP = "dropped by the target of the last rule or by a match of a later one: the counters do not tell which"
# pathtrace holds its counters against TRACE, too, and takes back what it would have said: without TRACE, a wrong rule.
DISAGREE = "the kernel's own TRACE ("
ENDS = ("accept", "drop", "stolen", "queue")


def compare(name: str, witness: list[Walk], traced: list[Walk], result: Result, unseen: Sequence[list[Step]] = ()) -> None:
    """One packet. `unseen`: if matches may drop it, what can have matched before the witness says anything."""
    result.packets += 1
    for outward in (False, True):
        seen = [walk for walk in witness if walk.outward == outward]
        told = [walk for walk in traced if walk.outward == outward]
        for walk, answer in aligned(seen, told):
            if walk and answer:
                compare_walk(name, walk, answer, result, bool(unseen))
            elif walk:
                result.missing.append(f"{name}: not told: {walk}")
            elif answer.missing == [HOTDROP] and answer.steps in unseen:
                result.partial.update(answer.missing)
            elif answer.missing and not answer.steps:
                result.partial.update(answer.missing)
                result.unexplained.append(f"{name}: told, but not seen: {answer}")
            else:
                result.wrong.append(f"{name}: told, but not seen: {answer}")


def aligned(seen: list[Walk], told: list[Walk]) -> list[tuple[Walk | None, Walk | None]]:
    """Which walk of the one is which of the other, both in their order, so that as much as possible agrees.

    A packet may go through a chain twice: while an nftables ruleset is replaced, the old base chains and the new ones are on the hook.
    """
    best: dict[tuple[int, int], tuple[int, int, int]] = {}  # score of the rest, and the step to take
    for i in range(len(seen), -1, -1):
        for j in range(len(told), -1, -1):
            ways = [(0, 0, 0)]
            if i < len(seen):
                ways.append((best[i + 1, j][0], 1, 0))
            if j < len(told):
                ways.append((best[i, j + 1][0], 0, 1))
            if i < len(seen) and j < len(told) and (score := likeness(seen[i], told[j])):
                ways.append((best[i + 1, j + 1][0] + score, 1, 1))
            best[i, j] = max(ways)
    found, i, j = [], 0, 0
    while i < len(seen) or j < len(told):
        _, down, right = best[i, j]
        if (down, right) == (0, 0):
            down, right = int(i < len(seen)), int(i >= len(seen))
        found.append((seen[i] if down else None, told[j] if right else None))
        i, j = i + down, j + right
    return found


def likeness(seen: Walk, told: Walk) -> int:
    if told.missing and not told.steps:  # may not know its table
        return 2 if seen.table == told.table else 1 if told.table.endswith("None") else 0
    if (seen.table, seen.base) != (told.table, told.base):
        return 0
    return 4 if agree(seen.steps, told.steps) else 2


def agree(seen: list[Step], told: list[Step]) -> bool:
    """The last verdict of the witness may be unsaid: the target decided. As nothing came after it, it ended the walk."""
    possible = {UNSAID: ENDS, DROP_OR_CONTINUE: ("drop",)}
    if seen and told and told[-1].verdict in possible.get(seen[-1].verdict, ()):
        seen = [*seen[:-1], dataclasses.replace(seen[-1], verdict=told[-1].verdict)]
    return seen == told


def compare_walk(name: str, seen: Walk, told: Walk, result: Result, broken: bool) -> None:
    if agree(seen.steps, told.steps) and not told.missing:
        result.rules += len(seen.steps)
        return
    if any(DISAGREE in why for why in told.missing):
        result.wrong.append(f"{name}: {difference(seen, told)}")
    elif told.missing:
        result.partial.update(told.missing)
        if not is_explained(seen, told, broken):
            result.unexplained.append(f"{name}: {difference(seen, told)}")
        if not begins_with(seen.steps, told.steps):
            result.wrong.append(f"{name}: {difference(seen, told)}")
    elif len(told.steps) < len(seen.steps) and is_part(told.steps, seen.steps):
        result.missing.append(f"{name}: {difference(seen, told)}")
    else:
        result.wrong.append(f"{name}: {difference(seen, told)}")


def is_explained(seen: Walk, told: Walk, broken: bool) -> bool:
    """What the witness saw, or sent, shows that pathtrace couldn't know more."""
    if AMBIGUOUS in told.missing:
        return seen.ambiguous
    if seen.ended or len(told.steps) != len(seen.steps):
        return False
    return (told.missing == [HOTDROP] and broken) or (told.missing == [TARGET_OR_HOTDROP] and (broken or seen.steps[-1].verdict == UNSAID))


def begins_with(seen: list[Step], told: list[Step]) -> bool:
    """pathtrace may leave the verdict of its last rule open; the rule and its place it may not."""
    part = seen[: len(told)]
    if part and told and (told[-1].verdict == UNSAID or (part[-1].verdict, told[-1].verdict) == (DROP_OR_CONTINUE, "continue")):
        part = [*part[:-1], dataclasses.replace(part[-1], verdict=told[-1].verdict)]
    return part == told


def is_part(part: list, whole: list) -> bool:
    rest = iter(whole)
    return all(each in rest for each in part)


def difference(seen: Walk, told: Walk) -> str:
    return f"\n    kernel:    {seen}\n    pathtrace: {told}"
