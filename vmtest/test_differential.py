# SPDX-License-Identifier: GPL-2.0
"""The differential test would notice: what its witnesses, its comparison and its shrinking make of small examples."""

import collections
import functools
import json
import random
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "fuzz"))

import case as cases
import nft_rules
import output
import packets
import real
import shrink
import trace_log
import trace_netlink
import xtables
from compare import AMBIGUOUS, HOTDROP, TARGET_OR_HOTDROP, Result, compare
from walks import DROP_OR_CONTINUE, POLICY, Step, Walk, without_emptied_witness

KEY = ("10.9.0.16", True, 60)
PACKET = "MAC=x SRC=10.9.0.16 DST=10.1.0.1 LEN=60 TOS=0x00 PROTO=TCP SPT=1 DPT=2 "


def is_client(address: str) -> bool:
    return address.startswith("10.9.")


def rules(**chains: list[str]) -> xtables.Ruleset:
    """Of table filter, with the witness's rules in raw."""
    parsed = {name: [real.rule(text) for text in texts] for name, texts in chains.items()}
    raw = {hook: xtables.trace_rules(4) for hook in xtables.HOOKS["raw"]}
    return xtables.Ruleset(4, {"raw": raw, "filter": parsed}, {("filter", "INPUT"): "DROP"})


def seen(ruleset: xtables.Ruleset, *records: str) -> list[Walk]:
    with tempfile.NamedTemporaryFile("w") as file:
        file.write("".join(f"4,1,1,-;TRACE: {record} IN=eth0 OUT= {PACKET}\n" for record in records))
        file.flush()
        log = trace_log.Log(Path(file.name), is_client)
    return trace_log.Reader({"A": ruleset, "B": ruleset}, True, collections.Counter()).read(log.records[KEY])


def told(*steps: dict) -> output.Output:
    base = {"kind": "rule", "offset_ns": 5, "backend": "iptables-legacy", "family": "ip", "table": "filter", "hook": "INPUT", "rule": None,
            "handle": None, "verdict": None, "missing": None}  # fmt: skip
    packet = {"type": "packet", "src": KEY[0], "dst": "10.1.0.1", "length": 60, "ts_ns": 1, "origin": "wire", "steps": [base | step for step in steps]}
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(json.dumps(packet) + "\n")
        file.flush()
        return output.Output(Path(file.name), None, is_client)


