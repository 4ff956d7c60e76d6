# SPDX-License-Identifier: GPL-2.0
"""The tables of the benchmark, for a terminal and for docs/performance.md."""

import dataclasses
import re
from pathlib import Path

from benchmark import budgets as budget_file
from benchmark.plan import BUFFERS, FLOOD, RULES
from benchmark.results import HANDSHAKE_PACKETS, Figure, Machine, Results

# As the subjects are called in tables. The guest's names are the keys; +reader is added by name().
SUBJECTS = {
    "pathtrace": "pathtrace",
    "all-packets": "pathtrace --all-packets",
    "key": "the trace key alone",
    "trace-log": "TRACE, kernel log",
    "trace-nflog": "TRACE, NFLOG",
    "nft-monitor": "nft monitor trace",
    "bpftrace": "bpftrace, one kprobe",
}
MIB = 1 << 20
MILLISECOND = 1e6
EVENTS_A_DATAGRAM = {"legacy": 2, "nft": 1}  # a walk each: OUTPUT and INPUT, or the one base chain


@dataclasses.dataclass
class Table:
    name: str
    title: str
    columns: list[str]
    rows: list[list[str]]  # the first cell says what the row is


def all_tables(results: Results) -> list[Table]:
    tables = [unmatched(results), matched(results), connections(results), tracer(results), programs(results)]
    return [table for table in tables if table.rows]


def name(subject: str) -> str:
    plain = subject.removesuffix("+reader")
    return SUBJECTS.get(plain, plain) + (", its reader running" if subject != plain else "")


def subjects(results: Results, backend: str, rules: int, measure: str) -> list[str]:
    """Those that were measured there, in the order of SUBJECTS, plug-ins last."""
    found = []
    for machine in results.machines:
        for figure in machine.figures:
            words = figure.split()
            if words[:2] == [backend, str(rules)] and words[3] == measure and words[2] not in [*found, "base"]:
                found.append(words[2])
    order = list(SUBJECTS)
    plain = [each.removesuffix("+reader") for each in found]
    ranked = sorted(zip(plain, found), key=lambda pair: (order.index(pair[0]) if pair[0] in order else len(order), pair))
    return [each for _, each in ranked if not each.startswith("pathtrace-")]


def row(results: Results, label: str, figure: Figure) -> list[list[str]]:
    cells = [figure.cell(machine) for machine in results.machines]
    return [[label, *cells]] if any(cells) else []


def table(results: Results, name_: str, title: str, rows: list[list[str]]) -> Table:
    return Table(name_, title, [machine.label for machine in results.machines], rows)


def unmatched(results: Results) -> Table:
    return table(results, "unmatched", "A UDP packet that the filter does not match, loopback, sent and received", by_rules(results, "udp_unmatched.packet"))


def matched(results: Results) -> Table:
    return table(results, "matched", "A UDP packet that it matches", by_rules(results, "udp_matched.packet"))


def by_rules(results: Results, measure: str) -> list[list[str]]:
    rows = []
    for backend in ("legacy", "nft"):
        for number in RULES:
            base = f"{backend} {number} base"
            rows += row(results, f"{backend}, {number:,} rules: nothing attached", Figure(base, measure))
            for subject in subjects(results, backend, number, measure):
                rows += row(results, f"· {name(subject)}", Figure(f"{backend} {number} {subject}", measure, base))
    return rows


CONNECTION_MEASURES = (
    ("tcp_unmatched.cycle", "connect, accept, close; not matched", 1),
    ("tcp_matched.cycle", "connect, accept, close; matched", 1),
    ("tcp_matched.setup", "set-up, each of its three packets; matched", HANDSHAKE_PACKETS),
    ("tcp_data.packet", "64 bytes over an established connection, a packet; matched", 1),
    ("tcp_bulk.packet", "64 KiB over an established connection, a packet; matched", 1),
)


def connections(results: Results) -> Table:
    rows = []
    for backend in ("legacy", "nft"):
        base = f"{backend} 3 base"
        for measure, title, divide in CONNECTION_MEASURES:
            rows += row(results, f"{backend}: {title}: nothing attached", Figure(base, measure, divide=divide))
            for subject in subjects(results, backend, 3, measure):
                if measure == "tcp_matched.setup" and subject.endswith("+reader"):
                    continue  # a reader has its turns between set-ups, not inside
                rows += row(results, f"· {name(subject)}", Figure(f"{backend} 3 {subject}", measure, base, divide))
    return table(results, "tcp", "TCP, 3 rules", rows)


