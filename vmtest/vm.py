#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""Boots a test VM: one kernel of kernels.py under QEMU's software emulation, its root from initramfs.py.

Runs a command in it, prints what it prints, returns its exit status:

  python3 vmtest/vm.py --kernel 6.1 --run 'uname -r; bpftool prog'
  python3 vmtest/vm.py --kernel latest --smp 2 --add build/release/pathtrace --add rules.nft:/root/rules.nft --run 'pathtrace -V'

  --add HOSTPATH[:GUESTPATH]  a file, with its libraries if it is a program; programs without GUESTPATH go to /usr/local/bin,
                              other files to /root, where the command starts. May be repeated.
  --timeout SECONDS           120 unless told otherwise
  --out DIR                   receives the console and what the command leaves in /artifacts
  --count                     counting mode: guest time is guest instructions, for benchmarks
  --boot PARAMETERS           of the kernel's command line, besides ours

In the guest, `. /test/lib.sh` brings the topologies: `topology_host` makes the namespaces c and h.
Exit status: the command's; 120 if the kernel complained (BUG, WARNING, …) though the command passed; 124 timeout; 125 the VM was
lost or never came up; then the console stays in build/vmtest/run/.
"""

import argparse
import ctypes
import dataclasses
import io
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Callable

import initramfs
import kernels

LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>

# What the guest says to the host itself starts with this byte; see guest/init.
CONTROL = b"\x1e"
READY_WITHIN = 90  # seconds; a boot takes 2-4 on an idle machine
ARTIFACTS_SIZE = 256 << 20  # a sparse file

# Found in the kernel's log, these fail a run even where the test passed.
SPLAT = re.compile(
    r"(?:BUG: |WARNING: |KASAN: |UBSAN: |KFENCE|Oops|general protection fault|kernel BUG at|Kernel panic|double fault"
    r"|soft lockup|hard LOCKUP|rcu.*(?:self-)?detected.*stall|suspicious RCU usage|INFO: task .* blocked for more than"
    r"|refcount_t: |Call Trace:|possible recursive locking|circular locking|inconsistent lock state)"
)


@dataclasses.dataclass
class Outcome:
    """finished: the guest gave an exit status. timeout, lost (it died first), infrastructure (it never was ready)."""

    verdict: str
    status: int | None
    seconds: float
    splats: list[str]
    why: str = ""


def boot(
    kernel: kernels.Kernel,
    tested: initramfs.Archive,
    out: Path,
    *,
    artifacts: Path | None = None,
    smp: int = 1,
    timeout: float = 120,
    silence: float = 0,
    counting: bool = False,
    parameters: str = "",
    on_control: Callable[[str], None] = lambda word: None,
    on_output: Callable[[bytes], None] = lambda data: None,
) -> Outcome:
    """Boots and waits for the guest's exit. `out` is emptied, then holds console, output and, unless told where else, the artifacts.

    `timeout` is for the whole run, `silence` for the time without any output (0: no such bound). `parameters` go to the kernel.
    """
    for attempt in (1, 2):
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        outcome = _boot(kernel, tested, out, artifacts or out, smp, timeout, silence, counting, parameters, on_control, on_output)
        if outcome.verdict != "infrastructure":
            break
        if attempt == 1:
            print(f"vm.py: {kernel.name} did not come up ({outcome.why}), once more", file=sys.stderr)
    outcome.splats = find_splats((out / "console").read_text(errors="replace"))
    return outcome


def _boot(kernel, tested, out, artifacts, smp, timeout, silence, counting, parameters, on_control, on_output) -> Outcome:
    started = time.monotonic()
    initrd = out / "initrd"
    initramfs.build(kernel, tested, initrd)
    disk = out / "disk"
    with open(disk, "wb") as file:
        file.truncate(ARTIFACTS_SIZE)
    # A session of its own: a Ctrl-C in the terminal is for us, and we end QEMU; the kernel does if we are killed.
    qemu = subprocess.Popen(
        command(kernel, initrd, disk, out / "console", smp, counting, parameters),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=open(out / "qemu.err", "wb"), start_new_session=True,
        preexec_fn=lambda: LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
    )
    reader = Reader(on_control, on_output, out / "output", lambda offset, size: unpack(disk, offset, size, artifacts))
    try:
        verdict, why = watch(qemu, reader, started + timeout, silence)
    finally:
        stop(qemu)
        reader.close()
        initrd.unlink()
    if verdict in ("lost", "infrastructure"):
        why = (last_line(out / "qemu.err") or last_line(out / "console", "Kernel panic") or last_line(out / "console") or why)[:300]
    disk.unlink()
    return Outcome(verdict, reader.status, time.monotonic() - started, [], why)


def command(kernel, initrd: Path, disk: Path, console: Path, smp: int, counting: bool, parameters: str) -> list[str]:
    # Without cx16=off, QEMU 7.2 spoils the flags of cmpxchg16b, and kernels from 6.5 on die of it in their allocator.
    # Multi-threaded emulation of two CPUs hangs now and then, so two CPUs share a thread.
    # What is emulated slowly (string moves byte by byte, a fifth level of page tables, user access by stac and clac) the kernel does without.
    cpu = "max,cx16=off" if counting else "max,cx16=off,erms=off,fsrm=off,la57=off,smap=off"
    machine = ["-accel", "tcg" if smp == 1 else "tcg,thread=single", "-cpu", cpu]
    if counting:
        machine += ["-icount", "shift=0,sleep=off"]
    elif os.environ.get("PATHTRACE_KVM") == "1":
        machine = ["-accel", "kvm", "-cpu", "host"]
    # panic=-1 and -no-reboot: a panic ends QEMU at once. loglevel=5: warnings and worse go to the console, all of it to dmesg.
    # norandmaps: QEMU translates code anew that lies at another address, and with that all of libc for every process: a quarter of all time.
    arguments = "console=ttyS0 loglevel=5 panic=-1 oops=panic log_buf_len=4M net.ifnames=0 mitigations=off random.trust_cpu=on norandmaps"
    return [
        "qemu-system-x86_64", *machine, "-smp", str(smp), "-m", "1024", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-kernel", str(kernel.image), "-initrd", str(initrd), "-append", f"{arguments} {parameters}".rstrip(),
        "-serial", f"file:{console}", "-serial", "stdio",
        "-drive", f"file={disk},format=raw,if=virtio,cache=unsafe",
    ]  # fmt: skip


class Reader:
    """Splits what comes over ttyS1 into the guest's words for the host and the output of the test."""

    def __init__(self, on_control, on_output, log: Path, on_saved: Callable[[int, int], None]):
        self.on_control, self.on_output, self.on_saved, self.log = on_control, on_output, on_saved, open(log, "wb")
        self.pending, self.ready, self.status = b"", False, None

    def feed(self, data: bytes) -> None:
        self.pending += data
        while self.pending:
            before, mark, after = self.pending.partition(CONTROL)
            if before:
                self.log.write(before)
                self.on_output(before)
            self.pending = mark + after
            if not mark or b"\n" not in after:
                return
            line, _, self.pending = after.partition(b"\n")
            self.control(line.decode(errors="replace"))

    def control(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == "READY":
            self.ready = True
        elif word == "EXIT":
            self.status = int(rest)
        elif word == "SAVED":
            self.on_saved(*map(int, rest.split()))
        else:
            self.on_control(line)

    def close(self) -> None:
        self.log.close()


def watch(qemu: subprocess.Popen, reader: Reader, deadline: float, silence: float) -> tuple[str, str]:
    ready_by = time.monotonic() + READY_WITHIN
    heard = time.monotonic()
    with selectors.DefaultSelector() as selector:
        selector.register(qemu.stdout, selectors.EVENT_READ)
        while reader.status is None:
            now = time.monotonic()
            if not reader.ready and now > ready_by:
                return "infrastructure", f"not ready within {READY_WITHIN} s"
            if now > deadline:
                return "timeout", "no end within the time given"
            if silence and reader.ready and now > heard + silence:
                return "timeout", f"no sign of life for {silence:.0f} s"
            if not selector.select(timeout=0.5):
                continue
            data = os.read(qemu.stdout.fileno(), 65536)
            if not data:
                return ("lost", "QEMU ended without an exit line") if reader.ready else ("infrastructure", "QEMU ended")
            heard = time.monotonic()
            reader.feed(data)
    return "finished", ""


def stop(qemu: subprocess.Popen) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if qemu.poll() is None:
            qemu.send_signal(number)
            try:
                qemu.wait(timeout=10)
            except subprocess.TimeoutExpired:
                continue
    qemu.stdout.close()


def unpack(disk: Path, offset: int, size: int, out: Path) -> None:
    """One tar of the raw disk. Regular files only, below `out` whatever the names say."""
    with open(disk, "rb") as file:
        file.seek(offset)
        data = file.read(size)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            target = (out / member.name).resolve()
            if member.isfile() and target.is_relative_to(out.resolve()):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(tar.extractfile(member).read())


def find_splats(log: str) -> list[str]:
    """The kernel's complaints, each with the lines after it."""
    lines = log.splitlines()
    found, skip_to = [], 0
    for number, line in enumerate(lines):
        if number >= skip_to and SPLAT.search(line):
            found.append("\n".join(lines[number : number + 30]))
            skip_to = number + 30
    return found


def last_line(path: Path, word: str = "") -> str:
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip() and word in line), "")


