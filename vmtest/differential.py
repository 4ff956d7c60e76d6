#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Compares pathtrace with the kernel's own tracing on random rulesets and packets, rule by rule.

  python3 vmtest/differential.py                                      200 rulesets a backend on 6.1
  python3 vmtest/differential.py --backend legacy --kernel 6.12 --smp 2 --rulesets 2000 --seed 7
  python3 vmtest/differential.py --backend legacy --seed 7 --case 123  one case again; --show prints it

  --shrink leaves out rules and packets of the first failing case, as long as it fails (some boots more)
  --load   background traffic through the same rules, from processes and in softirqs
  --churn  rulesets are replaced again and again while the packets go through them: what can't be tied to a rule may be partial

The witness is TRACE's lines in the kernel's log for legacy, and the trace records of nftables for the others. A seed and a case's
number make the same rules and packets everywhere; fuzz/ has the parts. What a run left is in build/vmtest/differential/.
"""

import argparse
import collections
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


def run(options, backend: str, label: str) -> str:
    """One configuration: passed, failed or skipped."""
    name, _, smp = label.partition("-smp")
    kernel = kernels.find(name)
    title = " ".join([label, backend, *(["load"] if options.load else []), *(["churn"] if options.churn else []), *(["no-trace-key"] if options.no_trace_key else [])])
    if backend == "legacy" and not list(kernel.modules.rglob("iptable_filter.ko*")):
        return skipped(title, "this kernel has no ip_tables")
    numbers = [options.case] if options.case is not None else range(options.first, options.first + options.rulesets)
    total, began = judge.Verdict(), time.monotonic()
    boots = [numbers[i : i + CASES_A_BOOT] for i in range(0, len(numbers), CASES_A_BOOT)]
    for batch in boots:
        played = [cases.generate(backend, options.seed, number) for number in batch]
        total.add(boot(options, backend, kernel, int(smp or 1), title, played))
    return report(options, total, title, began, lambda: shrunk(options, backend, kernel, int(smp or 1), title, min(total.failures)))


def real_rulesets(options, backend: str, label: str) -> str:
    name, _, smp = label.partition("-smp")
    kernel = kernels.find(name)
    title = f"{label} {backend} real rulesets"
    if backend == "legacy" and not list(kernel.modules.rglob("iptable_filter.ko*")):
        return skipped(title, "this kernel has no ip_tables")
    found = real.files(backend)
    if not found:
        return skipped(title, f"none in {real.FOLDER}; PATHTRACE_RULESETS names their folder")
    total, began = judge.Verdict(), time.monotonic()
    played = [case for path in found for case in real.generate(path, backend, options.seed)]
    for number, case in enumerate(played):
        case.number = number
    total.add(boot(options, backend, kernel, int(smp or 1), title, played))
    total.without_refused(played, say)
    return report(options, total, title, began, None)


def skipped(title: str, why: str) -> str:
    say(f"skip {title} ({why})")
    return "skipped"


def report(options, total: judge.Verdict, title: str, began: float, shrink_first) -> str:
    for line in total.words(options.seed):
        say(indented(line))
    if total.failures and options.shrink and shrink_first:
        say(indented(shrink_first()))
    verdict = "FAIL" if total.failed() else "ok"
    say(f"{verdict} {title} {total.summary()} ({time.monotonic() - began:.0f} s)")
    return "passed" if verdict == "ok" else "failed"


def shrunk(options, backend: str, kernel: kernels.Kernel, smp: int, title: str, number: int) -> str:
    """The first failing case, as small as it gets."""

    def play(tried: list[cases.Case]) -> set[int]:
        return set(boot(options, backend, kernel, smp, f"{title} shrink", tried).failures)

    small = shrink.shrink(cases.generate(backend, options.seed, number), play, lambda text: say(indented(text)))
    return f"case {number} of seed {options.seed}, made small:\n{cases.shown(small)}"


def boot(options, backend: str, kernel: kernels.Kernel, smp: int, title: str, played: list[cases.Case]) -> judge.Verdict:
    out = initramfs.BUILD / "differential" / title.replace(" ", "-")
    files = cases.guest_files(played, backend, load=options.load, churn=options.churn, arguments="--no-trace-key" if options.no_trace_key else "")
    programs = {
        "usr/local/bin/pathtrace": program(options.pathtrace, "pathtrace"),
        "usr/local/bin/traffic": program(options.traffic, "traffic"),
        "usr/local/bin/player": program(options.player, "player"),
    }
    outcome = vm.boot(
        kernel, initramfs.tested_part(programs, files), out, smp=smp, timeout=vm.READY_WITHIN + SECONDS_A_CASE * len(played) + 60,
        silence=200,
    )  # fmt: skip
    return judge.judge(out, outcome, played, backend, options.churn, options.no_trace_key)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", action="append", choices=BACKENDS, help="may be repeated; all unless given")
    parser.add_argument("--kernel", action="append", metavar="NAME[-smpN]", help="may be repeated; 6.1 unless given")
    parser.add_argument("--smp", type=int, default=1, metavar="N", help="for kernels given without -smpN")
    parser.add_argument("--rulesets", type=int, default=200, metavar="N")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, metavar="CASE", help="number of the first case")
    parser.add_argument("--case", type=int, metavar="CASE", help="only this one")
    parser.add_argument("--show", action="store_true", help="print the case instead of running it")
    parser.add_argument("--real", action="store_true", help="rulesets of real hosts instead of random ones (fuzz/real.py)")
    parser.add_argument("--shrink", action="store_true", help="make the first failing case small")
    parser.add_argument("--load", action="store_true")
    parser.add_argument("--churn", action="store_true")
    parser.add_argument("--no-trace-key", action="store_true", help="pathtrace runs so: only rules with a verdict and policies are compared")
    for name in ("pathtrace", "traffic", "player"):
        parser.add_argument(f"--{name}", type=Path, metavar="PATH", help=f"build/release/{name} unless given")
    options = parser.parse_args()
    backends = options.backend or BACKENDS
    if options.show:
        for backend in backends:
            print(cases.shown(cases.generate(backend, options.seed, options.case or options.first)))
        return 0
    counts: collections.Counter = collections.Counter()
    try:
        for backend in backends:
            for label in options.kernel or ["6.1"]:
                label += f"-smp{options.smp}" if options.smp > 1 and "-smp" not in label else ""
                counts[(real_rulesets if options.real else run)(options, backend, label)] += 1
    except (kernels.KernelError, initramfs.InitramfsError) as error:
        print(f"differential.py: {error}", file=sys.stderr)
        return 2
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 1 if counts["failed"] or not counts["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