def tracer(results: Results) -> Table:
    rows = []
    for backend in ("legacy", "nft"):
        for number in (3, RULES[-1]):
            of = f"{backend} {number} pathtrace"
            rows += row(results, f"{backend}, {number:,} rules: attach", Figure(of, "run.attach", divide=MILLISECOND, unit=" ms"))
        of = f"{backend} 3 pathtrace"
        rows += row(results, f"{backend}: detach", Figure(of, "run.detach", divide=MILLISECOND, unit=" ms"))
        rows += row(results, f"{backend}: memory locked, maps", Figure(of, "run.maps", divide=MIB, unit=" MiB"))
        rows += row(results, f"{backend}: memory locked, programs", Figure(of, "run.programs", divide=MIB, unit=" MiB"))
        rows += row(results, f"{backend}: most resident memory", Figure(of, "run.resident", divide=1024, unit=" MiB"))
        rows += row(results, f"{backend}: the same, {FLOOD:,} connections begun", Figure(f"{of}-{FLOOD}", "run.resident", divide=1024, unit=" MiB"))
        for measure, title in (("udp_matched", "UDP"), ("tcp_matched", "TCP connections")):
            rows += row(results, f"{backend}, {title}: bytes an event", Figure(of, f"{measure}.bytes", by_measure=f"{measure}.events"))
            rows += row(results, f"{backend}, {title}: its process, instructions an event", Figure(of, f"{measure}.read", by_measure=f"{measure}.events"))
        for size in BUFFERS:
            burst = Figure(f"{backend} 3 buffer-{size}", "burst.events", divide=EVENTS_A_DATAGRAM[backend])
            rows += row(results, f"{backend}: matched packets of UDP in a burst before the first event is lost, --buffer {size}", burst)
        for measure, title, divide in CONNECTION_MEASURES[2:]:
            rows += row(results, f"{backend}: {title}, {FLOOD:,} connections tracked, above one", Figure(f"{of}-{FLOOD}", measure, of, divide))
    return table(results, "tracer", "pathtrace itself", rows)


def programs(results: Results) -> Table:
    """Instructions a run, the measuring itself taken off (that of an empty program, `empty`)."""
    rows = []
    for key in sorted({key for machine in results.machines for key in machine.programs}):
        names = sorted({each for machine in results.machines for each in machine.programs.get(key, {})} - {"empty"})
        for each in names:
            cells = [program_cell(machine, key, each) for machine in results.machines]
            rows.append([f"{key}: {each}", *cells])
    return table(results, "programs", "Programs: instructions a run × runs a load", rows)


def program_cell(machine: Machine, key: str, program: str) -> str:
    measured = machine.programs.get(key, {})
    if program not in measured:
        return ""
    runs, instructions = measured[program]
    empty_runs, empty = measured.get("empty", [1, 0])
    return f"{instructions / runs - empty / empty_runs:,.0f} × {runs:,.0f}"


def budgets(results: Results) -> Table:
    rows = []
    for budget in budget_file.read():
        cells = []
        for machine in results.machines:
            measured, allowed = budget_file.judge(budget, machine) if machine.label in budget["kernels"] else (None, None)
            cells.append("" if measured is None or allowed is None else f"{measured:,.0f} of {allowed:,.0f}{'' if measured <= allowed else ' (exceeded)'}")
        if any(cells):
            rows.append([budget["name"], *cells])
    return table(results, "budgets", "Budget: measured of allowed", rows)


# Text


def as_text(tables: list[Table]) -> str:
    lines = []
    for each in tables:
        widths = [max(len(line[i]) for line in [["", *each.columns], *each.rows]) for i in range(len(each.columns) + 1)]
        lines += ["", each.title]
        for line in [["", *each.columns], *each.rows]:
            cells = [line[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(line[1:], widths[1:])]
            lines.append("  ".join(cells).rstrip())
    return "\n".join(lines) + "\n"


def as_markdown(each: Table) -> str:
    lines = [[each.title, *each.columns], *each.rows]
    text = ["| " + " | ".join(line) + " |" for line in lines]
    text.insert(1, "|---|" + "---:|" * len(each.columns))
    return "\n".join(text)


def fill(document: Path, tables: list[Table], machines: str) -> None:
    """Puts the tables between their marks, `<!-- table NAME -->` and `<!-- end -->`."""
    text = document.read_text()
    parts = {each.name: as_markdown(each) for each in tables} | {"machines": machines}
    for part, content in parts.items():
        pattern = rf"(<!-- table {part} -->\n).*?(<!-- end -->)"
        text, count = re.subn(pattern, lambda found: f"{found[1]}{content}\n{found[2]}", text, flags=re.DOTALL)
        if count != 1:
            raise SystemExit(f"bench.py: {document} has no mark for the table {part}")
    document.write_text(text)
