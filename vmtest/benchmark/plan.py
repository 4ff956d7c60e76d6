# SPDX-License-Identifier: GPL-2.0
"""What a boot measures: a script of calls of guest.sh, and the files that it needs."""

import shlex
from pathlib import Path

HERE = Path(__file__).resolve().parent
RULES = (3, 100, 1000, 10000)
# Packets a round, by the number of rules: a round shall take no longer with many.
PACKETS = {3: 1000, 100: 1000, 1000: 300, 10000: 60}
CONNECTIONS = 100  # a round; the ring buffer has room for the events of all rounds
SEGMENTS = 500
FLOOD = 100_000
# Sizes for --buffer, and packets that fill them.
BUFFERS = {"64K": 600, "1M": 6000, "8M": 30_000}
BPFTRACE = "/usr/bin/bpftrace"


def files(script: str) -> dict[str, bytes]:
    """By path in the guest. The VM's first process runs test/main."""
    found = {f"test/rules.{number}": rules(number).encode() for number in RULES}
    found |= {f"test/{path.name}": path.read_bytes() for path in HERE.glob("*.bt")}
    return found | {"test/benchmark.sh": (HERE / "guest.sh").read_bytes(), "test/main": script.encode()}


def rules(number: int) -> str:
    """For iptables-restore: a list of refused addresses, and an end that accepts. Every packet passes all of them."""
    refused = [
        f"-A INPUT -s 198.18.{i // 256}.{i % 256}/32 -p tcp -m tcp --dport 443 -j DROP" for i in range(number - 1)
    ]
    return "\n".join(["*filter", *refused, "-A INPUT -j ACCEPT", "COMMIT", ""])


def full(backends: list[str], bpftrace: bool, plugins: dict[str, str], programs: bool) -> str:
    lines = begin(rounds=5)
    for backend in backends:
        lines += measured(backend, 3, "all")
        lines += alternatives(backend, bpftrace, plugins)
        more = ["pathtrace_reading all", *(["programs"] if programs else []), f"flooded {FLOOD}"]
        lines += ours(backend, 3, "all", "pathtrace", "", more)
        lines += ours(backend, 3, "all", "all-packets", "--all-packets")
        for number in RULES[1:]:
            lines += measured(backend, number, "packets")
            lines += [f"key nft {number} unmatched"] if backend == "nft" else []
            lines += ours(backend, number, "packets", "pathtrace")
        lines += [f"burst {backend} {size} {packets}" for size, packets in BUFFERS.items()]
    return "\n".join(lines) + "\n"


def one_possible_cpu() -> str:
    """Counters are in the rules then: another way of ours through the same table."""
    lines = begin(rounds=5)
    for number in (3, 10000):
        lines += measured("legacy", number, "packets")
        lines += ours("legacy", number, "packets", "pathtrace")
    return "\n".join(lines) + "\n"


def check(backends: list[str], quick: bool) -> str:
    """What the budgets need, in as few rounds as give the same figures."""
    lines = begin(rounds=3)
    for backend in backends:
        lines += measured(backend, 3, "all")
        lines += ours(backend, 3, "all", "pathtrace", "", [] if quick else [f"flooded {FLOOD}"])
        if backend == "nft":
            lines += ["key nft 3 all"]
        else:
            lines += measured(backend, 10000, "packets")
            lines += ours(backend, 10000, "packets", "pathtrace")
    return "\n".join(lines) + "\n"


def begin(rounds: int) -> list[str]:
    return [
        ". /test/benchmark.sh",
        f"rounds={rounds} connections={CONNECTIONS} segments={SEGMENTS}",
        "sleep 5",
        "settle",
    ]


def measured(backend: str, number: int, loads: str) -> list[str]:
    return [f"packets={PACKETS[number]}", f"base {backend} {number} {loads}"]


def ours(backend: str, number: int, loads: str, subject: str, options: str = "", more: list[str] = []) -> list[str]:
    return [f"pathtrace_stopped {backend} {number} {loads} {subject} {options}".rstrip(), *more, "pathtrace_end"]


def alternatives(backend: str, bpftrace: bool, plugins: dict[str, str]) -> list[str]:
    if backend == "legacy":
        lines = ["trace_log legacy 3 all", "trace_nflog legacy 3 all"]
    else:
        lines = ["key nft 3 all", "nft_monitor nft 3 all"]
    tools = {"bpftrace": f"bpftrace /test/{backend}.bt"} if bpftrace else {}
    for name, command in (tools | plugins).items():
        lines.append(f"tool {backend} 3 all {name} {shlex.quote(command)}")
    return lines
