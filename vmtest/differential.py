#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Compares pathtrace with the kernel's own tracing on random rulesets and packets, rule by rule.

  python3 vmtest/differential.py                                      200 rulesets a backend on 6.1
  python3 vmtest/differential.py --backend legacy --kernel 6.12 --smp 2 --rulesets 2000 --seed 7
  python3 vmtest/differential.py --backend legacy --seed 7 --case 123  one case again; --show prints it
  python3 vmtest/differential.py --set ci --rulesets 10000            configurations that go together (SETS below)

  --shrink leaves out rules and packets of the first failing case, as long as it fails (some boots more)
  --load   background traffic through the same rules, from processes and in softirqs
  --churn  rulesets are replaced again and again while the packets go through them: what can't be tied to a rule may be partial

The witness is TRACE's lines in the kernel's log for legacy, and the trace records of nftables for the others. A seed and a case's
number make the same rules and packets everywhere; fuzz/ has the parts. What a run left is in build/vmtest/differential/.
"""

import argparse
import collections
import concurrent.futures
import dataclasses
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "fuzz"))

import initramfs
import kernels
import vm
from run import indented, program, say

import case as cases
import judge
import real
import shrink

BACKENDS = ("legacy", "iptables-nft", "nftables")
CASES_A_BOOT = 400
SECONDS_A_CASE = 12  # a bound; on an idle machine it takes less than one


@dataclasses.dataclass(frozen=True)
class Configuration:
    backend: str
    label: str  # of the kernel: NAME[-smpN]
    load: bool = False
    churn: bool = False
    no_trace_key: bool = False
    no_fentry: bool = False
    boot: str = ""  # the kernel's parameters
    share: int = 100  # of the rulesets of its backend in a set, in percent
    first: int = 0  # case; configurations of a set play different ones

    @property
    def title(self) -> str:
        extras = {"load": self.load, "churn": self.churn, "no-trace-key": self.no_trace_key, "no-fentry": self.no_fentry}
        return " ".join([self.label, self.backend, *(word for word, on in extras.items() if on), *self.boot.split()])

    @property
    def kernel(self) -> kernels.Kernel:
        return kernels.find(self.label.partition("-smp")[0])

    @property
    def smp(self) -> int:
        return int(self.label.partition("-smp")[2] or 1)

    def why_not(self) -> str:
        if self.backend == "legacy" and not list(self.kernel.modules.rglob("iptable_filter.ko*")):
            return "this kernel has no ip_tables"
        return ""


# What is run together: those that prove most for their time. Each backend's shares make 100, those of nftables with iptables-nft's. Two
# CPUs and one keep the counters of iptables-legacy in different places, load makes walks fall into each other, and what the kernel doesn't
# initialise it reads as something without init_on_alloc, which Debian's kernels have on.
SETS = {
    "ci": (
        Configuration("legacy", "6.1-smp2", load=True, share=45),
        Configuration("legacy", "6.12", share=44, first=100_000),
        Configuration("legacy", "latest", share=6, first=400_000),
        Configuration("legacy", "6.12-smp2", churn=True, share=5, first=200_000),
        Configuration("nftables", "latest", boot="init_on_alloc=0", share=40),
        Configuration("nftables", "6.1-smp2", load=True, share=25, first=100_000),
        Configuration("nftables", "6.12-smp2", load=True, no_trace_key=True, share=10, first=300_000),
        Configuration("iptables-nft", "6.12", share=25),
    ),
}


def run(options, conf: Configuration, rulesets: int) -> str:
    """One configuration: passed, failed or skipped."""
    if why := conf.why_not():
        if options.set:
            say(f"FAIL {conf.title}: not run, and a set needs all of its configurations: {why}")
            return "failed"
        return skipped(conf.title, why)
    first = options.first + conf.first
    numbers = [options.case] if options.case is not None else range(first, first + rulesets)
    total, began = judge.Verdict(), time.monotonic()
    boots = [numbers[i : i + CASES_A_BOOT] for i in range(0, len(numbers), CASES_A_BOOT)]
    for done, batch in enumerate(boots):
        if done:  # a long run says how far it is
            say(f"     {conf.title}: {done * CASES_A_BOOT} of {len(numbers)} rulesets, {len(total.failures)} with a failure")
        played = [cases.generate(conf.backend, options.seed, number) for number in batch]
        total.add(boot(options, conf, conf.title, played))
    return report(options, total, conf.title, began, lambda: shrunk(options, conf, min(total.failures)))


def real_rulesets(options, conf: Configuration) -> str:
    title = f"{conf.title} real rulesets"
    if why := conf.why_not():
        return skipped(title, why)
    found = real.files(conf.backend)
    if not found:
        return skipped(title, f"none in {real.FOLDER}; PATHTRACE_RULESETS names their folder")
    total, began = judge.Verdict(), time.monotonic()
    played = [case for path in found for case in real.generate(path, conf.backend, options.seed)]
    for number, case in enumerate(played):
        case.number = number
    total.add(boot(options, conf, title, played))
    total.without_refused(played, say)
    return report(options, total, title, began, None)


def skipped(title: str, why: str) -> str:
    say(f"skip {title} ({why})")
    return "skipped"


def report(options, total: judge.Verdict, title: str, began: float, shrink_first) -> str:
    """The line comes first, then what it is about: several configurations may run at a time."""
    verdict = "FAIL" if total.failed() else "ok"
    lines = [f"{verdict} {title} {total.summary()} ({time.monotonic() - began:.0f} s)"]
    lines += [indented(line) for line in total.words(options.seed)]
    if total.failures and options.shrink and shrink_first:
        lines.append(indented(shrink_first()))
    say("\n".join(lines))
    return "passed" if verdict == "ok" else "failed"


def shrunk(options, conf: Configuration, number: int) -> str:
    """The first failing case, as small as it gets."""

    def play(tried: list[cases.Case]) -> set[int]:
        return set(boot(options, conf, f"{conf.title} shrink", tried).failures)

    small = shrink.shrink(cases.generate(conf.backend, options.seed, number), play, lambda text: say(indented(text)))
    return f"case {number} of seed {options.seed}, made small:\n{cases.shown(small)}"


def boot(options, conf: Configuration, title: str, played: list[cases.Case]) -> judge.Verdict:
    out = initramfs.BUILD / "differential" / title.replace(" ", "-")
    arguments = ["--no-trace-key"] * conf.no_trace_key + ["--no-fentry"] * conf.no_fentry
    files = cases.guest_files(played, conf.backend, load=conf.load, churn=conf.churn, arguments=" ".join(arguments))
    programs = {
        "usr/local/bin/pathtrace": program(options.pathtrace, "pathtrace"),
        "usr/local/bin/traffic": program(options.traffic, "traffic"),
        "usr/local/bin/player": program(options.player, "player"),
    }
    outcome = vm.boot(
        conf.kernel, initramfs.tested_part(programs, files), out, smp=conf.smp,
        timeout=vm.READY_WITHIN + SECONDS_A_CASE * len(played) + 60, silence=200, parameters=conf.boot,
    )  # fmt: skip
    return judge.judge(out, outcome, played, conf.backend, conf.churn, conf.no_trace_key)


def configurations(options) -> list[tuple[Configuration, int]]:
    """With the number of rulesets each is to play."""
    if options.set:
        return [(conf, -(-options.rulesets * conf.share // 100)) for conf in SETS[options.set] if conf.backend in (options.backend or BACKENDS)]
    found = []
    for backend in options.backend or BACKENDS:
        for label in options.kernel or ["6.1"]:
            label += f"-smp{options.smp}" if options.smp > 1 and "-smp" not in label else ""
            conf = Configuration(backend, label, options.load, options.churn, options.no_trace_key, options.no_fentry, options.boot)
            found.append((conf, options.rulesets))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", action="append", choices=BACKENDS, help="may be repeated; all unless given")
    parser.add_argument("--kernel", action="append", metavar="NAME[-smpN]", help="may be repeated; 6.1 unless given")
    parser.add_argument("--smp", type=int, default=1, metavar="N", help="for kernels given without -smpN")
    parser.add_argument("--set", choices=SETS, help="instead of --kernel, --load and --churn")
    parser.add_argument("--rulesets", type=int, default=200, metavar="N", help="a configuration; with --set: a backend")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="configurations at a time; a VM keeps one processor busy")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, metavar="CASE", help="number of the first case")
    parser.add_argument("--case", type=int, metavar="CASE", help="only this one")
    parser.add_argument("--show", action="store_true", help="print the case instead of running it")
    parser.add_argument("--real", action="store_true", help="rulesets of real hosts instead of random ones (fuzz/real.py)")
    parser.add_argument("--shrink", action="store_true", help="make the first failing case small")
    parser.add_argument("--load", action="store_true")
    parser.add_argument("--churn", action="store_true")
    parser.add_argument("--no-trace-key", action="store_true", help="pathtrace runs so: only rules with a verdict and policies are compared")
    parser.add_argument("--no-fentry", action="store_true", help="pathtrace runs so: by kprobe")
    parser.add_argument("--boot", default="", metavar="PARAMETERS", help="of the kernel, as preempt=full or init_on_alloc=0")
    for name in ("pathtrace", "traffic", "player"):
        parser.add_argument(f"--{name}", type=Path, metavar="PATH", help=f"build/release/{name} unless given")
    options = parser.parse_args()
    if options.set and (options.kernel or options.load or options.churn or options.no_trace_key or options.no_fentry or options.boot or options.real or options.smp > 1):
        parser.error("--set says itself which kernels, and whether with load and churn")
    if options.show:
        for backend in options.backend or BACKENDS:
            print(cases.shown(cases.generate(backend, options.seed, options.case or options.first)))
        return 0
    chosen = configurations(options)
    try:
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            if options.real:
                verdicts = list(pool.map(lambda each: real_rulesets(options, each[0]), chosen))
            else:
                verdicts = list(pool.map(lambda each: run(options, *each), chosen))
    except (kernels.KernelError, initramfs.InitramfsError) as error:
        print(f"differential.py: {error}", file=sys.stderr)
        return 2
    counts = collections.Counter(verdicts)
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 1 if counts["failed"] or not counts["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
