# SPDX-License-Identifier: GPL-2.0
"""A failing case made small: rules, chains and packets are left out as long as it still fails.

A boot is dear and a case in it is cheap, so each round plays many candidates in one boot and goes on from the smallest that failed.
"""

import copy
import dataclasses
from typing import Callable

import case as cases

ROUNDS = 6
CANDIDATES = 80


def shrink(failing: cases.Case, play: Callable[[list[cases.Case]], set[int]], say: Callable[[str], None]) -> cases.Case:
    """`play` runs cases in one boot, and says which of them failed, by number."""
    current, together = failing, None
    for _ in range(ROUNDS):
        removable = parts(current)
        chunks = candidates(removable, together)
        if not chunks:
            break
        tried = [dataclasses.replace(without(current, chunk), number=number) for number, chunk in enumerate(chunks)]
        failed = play(tried)
        if not failed:
            break
        # What could be left out alone may often be left out together.
        together = [part for number in failed for part in chunks[number] if len(chunks[number]) == 1]
        smallest = min(failed, key=lambda number: len(parts(tried[number])))
        kept = parts(tried[smallest])
        names = {name_of(current, part) for part in together} - {name_of(current, part) for part in chunks[smallest]}
        current = dataclasses.replace(tried[smallest], number=failing.number)
        together = [part for part in kept if name_of(current, part) in names]
        say(f"shrinking case {failing.number}: {len(kept)} rules, chains and packets left")
    return current


def parts(case: cases.Case) -> list[tuple]:
    return [("packet", place) for place in range(len(case.packets))] + case.rules.parts()


def name_of(case: cases.Case, part: tuple) -> str:
    """The same in a smaller case, whose parts have other places."""
    return f"{case.packets[part[1]]}" if part[0] == "packet" else case.rules.name_of(part)


def without(case: cases.Case, removed: list[tuple]) -> cases.Case:
    gone = set(removed)
    packets = [packet for place, packet in enumerate(case.packets) if ("packet", place) not in gone]
    return dataclasses.replace(case, packets=packets, rules=copy.deepcopy(case.rules).without(gone))


def candidates(removable: list[tuple], together: list[tuple] | None) -> list[list[tuple]]:
    """What to leave out: large parts first, then smaller ones, then each alone."""
    found = [together] if together and len(together) > 1 else []
    size = len(removable) // 2
    while size >= 1:
        found += [removable[i : i + size] for i in range(0, len(removable), size)]
        # All but this: finds the one packet that matters.
        if size > 1:
            found += [removable[:i] + removable[i + size :] for i in range(0, len(removable), size)] if size >= len(removable) // 4 else []
        size //= 2
    packets = [part for part in removable if part[0] == "packet"]
    if len(packets) > 1:
        found += [[other for other in packets if other != one] for one in packets]
    singles = [chunk for chunk in found if len(chunk) == 1]
    rest = [chunk for chunk in found if 1 < len(chunk) < len(removable)]
    return [*rest[: CANDIDATES // 2], *singles[:CANDIDATES]]