class Witness(unittest.TestCase):
    def test_an_unconditional_rule_that_trace_calls_policy_is_a_rule(self):
        walks = seen(rules(INPUT=["-p udp -j DROP", "-j ACCEPT"]), "filter:INPUT:policy:2")
        self.assertEqual(walks[0].steps, [Step("INPUT", 2, "accept")])

    def test_the_number_after_the_last_rule_is_the_policy(self):
        self.assertEqual(seen(rules(INPUT=["-p udp"]), "filter:INPUT:policy:2")[0].steps, [Step("INPUT", POLICY, "drop")])

    def test_the_end_of_a_user_chain_is_no_rule(self):
        walks = seen(rules(INPUT=["-j u"], u=["-p tcp"]), "filter:INPUT:rule:1", "filter:u:rule:1", "filter:u:return:2", "filter:INPUT:policy:2")
        self.assertEqual(walks[0].steps, [Step("INPUT", 1, "jump"), Step("u", 1, "continue"), Step("INPUT", POLICY, "drop")])

    def test_the_rule_that_starts_tracing_is_part_of_the_walk(self):
        self.assertEqual(seen(rules(INPUT=[]), "raw:PREROUTING:policy:3")[0].steps, [Step("PREROUTING", 1, "continue"), Step("PREROUTING", POLICY, "accept")])

    def test_the_walk_of_a_copy_lies_inside_that_of_its_original(self):
        ruleset = rules(FORWARD=["-p tcp", "-j TEE --gateway 10.9.0.1", "-p tcp"], POSTROUTING=["-p tcp", "-j u"], u=["-j ACCEPT"])
        walks = seen(ruleset, "filter:FORWARD:rule:1", "filter:FORWARD:rule:2", "filter:POSTROUTING:rule:2", "filter:u:rule:1",
                     "filter:FORWARD:rule:3", "filter:FORWARD:policy:4")  # fmt: skip
        self.assertEqual([[step.rule for step in walk.steps] for walk in walks], [[1, 2, 3, POLICY], [2, 1]])
        # without a copy, one that comes again begins another walk
        walks = seen(ruleset, "filter:FORWARD:rule:1", "filter:POSTROUTING:rule:1", "filter:FORWARD:rule:1")
        self.assertEqual(len(walks), 3)

    def test_copies_are_not_made_for_ever(self):
        tables = {"mangle": {"PREROUTING": [xtables.Rule("-p tcp", "-j TTL --ttl-dec 40")], "INPUT": [xtables.Rule("", "-j TEE --gateway 10.10.0.253")]}}
        xtables.without_endless_copies(tables, 4)
        self.assertEqual(tables["mangle"]["PREROUTING"][0].text, "-p tcp")
        self.assertIn("--ttl-gt 60", tables["mangle"]["INPUT"][0].text)

    def test_a_target_that_changes_the_packet_may_drop_it(self):
        ruleset = rules(INPUT=["-p tcp -j TCPOPTSTRIP --strip-options mss", "-p tcp"])
        self.assertEqual(seen(ruleset, "filter:INPUT:rule:1")[0].steps, [Step("INPUT", 1, DROP_OR_CONTINUE)])
        self.assertEqual(seen(ruleset, "filter:INPUT:rule:1", "filter:INPUT:rule:2")[0].steps[0], Step("INPUT", 1, "continue"))

    def test_two_variants_are_told_apart_by_what_their_first_rule_logs(self):
        plain = rules(INPUT=["-p tcp", "-j ACCEPT"])
        variants = {name: plain.labelled(name) for name in "AB"}
        self.assertEqual(variants["B"].untraced("PREROUTING", True), [1, 2, 3])
        self.assertEqual(variants["A"].untraced("PREROUTING", False), [1, 3])
        records = [trace_log.Record("filter", "INPUT", "rule", 1, True, False), trace_log.Record("", "", "", 0, True, False, "B"),
                   trace_log.Record("filter", "INPUT", "policy", 4, True, False)]  # fmt: skip
        walk = trace_log.Reader(variants, True, collections.Counter()).read(records)[0]
        self.assertEqual(walk.steps[1], Step("INPUT", 4, "accept"))

    def test_a_trace_record_of_nftables(self):
        header = packets.Packet("c", 0, 4, "{client}", "10.1.0.1", packets.UDP, {"sport": 1, "dport": 2}, 32).bytes(KEY[0])[:40].hex()
        lines = [f"7 2 t b 3 12 -3 u 0 0 {header}", "7 2 t u 3 14 -5 - 0 0 -", "7 2 t b 2 0 -1 - 0 0 -", "7 2 t b 1 0 32767 - 1 0 -"]
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("READY\n" + "\n".join(lines) + "\n")
            file.flush()
            walks = trace_netlink.Records(Path(file.name), is_client).walks[KEY]
        self.assertEqual(walks[0].steps, [Step("b", 12, "jump"), Step("u", 14, "return"), Step("b", POLICY, "accept")])


