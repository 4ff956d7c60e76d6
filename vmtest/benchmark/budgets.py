# SPDX-License-Identifier: GPL-2.0
"""What tracing may cost: budgets.toml against what was measured."""

import tomllib
from pathlib import Path

from benchmark.results import Figure, Machine, Results

FILE = Path(__file__).resolve().parent.parent / "budgets.toml"


def read(path: Path = FILE) -> list[dict]:
    return tomllib.loads(path.read_text())["budget"]


def judge(budget: dict, machine: Machine) -> tuple[float | None, float | None]:
    """What was measured and what is allowed; None where a figure is missing."""
    return figure(budget["measured"]).middle(machine), allowed(budget["allowed"], machine)


def allowed(given: float | dict, machine: Machine) -> float | None:
    if not isinstance(given, dict):
        return given
    whole = figure(given["of"]).middle(machine)
    return None if whole is None else whole * given["share"]


def figure(fields: dict) -> Figure:
    return Figure(**fields)


def verdicts(results: Results, quick: bool) -> tuple[list[str], bool]:
    """A line a budget and kernel; whether all are met. A budget whose figures are missing is not met."""
    lines, met = [], True
    for budget in read():
        for machine in results.machines:
            if machine.label not in budget["kernels"] or (quick and budget.get("long")):
                continue
            measured, most = judge(budget, machine)
            if measured is None or most is None:
                met = False
                lines.append(f"FAIL {machine.label} {budget['name']}: not measured")
                continue
            good = measured <= most
            met = met and good
            lines.append(f"{'ok' if good else 'FAIL'} {machine.label} {budget['name']}: {measured:,.0f}, allowed {most:,.0f}")
    return lines, met