def added(text: str) -> tuple[str, Path]:
    host, _, guest = text.partition(":")
    source = Path(host)
    if not source.is_file():
        raise SystemExit(f"vm.py: no file {host}")
    return guest or (f"/usr/local/bin/{source.name}" if os.access(source, os.X_OK) else f"/root/{source.name}"), source


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernel", default="6.1", metavar="NAME")
    parser.add_argument("--smp", type=int, default=1, metavar="N")
    parser.add_argument("--run", required=True, metavar="COMMAND")
    parser.add_argument("--add", action="append", default=[], metavar="HOSTPATH[:GUESTPATH]")
    parser.add_argument("--timeout", type=float, default=120, metavar="SECONDS")
    parser.add_argument("--out", type=Path, metavar="DIR")
    parser.add_argument("--count", action="store_true")
    parser.add_argument("--boot", default="", metavar="PARAMETERS")
    options = parser.parse_args()

    def show(data: bytes) -> None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    out = options.out or initramfs.BUILD / "run" / str(os.getpid())
    try:
        kernel = kernels.find(options.kernel)
        tested = initramfs.tested_part(dict(map(added, options.add)), {"test/main": options.run.encode() + b"\n"})
        outcome = boot(
            kernel, tested, out, smp=options.smp, timeout=options.timeout, counting=options.count, parameters=options.boot, on_output=show
        )
    except (kernels.KernelError, initramfs.InitramfsError) as error:
        print(f"vm.py: {error}", file=sys.stderr)
        return 125
    for splat in outcome.splats:
        print(f"vm.py: the kernel complained:\n{splat}", file=sys.stderr)
    if outcome.verdict != "finished":
        print(f"vm.py: {outcome.verdict}: {outcome.why} (console: {out}/console)", file=sys.stderr)
        return 124 if outcome.verdict == "timeout" else 125
    if not options.out:
        shutil.rmtree(out)
    return outcome.status or (120 if outcome.splats else 0)


if __name__ == "__main__":
    sys.exit(main())
