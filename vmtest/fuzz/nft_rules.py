# SPDX-License-Identifier: GPL-2.0
"""Random native nftables rulesets.

Several tables and base chains on one hook, jumps, gotos, verdict maps, sets and maps (intervals, concatenations), dynamic sets, objects,
queues and NAT, in one or two of the families ip, ip6, inet and netdev (ingress, egress). A chain of the test's own, before all others,
marks the client's packets for the kernel's tracing.
"""

import dataclasses
import random

HOOKS = ("prerouting", "input", "forward", "output", "postrouting")


@dataclasses.dataclass
class Chain:
    name: str
    header: str = ""  # "type filter hook input priority 0; policy drop;" of a base chain
    rules: list[str] = dataclasses.field(default_factory=list)
    keep: bool = False


@dataclasses.dataclass
class Table:
    family: str
    name: str
    objects: list[str] = dataclasses.field(default_factory=list)  # sets and maps
    chains: list[Chain] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Ruleset:
    tables: list[Table]

    def text(self) -> str:
        lines = []
        for table in self.tables:
            lines.append(f"table {table.family} {table.name} {{")
            # Maps name chains, which must be known before them.
            lines += [f"  chain {chain.name} {{ {chain.header} }}" for chain in table.chains]
            lines += [f"  {each}" for each in table.objects]
            lines.append("}")
            lines += [f"add rule {table.family} {table.name} {chain.name} {rule}" for chain in table.chains for rule in chain.rules]
        return "\n".join(lines) + "\n"

    # For shrinking: a part is a rule, a base chain, or a table.

    def parts(self) -> list[tuple]:
        own = [table for table in self.tables if not table.chains or not table.chains[0].keep]
        rules = [("rule", table.name, chain.name, place) for table in own for chain in table.chains for place in range(len(chain.rules))]
        return rules + [("chain", table.name, chain.name) for table in own for chain in table.chains if chain.header] \
            + [("table", table.name) for table in own]  # fmt: skip

    def name_of(self, part: tuple) -> str:
        if part[0] != "rule":
            return str(part)
        chains = next(table.chains for table in self.tables if table.name == part[1])
        return f"{part[1]} {part[2]} {next(chain.rules for chain in chains if chain.name == part[2])[part[3]]}"

    def without(self, gone: set[tuple]) -> "Ruleset":
        tables = []
        for table in self.tables:
            if ("table", table.name) in gone:
                continue
            chains = [
                dataclasses.replace(chain, rules=[rule for place, rule in enumerate(chain.rules) if ("rule", table.name, chain.name, place) not in gone])
                for chain in table.chains if ("chain", table.name, chain.name) not in gone
            ]  # fmt: skip
            tables.append(dataclasses.replace(table, chains=chains))
        return Ruleset(tables)

    def text_after(self, used: set[str]) -> tuple[str, set[str]]:
        return "flush ruleset\n" + self.text(), set()


def witness(ip: str) -> Table:
    """The test's own table, whose chains come before all others."""
    clients = "10.9.0.0/16" if ip == "ip" else "fd09::/64"
    mark = [f"{ip} {end} {clients} meta nftrace set 1" for end in ("saddr", "daddr")]
    chains = [Chain(hook, f"type filter hook {hook} priority -450; policy accept;", mark, True) for hook in ("prerouting", "output")]
    return Table(ip, "witness", [], chains)


def device_witness(ip: str) -> Table:
    """Before what comes first on the way in."""
    clients = "10.9.0.0/16" if ip == "ip" else "fd09::/64"
    mark = [f"{ip} {end} {clients} meta nftrace set 1" for end in ("saddr", "daddr")]
    header = 'type filter hook ingress devices = { eth0, eth1 } priority -500; policy accept;'
    return Table("netdev", "witness", [], [Chain("ingress", header, mark, True)])


def witness_table(ip: str) -> str:
    return Ruleset([witness(ip)]).text()