class Comparison(unittest.TestCase):
    ruleset = rules(INPUT=["-p tcp", "-j u", "-j ACCEPT"], u=["-p tcp"])
    records = ("filter:INPUT:rule:1", "filter:INPUT:rule:2", "filter:u:rule:1", "filter:u:return:2", "filter:INPUT:policy:3")

    def compared(self, *steps: dict) -> Result:
        result = Result()
        compare("x", seen(self.ruleset, *self.records), told(*steps).legacy_walks(KEY), result)
        return result

    right = (
        {"chain": "INPUT", "rule": 1, "verdict": "continue"},
        {"chain": "INPUT", "rule": 2, "verdict": "jump"},
        {"chain": "u", "rule": 1, "verdict": "continue"},
        {"chain": "INPUT", "rule": 3, "verdict": "accept"},
    )

    def test_the_same_rules_in_the_same_order(self):
        result = self.compared(*self.right)
        self.assertFalse(result.failed)
        self.assertEqual(result.rules, 4)

    def test_another_number_order_or_verdict_is_wrong(self):
        one, two, three, four = self.right
        for steps in ((one, two, three | {"rule": 2}, four), (two, one, three, four), (one, two, three, four | {"verdict": "drop"}),
                      (one, one, two, three, four), (one, two, three, {"kind": "policy", "chain": "INPUT", "verdict": "accept"})):  # fmt: skip
            self.assertEqual(len(self.compared(*steps).wrong), 1, steps)

    def test_a_rule_left_out_is_missing(self):
        self.assertEqual(len(self.compared(*self.right[:1], *self.right[2:]).missing), 1)

    def test_a_reason_is_partial_and_explained_only_if_it_had_to_be(self):
        result = self.compared({"chain": None, "missing": AMBIGUOUS})
        self.assertEqual((result.partial.total(), len(result.unexplained), len(result.wrong)), (1, 1, 0))

    def test_what_pathtrace_took_back_because_of_trace_is_wrong(self):
        why = "the rule counters of table filter and the kernel's own TRACE (INPUT:rule:1) disagree"
        self.assertEqual(len(self.compared({"chain": None, "missing": why}).wrong), 1)

    def test_a_broken_packet_may_be_dropped_by_a_match(self):
        records = self.records[:3]
        steps = [*self.right[:3], {"chain": None, "missing": HOTDROP}]
        for broken, ruleset_records, unexplained in ((True, records, 0), (False, records, 1), (True, self.records, 1)):
            result = Result()
            compare("x", seen(self.ruleset, *ruleset_records), told(*steps).legacy_walks(KEY), result, [[]] if broken else [])
            self.assertEqual((len(result.unexplained), result.wrong), (unexplained, []), ruleset_records)
        maybe = [*self.right[:2], self.right[2] | {"verdict": None}, {"chain": None, "missing": TARGET_OR_HOTDROP}]
        for steps, wrong in ((maybe, 0), ([*self.right[:2], self.right[2] | {"verdict": None, "rule": 2}, maybe[3]], 1)):
            result = Result()
            compare("x", seen(self.ruleset, *records), told(*steps).legacy_walks(KEY), result, [[]])
            self.assertEqual((len(result.unexplained), len(result.wrong)), (0, wrong), steps)
        result = Result()  # the target of its last rule may drop it, too, and did not
        going_on = Walk("filter", "INPUT", [Step("INPUT", 2, DROP_OR_CONTINUE)])
        compare("x", [going_on], [Walk("filter", "INPUT", [Step("INPUT", 2, "continue")], missing=[HOTDROP])], result, [[]])
        self.assertEqual((result.unexplained, result.wrong), ([], []))
        nothing_matched = {"chain": None, "missing": HOTDROP}
        turned_on = {"table": "raw", "hook": "PREROUTING", "chain": "PREROUTING", "rule": 1, "verdict": "continue"}
        unseen = trace_log.before_tracing({"A": self.ruleset, "B": self.ruleset}, True)
        for steps, expected, right in (((nothing_matched,), unseen, True), ((nothing_matched,), [], False),
                                       ((turned_on, turned_on | nothing_matched), unseen, True),
                                       ((turned_on | {"rule": 2}, turned_on | nothing_matched), unseen, False)):  # fmt: skip
            result = Result()
            compare("x", [], told(*steps).legacy_walks(KEY), result, expected)
            self.assertEqual(not result.unexplained and not result.wrong, right, steps)

    def test_a_target_that_decides_by_itself(self):
        ruleset = rules(INPUT=["-p tcp -j SYNPROXY", "-p tcp -j ACCEPT"])
        ended = seen(ruleset, "filter:INPUT:rule:1")
        went_on = seen(ruleset, "filter:INPUT:rule:1", "filter:INPUT:rule:2")
        first, second = ({"chain": "INPUT", "rule": 1, "verdict": verdict} for verdict in ("stolen", "continue"))
        last = {"chain": "INPUT", "rule": 2, "verdict": "accept"}
        for walks, steps, wrong in ((ended, [first], 0), (ended, [second], 1), (went_on, [second, last], 0), (went_on, [first, last], 1)):
            result = Result()
            compare("x", walks, told(*steps).legacy_walks(KEY), result)
            self.assertEqual(len(result.wrong), wrong, steps)

    def test_a_target_that_may_drop_does_nothing_else(self):
        ruleset = rules(INPUT=["-p tcp -j TTL --ttl-set 3"])
        for verdict, wrong in (("drop", 0), ("accept", 1), ("stolen", 1), ("continue", 1)):
            result = Result()
            compare("x", seen(ruleset, "filter:INPUT:rule:1"), told({"chain": "INPUT", "rule": 1, "verdict": verdict}).legacy_walks(KEY), result)
            self.assertEqual(len(result.wrong), wrong, verdict)

    def test_a_copy_made_in_the_middle_of_a_walk_is_a_walk_of_its_own(self):
        ruleset = rules(FORWARD=["-j TEE --gateway 10.1.0.9", "-j ACCEPT"], OUTPUT=[])
        record = functools.partial(trace_log.Record, inward=False, outward=True)
        records = [trace_log.Record("filter", "FORWARD", "rule", 1, True, True), record("raw", "OUTPUT", "rule", 1),
                   record("raw", "OUTPUT", "policy", 3), record("filter", "OUTPUT", "policy", 1),
                   trace_log.Record("filter", "FORWARD", "policy", 2, True, True)]  # fmt: skip
        walks = trace_log.Reader({"A": ruleset, "B": ruleset}, True, collections.Counter()).read(records)
        self.assertEqual([(walk.base, len(walk.steps)) for walk in walks], [("FORWARD", 2), ("OUTPUT", 2), ("OUTPUT", 1)])

    def test_a_chain_entered_twice_with_a_match_in_one_visit_is_ambiguous(self):
        ruleset = rules(INPUT=["-j u", "-j u"], u=["-m statistic --mode nth --every 2 --packet 0"])
        records = ["filter:INPUT:rule:1", "filter:u:rule:1", "filter:u:return:2", "filter:INPUT:rule:2", "filter:u:return:2", "filter:INPUT:policy:3"]
        self.assertTrue(seen(ruleset, *records)[0].ambiguous)
        records.insert(4, "filter:u:rule:1")
        self.assertFalse(seen(ruleset, *records)[0].ambiguous)

    def test_a_chain_gone_through_twice_is_compared_with_the_walk_that_agrees(self):
        empty, full = (Walk("ip t", "b", steps) for steps in ([Step("b", POLICY, "accept")], [Step("b", 7, "accept")]))
        unknown = Walk("ip None", "?", missing=["since removed"])
        result = Result()
        compare("x", [empty, full], [unknown, full], result)
        self.assertEqual((result.rules, result.partial.total(), result.wrong, result.missing), (1, 1, [], []))

    def test_an_emptied_witness_is_compared_on_neither_side(self):
        policy = Step("prerouting", POLICY, "accept")
        emptied, marking = (Walk("ip witness", "prerouting", steps) for steps in ([policy], [Step("prerouting", 3, "continue"), policy]))
        other = Walk("ip t0", "b1", [Step("b1", POLICY, "accept")])
        self.assertEqual(without_emptied_witness([emptied, marking, other]), [marking, other])

    def test_what_the_witness_never_saw_is_wrong(self):
        result = Result()
        compare("x", [], told(*self.right).legacy_walks(KEY), result)
        self.assertEqual(len(result.wrong), 1)


