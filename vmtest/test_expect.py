# SPDX-License-Identifier: GPL-2.0
"""The matcher decides every VM test, so it is tested itself: python3 -m unittest test_expect"""

import unittest

from expect import exceptions, unmet


class Expect(unittest.TestCase):
    def assert_met(self, expected, lines):
        self.assertEqual(unmet(expected, [], lines), [])

    def assert_unmet(self, expected, lines, why=""):
        problems = unmet(expected, [], lines)
        self.assertEqual(len(problems), 1)
        self.assertIn(why, problems[0])

    def test_fields_not_named_do_not_matter(self):
        self.assert_met([{"type": "end"}], [{"type": "start"}, {"type": "end", "lost": 0}])

    def test_a_field_that_is_absent_is_said(self):
        self.assert_unmet([{"type": "end", "lost": 0}], [{"type": "end"}], "lost is absent")

    def test_a_nested_difference_is_said_with_its_path(self):
        self.assert_unmet([{"type": "c", "cause": {"rule": 2}}], [{"type": "c", "cause": {"rule": 3}}], "cause.rule is 3, expected 2")

    def test_order_counts(self):
        self.assert_unmet([{"n": 1}, {"n": 2}], [{"n": 2}, {"n": 1}], "number 2 of 2")

    def test_lists_are_ordered_subsets(self):
        self.assert_met([{"steps": [{"a": 1}, {"a": 3}]}], [{"steps": [{"a": 1}, {"a": 2}, {"a": 3}]}])
        self.assert_unmet([{"steps": [{"a": 3}, {"a": 1}]}], [{"steps": [{"a": 1}, {"a": 2}, {"a": 3}]}])

    def test_a_list_may_be_asked_for_exactly(self):
        lines = [{"steps": [{"a": 1}, {"a": 2}]}]
        self.assert_met([{"steps": ["<exactly>", {"a": 1}, {"a": "$x"}]}], lines)
        for steps in ([{"a": 1}], [{"a": 2}, {"a": 1}], [{"a": 1}, {"a": 2}, {"a": 3}], []):
            self.assert_unmet([{"steps": ["<exactly>", *steps]}], lines, "steps is")

    def test_all_lines_of_a_kind_may_be_asked_for(self):
        lines = [{"k": "a", "n": 1}, {"k": "b", "n": 2}, {"k": "a", "n": 3}]
        for kind, number, wrong in (("b", 2, ""), ("a", 1, "1 are otherwise: n is 3"), ("c", 1, "there is no line like")):
            problems = exceptions([{"of": {"k": kind}, "is": {"n": number}}], lines)
            self.assertEqual(len(problems), bool(wrong))
            self.assertIn(wrong, "".join(problems))

    def test_an_alias_is_the_same_everywhere_even_if_the_first_try_fails(self):
        lines = [{"id": "1", "k": "a"}, {"id": "2", "k": "a"}, {"ref": "2"}]
        self.assert_met([{"id": "$x", "k": "a"}, {"ref": "$x"}], lines)
        self.assert_unmet([{"id": "$x", "k": "a"}, {"ref": "$x"}], lines[:1] + lines[2:])

    def test_patterns(self):
        self.assert_met([{"a": "~^-p tcp"}], [{"a": "-p tcp --dport 80"}])
        self.assert_unmet([{"a": "~^-p tcp"}], [{"a": "-s x -p tcp"}])
        self.assert_unmet([{"a": "~1"}], [{"a": 1}])

    def test_null_and_set(self):
        self.assert_met([{"a": "<null>", "b": "<set>", "c": "<nonempty>"}], [{"a": None, "b": 0, "c": [1]}])
        self.assert_unmet([{"a": "<null>"}], [{"a": ""}])
        self.assert_unmet([{"a": "<set>"}], [{"a": None}])
        self.assert_unmet([{"a": "<nonempty>"}], [{"a": []}])

    def test_one_is_not_true(self):
        self.assert_unmet([{"a": 1}], [{"a": True}])

    def test_refused(self):
        self.assertEqual(unmet([], [{"a": 2}], [{"a": 1}]), [])
        self.assertIn("must not appear", unmet([], [{"a": 1}], [{"a": 1}])[0])

    def test_nothing_at_all_is_not_a_match(self):
        self.assert_unmet([{"type": "end"}], [], "no line of type end")


if __name__ == "__main__":
    unittest.main()
