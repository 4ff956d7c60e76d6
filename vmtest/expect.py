# SPDX-License-Identifier: GPL-2.0
"""Does the JSON that came match what a scenario expects? Expectations name only what matters to them:

  {…}          the fields named match; others may be there
  […]          an ordered subset: each element matches some element, in this order
  ["<exactly>", …]  each element matches the one in its place, and there are no others
  "~regex"     a string in which the regular expression is found
  "$name"      anything, the same wherever the name stands
  "<positive>" a number above 0
  "<null>"     null        "<set>"  anything but null      "<nonempty>"  a string, list or object with something in it
  otherwise    equal; numbers and true/false too
"""

import json
import re
from typing import Any, Iterator

Bindings = dict[str, Any]

EXACTLY = "<exactly>"


def match(expected: Any, got: Any, bindings: Bindings) -> Iterator[Bindings]:
    """Every way in which it matches, as what the $names stand for then."""
    if isinstance(expected, dict):
        if isinstance(got, dict):
            yield from match_fields(list(expected.items()), got, bindings)
    elif isinstance(expected, list):
        if isinstance(got, list):
            exactly = expected[:1] == [EXACTLY]
            yield from match_all(expected[1:], got, bindings) if exactly else match_list(expected, got, bindings)
    elif isinstance(expected, str):
        yield from match_string(expected, got, bindings)
    elif type(expected) is type(got) and expected == got:  # True is not 1
        yield bindings


def match_fields(fields: list[tuple[str, Any]], got: dict, bindings: Bindings) -> Iterator[Bindings]:
    if not fields:
        yield bindings
        return
    (key, expected), *rest = fields
    if key in got:
        for bound in match(expected, got[key], bindings):
            yield from match_fields(rest, got, bound)


def match_list(expected: list, got: list, bindings: Bindings) -> Iterator[Bindings]:
    if not expected:
        yield bindings
        return
    for index, element in enumerate(got):
        for bound in match(expected[0], element, bindings):
            yield from match_list(expected[1:], got[index + 1 :], bound)


def match_all(expected: list, got: list, bindings: Bindings) -> Iterator[Bindings]:
    if len(expected) != len(got):
        return
    if not expected:
        yield bindings
        return
    for bound in match(expected[0], got[0], bindings):
        yield from match_all(expected[1:], got[1:], bound)


def match_string(expected: str, got: Any, bindings: Bindings) -> Iterator[Bindings]:
    if re.fullmatch(r"\$\w+", expected):
        if expected not in bindings:
            yield {**bindings, expected: got}
        elif bindings[expected] == got:
            yield bindings
        return
    if expected == "<null>":
        matches = got is None
    elif expected == "<set>":
        matches = got is not None
    elif expected == "<nonempty>":
        matches = isinstance(got, (str, list, dict)) and bool(got)
    elif expected == "<positive>":
        matches = isinstance(got, int) and got > 0
    elif expected.startswith("~"):
        matches = isinstance(got, str) and re.search(expected[1:], got) is not None
    else:
        matches = expected == got
    if matches:
        yield bindings


def unmet(expected: list, refused: list, lines: list[dict]) -> list[str]:
    """What is wrong with these lines, in words; empty when all is well."""
    problems = []
    bindings = next(match_list(expected, lines, {}), None)
    if bindings is None:
        problems.append(explain_list(expected, lines))
    for entry in refused:
        found = next((line for line in lines if any(True for _ in match(entry, line, bindings or {}))), None)
        if found is not None:
            problems.append(f"must not appear: {compact(entry)}\n     but there is: {compact(found)}")
    return problems


def exceptions(every: list[dict], lines: list[dict]) -> list[str]:
    """Of the lines that match `of`, of which there must be some, those that don't match `is`."""
    problems = []
    for entry in every:
        chosen = [line for line in lines if any_match([entry["of"]], [line])]
        wrong = [miss for line in chosen if (miss := differences(entry["is"], line, {}))]
        if not chosen:
            problems.append(f"there is no line like {compact(entry['of'])}")
        elif wrong:
            problems.append(f"of {len(chosen)} lines like {compact(entry['of'])}, {len(wrong)} are otherwise: {'; '.join(wrong[0])}")
    return problems


# Why not


def explain_list(expected: list, lines: list[dict]) -> str:
    """The longest run of expectations that is met, and how the best candidates miss the next."""
    met = next(count for count in range(len(expected), -1, -1) if any_match(expected[:count], lines))
    bindings = next(match_list(expected[:met], lines, {}), {})
    wanted = expected[met]
    text = f"expected, as number {met + 1} of {len(expected)}: {compact(wanted)}"
    candidates = [line for line in lines if not isinstance(wanted, dict) or line.get("type") == wanted.get("type")]
    if not candidates:
        return f"{text}\n     got: no line of type {wanted.get('type')} among {len(lines)} lines"
    misses = sorted((differences(wanted, line, bindings) for line in candidates), key=len)
    if not misses[0]:
        return f"{text}\n     it is there, but before what must come first"
    return text + "".join(f"\n     nearest: {'; '.join(miss[:6])}" for miss in misses[:2])


def any_match(expected: list, lines: list) -> bool:
    return next(match_list(expected, lines, {}), None) is not None


def differences(expected: Any, got: Any, bindings: Bindings, path: str = "") -> list[str]:
    if isinstance(expected, dict) and isinstance(got, dict):
        found = []
        for key, value in expected.items():
            where = f"{path}.{key}" if path else key
            if key not in got:
                found.append(f"{where} is absent")
            else:
                found += differences(value, got[key], bindings, where)
        return found
    if any(True for _ in match(expected, got, bindings)):
        return []
    return [f"{path} is {compact(got, 300)}, expected {compact(expected, 160)}"]


def compact(thing: Any, limit: int = 1200) -> str:
    text = json.dumps(thing, ensure_ascii=False)
    return text if len(text) <= limit else text[:limit] + " …"
