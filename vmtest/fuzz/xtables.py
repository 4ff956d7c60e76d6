# SPDX-License-Identifier: GPL-2.0
"""Random rulesets for iptables-legacy and iptables-nft, in the language of iptables-restore."""

import dataclasses
import random

from walks import DROP_OR_CONTINUE, UNSAID

HOOKS = {
    "raw": ["PREROUTING", "OUTPUT"],
    "mangle": ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"],
    "nat": ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"],
    "filter": ["INPUT", "FORWARD", "OUTPUT"],
    "security": ["INPUT", "FORWARD", "OUTPUT"],
}
# Targets after which the next rule is looked at; they are the only ones beside RETURN, none, and those of the two sets below.
CONTINUES = {"LOG", "NFLOG", "MARK", "CONNMARK", "CLASSIFY", "CT", "NOTRACK", "SET", "TEE", "TRACE",
             "CHECKSUM", "CONNSECMARK", "HMARK", "IDLETIMER", "AUDIT", "RATEEST"}  # fmt: skip
ACCEPTS = {"DNAT", "SNAT", "REDIRECT", "MASQUERADE", "NETMAP"}
# What decides by itself whether the packet goes on: a record of TRACE doesn't say.
DECIDES = {"SYNPROXY", "TPROXY"}
# What drops it only if it is too broken to be changed.
CHANGES = {"TOS", "DSCP", "TTL", "HL", "ECN", "TCPMSS", "TCPOPTSTRIP"}


@dataclasses.dataclass
class Rule:
    matches: str = ""
    target: str = ""  # "-j DROP", "-g chain", "" for none
    keep: bool = False  # the test's own rule, which shrinking leaves alone

    @property
    def text(self) -> str:
        return f"{self.matches} {self.target}".strip()

    @property
    def jumps_to(self) -> str:
        """The target's or chain's name, "" where there is none."""
        return self.target.split()[1] if self.target else ""


@dataclasses.dataclass
class Ruleset:
    version: int
    tables: dict[str, dict[str, list[Rule]]]  # by table and chain, in order
    policies: dict[tuple[str, str], str]

    def text(self) -> str:
        """What iptables-restore reads."""
        lines = []
        for table, chains in self.tables.items():
            lines.append(f"*{table}")
            lines += [f":{chain} {self.policies.get((table, chain), '-')} [0:0]" for chain in chains]
            lines += [f"-A {chain} {rule.text}".rstrip() for chain, rules in chains.items() for rule in rules]
            lines.append("COMMIT")
        return "\n".join(lines) + "\n"

    def text_after(self, used: set[str]) -> tuple[str, set[str]]:
        """The same, where these tables may hold something from before; and which then do."""
        more = {name: {hook: [] for hook in HOOKS[name]} for name in HOOKS if name in used and name not in self.tables}
        policies = {(name, hook): "ACCEPT" for name in more for hook in HOOKS[name]}
        return Ruleset(self.version, more, policies).text() * bool(more) + self.text(), set(self.tables)


    def labelled(self, name: str) -> "Ruleset":
        """Says its name in the kernel's log whenever a packet enters one of its tables. B's rules have higher numbers than A's; nothing else
        tells the two apart: a rule that does nothing is A's last and B's first, so both have as many entries, of the same sizes."""
        label, nothing = Rule("", f'-j LOG --log-prefix "v={name} "', keep=True), Rule("", "", keep=True)

        def variant(table: str, chain: str, rules: list[Rule]) -> list[Rule]:
            first = [label] if chain in HOOKS[table] else []
            return [*first, *rules, nothing] if name == "A" else [*first, nothing, *rules]

        tables = {table: {chain: variant(table, chain, rules) for chain, rules in chains.items()} for table, chains in self.tables.items()}
        return Ruleset(self.version, tables, self.policies)

    # For shrinking: a part is a rule, or a table without rules of the test's own.

    def parts(self) -> list[tuple]:
        rules = [(table, chain, place) for table, chains in self.tables.items() for chain, found in chains.items()
                 for place, rule in enumerate(found) if not rule.keep]  # fmt: skip
        return rules + [("table", table) for table in self.tables if table != "raw"]

    def name_of(self, part: tuple) -> str:
        return str(part) if part[0] == "table" else f"{part[0]} {part[1]} {self.tables[part[0]][part[1]][part[2]]}"

    def without(self, gone: set[tuple]) -> "Ruleset":
        tables = {}
        for table, chains in self.tables.items():
            if ("table", table) in gone:
                continue
            kept = {chain: [rule for place, rule in enumerate(rules) if (table, chain, place) not in gone] for chain, rules in chains.items()}
            used = {rule.jumps_to for rules in kept.values() for rule in rules} | set(HOOKS[table])
            tables[table] = {chain: rules for chain, rules in kept.items() if chain in used}
        return Ruleset(self.version, tables, {place: policy for place, policy in self.policies.items() if place[0] in tables})

    def untraced(self, chain: str, from_client: bool) -> list[int]:
        """Numbers of the rules of table raw that match before tracing is on."""
        numbers = []
        for number, rule in enumerate(self.tables["raw"][chain], start=1):
            if not rule.matches or rule.matches.startswith("-s" if from_client else "-d"):
                numbers.append(number)
            if not rule.keep or (rule.matches and numbers and numbers[-1] == number):
                break
        return numbers


