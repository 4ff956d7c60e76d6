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


if __name__ == "__main__":
    unittest.main()
