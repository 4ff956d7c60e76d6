# SPDX-License-Identifier: GPL-2.0
"""From what a boot left to a verdict."""

import collections
import dataclasses
import re
from pathlib import Path

import case as cases
import trace_log
import trace_netlink
import vm
from compare import Result, compare
from output import Output
from walks import without_emptied_witness


@dataclasses.dataclass
class Verdict:
    rulesets: int = 0
    witness_lost: int = 0
    refused: set[int] = dataclasses.field(default_factory=set)  # cases whose ruleset could not be loaded
    loading: list[str] = dataclasses.field(default_factory=list)  # what was said then
    lost: int = 0  # events that pathtrace says it lost
    mislabelled: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    result: Result = dataclasses.field(default_factory=Result)
    failures: dict[int, Result] = dataclasses.field(default_factory=dict)  # by case

    def add(self, other: "Verdict") -> None:
        self.rulesets += other.rulesets
        self.witness_lost += other.witness_lost
        self.lost += other.lost
        self.mislabelled.update(other.mislabelled)
        self.result.add(other.result)
        self.failures.update(other.failures)
        self.refused |= other.refused
        self.loading += other.loading

    def without_refused(self, played: list[cases.Case], say) -> None:
        """Rulesets of real hosts may need what this machine's tools don't know: a notice, no failure."""
        for note in sorted({case.note for case in played if case.number in self.refused}):
            say(f"     not loaded: {note}")
        self.rulesets = len({case.note for case in played if case.number not in self.refused})
        self.loading = []

    def failed(self) -> bool:
        return bool(not self.result.packets or self.result.failed or self.loading or self.witness_lost or self.result.unexplained)

    def summary(self) -> str:
        result = self.result
        text = f"{self.rulesets:,} rulesets, {result.packets:,} packets, {result.rules:,} rules compared: "
        text += f"{len(result.wrong)} wrong, {len(result.missing)} missing, {result.partial.total()} partial"
        text += f", {len(result.unexplained)} of them unexplained" if result.unexplained else ""
        text += f", {self.lost} lost" if self.lost else ""
        return text + (f", {self.witness_lost} of the witness's lost" if self.witness_lost else "")

    def words(self, seed: int, most: int = 12) -> list[str]:
        lines = [f"problem: {problem}" for problem in [*self.loading, *self.result.problems][:most]]
        for number, result in sorted(self.failures.items())[:most]:
            lines.append(f"case {number} of seed {seed}:")
            for what, found in (("wrong", result.wrong), ("missing", result.missing), ("unexplained", result.unexplained)):
                lines += [f"  {what}: {each}" for each in found[:3]]
        lines += [f"partial, {count} times: {why}" for why, count in self.result.partial.most_common()]
        if self.mislabelled:
            lines.append("rules that TRACE calls something else: " + ", ".join(f"{n} {what}" for what, n in self.mislabelled.items()))
        return lines


def judge(out: Path, outcome: vm.Outcome, played: list[cases.Case], backend: str, churn: bool, verdicts_only: bool = False) -> Verdict:
    verdict = Verdict(rulesets=len(played))
    problems = verdict.result.problems
    if outcome.verdict != "finished":
        problems.append(f"VM {outcome.verdict}: {outcome.why}")
    elif outcome.status != 0:
        problems.append(f"the guest ended with status {outcome.status}: {read(out / 'output')[-600:]}")
    problems += [f"the kernel complained:\n{splat}" for splat in outcome.splats]
    for version in (4, 6):
        mine = [case for case in played if case.version == version]
        folder = out / f"v{version}"
        if not mine or not folder.exists():
            continue
        judge_session(folder, mine, backend, churn, verdict, verdicts_only)
    return verdict


def judge_session(folder: Path, played: list[cases.Case], backend: str, churn: bool, verdict: Verdict, verdicts_only: bool) -> None:
    version = played[0].version
    prefix = "10.9." if version == 4 else "fd09::"

    def is_client(address: str) -> bool:
        return address.startswith(prefix)

    problems = verdict.result.problems
    said = read(folder / "log")
    refused = {int(number) for number in re.findall(r"case (\d+): \S*(?:restore|nft) ended", said)}
    verdict.refused |= refused
    (verdict.loading if refused else problems).extend(said.splitlines() + read(folder / "errors").splitlines()[:20])
    if read(folder / "status").strip() != "0":
        problems.append(f"pathtrace ended with status {read(folder / 'status').strip()}: {read(folder / 'stderr')[-500:]}")
    log = trace_log.Log(folder / "kmsg", is_client)
    problems += [f"the kernel complained:\n{splat}" for splat in log.splats]
    output = Output(folder / "stdout.jsonl", None, is_client)
    problems += output.problems
    verdict.lost += output.lost
    keys = collections.defaultdict(set)
    records = trace_netlink.Records(folder / "nftrace", is_client) if backend != "legacy" else None
    for key in [*(log.records if records is None else records.walks), *output.steps]:
        keys[key[0]].add(key)
    verdict.witness_lost += log.lost if records is None else records.lost
    for case in played:
        if case.number in refused:
            continue
        result = Result()
        numbers = trace_netlink.Numbers.read(folder / f"rules{case.place}")
        a, b = case.variants if churn else (case.rules, case.rules)
        broken = {packet.key(case.client(packet)) for packet in case.packets if packet.broken}
        for client in dict.fromkeys(case.client(packet) for packet in case.packets):
            for key in sorted(keys[client]):
                name = f"{key[0]} {'sends' if key[1] else 'is sent'} {key[2]} bytes"
                unseen: list = []
                if records is None:
                    reader = trace_log.Reader({"A": a, "B": b}, key[1], verdict.mislabelled)
                    unseen = trace_log.before_tracing({"A": a, "B": b}, key[1]) if key in broken else []
                    seen, told = reader.read(log.records.get(key, [])), output.legacy_walks(key)
                else:
                    seen = [walk.deciding() if verdicts_only else walk for walk in records.walks.get(key, [])]
                    told = output.nft_walks(key, None if churn else numbers, result.wrong)
                    if churn:
                        seen, told = without_emptied_witness(seen), without_emptied_witness(told)
                compare(name, seen, told, result, unseen)
        if churn:  # there every partial has its explanation
            result.unexplained = []
        verdict.result.add(result)
        if result.wrong or result.missing or result.unexplained:
            verdict.failures[case.number] = result


def read(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""
