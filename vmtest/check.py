# SPDX-License-Identifier: GPL-2.0
"""Judges one variant by what it left in its folder. Every check gives a list of problems in words; none means it passed."""

import collections
import difflib
import functools
import json
import re
from pathlib import Path
from typing import Any

import expect
import rulesets
import scenario
from vm import find_splats

SCHEMA = Path(__file__).resolve().parent.parent / "docs" / "event.schema.json"
KILLED = 137


def judge(variant: scenario.Variant, folder: Path, guest_status: int) -> list[str]:
    if guest_status == 99:
        return ["the set-up failed"]
    if guest_status != 0:
        return [f"the script in the guest ended with status {guest_status}" + (" (150 s were up)" if guest_status == 137 else "")]
    problems = read(folder / "problems").splitlines()
    problems += wrong_steps(variant, folder)
    if variant.starts_pathtrace:
        problems += wrong_trace(variant, folder)
    problems += changed_state(variant, folder)
    problems += [f"the kernel complained:\n{splat}" for splat in find_splats(read(folder / "dmesg"))]
    return problems


def wrong_trace(variant: scenario.Variant, folder: Path) -> list[str]:
    """Of the pathtrace that ran beside the traffic."""
    problems = wrong_status(variant, folder)
    lines, broken = json_lines(read(folder / "stdout.jsonl"), killed="KILL" in variant.ending)
    problems += broken
    problems += against_schema(lines)
    problems += inconsistent(variant, lines)
    problems += expect.unmet(variant.get("expect", []), variant.get("refuse", []), lines)
    problems += wrong_connections(variant, folder, lines)
    problems += expect.exceptions(variant.get("every", []), lines)
    problems += wrong_text(variant, folder)
    problems += unseen_state(folder)
    saved = variant.backend, {"ipv4": "ip", "ipv6": "ip6"}[variant.family]
    changing = any(re.match("nft|iptables", name) for name in variant.get("changes", []))
    problems += rulesets.contradictions(folder, lines, saved, changing)
    return problems


