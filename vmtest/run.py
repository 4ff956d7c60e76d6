#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Runs the scenarios on real kernels, some two dozen variants a boot (and a boot for each other `boot` line), and says a line a test.

  python3 vmtest/run.py                            all scenarios on the default kernels
  python3 vmtest/run.py --brief                    the same, but each backend of a scenario on one of its kernels only
  python3 vmtest/run.py --kernel 6.12 [SUBSTRING…] those whose name has one of the substrings, on that kernel (6.1-smp2: two CPUs)
  python3 vmtest/run.py --list                     names only

A line begins with ok, skip, FAIL (it is wrong), TIMEOUT, LOST (the VM died) or INFRASTRUCTURE (it never came up). Exit status: 1 if a test
failed or timed out, 3 if there is no other complaint than VMs that were lost or never came up.

What a test left is in build/vmtest/KERNEL/SCENARIO.BACKEND.FAMILY/: stdout.jsonl, stderr, text, log, script, before/, after/, dmesg.
"""

import argparse
import collections
import concurrent.futures
import fcntl
import functools
import re
import shutil
import sys
import threading
from pathlib import Path
from typing import Callable

import check
import initramfs
import kernels
import scenario
import vm

ROOT = Path(__file__).resolve().parent.parent
# Where a scenario runs unless it names fewer kernels (`kernels`), and which families of a backend those that are `thorough` run there: what
# differs between the families is seen on two kernels; with two CPUs and through iptables of the newest kernel, one is enough. The variants
# of any other scenario are dealt out (`dealt`): each backend and each kernel is seen, but not each with each; with --brief, each backend.
ALL = dict.fromkeys((*scenario.BACKENDS, "none"), scenario.FAMILIES)
ONE = dict.fromkeys(ALL, ("ipv4",))
MATRIX = {"6.1": ALL, "6.12": ALL, "latest": ONE | {"nftables": scenario.FAMILIES, "iptables-legacy": ()}, "6.1-smp2": ONE}
# For a boot, and between two signs of life of a guest; a variant's own bound is in guest/variants.sh.
SECONDS_A_VARIANT = 60
SILENCE = 200
# Many enough that the boot itself counts little, few enough that the processors have something to do until the end.
VARIANTS_A_BOOT = 24
# Kernels without iptables-legacy. Another one that lacks it lost its modules on the way.
WITHOUT_LEGACY = ("latest",)


class Run:
    """The variants of one kernel, in boots that may run at the same time. Alone on this kernel: a second run in the same tree waits."""

    def __init__(self, label: str, programs: dict[str, Path]):
        name, _, smp = label.partition("-smp")
        self.label, self.smp, self.programs = label, int(smp or 1), programs
        self.kernel = kernels.find(name)
        self.folder = initramfs.BUILD / label
        self.passed, self.skipped, self.boots = 0, 0, 0
        self.failed = collections.Counter()  # by the word of the verdict
        self.counting = threading.Lock()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.lock = open(self.folder / "lock", "w")
        fcntl.flock(self.lock, fcntl.LOCK_EX)

    def count(self, what: str) -> int:
        with self.counting:
            setattr(self, what, getattr(self, what) + 1)
            return getattr(self, what)

    def count_failed(self, word: str) -> None:
        with self.counting:
            self.failed[word] += 1

    def plan(self, variants: list[scenario.Variant]) -> list[tuple[int, Callable[[], None]]]:
        """The boots that it takes: how many variants each has, and what runs it."""
        waiting = []
        for variant in variants:
            why, expected = self.why_not(variant)
            if not why:
                waiting.append(variant)
            elif expected:
                self.count("skipped")
                say(f"skip {self.label} {variant.name} ({why})")
            else:
                self.count_failed("FAIL")
                say(f"FAIL {self.label} {variant.name}\n     not run, for no reason that is known of this kernel: {why}")
        for old in [*map(self.folder.joinpath, (variant.id for variant in waiting)), *self.folder.glob("boot-*")]:
            shutil.rmtree(old, ignore_errors=True)
        boots = []
        for parameters in sorted({variant.boot for variant in waiting}):
            alike = [variant for variant in waiting if variant.boot == parameters]
            for part in parts(alike, VARIANTS_A_BOOT):
                boots.append((len(part), functools.partial(self.run_booted, parameters, {variant.id: variant for variant in part})))
        return boots

    def run_booted(self, parameters: str, waiting: dict[str, scenario.Variant]) -> None:
        """In one boot, unless a VM is lost on the way."""
        while waiting:
            before = len(waiting)
            verdict = self.boot(parameters, waiting)
            if len(waiting) == before:  # nothing will come of trying again
                for variant in waiting.values():
                    self.fail(variant, ["not run: the VM did not get there"], "", word_of(verdict))
                return

    def why_not(self, variant: scenario.Variant) -> tuple[str, bool]:
        """Why it can't run here, if so, and whether that is known: what is skipped by surprise has failed."""
        skip = variant.get("skip", {})
        for name in (self.label, self.kernel.name, self.kernel.series):
            if name in skip:
                return skip[name], True
        if variant.backend == "iptables-legacy" and not list(self.kernel.modules.rglob("iptable_filter.ko*")):
            return "this kernel has no ip_tables", self.kernel.name in WITHOUT_LEGACY
        return "", True

    def boot(self, parameters: str, waiting: dict[str, scenario.Variant]) -> str:
        """What is done leaves `waiting`. The verdict on the VM."""
        files = {f"test/variants/{variant.id}": scenario.script(variant).encode() for variant in waiting.values()}
        files["test/main"] = b". /test/variants.sh\n"
        out = self.folder / f"boot-{self.count('boots')}"
        running, seen = None, ""

        def on_control(line: str) -> None:
            nonlocal running, seen
            word, *fields = line.split()
            if word == "BEGIN":
                running = fields[0]
            elif word == "END":
                running = None
                name, status, began, ended = fields
                seen += check.read(self.folder / name / "dmesg")
                self.judge(waiting.pop(name), int(status), f"{float(ended) - float(began):.1f} s")

        outcome = vm.boot(
            self.kernel, initramfs.tested_part(self.programs, files), out, artifacts=self.folder, smp=self.smp,
            timeout=vm.READY_WITHIN + SECONDS_A_VARIANT * len(waiting), silence=SILENCE, parameters=parameters,
            on_control=on_control,
        )  # fmt: skip
        if running:
            tail = "\n".join(check.read(out / "console").splitlines()[-40:])
            self.fail(waiting.pop(running), [f"VM {outcome.verdict}: {outcome.why}", tail], "", word_of(outcome.verdict))
        elif outcome.verdict != "finished":
            say(f"     {self.label}: VM {outcome.verdict}: {outcome.why}")
        elsewhere = outside(outcome.splats, seen)
        if elsewhere:
            self.count_failed("FAIL")
            say(f"FAIL {self.label} kernel log (outside the scenarios)\n" + indented(elsewhere[0]))
        return outcome.verdict

    def judge(self, variant: scenario.Variant, status: int, took: str) -> None:
        problems = check.judge(variant, self.folder / variant.id, status)
        if problems:
            self.fail(variant, problems, took, "TIMEOUT" if status == check.KILLED else "FAIL")
        else:
            self.count("passed")
            say(f"ok {self.label} {variant.name} ({took})")

    def fail(self, variant: scenario.Variant, problems: list[str], took: str, word: str) -> None:
        self.count_failed(word)
        folder = self.folder / variant.id
        text = [f"{word} {self.label} {variant.name}" + (f" ({took})" if took else "")]
        text += [indented(problem) for problem in problems]
        for name, limit in (("log", 15), ("stderr", 15), ("dmesg", 5)):
            lines = check.read(folder / name).splitlines()
            if lines:
                text.append(f"     {name}, {'the last of ' if len(lines) > limit else ''}{len(lines)} lines:")
                text.append(indented("\n".join(lines[-limit:]), "     | "))
        if folder.exists():
            text.append(f"     all of it: {folder.relative_to(ROOT)}/")
        say("\n".join(text))


