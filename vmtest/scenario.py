# SPDX-License-Identifier: GPL-2.0
"""Scenarios: one TOML file each in scenarios/, expanded by backend and IP family, compiled to a dash script. README.md has the format."""

import dataclasses
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent / "scenarios"

BACKENDS = ("iptables-legacy", "iptables-nft", "nftables")
FAMILIES = ("ipv4", "ipv6")

# What a placeholder stands for, by topology and family; a scenario's [values.…] add to these.
ADDRESSES = {
    ("host", "ipv4"): {"client": "10.1.0.2", "server": "10.1.0.1", "client_net": "10.1.0.0/24", "server_net": "10.1.0.0/24"},
    ("host", "ipv6"): {"client": "fd01::2", "server": "fd01::1", "client_net": "fd01::/64", "server_net": "fd01::/64"},
    ("bridge", "ipv4"): {"client": "10.1.0.2", "server": "10.1.0.3", "client_net": "10.1.0.0/24", "server_net": "10.1.0.0/24"},
    ("bridge", "ipv6"): {"client": "fd01::2", "server": "fd01::3", "client_net": "fd01::/64", "server_net": "fd01::/64"},
    ("router", "ipv4"): {
        "client": "10.1.0.2", "router": "10.1.0.1", "server": "10.2.0.2", "client_net": "10.1.0.0/24", "server_net": "10.2.0.0/24",
    },
    ("router", "ipv6"): {
        "client": "fd01::2", "router": "fd01::1", "server": "fd02::2", "client_net": "fd01::/64", "server_net": "fd02::/64",
    },
}  # fmt: skip
FAMILY_WORDS = {
    "ipv4": {"family": "ip", "ipv": "4", "icmp": "icmp", "icmp_proto": "icmp", "any": "0.0.0.0", "loopback": "127.0.0.1"},
    "ipv6": {"family": "ip6", "ipv": "6", "icmp": "icmpv6", "icmp_proto": "ipv6-icmp", "any": "::", "loopback": "::1"},
}

KEYS = {
    "": {"summary", "reuse", "boot", "topology", "pathtrace", "netns", "backends", "families", "thorough", "both_families", "kernels", "skip", "under_load", "rules", "values", "setup", "traffic", "status",
         "changes", "ends", "expect", "every", "refuse", "expect_text", "refuse_text", "expect_stderr", "refuse_stderr"},
    "every": {"of", "is"},
    "rules": {"in", "lines", "text"},
    "listen": {"listen", "in", "port", "udp", "backlog", "accept", "v6only", "then", "md5", "name"},
    "connect": {"connect", "in", "port", "udp", "source", "timeout_ms", "send", "flood", "linger0", "count", "parallel", "keepalive", "hold", "stay_ms", "user_timeout_ms", "background", "errno", "is"},
    "run": {"run", "in", "status", "output"},
    "kill": {"kill"},
}  # fmt: skip
# Those of a pathtrace that the harness starts: `pathtrace = false` leaves that to the steps.
OF_PATHTRACE = {"netns", "both_families", "under_load", "status", "ends", "expect", "every", "refuse", "expect_text", "refuse_text", "expect_stderr", "refuse_stderr"}

ENDING = ("KILL", "TERM", "INT")  # signals


class ScenarioError(Exception):
    pass


@dataclasses.dataclass(frozen=True)
class Variant:
    """A scenario with one backend and one family: placeholders are filled in everywhere."""

    scenario: str
    backend: str
    family: str
    fields: dict

    @property
    def name(self) -> str:
        return f"{self.scenario}/{self.backend}/{self.family}"

    @property
    def id(self) -> str:
        """A file name."""
        return self.name.replace("/", ".")

    @property
    def boot(self) -> str:
        """Parameters of the kernel; variants of the same share a boot."""
        return self.fields.get("boot", "")

    @property
    def starts_pathtrace(self) -> bool:
        return self.fields.get("pathtrace") is not False

    @property
    def setup(self) -> list[dict]:
        return self.fields.get("setup", [])

    @property
    def traffic(self) -> list[dict]:
        return self.fields.get("traffic", [])

    @property
    def ending(self) -> list[str]:
        """The signals of its steps that end pathtrace."""
        return [step["kill"] for step in self.traffic if step.get("kill") in ENDING]

    def steps(self) -> list[dict]:
        """Of set-up and traffic; their index is the number that the guest reports them by."""
        return self.setup + self.traffic

    def get(self, key: str, default: Any = None) -> Any:
        return self.fields.get(key, default)


