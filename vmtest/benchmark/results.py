# SPDX-License-Identifier: GPL-2.0
"""What was measured: by kernel, a list of values (one a run) for each figure. A figure's name is what the guest calls it,
`BACKEND RULES SUBJECT MEASURE`: "legacy 3 pathtrace udp_unmatched.packet"."""

import dataclasses
import json
from pathlib import Path

# The guest measures with a clock that counts instructions; these are ratios of the tables.
HANDSHAKE_PACKETS = 3


@dataclasses.dataclass
class Machine:
    """One kernel with a number of possible CPUs."""

    label: str  # 6.1, or 6.1, 1 CPU
    release: str
    cpus: int  # that are possible; one runs
    boots: int = 0
    figures: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    programs: dict[str, dict[str, list[float]]] = dataclasses.field(default_factory=dict)  # by load, by program: runs, instructions
    skipped: dict[str, str] = dataclasses.field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        self.figures.setdefault(name, []).append(value)


@dataclasses.dataclass
class Results:
    machines: list[Machine] = dataclasses.field(default_factory=list)

    def machine(self, label: str) -> Machine | None:
        return next((machine for machine in self.machines if machine.label == label), None)

    def write(self, path: Path) -> None:
        fields = {"schema": 1, "unit": "guest instructions", "machines": [dataclasses.asdict(each) for each in self.machines]}
        path.write_text(json.dumps(fields, indent=1) + "\n")

    @staticmethod
    def read(path: Path) -> "Results":
        return Results([Machine(**fields) for fields in json.loads(path.read_text())["machines"]])


@dataclasses.dataclass(frozen=True)
class Figure:
    """One cell of a table: a figure, or what it is above another of the same boot."""

    of: str  # BACKEND RULES SUBJECT
    measure: str
    above: str = ""
    divide: float = 1
    by_measure: str = ""  # divided by this measure of `of`
    unit: str = ""

    def values(self, machine: Machine) -> list[float]:
        """One a run; empty where it was not measured."""
        found = machine.figures.get(f"{self.of} {self.measure}", [])
        if self.above:
            below = machine.figures.get(f"{self.above} {self.measure}", [])
            found = [value - base for value, base in zip(found, below)]
        if self.by_measure:
            by = machine.figures.get(f"{self.of} {self.by_measure}", [])
            found = [value / other for value, other in zip(found, by) if other]
        return [value / self.divide for value in found]

    def middle(self, machine: Machine) -> float | None:
        values = sorted(self.values(machine))
        return values[len(values) // 2] if values else None

    def cell(self, machine: Machine) -> str:
        """The middle of the runs, and how far from it they lie, if at all."""
        values = self.values(machine)
        if not values:
            return ""
        middle = self.middle(machine)
        digits = 0 if abs(middle) >= 100 else 1
        spread = max(abs(value - middle) for value in values)
        text = f"{middle:{'+' if self.above else ''},.{digits}f}{self.unit}"
        return text if round(spread, digits) == 0 else f"{text} ±{spread:,.{digits}f}"