class Cases(unittest.TestCase):
    def test_a_seed_and_a_number_make_the_same_case(self):
        for backend in ("legacy", "iptables-nft", "nftables"):
            for number in range(20):
                self.assertEqual(cases.shown(cases.generate(backend, 5, number)), cases.shown(cases.generate(backend, 5, number)))

    def test_no_two_packets_of_a_case_have_the_same_key(self):
        for number in range(200):
            case = cases.generate("legacy", 1, number)
            self.assertEqual(len(case.keys()), len(case.packets))

    def test_checksums(self):
        for version, protocol in ((4, packets.TCP), (4, packets.UDP), (4, packets.ICMP)):
            packet = packets.flow_packets(random.Random(3), version, 0)[0]
            data = packet.bytes(KEY[0])
            self.assertEqual(packets.checksum(data[:20]), 0, protocol)

    def test_shrinking_leaves_what_fails(self):
        case = cases.generate("legacy", 1, 3)
        wanted = case.rules.tables["nat"]["PREROUTING"][1].text

        def play(tried: list[cases.Case]) -> set[int]:
            return {each.number for each in tried if wanted in each.rules.text() and each.packets}

        small = shrink.shrink(case, play, lambda text: None)
        self.assertIn(wanted, small.rules.text())
        self.assertLessEqual(len(shrink.parts(small)), 6)
        self.assertLessEqual({table for table, _ in small.rules.policies}, set(small.rules.tables))

    def test_shrinking_native_rules(self):
        case = cases.generate("nftables", 1, 5)
        wanted = next(chain.rules[-1] for table in case.rules.tables[1:] for chain in table.chains if chain.rules)
        small = shrink.shrink(case, lambda tried: {each.number for each in tried if wanted in each.rules.text()}, lambda text: None)
        self.assertIn(wanted, small.rules.text())
        self.assertIn(nft_rules.witness_table("ip" if case.version == 4 else "ip6"), small.rules.text())
        self.assertLessEqual(len(shrink.parts(small)), 6)


if __name__ == "__main__":
    unittest.main()
