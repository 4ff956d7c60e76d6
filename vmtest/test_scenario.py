# SPDX-License-Identifier: GPL-2.0
"""Scenario files are read strictly, and the judgement of what a run left is right about trifles that would hide a failure."""

import collections
import tempfile
import types
import unittest
from pathlib import Path

import check
import run
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
            started = "start_pathtrace" in scenario.script(variant)
            self.assertTrue(started or any("pathtrace" in step.get("run", "") for step in variant.steps()), variant.name)

    def test_a_misspelt_key_is_refused(self):
        steps = ('[[traffic]]\nconnect = "x"\nerno = "ok"', '[[traffic]]\nrun = "x"\noutputs = []')
        for text in ("expects = []", "pathtrace = true", '[rules.nftables]\nin = "h"\nlnes = []', *steps, "[[every]]\nof = {}"):
            with self.assertRaises(scenario.ScenarioError):
                variants(text)

    def test_rules_decide_the_backends(self):
        self.assertEqual([variant.name for variant in variants("")], ["x/none/ipv4", "x/none/ipv6"])
        both = variants('families = ["ipv6"]\n[rules.iptables]\nin = "h"\nlines = ["{ipt} -P INPUT DROP"]')
        self.assertEqual([variant.name for variant in both], ["x/iptables-legacy/ipv6", "x/iptables-nft/ipv6"])
        self.assertIn("\nip6tables-nft -P INPUT DROP\n", scenario.script(both[1]))

    def test_rules_are_looked_for_where_they_are_made_or_commands_run(self):
        steps = '[[traffic]]\nrun = "true"\nin = "c"\n[[traffic]]\nrun = "true"\n[[traffic]]\nlisten = "x"\nin = "s"\nport = 1\n'
        made = variants('families = ["ipv4"]\n[rules.nftables]\nin = "h"\ntext = ""\n' + steps)
        self.assertIn("\nbegin x.nftables.ipv4 nftables ipv4 c h\n", scenario.script(made[0]))

    def test_a_placeholder_that_is_all_keeps_its_type(self):
        made = variants("[values.ipv4]\nn = 2\n[values.ipv6]\nn = 3\n[[expect]]\nrule = '{n}'\ntext = 'rule {n} {unknown}'")
        self.assertEqual([variant.get("expect")[0]["rule"] for variant in made], [2, 3])
        self.assertEqual(made[0].get("expect")[0]["text"], "rule 2 {unknown}")

    def test_a_boot_line_is_none_unless_given(self):
        self.assertEqual({variant.boot for variant in variants("")}, {""})
        self.assertEqual({variant.boot for variant in variants('boot = "quiet"')}, {"quiet"})

    def test_pathtrace_is_left_to_the_steps_where_it_is_false(self):
        idle, asked = (scenario.script(variants(text + '[[traffic]]\nrun = "true"')[0]) for text in ("pathtrace = false\n", "pathtrace = []\n"))
        started = idle.replace("before\n", "before\nstart_pathtrace - -4\nbpf_state during\n")
        self.assertEqual(started.replace("state after", "stop_pathtrace INT\nstate after"), asked)

    def test_pathtrace_looks_at_one_family_unless_told_otherwise(self):
        for text, expected in (
            ('pathtrace = ["--dport", "80"]', [["-4", "--dport", "80"], ["-6", "--dport", "80"]]),
            ('pathtrace = ["-6"]', [["-6"], ["-6"]]),
            ("thorough = true", [["--dport", "80"]] * 2),
            ("both_families = true", [["--dport", "80"]] * 2),
        ):
            self.assertEqual([scenario.arguments(variant) for variant in variants(text)], expected)

    def test_a_pathtrace_that_ends_otherwise_gets_no_signal(self):
        for text in ('ends = "count reached"', '[[traffic]]\nkill = "TERM"', '[[traffic]]\nkill = "KILL"'):
            self.assertIn("\nstop_pathtrace\n", scenario.script(variants(text)[0]))
        self.assertIn("\nstop_pathtrace INT\n", scenario.script(variants('[[traffic]]\nkill = "STOP"')[0]))

    def test_nothing_is_expected_of_a_pathtrace_that_is_not_started(self):
        for text in ("status = 3", "expect_text = ['x']", '[[expect]]\ntype = "end"', '[[refuse]]\ntype = "end"', '[[traffic]]\nkill = "KILL"'):
            variants(text)
            with self.assertRaises(scenario.ScenarioError):
                variants("pathtrace = false\n" + text)

    def test_what_reuses_another_scenario_says_only_what_differs(self):
        made = variants('reuse = "text-view"\npathtrace = ["-4"]\nfamilies = ["ipv4"]')
        reused = [variant for variant in scenario.read_all() if variant.scenario == "text-view" and variant.family == "ipv4"]
        self.assertEqual([variant.backend for variant in made], [variant.backend for variant in reused])
        self.assertEqual(made[0].get("expect"), reused[0].get("expect"))
        self.assertIn("start_pathtrace - -4\n", scenario.script(made[0]))
        with self.assertRaises(scenario.ScenarioError):
            variants('reuse = "nothing"')

    def test_a_value_may_be_given_from_outside(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "x.toml"
            path.write_text("[values.none]\ncount = 2\n[[expect]]\ntext = '{count}'\n")
            for given, count in (({}, 2), (run.given_values(["count=100"]), 100)):
                self.assertEqual(scenario.read(path, given)[0].get("expect")[0]["text"], count)

    def test_connects_in_the_background_are_waited_for(self):
        step = '[[traffic]]\nconnect = "{server}"\nin = "c"\nport = 80\n'
        made = scenario.script(variants(step + "background = true")[0])
        self.assertIn("\nin_background connect 0 c 10.1.0.1 80\nwait_for_connects\nstop_pathtrace INT\n", made)
        self.assertNotIn("background", scenario.script(variants(step)[0]))

    def test_values_may_hold_placeholders(self):
        made = variants("[values.ipv6]\nwords = 'from {client}'\n[[expect]]\ntext = '{words}'\n")
        self.assertEqual(made[1].get("expect")[0]["text"], "from fd01::2")


class Check(unittest.TestCase):
    def test_a_line_cut_short_is_a_problem_unless_killed(self):
        self.assertEqual(check.json_lines('{"a":1}\n{"a"', killed=True), ([{"a": 1}], []))
        self.assertEqual(len(check.json_lines('{"a":1}\n{"a"', killed=False)[1]), 1)

    def test_no_output_is_a_problem(self):
        self.assertEqual(len(check.json_lines("", killed=False)[1]), 1)

    def test_what_a_step_printed_is_judged_beside_its_status(self):
        (variant,) = variants('pathtrace = false\nfamilies = ["ipv4"]\n[[traffic]]\nrun = "x"\nstatus = 3\noutput = ["^a b$", "c"]')
        right, reversed_, status_is_wrong, output_is_wrong = "a b\nc\n", "c\na b\n", "said 0, expected 3", "printed lacks"
        for status, printed, said in (
            (3, right, []),
            (0, right, [status_is_wrong]),
            (3, reversed_, [output_is_wrong]),
            (0, "", [status_is_wrong, output_is_wrong]),
        ):
            with tempfile.TemporaryDirectory() as name:
                (Path(name) / "steps").write_text(f"0 {status}\n")
                (Path(name) / "step-0.out").write_text(printed)
                problems = [line for line in check.wrong_steps(variant, Path(name)) if not line.startswith(" ")]
                self.assertEqual(len(problems), len(said), problems)
                for problem, words in zip(problems, said):
                    self.assertIn(words, problem)

    def test_without_a_pathtrace_of_ours_steps_and_state_are_judged(self):
        (variant,) = variants('pathtrace = false\nfamilies = ["ipv4"]\n[[traffic]]\nrun = "x"')
        with tempfile.TemporaryDirectory() as name:
            for when in ("before", "after"):
                (Path(name) / when).mkdir()
                (Path(name) / when / "bpf").write_text("")
            (Path(name) / "steps").write_text("0 0\n")
            self.assertEqual(check.judge(variant, Path(name), 0), [])
            (Path(name) / "after" / "bpf").write_text("prog tracing\n")
            self.assertEqual(len(check.judge(variant, Path(name), 0)), 1)

    def test_the_end_counts_what_came_before(self):
        start, packet, connection = {"type": "start"}, {"type": "packet", "connection": "1"}, {"type": "connection", "id": "1"}
        end = {"type": "end", "connections": 1, "packets": 1, "lost": 0, "reason": "interrupted"}
        right = [start, packet, connection, connection, end]
        lost = [start, {"type": "lost", "count": 3}, packet, connection, {**end, "lost": 3}]
        (plain, counted, killed, lossy) = (
            variants(text)[0]
            for text in ("", 'ends = "count reached"', '[[traffic]]\nkill = "KILL"', '[[expect]]\ntype = "lost"')
        )
        for variant, lines, problems in (
            (plain, right, 0),
            (plain, right[:-1], 1),
            (killed, right[:-1], 0),
            (plain, right[1:], 1),
            (counted, right, 1),
            (plain, [start, packet, packet, connection, end], 1),
            (plain, [start, connection, end], 1),
            (plain, [start, packet, {**connection, "id": "2"}, end], 1),
            (plain, lost, 1),
            (lossy, lost, 0),
            (lossy, right[:-1] + [{**end, "lost": 1}], 1),
        ):
            self.assertEqual(len(check.inconsistent(variant, lines)), problems, (variant.fields, lines))

    def test_each_connection_is_judged_by_its_own_end(self):
        text = 'families = ["ipv4"]\n[[traffic]]\nconnect = "10.1.0.1"\nin = "c"\nport = 80\ncount = 2\nerrno = ["ECONNREFUSED", "ok"]\n'
        (alike,) = variants(text + 'is = { outcome = "refused", errno = "~." }')
        (listed,) = variants(text + 'is = [{ outcome = "refused" }, { outcome = "closed" }]')

        def report(port: int, outcome: str, errno: str | None, confidence: str = "exact") -> dict:
            ends = {"client": {"address": "10.1.0.2", "port": port}, "server": {"address": "10.1.0.1", "port": 80}}
            return {"type": "connection", "protocol": "tcp", **ends, "outcome": outcome, "errno": errno, "confidence": confidence}

        refused, closed = report(1, "refused", "ECONNREFUSED"), report(2, "closed", None)
        with tempfile.TemporaryDirectory() as name:
            (Path(name) / "steps").write_text("0 ECONNREFUSED@10.1.0.2,1 ok@10.1.0.2,2 \n")
            self.assertEqual(check.wrong_steps(listed, Path(name)), [])
            for variant, lines, wrong in (
                (listed, [refused, closed], 0),
                (listed, [closed, {**refused, "outcome": "in_progress"}, refused], 0),  # the last report counts
                (alike, [refused, closed], 1),
                (listed, [refused], 1),
                (listed, [{**refused, "errno": "ETIMEDOUT"}, closed], 1),
                (listed, [refused, report(2, "closed", None, "partial")], 1),
                (listed, [report(1, "closed", None), report(2, "refused", "ECONNREFUSED")], 2),
            ):
                problems = check.wrong_connections(variant, Path(name), lines)
                self.assertEqual(len(problems), wrong and wrong + 1, problems)

    def test_under_load_a_pathtrace_that_says_it_missed_something_may_be_unsure(self):
        text = 'families = ["ipv4"]\nunder_load = true\n[[traffic]]\nconnect = "10.1.0.1"\nin = "c"\nport = 80\nis = { outcome = "closed" }\n'
        (busy,) = variants(text)
        (idle,) = variants(text.replace("under_load = true\n", ""))
        ends = {"client": {"address": "10.1.0.2", "port": 1}, "server": {"address": "10.1.0.1", "port": 80}}
        unsure = {"type": "connection", "protocol": "tcp", **ends, "outcome": "closed", "errno": None, "confidence": "partial"}
        lost = {"type": "lost", "count": 1}
        left_out = "pathtrace: the kernel left out a program 3 times, as an interrupt came while it ran\n"
        with tempfile.TemporaryDirectory() as name:
            (Path(name) / "steps").write_text("0 ok@10.1.0.2,1 \n")
            for variant, lines, stderr, passes in (
                (busy, [unsure], "", False),
                (busy, [lost, unsure], "", True),
                (busy, [unsure], left_out, True),
                (busy, [{**unsure, "outcome": "reset"}], left_out, False),
                (idle, [lost, unsure], left_out, False),
            ):
                (Path(name) / "stderr").write_text(stderr)
                self.assertEqual(not check.wrong_connections(variant, Path(name), lines), passes, (lines, stderr))

    def test_a_vm_that_died_is_not_a_test_that_failed(self):
        words = [run.word_of(verdict) for verdict in ("timeout", "lost", "infrastructure", "finished")]
        self.assertEqual(words, ["TIMEOUT", "LOST", "INFRASTRUCTURE", "LOST"])
        for failed, status in (({}, 0), ({"FAIL": 1}, 1), ({"TIMEOUT": 1, "LOST": 1}, 1), ({"LOST": 2}, 3), ({"LOST": 1, "INFRASTRUCTURE": 1}, 3)):
            self.assertEqual(run.exit_status(collections.Counter(failed)), status, failed)

    def test_what_is_left_behind_was_seen_before(self):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for when in ("before", "during"):
                (folder / when).mkdir()
                (folder / when / "bpf").write_text("map array\nprog tracing\n")
            self.assertIn("prog, map, link", check.unseen_state(folder)[0])
            with open(folder / "during" / "bpf", "a") as file:
                file.write("map array\nprog tracing\nlink tracing\n")
            self.assertEqual(check.unseen_state(folder), [])

    def test_two_bpf_objects_of_a_name_are_two(self):
        self.assertNotEqual(check.lasting("bpf", "prog a\nprog a\n"), check.lasting("bpf", "prog a\n"))

    def test_a_splat_is_judged_once_and_never_overlooked(self):
        splats = ["[ 1.0] WARNING: a\nmore", "[ 2.0] BUG: b\nmore"]
        self.assertEqual(run.outside(splats, "x\n[ 1.0] WARNING: a\nmore\n"), splats[1:])

    def test_only_the_kernel_known_to_lack_legacy_may_skip_it(self):
        legacy, nft = variants('families = ["ipv4"]\n[rules.iptables]\nin = "h"\nlines = []')
        said = variants('backends = ["iptables-legacy"]\nskip = { "6.1" = "why" }')[0]
        with tempfile.TemporaryDirectory() as empty:
            for name, variant, expected in (
                ("6.1", nft, ("", True)),
                ("6.1", legacy, ("this kernel has no ip_tables", False)),
                ("latest", legacy, ("this kernel has no ip_tables", True)),
                ("6.1", said, ("why", True)),
            ):
                kernel = types.SimpleNamespace(name=name, series=name, modules=Path(empty))
                self.assertEqual(run.Run.why_not(types.SimpleNamespace(label=name, kernel=kernel), variant), expected)

    def test_thorough_scenarios_run_on_all_kernels(self):
        rules = '[rules.iptables]\nin = "h"\nlines = []\n[rules.nftables]\nin = "h"\ntext = ""'
        thorough = variants("thorough = true\n" + rules)
        self.assertEqual({label: len(run.planned(label, thorough)) for label in run.MATRIX}, {"6.1": 6, "6.12": 6, "latest": 3, "6.1-smp2": 3})
        fewer = variants('thorough = true\nkernels = ["6.1"]\n' + rules)
        self.assertEqual([len(run.planned(label, fewer)) for label in run.MATRIX], [6, 0, 0, 0])

    def test_variants_of_the_others_are_dealt_out(self):
        rules = '[rules.iptables]\nin = "h"\nlines = []\n[rules.nftables]\nin = "h"\ntext = ""\n'
        two, one = 'kernels = ["6.1", "6.12"]\n', 'kernels = ["6.1"]\n'
        for text, sizes in (
            ('backends = ["none"]', [1, 1, 1, 1]),
            (one + 'backends = ["none"]', [1, 0, 0, 0]),
            ('families = ["ipv6"]\nbackends = ["none"]', [1, 1, 1, 1]),
            (two + rules, [2, 1, 0, 0]),
            (one + rules, [3, 0, 0, 0]),
            (rules, [1, 1, 1, 1]),
            ('kernels = ["latest", "6.1"]\n' + rules, [2, 0, 1, 0]),
        ):
            some = variants(text)
            ran = [run.planned(label, some) for label in run.MATRIX]
            self.assertEqual([len(part) for part in ran], sizes, text)
            seen = [variant for part in ran for variant in part]
            self.assertEqual({variant.backend for variant in seen}, {variant.backend for variant in some}, text)
            self.assertEqual(len({variant.family for variant in seen}), min(len(seen), len({variant.family for variant in some})), text)
            self.assertNotIn("iptables-legacy", {variant.backend for variant in ran[2]}, text)
            brief = [variant for label in run.MATRIX for variant in run.planned(label, some, brief=True)]
            self.assertEqual(sorted(variant.backend for variant in brief), sorted({variant.backend for variant in some}), text)
            self.assertLessEqual({label for label in run.MATRIX if run.planned(label, some, brief=True)}, set(some[0].get("kernels", run.MATRIX)), text)
        with self.assertRaises(scenario.ScenarioError):
            run.planned("latest", variants('kernels = ["latest"]\nbackends = ["iptables-legacy"]\n' + rules))

    def test_boots_of_a_kernel_are_equal_and_have_every_variant_once(self):
        for count in (1, 24, 25, 65):
            some = list(range(count))
            boots = run.parts(some, 24)
            self.assertEqual([each for boot in boots for each in boot], some)
            self.assertEqual(len(boots), -(-count // 24))
            self.assertLessEqual(max(map(len, boots)) - min(map(len, boots)), 1)

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