class Generator:
    def __init__(self, rng: random.Random, version: int):
        self.rng, self.version = rng, version
        self.ip = "ip" if version == 4 else "ip6"
        self.address = "ipv4_addr" if version == 4 else "ipv6_addr"
        self.servers = ["10.1.0.1", "10.1.0.5", "10.10.0.1", "10.10.0.2", "10.10.0.3"] if version == 4 else ["fd01::1", "fd01::5", "fd10::1", "fd10::2", "fd10::3"]

    def ruleset(self) -> Ruleset:
        rng = self.rng
        tables = [self.table(f"t{i}", rng.choice(["inet", self.ip])) for i in range(rng.choice([1, 1, 2, 3]))]
        own = [witness(self.ip)]
        if rng.random() < 0.3:
            own.append(device_witness(self.ip))
            tables.append(self.device_table())
        return Ruleset(own + tables)

    def device_table(self) -> Table:
        """Of family netdev, which has its own hooks and can do less."""
        rng = self.rng
        users = [f"u{i}" for i in range(rng.choice([0, 1, 2]))]
        table = Table("netdev", "d", self.objects())
        for place, hook in enumerate(rng.sample(["ingress", "egress", "ingress"], rng.choice([1, 2, 3]))):
            header = f"type filter hook {hook} device {rng.choice(['eth0', 'eth1'])} priority {rng.choice([-10, 0, 0, 10])}; policy accept;"
            table.chains.append(Chain(f"b{place}", header))
        table.chains += [Chain(user) for user in users]
        for place, chain in enumerate(table.chains):
            later = users[max(0, place - len(table.chains) + len(users) + 1) :]
            for _ in range(rng.choice([1, 2, 3, 5])):
                to = rng.sample(later, min(len(later), rng.choices([0, 1, 2], [6, 3, 2])[0]))
                chain.rules.append(self.device_rule(table, to))
        return table

    def device_rule(self, table: Table, to: list[str]) -> str:
        rng = self.rng
        matches = rng.sample([
            f"{self.ip} daddr {rng.choice(['', '!= '])}{rng.choice(self.servers)}",
            f"{self.ip} {rng.choice(['saddr', 'daddr'])} @some",
            f"{self.ip} daddr . th dport @pairs",
            f"meta length {rng.choice(['< 100', '> 90'])}",
            f"meta mark & 3 == {rng.randint(0, 3)}",
            "limit rate over 1/hour burst 2 packets",
            "quota until 300 bytes",
        ], rng.choices([0, 1, 2], [2, 5, 3])[0])  # fmt: skip
        if len(to) == 2:
            return " ".join([*matches, self.verdict_map(table, to)])
        if to:
            return " ".join([*matches, rng.choice(["jump ", "goto "]) + to[0]])
        ends = ["accept", "drop", "return", "counter", f"meta mark set {rng.randint(0, 3)}", f"add @seen {{ {self.ip} saddr }}", 'log prefix "x"']
        return " ".join([*matches, rng.choices(ends, [3, 1, 3, 5, 2, 2, 1])[0]])

    def table(self, name: str, family: str) -> Table:
        rng = self.rng
        users = [f"u{i}" for i in range(rng.choice([0, 1, 2, 3, 5]))]
        bases = []
        for place in range(rng.choice([1, 2, 3, 4, 5])):
            hook = rng.choice(HOOKS)
            priority = rng.choice([-300, -150, -10, 0, 0, 10, 50, 200])
            policy = "drop" if rng.random() < 0.2 else "accept"
            bases.append((f"b{place}", hook, f"type filter hook {hook} priority {priority}; policy {policy};"))
        if rng.random() < 0.2:
            bases.append(("nat", "prerouting", "type nat hook prerouting priority -100; policy accept;"))
        names = [base for base, *_ in bases] + users
        shape, reached = {}, {base: {hook} for base, hook, _ in bases} | {user: set() for user in users}
        for place, chain in enumerate(names):
            later = users[max(0, place - len(bases) + 1) :]
            length = rng.choice([0, 1, 2, 3, 5, 8])
            shape[chain] = []
            for _ in range(length):
                # One jump, two by a verdict map, or none.
                to = rng.sample(later, min(len(later), rng.choices([0, 1, 2], [6, 3, 2])[0]))
                shape[chain].append(to)
                for target in to:
                    reached[target] |= reached[chain]
        table = Table(family, name, self.objects())
        for chain in names:
            header = next((header for base, _, header in bases if base == chain), "")
            table.chains.append(Chain(chain, header, [self.rule(table, reached[chain], to, chain == "nat") for to in shape[chain]]))
        return table

    def objects(self) -> list[str]:
        some = ", ".join(self.rng.sample(self.servers, 3))
        return [
            f"set some {{ type {self.address}; elements = {{ {some} }} }}",
            "set ports { type inet_service; flags interval; elements = { 22, 80-500 } }",
            f"set seen {{ type {self.address}; flags dynamic; size 65535; }}",
            f"set pairs {{ type {self.address} . inet_service; flags interval; elements = {{ {self.servers[0]} . 1-79, {self.servers[2]} . 53, {self.servers[3]} . 80-8080 }} }}",
            f"map marks {{ type {self.address} : mark; elements = {{ {self.servers[0]} : 1, {self.servers[1]} : 2, {self.servers[3]} : 3 }} }}",
            "counter c0 { }",
        ]

    def rule(self, table: Table, hooks: set[str], to: list[str], nat: bool) -> str:
        rng = self.rng
        statement = self.statement(table, hooks, to, nat)
        matches = rng.sample(self.matches(hooks), rng.choices([0, 1, 2, 3], [3, 6, 3, 1])[0])
        # nft takes only one protocol a rule, and most things only once.
        if "l4proto" not in statement and "tcp" not in statement and rng.random() < 0.4:
            matches.append(self.transport())
        comment = f' comment "{rng.choice(["why", "a b", "handle 3", "# handle 7"])}"' if rng.random() < 0.15 else ""
        return (" ".join([*matches, statement]).strip() or "counter") + comment

    def statement(self, table: Table, hooks: set[str], to: list[str], nat: bool) -> str:
        rng = self.rng
        counter = rng.choice(["", "counter "])
        if len(to) == 2:
            return counter + self.verdict_map(table, to)
        if to:
            return counter + rng.choice(["jump ", "jump ", "goto "]) + to[0]
        if rng.random() < 0.45:
            ends = ["accept", "accept", "drop", "return", *self.rejects(hooks, nat), *self.nat(hooks, nat)]
            # nobody listens: bypassed, the packet goes on; else it is dropped
            ends += [] if nat else [rng.choice(["queue flags bypass to 5", "queue to 5"])]
            return counter + rng.choice(ends)
        choices = ["counter", "log prefix \"x\"", f"meta mark set {rng.randint(0, 3)}", "ct mark set 1", "limit rate 1/hour burst 2 packets",
                   f"add @seen {{ {self.ip} saddr }}", f"update @seen {{ {self.ip} daddr }}", "counter meta mark set mark or 2",
                   f"meta mark set {self.ip} daddr map @marks", 'counter name "c0"', f"meta mark set meta length map {{ 0-90 : 1, 91-65535 : 2 }}"]  # fmt: skip
        if self.version == 4 and not nat:
            choices.append("ip dscp set cs1")
        return rng.choice(choices)

    def verdict_map(self, table: Table, to: list[str]) -> str:
        rng = self.rng
        how = [rng.choice(["jump", "goto"]) for _ in to]
        match rng.randint(0, 4):
            case 3:
                elements = f"{self.servers[0]} . 1-100 : {how[0]} {to[0]}, {self.servers[2]} . 80 : {how[1]} {to[1]}, {self.servers[3]} . 53-8080 : continue"
                return f"{self.ip} daddr . th dport vmap {{ {elements} }}"
            case 0:
                return f"tcp dport vmap {{ 22 : {how[0]} {to[0]}, 53 : drop, 80-500 : {how[1]} {to[1]}, 8080 : accept }}"
            case 1:
                return f"meta l4proto vmap {{ tcp : {how[0]} {to[0]}, udp : {how[1]} {to[1]} }}"
            case 2:
                name = f"m{len(table.objects)}"
                elements = f"{self.servers[0]} : {how[0]} {to[0]}, {self.servers[2]} : {how[1]} {to[1]}, {self.servers[3]} : return"
                table.objects.append(f"map {name} {{ type {self.address} : verdict; elements = {{ {elements} }} }}")
                return f"{self.ip} daddr vmap @{name}"
        return f"numgen inc mod 3 vmap {{ 0 : {how[0]} {to[0]}, 1 : {how[1]} {to[1]} }}"

    def rejects(self, hooks: set[str], nat: bool) -> list[str]:
        if nat or not hooks or not hooks <= {"input", "forward", "output"}:
            return []
        kind = "icmp" if self.version == 4 else "icmpv6"
        return ["reject", f"reject with {kind} type admin-prohibited", "meta l4proto tcp reject with tcp reset"]

    def nat(self, hooks: set[str], nat: bool) -> list[str]:
        return [f"tcp dport 80 dnat {self.ip} to {self.servers[2]}"] if nat and hooks == {"prerouting"} else []

    def transport(self) -> str:
        rng = self.rng
        return rng.choice([
            f"tcp dport {rng.choice(['80', '{ 22, 443 }', '!= 80', '@ports', '1-1000'])}",
            f"udp dport {rng.choice(['53', '{ 53, 8080 }', '!= 53', '@ports'])}",
            f"th sport {rng.choice(['< 30000', '> 20000'])}",
            f"tcp flags {rng.choice(['syn', '& (syn | ack) == syn', '& ack == 0'])}",
            f"meta l4proto {rng.choice(['tcp', 'udp', '!= tcp', '{ udp, icmp, ipv6-icmp }'])}",
        ])  # fmt: skip

    def matches(self, hooks: set[str]) -> list[str]:
        rng = self.rng
        low, mask = rng.randint(0, 3), rng.choice([1, 3])
        bits = f"{self.ip} saddr & {f'0.0.0.{mask}' if self.version == 4 else f'::{mask}'} == {f'0.0.0.{low & mask}' if self.version == 4 else f'::{low & mask}'}"
        found = [
            bits,
            f"{self.ip} daddr {rng.choice(['', '!= '])}{rng.choice(self.servers)}",
            f"{self.ip} {rng.choice(['saddr', 'daddr'])} @some",
            f"{self.ip} saddr @seen",
            f"{self.ip} daddr . th dport @pairs",
            f"meta length {rng.choice(['< 100', '> 90'])}",
            f"meta mark & 3 == {rng.randint(0, 3)}",
            f"ct state {rng.choice(['new', 'established,related', 'invalid', 'new,untracked'])}",
            "ct mark 1",
            "limit rate over 1/hour burst 2 packets",
            "numgen random mod 2 0",
            "numgen inc mod 2 1",
            "fib daddr type local" if hooks <= {"prerouting", "input", "output"} and hooks else "meta pkttype host",
            "quota until 300 bytes",
            "ip ttl < 64" if self.version == 4 else "ip6 hoplimit < 64",
        ]
        if hooks and hooks <= {"prerouting", "input", "forward"}:
            found += ["iifname \"eth0\"", "iifname { \"eth1\", \"lo\" }"]
        if hooks and hooks <= {"forward", "output", "postrouting"}:
            found += ["oifname \"eth0\"", "oifname != \"eth1\""]
        if hooks == {"output"}:
            found += ["meta skuid 0"]
        return found
