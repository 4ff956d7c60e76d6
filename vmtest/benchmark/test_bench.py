# SPDX-License-Identifier: GPL-2.0
"""Tests of how the benchmark's figures become cells, budgets and documents."""

import tempfile
import unittest
from pathlib import Path

from benchmark import budgets, plan, tables
from benchmark.results import Figure, Machine, Results

BASE, OURS = "legacy 3 base", "legacy 3 pathtrace"


def machine(**figures: list[float]) -> Machine:
    """Figures of the unmatched packet, by subject."""
    return Machine("6.1", "6.1.0", 1, figures={f"legacy 3 {subject} udp_unmatched.packet": values for subject, values in figures.items()})


class Cells(unittest.TestCase):
    def test_what_is_above_the_base_is_paired_by_boot(self):
        measured = machine(base=[9800, 9900, 9850], pathtrace=[10800, 10901, 10850])
        self.assertEqual(Figure(OURS, "udp_unmatched.packet", BASE).values(measured), [1000, 1001, 1000])

    def test_the_spread_is_shown_unless_it_is_nothing(self):
        self.assertEqual(Figure(OURS, "udp_unmatched.packet").cell(machine(pathtrace=[9800, 9810, 9803])), "9,803 ±7")
        self.assertEqual(Figure(OURS, "udp_unmatched.packet").cell(machine(pathtrace=[9800, 9800.2])), "9,800")

    def test_what_was_not_measured_is_empty(self):
        self.assertEqual(Figure(OURS, "udp_unmatched.packet", BASE).cell(machine(pathtrace=[1])), "")


class Budgets(unittest.TestCase):
    budget = {"name": "x", "kernels": ["6.1"], "allowed": 850, "measured": {"of": OURS, "above": BASE, "measure": "udp_unmatched.packet"}}

    def test_a_number(self):
        self.assertEqual(budgets.judge(self.budget, machine(base=[9800], pathtrace=[10700])), (900, 850))

    def test_a_share(self):
        share = {"share": 0.5, "of": {"of": BASE, "measure": "udp_unmatched.packet"}}
        self.assertEqual(budgets.judge(self.budget | {"allowed": share}, machine(base=[9800], pathtrace=[10700])), (900, 4900))

    def test_a_figure_that_is_missing_does_not_pass(self):
        lines, met = budgets.verdicts(Results([machine(base=[9800])]), quick=False)
        self.assertFalse(met)
        self.assertIn("FAIL 6.1 unmatched packet, legacy, 3 rules: not measured", lines)

    def test_every_budget_of_the_file_is_measured_by_check(self):
        self.assert_measured(plan.check(["legacy", "nft"], quick=False), budgets.read())
        self.assert_measured(plan.check(["legacy", "nft"], quick=True), [each for each in budgets.read() if not each.get("long")])

    def assert_measured(self, script: str, wanted: list[dict]) -> None:
        for budget in wanted:
            for place in (budget["measured"]["of"], budget["measured"]["above"]):
                backend, rules, subject = place.split()
                call = {"base": "base", "key": "key", "pathtrace": "pathtrace_stopped", f"pathtrace-{plan.FLOOD}": f"flooded {plan.FLOOD}"}[subject]
                self.assertIn(call if call.startswith("flooded") else f"{call} {backend} {rules} ", script, budget["name"])


class Document(unittest.TestCase):
    def test_every_table_has_its_place(self):
        text = (Path(__file__).resolve().parents[2] / "docs" / "performance.md").read_text()
        for name in ("machines", "unmatched", "matched", "tcp", "tracer", "programs", "budgets"):
            self.assertEqual(text.count(f"<!-- table {name} -->\n"), 1, name)

    def test_a_table_replaces_what_stood_there(self):
        with tempfile.TemporaryDirectory() as folder:
            document = Path(folder) / "document.md"
            document.write_text("a\n<!-- table machines -->\nold\n<!-- end -->\nb\n<!-- table x -->\n<!-- end -->\n")
            tables.fill(document, [tables.Table("x", "title", ["6.1"], [["row", "1"]])], "- new")
            self.assertEqual(
                document.read_text(),
                "a\n<!-- table machines -->\n- new\n<!-- end -->\nb\n<!-- table x -->\n| title | 6.1 |\n|---|---:|\n| row | 1 |\n<!-- end -->\n",
            )


if __name__ == "__main__":
    unittest.main()