def read(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def said_by_steps(folder: Path) -> dict[str, str]:
    return dict(line.split(" ", 1) for line in read(folder / "steps").splitlines())


def one_each(step: dict, key: str, default: Any = None) -> list:
    """For each of the step's connections: a list says it one by one."""
    given = step.get(key, default)
    return given if isinstance(given, list) else [given] * step.get("count", 1)


def wrong_steps(variant: scenario.Variant, folder: Path) -> list[str]:
    """What each connect said; the status of each run, and what it printed."""
    said = said_by_steps(folder)
    problems = []
    for number, step in enumerate(variant.steps()):
        match scenario.kind(step):
            case "connect":
                wanted = " ".join(one_each(step, "errno", "ok"))
            case "run":
                wanted = str(step.get("status", 0))
            case _:
                continue
        got = re.sub(r"@\S+", "", said.get(str(number), "nothing")).strip()
        printed = read(folder / f"step-{number}.out")
        name = f"step {number} ({expect.compact(step, 200)})"
        if got != wanted:
            problems.append(f"{name} said {got}, expected {wanted}")
            problems += [f"     {line}" for line in printed.splitlines()[-5:]]
        problems += lacking(f"what {name} printed", step.get("output", []), printed)
    return problems


def wrong_status(variant: scenario.Variant, folder: Path) -> list[str]:
    wanted = variant.get("status", KILLED if "KILL" in variant.ending else 0)
    got = read(folder / "status").strip()
    problems = [] if got == str(wanted) else [f"pathtrace ended with status {got or '(none)'}, expected {wanted}"]
    replayed = read(folder / "text.status").strip()
    if replayed != "0":
        problems.append(f"pathtrace -r ended with status {replayed or '(none)'}: {read(folder / 'text.err').strip()[-300:]}")
    return problems


def json_lines(text: str, killed: bool) -> tuple[list[dict], list[str]]:
    lines, problems = [], []
    if not text:
        return [], ["pathtrace printed nothing"]
    whole, _, rest = text.rpartition("\n")
    if rest and not killed:  # kill -9 may cut the last line short
        problems.append(f"the last line has no end: {rest[-200:]}")
    for number, line in enumerate(whole.split("\n") if whole else [], start=1):
        try:
            lines.append(json.loads(line))
        except ValueError as error:
            problems.append(f"line {number} is no JSON: {error}: {line[:200]}")
    return lines, problems


@functools.cache
def validator():
    import jsonschema  # not needed to run a single command in a VM

    schema = json.loads(SCHEMA.read_text())
    jsonschema.validators.validator_for(schema).check_schema(schema)
    return jsonschema.validators.validator_for(schema)(schema)


def against_schema(lines: list[dict]) -> list[str]:
    if not SCHEMA.exists():
        return ["docs/event.schema.json is missing: nothing to validate the output against"]
    problems = []
    for number, line in enumerate(lines, start=1):
        for error in list(validator().iter_errors(line))[:2]:
            where = ".".join(map(str, error.absolute_path)) or "the whole line"
            problems.append(f"line {number} breaks the schema at {where}: {error.message[:300]}")
    return problems[:10]


def inconsistent(variant: scenario.Variant, lines: list[dict]) -> list[str]:
    """What holds for every stream: its first and its last line, and that the counts of `end` are those of the lines before it."""
    if not lines or lines[0].get("type") != "start":
        return ["the first line is not `start`"]
    if "KILL" in variant.ending:
        return []
    end = lines[-1]
    if end.get("type") != "end":
        return ["the last line is not `end`"]

    def of(kind: str) -> list[dict]:
        return [line for line in lines if line.get("type") == kind]

    connections = {line.get("id") for line in of("connection")}
    lost = sum(line.get("count", 0) for line in of("lost"))
    wanted = {"connections": len(connections), "packets": len(of("packet")), "lost": lost, "reason": variant.get("ends", "interrupted")}
    problems = [f"`end` says {key} {end.get(key)}, it is {value}" for key, value in wanted.items() if end.get(key) != value]
    if lost and not variant.get("under_load") and not any(entry.get("type") == "lost" for entry in variant.get("expect", [])):
        problems.append(f"{lost} events were lost")
    strays = {line.get("connection") for line in of("packet")} - connections
    if strays:
        problems.append(f"packets of connections that are not reported: {sorted(map(str, strays))[:5]}")
    return problems


def said_to_lack(variant: scenario.Variant, folder: Path, lines: list[dict]) -> bool:
    """Whether a pathtrace under load said that it had not seen everything. Then it may be unsure, but not wrong."""
    lost = any(line.get("type") == "lost" for line in lines)
    return bool(variant.get("under_load")) and (lost or "the kernel left out a program" in read(folder / "stderr"))


def wrong_connections(variant: scenario.Variant, folder: Path, lines: list[dict]) -> list[str]:
    """Of each connect that says what it `is`: the last report of each of its connections, found by the client's own end."""
    reported = {}
    confidence = "~^(exact|partial)$" if said_to_lack(variant, folder, lines) else "exact"
    for line in lines:
        if line.get("type") == "connection":
            reported[key_of(line["protocol"], line["client"], line["server"])] = line
    said = said_by_steps(folder)
    problems = []
    for number, step in enumerate(variant.steps()):
        if "is" not in step:
            continue
        wrong = []
        ends = re.findall(r"(\S+)@(\S+),(\d+)", said.get(str(number), ""))
        wanted_ends = one_each(step, "is")
        if len(ends) != len(wanted_ends):
            problems.append(f"step {number}: {len(wanted_ends)} connections are judged by their own end, {len(ends)} were said: {said.get(str(number))}")
        for (word, address, port), what in zip(ends, wanted_ends):
            protocol = "udp" if step.get("udp") else "tcp"
            server = {"address": step["connect"], "port": step["port"]}
            line = reported.get(key_of(protocol, {"address": address, "port": int(port)}, server))
            wanted = {"errno": "<null>" if word == "ok" else word, "confidence": confidence, **what}
            if line is None:
                wrong.append(f"{address},{port}: no such connection was reported")
            elif unlike := expect.differences(wanted, line, {}):
                wrong.append(f"{address},{port}: {'; '.join(unlike)}\n          of: {expect.compact(line)}")
        if wrong:
            problems.append(f"step {number} to port {step['port']}: {len(wrong)} connections are not what they are said to be")
            problems += [f"     {text}" for text in wrong[:3]]
    return problems


def key_of(protocol: str, client: dict, server: dict) -> tuple:
    return (protocol, client["address"], client["port"], server["address"], server["port"])


def wrong_text(variant: scenario.Variant, folder: Path) -> list[str]:
    """Of `pathtrace -r` on what was recorded, and of what the live one said on stderr."""
    problems = []
    for key, name, what in (("text", "text", "the text"), ("stderr", "stderr", "stderr")):
        text = read(folder / name)
        problems += lacking(what, variant.get(f"expect_{key}", []), text)
        for pattern in variant.get(f"refuse_{key}", []):
            if re.search(pattern, text, re.MULTILINE):
                problems.append(f"must not appear in {what}: {pattern}")
    return problems


def lacking(what: str, patterns: list[str], text: str) -> list[str]:
    """Regular expressions are found one after the other."""
    position = 0
    for pattern in patterns:
        found = re.compile(pattern, re.MULTILINE).search(text, position)
        if not found:
            return [f"{what} lacks, after what came before it: {pattern}\n" + "\n".join(f"     {line}" for line in text.splitlines())]
        position = found.end()
    return []


def changed_state(variant: scenario.Variant, folder: Path) -> list[str]:
    before = {path.name for path in (folder / "before").glob("*")}
    if not before:
        return ["the state before was not taken"]
    after = {path.name for path in (folder / "after").glob("*")}
    problems = []
    for name in sorted((before | after) - set(variant.get("changes", []))):
        old, new = (lasting(name, read(folder / when / name)) for when in ("before", "after"))
        if old != new:
            changes = [line for line in difflib.unified_diff(old, new, lineterm="", n=0) if not line.startswith(("---", "+++", "@@"))]
            problems.append(f"left changed: {name}\n" + "\n".join(f"     {line}" for line in changes[:12]))
    return problems


def unseen_state(folder: Path) -> list[str]:
    """That nothing of pathtrace is left means something only where it was seen while it ran."""
    before, during = (collections.Counter(lasting("bpf", read(folder / when / "bpf"))) for when in ("before", "during"))
    kinds = {line.split()[0] for line in during - before}
    missing = [kind for kind in ("prog", "map", "link") if kind not in kinds]
    return [f"while pathtrace ran, none of its BPF objects was seen of the kind: {', '.join(missing)}"] if missing else []


# Sysctls that are readings, or made up when first read.
READINGS = re.compile(r"nf_conntrack_count|tcp_fastopen_key|stable_secret")


def lasting(name: str, text: str) -> list[str]:
    """The lines of a file of state without what changes by itself: counters, the order of listing."""
    lines = text.splitlines()
    match name.split(".")[0]:
        case "bpf" | "bpftool":
            return sorted(lines)  # two of a name are two
        case "nft" | "iptables":
            return [re.sub(r"\[\d+:\d+\]", "", line) for line in lines if not line.startswith("#")]
        case "modules":
            lines = [line.split()[0] for line in lines]
        case "netns-in-use":
            lines = re.findall(r"net:\[\d+\]", text)  # a process that is just ending has none
        case "links":
            # the carrier comes a moment after the other end is up
            lines = [re.sub(r" state [A-Z]+|\b(NO-CARRIER|LOWER_UP),|,(NO-CARRIER|LOWER_UP)\b", "", line) for line in lines]
        case "sysctl":
            lines = [line for line in lines if not READINGS.search(line)]
    return sorted(set(lines))
