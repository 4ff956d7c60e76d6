# SPDX-License-Identifier: GPL-2.0
"""Scenario files are read strictly, and the judgement of what a run left is right about trifles that would hide a failure."""

import tempfile
import unittest
from pathlib import Path

import check
import scenario


def variants(text: str) -> list[scenario.Variant]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.toml"
        path.write_text(text)
        return scenario.read(path)


class Scenario(unittest.TestCase):
    def test_every_file_in_the_folder_compiles(self):
        found = scenario.read_all()
        self.assertTrue(found)
        for variant in found:
            self.assertIn("start_pathtrace", scenario.script(variant))

    def test_a_misspelt_key_is_refused(self):
        for text in ('expects = []', '[[traffic]]\nconnect = "x"\nerno = "ok"', '[rules.nftables]\nin = "h"\nlnes = []'):
            with self.assertRaises(scenario.ScenarioError):
                variants(text)

    def test_rules_decide_the_backends(self):
        self.assertEqual([variant.name for variant in variants("")], ["x/none/ipv4", "x/none/ipv6"])
        both = variants('families = ["ipv6"]\n[rules.iptables]\nin = "h"\nlines = ["{ipt} -P INPUT DROP"]')
        self.assertEqual([variant.name for variant in both], ["x/iptables-legacy/ipv6", "x/iptables-nft/ipv6"])
        self.assertIn("\nip6tables-nft -P INPUT DROP\n", scenario.script(both[1]))

    def test_a_placeholder_that_is_all_keeps_its_type(self):
        made = variants("[values.ipv4]\nn = 2\n[values.ipv6]\nn = 3\n[[expect]]\nrule = '{n}'\ntext = 'rule {n} {unknown}'")
        self.assertEqual([variant.get("expect")[0]["rule"] for variant in made], [2, 3])
        self.assertEqual(made[0].get("expect")[0]["text"], "rule 2 {unknown}")

    def test_values_may_hold_placeholders(self):
        made = variants("[values.ipv6]\nwords = 'from {client}'\n[[expect]]\ntext = '{words}'\n")
        self.assertEqual(made[1].get("expect")[0]["text"], "from fd01::2")


class Check(unittest.TestCase):
    def test_a_line_cut_short_is_a_problem_unless_killed(self):
        self.assertEqual(check.json_lines('{"a":1}\n{"a"', killed=True), ([{"a": 1}], []))
        self.assertEqual(len(check.json_lines('{"a":1}\n{"a"', killed=False)[1]), 1)

    def test_no_output_is_a_problem(self):
        self.assertEqual(len(check.json_lines("", killed=False)[1]), 1)

    def test_an_empty_line_is_a_problem(self):
        self.assertEqual(len(check.json_lines('{"a":1}\n\n{"a":2}\n', killed=False)[1]), 1)

    def test_counters_are_no_change_and_rules_are(self):
        self.assertEqual(check.lasting("iptables.h", ":INPUT ACCEPT [3:180]"), check.lasting("iptables.h", ":INPUT ACCEPT [4:240]"))
        self.assertNotEqual(check.lasting("iptables.h", "-A INPUT -j DROP"), check.lasting("iptables.h", ""))
        self.assertNotEqual(check.lasting("iptables.h", "-A a\n-A b"), check.lasting("iptables.h", "-A b\n-A a"))

    def test_a_module_is_its_name(self):
        self.assertEqual(check.lasting("modules", "veth 1 0 - Live"), check.lasting("modules", "veth 1 2 - Live"))


if __name__ == "__main__":
    unittest.main()