def without_endless_copies(tables: dict[str, dict[str, list[Rule]]], version: int) -> None:
    """What TEE sends to the gateway may come back from it, and be copied again as long as its TTL lasts; of a TTL of 0 nf_dup_ipv4() and
    nf_dup_ipv6() make 255 (up to 7.2). So only what has come a short way is copied, and no rule changes that: it loses its target."""
    rules = [rule for chains in tables.values() for chain in chains.values() for rule in chain]
    copying = [rule for rule in rules if rule.jumps_to == "TEE"]
    near = "-m ttl --ttl-gt 60 -m ttl --ttl-lt 65" if version == 4 else "-m hl --hl-gt 60 -m hl --hl-lt 65"
    for rule in copying:
        rule.matches = f"{rule.matches} {near}".strip()
    for rule in rules:
        if copying and rule.jumps_to in ("TTL", "HL"):
            rule.target = ""


class Generator:
    def __init__(self, rng: random.Random, version: int, nft: bool, own_rules: bool = True):
        self.rng, self.version, self.nft = rng, version, nft
        self.host = ["10.1.0.1", "10.1.0.5"] if version == 4 else ["fd01::1", "fd01::5"]
        self.behind = ["10.10.0.1", "10.10.0.2", "10.10.0.3"] if version == 4 else ["fd10::1", "fd10::2", "fd10::3"]

    def ruleset(self) -> Ruleset:
        rng = self.rng
        others = rng.sample(["raw", "mangle", "nat", "filter", "filter", "security"], rng.randint(1, 3))
        tables, policies = {}, {}
        for name in HOOKS:
            if name == "raw" or name in others:
                tables[name] = self.table(name, sparse=name not in others)
                for hook in HOOKS[name]:
                    policies[name, hook] = "DROP" if name in ("filter", "security") and rng.random() < 0.25 else "ACCEPT"
        for hook in HOOKS["raw"]:
            tables["raw"][hook][:0] = trace_rules(self.version)
        without_endless_copies(tables, self.version)
        return Ruleset(self.version, tables, policies)

    def large_ruleset(self, entries: int) -> Ruleset:
        """The same with so many more rules in one of its tables: of addresses that may be the packets', but mostly aren't."""
        rng = self.rng
        rules = self.ruleset()
        table, chains = rng.choice([(name, chains) for name, chains in rules.tables.items() if any(chains.values())])
        reached = set(HOOKS[table])
        ends = ["", "-j ACCEPT", "-j ACCEPT" if table == "nat" else "-j DROP", "-j RETURN"]  # iptables refuses DROP in table nat
        for _ in range(entries):
            chain = chains[rng.choice(list(chains))]
            first = sum(rule.keep for rule in chain)
            rule = self.rule(table, reached, "", False) if rng.random() < 0.01 else Rule(self.some_address(), rng.choice(ends))
            # in heaps, as lists of addresses are
            chain.insert(rng.choice([first, len(chain), len(chain), rng.randint(first, len(chain))]), rule)
        return rules

    def some_address(self) -> str:
        rng = self.rng
        if rng.random() < 0.97:
            net = f"172.{rng.randint(16, 31)}.{rng.randint(0, 255)}.{rng.randint(0, 255)}/{rng.randint(9, 32)}" if self.version == 4 \
                else f"fd77:{rng.randint(0, 9999)}::{rng.randint(0, 9999)}/{rng.randint(17, 128)}"  # fmt: skip
        elif self.version == 4:
            net = f"10.9.{rng.randint(0, 255)}.{rng.randint(0, 255)}/{rng.randint(14, 32)}"
        else:
            net = f"fd09::{rng.randint(0, 9999)}/{rng.randint(60, 128)}"
        return rng.choice(["-s", "-s", "-d"]) + f" {net}" + rng.choice(["", "", f" -p {rng.choice(['tcp', 'udp'])}"])

    def table(self, table: str, sparse: bool) -> dict[str, list[Rule]]:
        """First the shape: how long each chain is, and which rules jump where. Then what the hooks that reach a chain allow there."""
        rng = self.rng
        hooks = HOOKS[table]
        if sparse:
            return {hook: [] for hook in hooks}
        users = [f"u{i}" for i in range(rng.choice([0, 1, 2, 3, 4, 6]))]
        names = hooks + users
        shape: dict[str, list[str]] = {}
        reached = {name: {name} if name in hooks else set() for name in names}
        for place, name in enumerate(names):
            later = users[max(0, place - len(hooks) + 1) :]
            length = rng.choice([0, 1, 2, 3, 4, 6, 9]) if name in users else rng.choice([0, 0, 1, 2, 3, 5, 8])
            shape[name] = [rng.choice(later) if later and rng.random() < 0.35 else "" for _ in range(length)]
            for target in shape[name]:
                if target:
                    reached[target] |= reached[name]
        return {name: [self.rule(table, reached[name] or set(hooks), to, name in hooks) for to in shape[name]] for name in names}

    def rule(self, table: str, hooks: set[str], to: str, builtin: bool) -> Rule:
        rng = self.rng
        protocol = rng.choices(["", "tcp", "udp", "icmp"], [6, 5, 2, 1])[0]
        target = self.jump(to) if to else self.target(table, hooks, protocol)
        needed = {"TCPMSS": "-p tcp --tcp-flags SYN,RST SYN", "--reject-with tcp-reset": "-p tcp", "CHECKSUM": "-p udp", "ECN": "-p tcp",
                  "TCPOPTSTRIP": "-p tcp", "SYNPROXY": "-p tcp", "TPROXY": rng.choice(["-p tcp", "-p udp"])}  # fmt: skip
        for words, match in needed.items():
            if words in target:
                return Rule(match + self.more(table, hooks), target)
        translates = target.startswith(("-j DNAT", "-j REDIRECT"))
        if translates and protocol not in ("tcp", "udp"):
            protocol = "tcp"
        if not translates and rng.random() < 0.12:
            return Rule("", target)
        return Rule((self.protocol(protocol) + self.more(table, hooks)).strip(), target)

    def jump(self, to: str) -> str:
        return f"-g {to}" if self.rng.random() < 0.25 else f"-j {to}"

    # Targets

    def target(self, table: str, hooks: set[str], protocol: str) -> str:
        rng = self.rng
        ends = {"filter": 0.5, "security": 0.4, "nat": 0.6}.get(table, 0.25)
        if rng.random() < ends:
            return self.ending(table, hooks)
        return rng.choice(["", "", "-j RETURN", *self.continuing(table, hooks)])

    def ending(self, table: str, hooks: set[str]) -> str:
        rng = self.rng
        if table == "nat":
            choices = ["-j ACCEPT"]
            if hooks <= {"PREROUTING", "OUTPUT"}:
                choices += ["-j REDIRECT --to-ports 8080"]
                if self.version == 4:
                    choices += [f"-j DNAT --to-destination {rng.choice(self.host + self.behind)}"]
                else:
                    choices += [f"-j DNAT --to-destination {rng.choice(self.behind)}"]
            if hooks == {"POSTROUTING"}:
                choices += ["-j MASQUERADE"]
            # Not in INPUT: the host's answers would not have the client's address when they pass the rules that trace them.
            if not self.nft and hooks == {"POSTROUTING"}:
                choices += [f"-j SNAT --to-source {self.host[1]}"]
            if not self.nft and hooks == {"PREROUTING"}:
                choices += ["-j NETMAP --to 10.10.0.0/30" if self.version == 4 else "-j NETMAP --to fd10::/126"]
            return rng.choice(choices)
        if not self.nft and rng.random() < 0.12:
            choices = ["-j NFQUEUE --queue-num 7", "-j NFQUEUE --queue-num 7 --queue-bypass", "-j QUEUE"]
            if table == "mangle" and hooks == {"PREROUTING"}:
                choices += [f"-j TPROXY --on-port 8080 --on-ip {self.host[0]} --tproxy-mark 0x1/0x1"] * 4
            if table == "filter" and hooks <= {"INPUT", "FORWARD"}:
                choices += ["-j SYNPROXY --sack-perm --timestamp --wscale 7 --mss 1460"] * 4
            return rng.choice(choices)
        if table == "filter":
            rejects = ["", " --reject-with tcp-reset"]
            rejects += [" --reject-with icmp-host-prohibited", " --reject-with icmp-net-unreachable", " --reject-with icmp-admin-prohibited"] \
                if self.version == 4 else [" --reject-with icmp6-adm-prohibited", " --reject-with icmp6-addr-unreachable"]  # fmt: skip
            return rng.choice(["-j ACCEPT", "-j ACCEPT", "-j ACCEPT", "-j DROP", f"-j REJECT{rng.choice(rejects)}"])
        return rng.choice(["-j ACCEPT", "-j ACCEPT", "-j ACCEPT", "-j DROP"])

    def continuing(self, table: str, hooks: set[str]) -> list[str]:
        rng = self.rng
        choices = [f"-j LOG --log-prefix \"log{rng.randint(0, 9)} \"", f"-j MARK --set-xmark {rng.randint(0, 3)}/0x3", "-j NFLOG --nflog-group 5"]
        choices += [f"-j SET --add-set seen{self.version} src", "-j CONNMARK --set-xmark 0x1/0xffffffff"]
        if table == "mangle":
            choices += [f"-j TOS --set-tos {rng.choice(['0x08', '0x10'])}", f"-j DSCP --set-dscp {rng.choice([10, 46])}"]
            choices += ["-j TTL --ttl-inc 1"] if self.version == 4 else ["-j HL --hl-inc 1"]
            if hooks <= {"FORWARD", "OUTPUT", "POSTROUTING"}:
                choices += ["-j CLASSIFY --set-class 1:2", "-j TCPMSS --set-mss 1200", "-j CHECKSUM --checksum-fill"]
            if hooks <= ({"PREROUTING", "INPUT"} if self.nft else {"PREROUTING", "INPUT", "FORWARD"}) and rng.random() < 0.5:
                choices += [f"-j TEE --gateway {'10.10.0.253' if self.version == 4 else 'fd10::fd'}"]
        if table == "raw":
            choices += ["-j CT --notrack", "-j CT --zone 3", "-j NOTRACK"]
        return choices if self.nft else choices + self.rarer(table)

    def rarer(self, table: str) -> list[str]:
        rng = self.rng
        choices = ["-j CONNMARK --save-mark", "-j CONNMARK --restore-mark", f"-j MARK --xor-mark {rng.randint(1, 3)}",
                   "-j IDLETIMER --timeout 600 --label idle", "-j AUDIT --type accept", f"-j SET --del-set seen{self.version} src",
                   "-j RATEEST --rateest-name r --rateest-interval 250ms --rateest-ewmalog 500ms", "-j NFLOG --nflog-group 6 --nflog-prefix \"n g\""]  # fmt: skip
        if table == "mangle":
            choices += ["-j HMARK --hmark-tuple src,dst --hmark-mod 4 --hmark-offset 1 --hmark-rnd 7", "-j TCPOPTSTRIP --strip-options mss"]
            choices += ["-j TTL --ttl-dec 40", "-j ECN --ecn-tcp-remove"] if self.version == 4 else ["-j HL --hl-dec 40"]
        return choices

    # Matches

    def protocol(self, protocol: str) -> str:
        rng = self.rng
        if protocol in ("tcp", "udp"):
            ports = [f"--dport {rng.choice([22, 53, 80, 443, 8080])}", "--dport 22:443", "! --dport 80", "--sport 1024:30000", "--dport 0:1000",
                     "-m multiport --dports 22,53,80:500", "-m multiport ! --sports 1024:20000", "-m multiport --ports 80,443,5432,8080"]  # fmt: skip
            flags = ["--syn", "! --syn", "--tcp-flags SYN,ACK,FIN,RST SYN", "--tcp-flags ALL NONE", "--tcp-flags ACK ACK"]
            return f"-p {protocol}" + (f" -m {protocol} {rng.choice(ports)}" if rng.random() < 0.6 else "") \
                + (f" -m tcp {rng.choice(flags)}" if protocol == "tcp" and rng.random() < 0.3 else "")  # fmt: skip
        if protocol == "icmp" and self.version == 4:
            return "-p icmp" + rng.choice(["", " -m icmp --icmp-type 8", " -m icmp --icmp-type 13", " -m icmp ! --icmp-type 8/0", " -m icmp --icmp-type any"])
        if protocol == "icmp":
            return "-p ipv6-icmp" + rng.choice(["", " -m icmp6 --icmpv6-type 128", " -m icmp6 ! --icmpv6-type 129"])
        return rng.choice(["", "", "", "! -p tcp", "! -p udp"])

    def more(self, table: str, hooks: set[str]) -> str:
        count = self.rng.choices([0, 1, 2, 3], [3, 5, 3, 1])[0]
        chosen = self.rng.sample(self.matches(table, hooks), count)
        # An option can't be given twice, and neither can a match with some extensions.
        kinds = {match.replace("! ", "").split()[0 if match.replace("! ", "")[1] in "sdiof" else 1]: match for match in chosen}
        return "".join(" " + match for match in kinds.values())

    def matches(self, table: str, hooks: set[str]) -> list[str]:
        rng = self.rng
        v4 = self.version == 4
        low, mask = rng.randint(0, 3), rng.choice([1, 3])
        bit = low & mask
        client = f"10.9.0.{bit}/255.255.0.{mask}" if v4 else f"fd09::{bit}/ffff::{mask}"
        server = rng.choice(self.host + self.behind)
        # Two of the same option would not be taken: one of each kind.
        address = rng.choice([f"-s {client}", f"! -s {client}", f"-d {client}", f"-d {server}", f"! -d {server}", f"-s {server}"])
        found = [
            address,
            address,
            f"-m length --length {rng.choice(['0:80', '81:160', '40', '100:65535'])}" if v4 else "-m length --length 100:65535",
            f"-m mark --mark {rng.randint(0, 3)}/0x3",
            f"-m mark ! --mark {rng.randint(0, 3)}/0x3",
            f"-m conntrack --ctstate {rng.choice(['NEW', 'ESTABLISHED,RELATED', 'INVALID', 'NEW,UNTRACKED', 'RELATED'])}",
            f"-m state --state {rng.choice(['NEW', 'ESTABLISHED', 'INVALID'])}",
            "-m connmark --mark 0x1",
            f"-m statistic --mode random --probability {rng.choice([0.3, 0.5, 0.8])}",
            "-m statistic --mode nth --every 3 --packet 0",
            f"-m limit --limit 1/hour --limit-burst {rng.choice([1, 2, 5])}",
            f"-m comment --comment \"{rng.choice(['why', 'a b', 'rule 7', '-A INPUT'])}\"",
            f"-m set --match-set {rng.choice(['some', 'seen'])}{self.version} src",
            f"-m set ! --match-set some{self.version} dst",
            f"-m pkttype --pkt-type {rng.choice(['unicast', 'broadcast'])}",
            f"-m dscp --dscp {rng.choice(['0x2e', '0x0a', '0x00'])}",
            "-m string --algo bm --string ABCDEF",
            "-m connbytes --connbytes 1 --connbytes-dir both --connbytes-mode packets",
            "-m recent --name r --rcheck" if rng.random() < 0.5 else "-m recent --name r --set",
            f"-m addrtype --dst-type {rng.choice(['LOCAL', 'UNICAST'])}" if v4 else "-m hl --hl-lt 70",
            "-m iprange --src-range 10.9.0.0-10.9.100.255" if v4 else "-m iprange --dst-range fd10::1-fd10::2",
            f"-m ttl --ttl-{rng.choice(['lt 64', 'gt 60', 'eq 64'])}" if v4 else f"-m hl --hl-{rng.choice(['lt 64', 'gt 60', 'eq 64'])}",
            "-m u32 --u32 \"0&0xFFFF=0x0:0x60\"" if v4 else "-m u32 --u32 \"4>>16&0xFFFF=0x0:0x60\"",
            "-m tos --tos 0x10/0xff" if v4 else "-m ipv6header --header frag --soft",
            "-m time --datestart 2000-01-01",
            "-m quota --quota 300",
            "-m hashlimit --hashlimit-upto 1/hour --hashlimit-burst 2 --hashlimit-mode dstport --hashlimit-name h",
        ]
        if hooks <= {"PREROUTING", "INPUT", "FORWARD"}:
            found.append(rng.choice(["-i eth0", "-i eth1", "-i eth+", "-i lo", "! -i eth1"]))
        if hooks <= {"FORWARD", "OUTPUT", "POSTROUTING"}:
            found.append(rng.choice(["-o eth0", "-o eth1", "-o eth+", "! -o eth1"]))
        if hooks <= {"OUTPUT", "POSTROUTING"}:
            found.append(rng.choice(["-m owner --uid-owner 0", "-m owner ! --socket-exists"]))
        if hooks == {"PREROUTING"} and table in ("raw", "mangle"):
            found += ["-m rpfilter"]
        return found if self.nft else found + self.rarer_matches(table, hooks)

    def rarer_matches(self, table: str, hooks: set[str]) -> list[str]:
        rng = self.rng
        found = [
            "-m cpu --cpu 0",
            f"-m connlimit --connlimit-{rng.choice(['upto', 'above'])} 1 --connlimit-mask {rng.choice([0, 24])}",
            f"-m conntrack --ctdir {rng.choice(['ORIGINAL', 'REPLY'])}",
            f"-m conntrack --ctstatus {rng.choice(['SEEN_REPLY', 'CONFIRMED', 'NONE', 'ASSURED,EXPECTED'])}",
            "-m helper --helper ftp",
            "-m bpf --bytecode \"4,48 0 0 9,21 0 1 6,6 0 0 1,6 0 0 0\"",
            "-m cluster --cluster-total-nodes 2 --cluster-local-node 1 --cluster-hash-seed 5",
            "-m hashlimit --hashlimit-above 2/hour --hashlimit-burst 1 --hashlimit-mode srcip,dstport --hashlimit-name above",
            "-m recent --name r --update --hitcount 1",
            "-m recent --name r --remove",
            "-m string --algo kmp --from 40 --to 90 --string GHIJ",
            "-m limit --limit 1/sec --limit-burst 1",
            "-m statistic --mode nth --every 2 --packet 1",
            f"-m set --match-set seen{self.version} src --return-nomatch",
            "-m ecn --ecn-ip-ect 0",
            "-f" if self.version == 4 else "-m frag --fragid 0:4294967295",
            "-m conntrack --ctstate ESTABLISHED" if self.version == 4 else "-m dst --dst-len 8",
            "-m conntrack --ctproto 6" if self.version == 4 else "-m rt --rt-type 0",
        ]
        if hooks <= {"PREROUTING", "INPUT", "FORWARD"} and table != "nat":
            found += ["-m mac --mac-source 02:00:00:00:00:02", "-m policy --dir in --pol none", "-m devgroup --src-group 0"]
        if "PREROUTING" not in hooks and self.version == 4:
            found.append("-m realm --realm 0")
        if hooks <= {"PREROUTING", "INPUT"} and table == "mangle":
            found += ["-m socket", "-m socket --transparent"]
        return found


def trace_rules(version: int) -> list[Rule]:
    """Turn the kernel's tracing on for the packets from and to clients. They come first in table raw."""
    clients = "10.9.0.0/16" if version == 4 else "fd09::/64"
    return [Rule(f"{flag} {clients}", "-j TRACE", keep=True) for flag in ("-s", "-d")]


def verdict_of(rule: Rule) -> str:
    """What a rule that matched does, in pathtrace's words."""
    name = rule.jumps_to
    if not rule.target:
        return "continue"
    if rule.target.startswith("-g"):
        return "goto"
    if name in CONTINUES:
        return "continue"
    if name in ("ACCEPT", "DROP", "RETURN", "REJECT", "QUEUE"):
        return name.lower()
    if name == "NFQUEUE":
        return "queue"
    if name in ACCEPTS:
        return "accept"
    if name in CHANGES:
        return DROP_OR_CONTINUE
    return UNSAID if name in DECIDES else "jump"