def read_all(folder: Path = FOLDER, given: dict | None = None) -> list[Variant]:
    return [variant for path in sorted(folder.glob("*.toml")) for variant in read(path, given)]


def read(path: Path, given: dict | None = None) -> list[Variant]:
    """`given` are values of placeholders that overrule the file's."""
    try:
        fields = tomllib.loads(path.read_text())
        if "reuse" in fields:  # all of another scenario, but for what this one says itself
            fields = tomllib.loads((FOLDER / f"{fields['reuse']}.toml").read_text()) | fields
        check_keys(fields)
        rules = {name: given if isinstance(given, list) else [given] for name, given in fields.get("rules", {}).items()}
        if "iptables" in rules:  # the same lines for both of its backends
            rules["iptables-legacy"] = rules["iptables-nft"] = rules.pop("iptables")
        unknown = set(rules) - set(BACKENDS)
        if unknown:
            raise ScenarioError(f"rules for {', '.join(unknown)}: not a backend")
        possible = [backend for backend in BACKENDS if backend in rules] or ["none"]
        return [
            expand(path.stem, fields, rules.get(backend, []), backend, family, given or {})
            for backend in fields.get("backends", possible)
            for family in fields.get("families", FAMILIES)
        ]
    except (tomllib.TOMLDecodeError, ScenarioError, KeyError, OSError) as error:
        raise ScenarioError(f"{path}: {error}") from error


def expand(name: str, fields: dict, rules: list[dict], backend: str, family: str, given: dict) -> Variant:
    topology = fields.get("topology", "host")
    values = {"backend": backend, "ipt": "", **ADDRESSES[topology, family], **FAMILY_WORDS[family]}
    if backend.startswith("iptables-"):
        values["ipt"] = backend if family == "ipv4" else "ip6tables-" + backend.removeprefix("iptables-")
    for key in (backend.split("-")[0], backend, family):
        values.update(fill(fields.get("values", {}).get(key, {}), values))
    values.update(given)
    filled = fill({**fields, "topology": topology, "rules": rules}, values)
    return Variant(name, backend, family, filled)


def fill(thing: Any, values: dict) -> Any:
    if isinstance(thing, dict):
        return {key: fill(value, values) for key, value in thing.items()}
    if isinstance(thing, list):
        return [fill(value, values) for value in thing]
    if not isinstance(thing, str):
        return thing
    whole = re.fullmatch(r"\{(\w+)\}", thing)
    if whole and whole.group(1) in values:
        return values[whole.group(1)]  # keeps its type: a number stays a number
    return re.sub(r"\{(\w+)\}", lambda match: str(values.get(match.group(1), match.group())), thing)


def check_keys(fields: dict) -> None:
    """A misspelt `expect` must not pass."""
    unknown = set(fields) - KEYS[""]
    for rules in fields.get("rules", {}).values():
        for entry in rules if isinstance(rules, list) else [rules]:
            unknown |= set(entry) - KEYS["rules"]
    for step in fields.get("setup", []) + fields.get("traffic", []):
        unknown |= set(step) - KEYS[kind(step)]
    for entry in fields.get("every", []):
        unknown |= set(entry) ^ KEYS["every"]
    if unknown:
        raise ScenarioError(f"unknown: {', '.join(sorted(unknown))}")
    if fields.get("pathtrace") is True:
        raise ScenarioError("pathtrace is false or its arguments")
    if fields.get("pathtrace") is False:
        idle = OF_PATHTRACE & set(fields) | {key for step in fields.get("traffic", []) for key in ("kill", "is") if key in step}
        if idle:
            raise ScenarioError(f"of a pathtrace that is not started: {', '.join(sorted(idle))}")


