#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""What tracing costs, in guest instructions; docs/performance.md says how to read it.

  vmtest/bench                         every measurement on every kernel, three boots each; one table
  vmtest/bench --check                 the budgets of vmtest/budgets.toml: one short boot a kernel, status 1 if one is exceeded
  vmtest/bench --check --quick         what tests/run does
  vmtest/bench --document              the tables of docs/performance.md, written anew

With QEMU's -icount a guest nanosecond is an instruction, so figures do not depend on the host, or on what else it does. The VM has
two CPUs, one of them offline, as the counters of legacy rules are per CPU only where two are possible; it is booted with one, too.
"""

import argparse
import concurrent.futures
import copy
import json
import sys
import threading
import time
from pathlib import Path

import initramfs
import kernels
import vm
from benchmark import budgets, plan, tables
from benchmark.results import Machine, Results

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "performance.md"
KERNELS = ("6.1", "6.12", "latest")
TIMEOUT = 3600  # seconds a boot
SILENCE = 900  # seconds between two figures


class BenchError(Exception):
    pass


class Boot:
    """Takes what a guest reports."""

    def __init__(self, machine: Machine):
        self.machine = machine
        self.programs: dict[str, dict] = {}
        self.where = ""
        self.wrong = ""
        self.began = time.monotonic()

    def control(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == "AT":
            self.where = rest
            say(f"  {time.monotonic() - self.began:4.0f} s  {self.machine.label}: {rest}")
        elif word == "FIGURE":
            name, _, value = rest.rpartition(" ")
            self.machine.add(name, float(value))
        elif word == "SKIP":
            *where, why = rest.split(" ", 3)
            self.machine.skipped[" ".join(where)] = why
            say(f"          {self.machine.label}: not measured: {why}")
        elif word == "CPUS" and int(rest) != self.machine.cpus:
            self.wrong = f"{rest} possible CPUs instead of {self.machine.cpus}"
        elif word == "MAPS":
            self.memory(rest, "maps")
        elif word == "PROGRAMS":
            self.program_runs(*rest.split(" ", 4))

    def memory(self, rest: str, what: str) -> None:
        *where, text = rest.split(" ", 3)
        self.machine.add(f"{' '.join(where)} run.{what}", sum(each.get("bytes_memlock", 0) for each in json.loads(text)))

    def program_runs(self, backend: str, rules: str, subject: str, load: str, text: str) -> None:
        if load == "memory":
            self.memory(f"{backend} {rules} {subject} {text}", "programs")
            return
        now = {each["name"]: (each.get("run_cnt", 0), each.get("run_time_ns", 0)) for each in json.loads(text)}
        name, _, moment = load.partition(".")
        if moment == "before":
            self.programs = now
            return
        load_runs = self.machine.programs.setdefault(f"{backend} {name}", {})
        for program, (runs, instructions) in now.items():
            runs_before, instructions_before = self.programs.get(program, (0, 0))
            if runs > runs_before:
                load_runs[program] = [runs - runs_before, instructions - instructions_before]


def boot(kernel: kernels.Kernel, machine: Machine, script: str, programs: dict[str, Path]) -> None:
    taken = Boot(machine)
    tested = initramfs.tested_part(programs, plan.files(script))
    out = initramfs.BUILD / "bench" / machine.label.replace(", ", "-").replace(" ", "-")
    outcome = vm.boot(kernel, tested, out, smp=smp(kernel, machine.cpus), timeout=TIMEOUT, silence=SILENCE, counting=True, on_control=taken.control)
    if outcome.verdict != "finished" or outcome.status != 0 or outcome.splats:
        said = (out / "output").read_text(errors="replace")[-2000:]
        why = outcome.why or (outcome.splats[0] if outcome.splats else f"status {outcome.status}")
        raise BenchError(f"{machine.label}, at {taken.where or 'the start'}: VM {outcome.verdict}: {why}\n{said}")
    if taken.wrong:
        raise BenchError(f"{machine.label}: {taken.wrong}")
    try:
        check_measured(machine)
    except BenchError as error:
        said = (out / "output").read_text(errors="replace").splitlines()
        raise BenchError("\n".join([str(error), *dict.fromkeys(line for line in said if "not available" in line)])) from error


def check_measured(machine: Machine) -> None:
    """A tracer that reports nothing is cheap: there must have been a table walk for every packet that matched, and no loss."""
    for name, values in machine.figures.items():
        if name.endswith("pathtrace udp_matched.events"):
            where = name.rpartition(" ")[0]
            walks = "kind_1" if name.startswith("legacy") else "kind_2"
            if not machine.figures.get(f"{where} udp_matched.{walks}"):
                raise BenchError(f"{machine.label}: {where}: pathtrace reported no table walks, its cost means nothing")
        if name.endswith(".lost") and "flood" not in name and max(values) > 0 and "-" not in name.split()[2]:
            raise BenchError(f"{machine.label}: {name}: {max(values):.0f} events lost, the buffer is too small for this load")


def smp(kernel: kernels.Kernel, possible: int) -> int | str:
    """For QEMU's -smp. From 6.9 on a CPU that could be plugged in later does not count as possible, so there the guest takes the
    second one offline; 6.1 does not come up with two under -icount."""
    if possible == 1 or tuple(map(int, kernel.series.split("."))) >= (6, 9):
        return possible
    return f"1,maxcpus={possible}"


def has_legacy(kernel: kernels.Kernel) -> bool:
    return bool(list(kernel.modules.rglob("iptable_filter.ko*")))


def measure(options, programs: dict[str, Path]) -> Results:
    """Counts are the same whatever else runs: several kernels may be measured at a time."""
    results, writing = Results(), threading.Lock()
    measured: dict[str, Machine] = {}  # as they were after their last boot
    bpftrace = "usr/bin/bpftrace" in programs
    planned: list[tuple[kernels.Kernel, Machine, str]] = []
    for name in options.kernel:
        kernel = kernels.find(name)
        backends = [each for each in ("legacy", "nft") if each in options.backend and (each == "nft" or has_legacy(kernel))]
        label = kernel.series if name == "latest" else name
        if options.check:
            planned.append((kernel, Machine(label, kernel.release, 2), plan.check(backends, options.quick)))
            continue
        planned.append((kernel, Machine(label, kernel.release, 2), plan.full(backends, bpftrace, options.plugin, options.programs)))
        if "legacy" in backends:
            planned.append((kernel, Machine(f"{label}, 1 CPU", kernel.release, 1), plan.one_possible_cpu()))

    def measure_one(kernel: kernels.Kernel, machine: Machine, script: str) -> None:
        for run in range(options.runs):
            say(f"{machine.label} ({kernel.release}, possible CPUs: {machine.cpus}): boot {run + 1} of {options.runs}")
            boot(kernel, machine, script, programs)
            machine.boots += 1
            if options.json:
                with writing:
                    measured[machine.label] = copy.deepcopy(machine)
                    Results([measured[each.label] for each in results.machines if each.label in measured]).write(options.json)

    results.machines = [machine for _, machine, _ in planned]
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(lambda each: measure_one(*each), planned))
    return results


def machines(results: Results) -> str:
    words = {1: "one CPU", 2: "two CPUs, one of them offline"}
    lines = [f"- {each.label}: Linux {each.release}, {words[each.cpus]}; boots: {each.boots}" for each in results.machines]
    skipped = {f"- not measured: {where}: {why}" for each in results.machines for where, why in each.skipped.items()}
    return "\n".join(lines + sorted(skipped))


def say(text: str) -> None:
    sys.stderr.write(text + "\n")  # in one piece: several boots may speak
    sys.stderr.flush()


def plugin(text: str) -> tuple[str, str]:
    name, mark, command = text.partition("=")
    if not mark or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=COMMAND")
    return name, command


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="vmtest/bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the budgets, measure no more than they need")
    parser.add_argument("--quick", action="store_true", help="with --check: leave out the budgets that take long, as tests/run does")
    parser.add_argument("--kernel", action="append", metavar="NAME", help="may be repeated; 6.1 6.12 latest unless given, with --check 6.1 6.12")
    parser.add_argument("--backend", action="append", choices=("legacy", "nft"), help="one of them only")
    parser.add_argument("--runs", type=int, metavar="N", help="boots of each kernel; 3 unless given, with --check 1")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="boots at a time; what they count does not change by it")
    parser.add_argument("--programs", action="store_true", help="what each BPF program costs, too")
    parser.add_argument("--plugin", action="append", type=plugin, default=[], metavar="NAME=COMMAND",
                        help="another tracer; COMMAND traces port 80 until SIGINT. It comes into the VM with --add")  # fmt: skip
    parser.add_argument("--add", action="append", default=[], metavar="HOSTPATH[:GUESTPATH]", help="a file for the VM, as vm.py takes them")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured")
    parser.add_argument("--from", type=Path, dest="source", metavar="FILE", help="measure nothing, take what --json wrote")
    parser.add_argument("--document", action="store_true", help="write the tables into docs/performance.md")
    parser.add_argument("--pathtrace", type=Path, metavar="PATH", default=ROOT / "build/release/pathtrace", help=argparse.SUPPRESS)
    parser.add_argument("--load", type=Path, metavar="PATH", default=ROOT / "build/release/load", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.kernel = options.kernel or (KERNELS[:2] if options.check else KERNELS)
    options.backend = options.backend or ["legacy", "nft"]
    options.runs = options.runs or (1 if options.check else 3)
    options.plugin = dict(options.plugin)
    return options


def guest_programs(options) -> dict[str, Path]:
    programs = {"usr/local/bin/pathtrace": options.pathtrace, "usr/local/bin/load": options.load}
    for path in programs.values():
        if not path.is_file():
            raise BenchError(f"no {path}: build first (cmake --preset release && cmake --build --preset release)")
    if not options.check and Path(plan.BPFTRACE).exists():
        programs["usr/bin/bpftrace"] = Path(plan.BPFTRACE)
    elif not options.check:
        say("bpftrace is not measured: it is not installed (apt install bpftrace)")
    return programs | dict(map(vm.added, options.add))


def main() -> int:
    options = arguments()
    try:
        results = Results.read(options.source) if options.source else measure(options, guest_programs(options))
    except (BenchError, kernels.KernelError, initramfs.InitramfsError) as error:
        say(f"bench.py: {error}")
        return 2
    if options.json and not options.source:
        results.write(options.json)
    lines, met = budgets.verdicts(results, options.quick)
    if not options.check:
        print(tables.as_text(tables.all_tables(results)))
        print("Budgets")
    print("\n".join(lines))
    if options.document:
        tables.fill(DOCUMENT, [*tables.all_tables(results), tables.budgets(results)], machines(results))
    return 0 if met or not options.check else 1


if __name__ == "__main__":
    sys.exit(main())
