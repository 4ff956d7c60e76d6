# SPDX-License-Identifier: GPL-2.0
"""The guest's own listing of its rules against what pathtrace says of them: a rule that is named stands there, in that chain, at that
place, in those very words."""

import re
from pathlib import Path

# Without the tool pathtrace writes a rule itself, and says what of it it can't.
NOT_RENDERED = re.compile(r"\[(match|target) \w+\]")
# (family or "", table, chain) → the texts of its rules, in order
Rules = dict[tuple[str, str, str], list[str]]


def of_save(text: str) -> Rules:
    """Of iptables-save."""
    rules: Rules = {}
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif match := re.match(r"-A (\S+) ?(.*)", line):
            rules.setdefault(("", table, match[1]), []).append(match[2])
    return rules


def of_nft(text: str) -> Rules:
    """Of `nft list ruleset`: a rule is a line of a chain, or several where a set in it is long."""
    rules: Rules = {}
    table, chain, pending = ("", ""), "", ""
    for line in map(str.strip, text.splitlines()):
        if match := re.fullmatch(r"table (\w+) (\S+) \{", line):
            table = match[1], match[2]
        elif match := re.fullmatch(r"chain (\S+) \{", line):
            chain = match[1]
            rules[*table, chain] = []
        elif line == "}" and not pending:
            chain = ""
        elif chain and line and not re.match(r"type \w+ hook |policy |comment ", line):
            pending = f"{pending} {line}".strip()
            if pending.count("{") == pending.count("}"):
                rules[*table, chain].append(pending)
                pending = ""
    return rules


def listed(folder: Path, backend: str, netns: str) -> list[Rules]:
    """What the backend's own tool printed, before the trace and after it."""
    name, read = (f"nft.{netns}", of_nft) if backend == "nftables" else (f"iptables.{netns}", of_save)
    paths = [folder / when / name for when in ("before", "after")]
    return [read(path.read_text(errors="replace")) for path in paths if path.exists()]


def contradictions(folder: Path, lines: list[dict], saved: tuple[str, str], changing: bool) -> list[str]:
    """`saved`: the backend and family whose iptables-save was taken. `changing`: rules come or go meanwhile, so that one may be in neither listing."""
    seen: dict[tuple[str, str], list[Rules]] = {}
    problems = []
    for line in lines:
        netns = (line.get("netns") or {}).get("name")
        if line.get("type") != "packet" or not netns:
            continue
        for step in line["steps"]:
            if step["kind"] != "rule" or step["missing"] or step["text"] is None:
                continue
            if step["backend"] != "nftables" and (step["backend"], step["family"]) != saved:
                continue
            if NOT_RENDERED.search(step["text"]):
                continue
            key = step["backend"], netns
            if key not in seen:
                seen[key] = listed(folder, *key)
            problems += contradiction(step, seen[key], changing)
    return list(dict.fromkeys(problems))


def contradiction(step: dict, listings: list[Rules], changing: bool) -> list[str]:
    if not listings:
        return []  # of this namespace or backend there is no listing
    place = (step["family"] if step["backend"] == "nftables" else "", step["table"], step["chain"])
    chains = [rules.get(place, []) for rules in listings]
    there = [chain[step["rule"] - 1] for chain in chains if 0 < step["rule"] <= len(chain)]
    if step["text"] in there or (not there and changing):
        return []
    return [f"{'/'.join(filter(None, place))} rule {step['rule']} is said to be {step['text']!r}, the tool's own list has {there[:1] or 'no such rule'}"]