def kind(step: dict) -> str:
    kinds = [kind for kind in ("listen", "connect", "run", "kill") if kind in step]
    if len(kinds) != 1:
        raise ScenarioError(f"a step is one of listen, connect, run, kill: {step}")
    return kinds[0]


# The script


def script(variant: Variant) -> str:
    """What the guest runs: calls of lib.sh and state.sh."""
    lines = [
        ". /test/lib.sh",
        ". /test/state.sh",
        " ".join(["begin", variant.id, variant.backend, variant.family, *ruled(variant)]),
        f"topology_{variant.fields['topology']}",
    ]
    for rules in variant.fields["rules"]:
        if "text" in rules:
            lines += here_document(f"nft_rules {rules['in']}", rules["text"])
        else:
            lines += here_document(f"commands {rules['in']}", "\n".join(rules["lines"]))
            lines[-1] += '\n[ $? = 0 ] || die "the rules"'
    for number, step in enumerate(variant.setup):
        lines += compiled(number, step)
    # All of it only of variants that run everywhere and of those that end otherwise than others.
    state = " all" if variant.get("thorough") or variant.ending else ""
    lines.append(f"state before{state}")
    if variant.starts_pathtrace:
        lines.append(shlex.join(["start_pathtrace", variant.get("netns", "-"), *arguments(variant)]))
        lines.append("bpf_state during")
    for number, step in enumerate(variant.traffic, start=len(variant.setup)):
        lines += compiled(number, step)
    if any(step.get("background") for step in variant.traffic):
        lines.append("wait_for_connects")
    if variant.starts_pathtrace:
        asked = variant.ending or variant.get("ends")
        lines.append("stop_pathtrace" if asked else "stop_pathtrace INT")
    lines.append(f"state after{state}")
    return "\n".join(lines) + "\n"


def ruled(variant: Variant) -> list[str]:
    """The namespaces that rules are made or commands run in."""
    return sorted({part.get("in", "-") for part in [*variant.fields["rules"], *variant.steps()] if "text" in part or "lines" in part or "run" in part} - {"-"})


def arguments(variant: Variant) -> list[str]:
    """pathtrace's. Half of its programs are of the other family, and to start them all takes a quarter longer: `thorough` scenarios do."""
    given = variant.get("pathtrace", ["--dport", "80"])
    if variant.get("thorough") or variant.get("both_families") or {"-4", "-6"} & set(given):
        return given
    return [f"-{FAMILY_WORDS[variant.family]['ipv']}", *given]


def compiled(number: int, step: dict) -> list[str]:
    match kind(step):
        case "run":
            return here_document(f"run {number} {step.get('in', '-')}", step["run"])
        case "kill":
            return [f"kill -{step['kill']} $pathtrace"]
        case "listen":
            options = flags(step, "udp", "v6only") + values(step, "backlog", "then", "md5", "name")
            options += [] if step.get("accept", True) else ["--no-accept"]
            return [shlex.join(["listen", str(number), step["in"], step["listen"], str(step["port"]), *options])]
        case "connect":
            options = flags(step, "udp", "linger0", "parallel", "keepalive")
            options += values(step, "source", "send", "flood", "count", "hold", timeout_ms="--timeout", user_timeout_ms="--user-timeout", stay_ms="--stay")
            line = shlex.join(["connect", str(number), step["in"], step["connect"], str(step["port"]), *options])
            return [f"in_background {line}" if step.get("background") else line]


def flags(step: dict, *names: str) -> list[str]:
    return [f"--{name}" for name in names if step.get(name)]


def values(step: dict, *names: str, **renamed: str) -> list[str]:
    options = {**{name: f"--{name}" for name in names}, **renamed}
    return [word for name, option in options.items() if name in step for word in (option, str(step[name]))]


def here_document(command: str, text: str) -> list[str]:
    return [f"{command} <<'END'", text.strip("\n"), "END"]