def parts(variants: list[scenario.Variant], most: int) -> list[list[scenario.Variant]]:
    """As few as it takes, and equal."""
    count = -(-len(variants) // most)
    return [variants[len(variants) * i // count : len(variants) * (i + 1) // count] for i in range(count)]


def word_of(verdict: str) -> str:
    """For a test whose VM came to this. One that finished without having run it has lost it."""
    return verdict.upper() if verdict in ("timeout", "infrastructure") else "LOST"


def exit_status(failed: collections.Counter) -> int:
    if not failed.total():
        return 0
    return 3 if failed.keys() <= {"LOST", "INFRASTRUCTURE"} else 1


def outside(splats: list[str], seen: str) -> list[str]:
    """Those of the console that are in no scenario's part of the log, where they have been judged."""
    known = set(seen.splitlines())
    return [splat for splat in splats if splat.splitlines()[0] not in known]


def indented(text: str, prefix: str = "     ") -> str:
    return "\n".join(prefix + line for line in text.splitlines())


def say(text: str) -> None:
    # What a test printed may hold anything; the terminal gets none of it raw. One write, as several kernels may run at a time.
    safe = re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", lambda byte: f"\\x{ord(byte.group()):02x}", text)
    sys.stdout.write(safe + "\n")
    sys.stdout.flush()


def chosen(variants: list[scenario.Variant], substrings: list[str]) -> list[scenario.Variant]:
    for substring in substrings:
        if not any(substring in variant.name for variant in variants):
            raise SystemExit(f"run.py: no scenario has {substring!r} in its name")
    return [variant for variant in variants if not substrings or any(substring in variant.name for substring in substrings)]


def planned(label: str, variants: list[scenario.Variant], brief: bool = False) -> list[scenario.Variant]:
    scenarios = collections.defaultdict(list)
    for variant in variants:
        scenarios[variant.scenario].append(variant)
    found = []
    for several in scenarios.values():
        if label not in several[0].get("kernels", MATRIX):
            continue
        if several[0].get("thorough"):
            found += [variant for variant in several if variant.family in MATRIX[label][variant.backend]]
        else:
            found += dealt(several, brief)[label]
    return found


def dealt(variants: list[scenario.Variant], brief: bool) -> dict[str, list[scenario.Variant]]:
    """Those of one scenario, by kernel: every backend once, both families if there are two variants, and on every kernel one at least.

    `brief`: every backend once is enough.
    """
    labels = [label for label in MATRIX if label in variants[0].get("kernels", MATRIX)]
    backends = list(dict.fromkeys(variant.backend for variant in variants))
    start = sum(variants[0].scenario.encode())  # not the same backend, family and kernel in all scenarios
    chosen = []
    for number, backend in enumerate(backends):
        of_it = [variant for variant in variants if variant.backend == backend]
        chosen += of_it if len(backends) == 1 and len(labels) > 1 and not brief else [of_it[(start + number) % len(of_it)]]
    chosen = chosen[start % len(chosen) :] + chosen[: start % len(chosen)]
    hands, waiting = collections.defaultdict(list), list(chosen)
    # Those that few kernels can have come first to these.
    for label in [] if brief else sorted(labels, key=lambda label: sum(bool(MATRIX[label][variant.backend]) for variant in chosen)):
        possible = [variant for variant in waiting if MATRIX[label][variant.backend]]
        possible = possible or [variant for variant in chosen if MATRIX[label][variant.backend]]
        if possible:
            hands[label].append(possible[0])
            waiting = [variant for variant in waiting if variant is not possible[0]]
    for number, variant in enumerate(waiting):
        able = [label for label in labels if MATRIX[label][variant.backend]]
        if not able:
            raise scenario.ScenarioError(f"{variant.name}: none of its kernels ({', '.join(labels)}) can run it")
        hands[able[(start // 2 + number) % len(able)]].append(variant)
    return hands


def given_values(texts: list[str]) -> dict:
    """A number where it is one: a placeholder that is all keeps its type."""
    pairs = (text.partition("=") for text in texts)
    return {name: int(value) if value.isdigit() else value for name, _, value in pairs}


def program(given: Path | None, built: str) -> Path:
    path = given or ROOT / "build" / "release" / built
    if not path.is_file():
        raise SystemExit(f"run.py: no {path}: build first (cmake --preset release && cmake --build --preset release)")
    return path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("substrings", nargs="*", metavar="SUBSTRING")
    parser.add_argument("--kernel", action="append", metavar="NAME[-smpN]", help=f"may be repeated; {' '.join(MATRIX)} unless given")
    parser.add_argument("--brief", action="store_true", help="each backend of a scenario on one of its kernels; not with --kernel, which plays all")
    parser.add_argument("--value", action="append", default=[], metavar="NAME=VALUE", help="of a placeholder, instead of the scenario's own")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--pathtrace", type=Path, metavar="PATH", help="build/release/pathtrace unless given")
    parser.add_argument("--traffic", type=Path, metavar="PATH", help="build/release/traffic unless given")
    parser.add_argument("--obstacle", type=Path, metavar="PATH", help="build/release/obstacle unless given")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="VMs at a time; one keeps two thirds of a processor busy")
    options = parser.parse_args()
    if options.brief and options.kernel:
        parser.error("--brief deals variants to kernels; --kernel plays all of them there")
    try:
        all_variants = scenario.read_all(given=given_values(options.value))
        variants = chosen(all_variants, options.substrings)
        if options.list:
            print("\n".join(variant.name for variant in variants))
            return 0
        programs = {
            "usr/local/bin/pathtrace": program(options.pathtrace, "pathtrace"),
            "usr/local/bin/traffic": program(options.traffic, "traffic"),
            "usr/local/bin/obstacle": program(options.obstacle, "obstacle"),
        }
        runs = [Run(label, programs) for label in dict.fromkeys(options.kernel or MATRIX)]
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            plans = {run.label: variants if options.kernel else planned(run.label, all_variants, options.brief) for run in runs}
            if not options.kernel:
                plans = {label: [variant for variant in plan if variant in variants] for label, plan in plans.items()}
                if not any(plans.values()):  # what was asked for is dealt to no kernel
                    plans = {label: planned(label, variants) for label in plans}
            boots = [boot for run in runs for boot in run.plan(plans[run.label])]
            boots.sort(key=lambda boot: boot[0], reverse=True)  # the longest first, so that all end together
            list(pool.map(lambda boot: boot[1](), boots))
    except (scenario.ScenarioError, kernels.KernelError, initramfs.InitramfsError) as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 2
    passed, skipped = (sum(getattr(run, name) for run in runs) for name in ("passed", "skipped"))
    failed = sum((run.failed for run in runs), collections.Counter())
    if passed + failed.total() == 0:
        failed["FAIL"] = 1
        say("FAIL nothing ran: every scenario chosen was skipped")
    if failed.keys() - {"FAIL"}:
        print("of those that failed: " + ", ".join(f"{count} {word}" for word, count in sorted(failed.items())))
    print(f"{passed} passed, {failed.total()} failed, {skipped} skipped")
    return exit_status(failed)


if __name__ == "__main__":
    sys.exit(main())
