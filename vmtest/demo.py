#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""The part of vmtest/demo after the build: boots, shows, and checks that what should be seen was seen."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys

import initramfs
import kernels
import vm

PATHTRACE = initramfs.HERE.parent / "build" / "release" / "pathtrace"
TRAFFIC = PATHTRACE.with_name("traffic")
# The addresses in guest/demo.sh, and what the default output must call the connections to them.
EXPECTED = {
    "10.1.0.11": "refused by .*web",
    "10.1.0.12": "refused",
    "10.1.0.13": "timed.out",
    "10.1.0.14": "established|closed",
}
# Without one of these pathtrace would show all that goes on in the VM.
FILTERS = ("-p", "--proto", "-s", "--src", "-d", "--dst", "--host", "--sport", "--dport", "--port", "-i", "--interface")
NO_PERMISSION = 3  # pathtrace's exit status


def main(arguments: list[str]) -> int:
    place = arguments.index("--") if "--" in arguments else len(arguments)
    arguments, command = arguments[:place], arguments[place:]
    kernel_name, arguments = taken(arguments, "--kernel", "6.1")
    port = next((value for option in ("--dport", "--port") for value in [taken(arguments, option, None)[0]] if value), "80")
    if not re.fullmatch(r"\d+", port):
        raise SystemExit(f"demo: the demo's services need one port, not {port!r}")
    asked = with_filter(arguments) + command
    out = initramfs.BUILD / "demo" / str(os.getpid())  # others may show it at the same time
    seen = bytearray()

    def show(data: bytes) -> None:
        seen.extend(data)
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    plain = "NO_COLOR" in os.environ or not sys.stdout.isatty()
    main_script = f"{'export NO_COLOR=1' if plain else 'export TERM=xterm-256color'}\n. /test/demo.sh\n" + shlex.join(["demo", port, *asked])
    try:
        kernel = kernels.find(kernel_name)
        tested = initramfs.tested_part(
            {"usr/local/bin/pathtrace": PATHTRACE, "usr/local/bin/traffic": TRAFFIC}, {"test/main": main_script.encode() + b"\n"}
        )
        print(f"booting Linux {kernel.release} in QEMU …", flush=True)
        outcome = vm.boot(kernel, tested, out, timeout=150, on_output=show)
    except (kernels.KernelError, initramfs.InitramfsError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    if outcome.verdict != "finished":
        print(f"demo: the VM did not finish ({outcome.verdict}): {outcome.why}; its console is in {os.path.relpath(out)}", file=sys.stderr)
        return 1
    shutil.rmtree(out)
    if outcome.status != 0:
        print(f"demo: pathtrace ended with status {outcome.status}; it says why above", file=sys.stderr)
        return outcome.status
    tell_of_this_host()
    return missing(seen.decode(errors="replace"), bool(arguments or command))


def with_filter(arguments: list[str]) -> list[str]:
    """`--dport 80` unless the arguments have a filter of their own."""
    names = (argument.partition("=")[0] if argument.startswith("--") else argument[:2] for argument in arguments if argument.startswith("-"))
    return arguments if any(name in FILTERS for name in names) else ["--dport", "80", *arguments]


def taken(arguments: list[str], option: str, default: str | None) -> tuple[str | None, list[str]]:
    """The value of an option, and the arguments without it."""
    for index, argument in enumerate(arguments):
        if argument == option and index + 1 < len(arguments):
            return arguments[index + 1], arguments[:index] + arguments[index + 2 :]
        if argument.startswith(option + "="):
            return argument.removeprefix(option + "="), arguments[:index] + arguments[index + 1 :]
    return default, arguments


def missing(output: str, own_options: bool) -> int:
    """With options of the user's own some connections may be filtered out, or written as JSON; then one is enough."""
    # What the demo prints itself comes before and after the two marks.
    traced = re.sub(r"\x1b\[[0-9;]*m", "", output.partition("-- pathtrace --")[2].partition("-- the client --")[0])
    shown = {address for address in EXPECTED if re.search(rf"{re.escape(address)}\b", traced)}
    if own_options and shown:
        return 0
    wrong = [address for address, words in EXPECTED.items() if not re.search(rf"→ {re.escape(address)}:.*({words})", traced, re.IGNORECASE)]
    if wrong:
        print(f"demo: pathtrace did not show, as it should: {', '.join(wrong)}", file=sys.stderr)
        return 1
    return 0


def tell_of_this_host() -> None:
    """By a run of a moment on a port that nobody uses."""
    command = [PATHTRACE, "--json", "--netns", "self", "--no-trace-key", "-p", "udp", "--port", "1", "--duration", "0.01"]
    try:
        print("\n" + of_this_host(subprocess.run(command, capture_output=True, text=True, timeout=60), os.path.relpath(PATHTRACE)))
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"\nNot on this machine (pathtrace could not be tried: {error}).")


def of_this_host(tried: subprocess.CompletedProcess, program: str) -> str:
    if tried.returncode == NO_PERMISSION:
        return f"On this machine it was not tried, as that takes root: sudo {program} --dport 80"
    why = why_not_here(tried)
    if why:
        return f"Not on this machine ({why}). On a host of yours, as root: {program} --dport 80"
    return f"On this machine, too, as root: {program} --dport 80"


def why_not_here(tried: subprocess.CompletedProcess) -> str:
    """Why this machine's own kernel can't be traced; "" if it can."""
    try:
        probes = json.loads(tried.stdout.partition("\n")[0])["probes"] if tried.returncode == 0 else []
    except (ValueError, KeyError) as error:
        return f"pathtrace could not be tried: {error}"
    if tried.returncode != 0:
        said = next((line.strip() for line in tried.stderr.splitlines() if line.strip()), f"status {tried.returncode}")
        return said.removeprefix("pathtrace: ").partition(". `vmtest/demo`")[0]
    refused = [probe for probe in probes if probe["state"] != "attached" and "not loaded" not in (probe["why"] or "")]
    rules = [probe for probe in refused if probe["name"] in ("iptables", "nftables")]
    return f"its kernel refuses {len(refused)} of {len(probes)} probes; {rules[0]['name']}: {rules[0]['why']}" if rules else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
