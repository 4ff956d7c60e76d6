# SPDX-License-Identifier: GPL-2.0
"""What the demo passes on to pathtrace, and what it concludes about the machine it runs on."""

import json
import subprocess
import unittest

import demo


def tried(status: int, stdout: str = "", stderr: str = "") -> str:
    return demo.of_this_host(subprocess.CompletedProcess([], status, stdout, stderr), "build/release/pathtrace")


class Demo(unittest.TestCase):
    def test_port_80_is_traced_unless_a_filter_is_given(self):
        for arguments in ([], ["--json"], ["-v"], ["-4", "-c", "3"], ["-w", "trace.jsonl"]):
            self.assertEqual(demo.with_filter(arguments), ["--dport", "80", *arguments])
        for arguments in (["--dport", "8080"], ["--port=8080", "--json"], ["-p", "tcp"], ["-ptcp"], ["--json", "--src=10.1.0.2"], ["-i", "eth0"]):
            self.assertEqual(demo.with_filter(arguments), arguments)

    def test_a_user_without_rights_is_not_told_that_the_kernel_refuses(self):
        said = tried(3, stderr="pathtrace: not allowed to trace: needs CAP_BPF")
        self.assertEqual(said, "On this machine it was not tried, as that takes root: sudo build/release/pathtrace --dport 80")

    def test_a_kernel_that_refuses_is(self):
        said = tried(4, stderr="pathtrace: this kernel refuses tracing programs (Operation not permitted). `vmtest/demo` shows\n")
        self.assertTrue(said.startswith("Not on this machine (this kernel refuses tracing programs (Operation not permitted))."), said)
        probe = {"name": "iptables", "state": "unavailable", "why": "loading failed", "lost": "rules"}
        self.assertIn("its kernel refuses 1 of 1 probes; iptables: loading failed", tried(0, json.dumps({"probes": [probe]}) + "\n"))

    def test_one_that_takes_it_is_told_of(self):
        probe = {"name": "iptables", "state": "attached", "why": None, "lost": None}
        self.assertEqual(tried(0, json.dumps({"probes": [probe]}) + "\n"), "On this machine, too, as root: build/release/pathtrace --dport 80")


if __name__ == "__main__":
    unittest.main()
