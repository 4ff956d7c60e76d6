# SPDX-License-Identifier: GPL-2.0
"""pathtrace's JSON Lines as walks."""

import collections
import json
from pathlib import Path

from walks import BUILTIN, POLICY, UNSAID, Step, Walk

INWARD = {"PREROUTING", "INPUT", "INGRESS"}


class Output:
    def __init__(self, path: Path, netns: int | None, is_client):
        self.steps: dict[tuple, list[tuple[int, int, dict]]] = collections.defaultdict(list)
        self.origins: dict[tuple, set] = collections.defaultdict(set)
        self.lost, self.problems, self.namespaces = 0, [], collections.Counter()
        self.start, self.end = None, None
        order = 0
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
            try:
                record = json.loads(line)
            except ValueError:
                self.problems.append(f"line {number} is no JSON: {line[:100]}")
                continue
            match record["type"]:
                case "packet":
                    steps = [step for step in record["steps"] if step["kind"] in ("rule", "policy")]
                    if not steps:
                        continue
                    key = self.key(record, is_client)
                    self.origins[key].add(record["origin"])
                    for step in steps:
                        order += 1
                        self.steps[key].append((record["ts_ns"] + step["offset_ns"], order, step))
                case "lost":
                    self.lost += record["count"]
                case "start":
                    self.start = record
                case "end":
                    self.end = record
        if self.end is None:
            self.problems.append("the output has no end")

    @staticmethod
    def key(record: dict, is_client) -> tuple:
        source, destination = record["src"], record["dst"]
        from_client = source is not None and is_client(source)
        return (source if from_client else destination, from_client, record["length"])

    def legacy_walks(self, key: tuple) -> list[Walk]:
        found: list[Walk] = []
        last, last_place = None, None
        for when, _, step in sorted(self.steps.get(key, []), key=lambda each: each[:2]):
            if step["backend"] != "iptables-legacy":
                continue
            place = (when, step["table"], step["hook"])
            if last is None or place != last_place:
                last = Walk(step["table"], step["hook"], outward=step["hook"] not in INWARD)
                found.append(last)
                last_place = place
            if step["missing"]:
                last.missing.append(step["missing"])
                if step["chain"] is None:
                    continue
            if step["kind"] == "policy":
                last.steps.append(Step(step["chain"], POLICY, step["verdict"]))
            else:
                last.steps.append(Step(step["chain"], step["rule"], step["verdict"] or UNSAID))
        return found

    def nft_walks(self, key: tuple, numbers, wrong: list[str]) -> list[Walk]:
        found: list[Walk] = []
        last, last_place = None, None
        for when, _, step in sorted(self.steps.get(key, []), key=lambda each: each[:2]):
            if step["backend"] == "iptables-legacy":
                continue
            table = f"{step['family']} {step['table']}"
            place = (when, table, step["hook"])
            if last is None or place != last_place:
                last = Walk(table, step["chain"] or "?", outward=step["hook"] not in INWARD)
                found.append(last)
                last_place = place
            if step["missing"]:
                last.missing.append(step["missing"])
                if step["chain"] is None:
                    continue
            if step["kind"] == "policy":
                last.steps.append(Step(step["chain"], POLICY, step["verdict"]))
                continue
            handle = int(step["handle"] or -1)
            last.steps.append(Step(step["chain"], handle, "drop" if step["verdict"] == "reject" else step["verdict"]))
            number = numbers and numbers.of.get((table, step["chain"], handle))
            if step["rule"] is not None and numbers and step["rule"] != number:
                wrong.append(f"{key}: {table} {step['chain']} handle {handle} is called rule {step['rule']}, but is {number}")
        return found
