# SPDX-License-Identifier: GPL-2.0
"""The built program as its users run it, as far as that needs no kernel: replays, wrong use, output that can't be written."""

import json
import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

PROGRAM = os.environ["PATHTRACE"]
DOCS = Path(__file__).resolve().parents[2] / "docs"


def documented(kind: str) -> list[str]:
    """The example lines of docs/json.md: together a stream of one connection."""
    blocks = re.findall(r"```json\n(.*?)```", (DOCS / "json.md").read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if json.loads(line)["type"] == kind]


STREAM = [line for kind in ("start", "packet", "connection", "lost", "end") for line in documented(kind)]


class Program(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def run_it(self, *arguments: str, **more) -> subprocess.CompletedProcess:
        return subprocess.run([PROGRAM, *arguments], cwd=self.folder, text=True, timeout=60, **{"capture_output": True, **more})

    def shell(self, command: str) -> subprocess.CompletedProcess:
        """`command` in a shell, in which $pathtrace is the program."""
        environment = {**os.environ, "pathtrace": PROGRAM}
        return subprocess.run(["sh", "-c", command], cwd=self.folder, text=True, timeout=60, capture_output=True, env=environment)

    def keep(self, lines: list[str], name: str = "trace.jsonl", end: str = "\n") -> str:
        (self.folder / name).write_text("\n".join(lines) + end)
        return name


class Stderr(Program):
    def test_that_it_cannot_be_written_changes_no_status(self):
        self.keep(STREAM[:-1] + ['{"type":"en'], end="")
        for command, status in (("--dport 0", 2), ("-r nowhere", 7), ("-r trace.jsonl", 0), ("-r trace.jsonl -w /nowhere/out", 6)):
            for where in ("2>&-", "2>/dev/full"):
                with self.subTest(command=command, where=where):
                    self.assertEqual(self.shell(f"$pathtrace {command} {where}").returncode, status)

    def test_a_capture_does_not_take_its_place(self):
        self.keep(STREAM[:-1] + ['{"type":"en'], end="")
        for closed in ("2>&-", ">&-", "<&-", "<&- >&- 2>&-"):
            with self.subTest(closed=closed):
                self.shell(f"$pathtrace -r trace.jsonl -w kept.jsonl --json {closed}")
                for line in (self.folder / "kept.jsonl").read_text().splitlines():
                    json.loads(line)


class Stdout(Program):
    def test_that_it_is_closed_is_said(self):
        self.keep(STREAM)
        for command in ("-h", "-V", "-r trace.jsonl", "-r trace.jsonl --json"):
            with self.subTest(command=command):
                result = self.shell(f"$pathtrace {command} >&-")
                self.assertEqual((result.returncode, result.stderr), (6, "pathtrace: cannot write the output: Bad file descriptor\n"))

    def test_of_a_long_trace_the_file_is_written_on(self):
        many = [STREAM[0]] + 2000 * [line for line in STREAM if '"type":"packet"' in line or '"type":"connection"' in line] + [STREAM[-1]]
        self.keep(many)
        for view in ("", "--json"):
            with self.subTest(view=view):
                result = self.shell(f'$pathtrace -r trace.jsonl {view} -w kept.jsonl | head -1; echo "status $?"')
                kept = (self.folder / "kept.jsonl").read_text().splitlines()
                self.assertEqual(len(kept), len(many))
                self.assertEqual(result.stderr, "pathtrace: the reader of standard output has gone away; kept.jsonl goes on\n")

    def test_with_nothing_else_to_write_it_ends_quietly(self):
        self.keep([STREAM[0]] + 5000 * STREAM[1:2])
        result = self.shell("{ $pathtrace -r trace.jsonl --json; echo status $? >&2; } | head -1")
        self.assertEqual(result.stderr, "status 0\n")

    def test_a_filter_says_how_many_connections_of_a_capture_match(self):
        self.keep([line for line in STREAM if json.loads(line)["type"] != "lost"])
        none = self.run_it("-r", "trace.jsonl", "--dport", "9")
        self.assertEqual((none.returncode, none.stdout), (0, ""))
        self.assertRegex(none.stderr, r"pathtrace: 0 of \d+ connections match")
        self.assertEqual(self.run_it("-r", "trace.jsonl", "--dport", "9", "-q").stderr, "")

    def test_quiet_is_about_stderr(self):
        self.keep(STREAM)
        loud = self.run_it("-r", "trace.jsonl")
        quiet = self.run_it("-r", "trace.jsonl", "-q", "-w", "kept.jsonl")
        self.assertEqual(quiet.stdout, loud.stdout)
        self.assertIn("REFUSED", quiet.stdout)


class Options(Program):
    def test_numeric_is_the_default(self):
        self.keep(STREAM)
        self.assertEqual(self.run_it("-n", "-r", "trace.jsonl").stdout, self.run_it("-r", "trace.jsonl").stdout)
        self.assertEqual(self.run_it("-n", "--numeric", "-r", "trace.jsonl").returncode, 0)

    def test_a_locale_without_utf8_gets_ascii(self):
        self.keep(STREAM)
        for locale, arrow in (("C", "->"), ("C.UTF-8", "→")):
            shown = self.run_it("-r", "trace.jsonl", env={**os.environ, "LC_ALL": locale}).stdout
            self.assertIn(f"10.0.0.9:51514 {arrow} 10.0.0.1:80 tcp", shown)
            self.assertEqual(shown.isascii(), locale == "C")

    def test_more_rules_than_can_be_watched_are_refused(self):
        self.assertEqual(self.run_it("--max-rules", "65537").returncode, 2)
        self.assertNotEqual(self.run_it("--max-rules", "65536", "--netns", "/nowhere").returncode, 2)


class CutOff(Program):
    def test_that_a_stream_has_no_end_is_said(self):
        for lines, end, said in (
            (STREAM[:-1], "\n", f"cut off after {len(STREAM) - 1} lines; what"),
            (STREAM[:1], "\n", "cut off after 1 line; what"),
            (STREAM[:2] + [STREAM[2][:40]], "", "cut off after 2 lines, within the next; what"),
        ):
            self.keep(lines, end=end)
            result = self.run_it("-r", "trace.jsonl")
            self.assertEqual((result.returncode, result.stderr), (0, f"pathtrace: trace.jsonl has no end: {said} came before is shown\n"))
            self.assertEqual(self.run_it("-r", "trace.jsonl", "-q").stderr, "")
            with open(self.folder / "trace.jsonl") as piped:
                self.assertIn("standard input has no end", self.run_it("-r", "-", stdin=piped).stderr)

    def test_packets_that_waited_for_their_connection_are_shown(self):
        self.keep(STREAM[:3])
        for arguments in ((), ("--dport", "80")):
            self.assertIn("NOT FINISHED", self.run_it("-r", "trace.jsonl", *arguments).stdout)

    def test_a_whole_stream_is_not_called_cut_off(self):
        self.keep(STREAM)
        self.assertEqual(self.run_it("-r", "trace.jsonl").stderr, "")


class Write(Program):
    def test_a_run_that_fails_before_it_traces_leaves_files_as_they_were(self):
        self.keep(["not a capture"], "bad.jsonl")
        self.keep(["old"], "old.jsonl")
        for name in ("new.jsonl", "old.jsonl"):
            self.assertEqual(self.run_it("-r", "bad.jsonl", "-w", name).returncode, 7)
            self.assertIn(self.run_it("--netns", "/nowhere", "-w", name).returncode, (3, 5))
        self.assertFalse((self.folder / "new.jsonl").exists())
        self.assertEqual((self.folder / "old.jsonl").read_text(), "old\n")

    def test_what_a_filter_picks_is_a_stream_that_agrees_with_itself(self):
        self.keep(STREAM)
        for arguments, connections in ((("--dport", "80"), 1), (("--dport", "81"), 0), (("-p", "icmp"), 0)):
            self.run_it("-r", "trace.jsonl", "-w", "kept.jsonl", *arguments)
            kept = [json.loads(line) for line in (self.folder / "kept.jsonl").read_text().splitlines()]
            end = kept[-1]
            self.assertEqual(end["connections"], connections)
            self.assertEqual(end["connections"], sum(line["type"] == "connection" for line in kept))
            self.assertEqual(end["packets"], sum(line["type"] == "packet" for line in kept))
            self.assertTrue(kept[0]["filter"].startswith("tcp,udp port 80, all network namespaces; of these "), kept[0]["filter"])


if __name__ == "__main__":
    unittest.main()
