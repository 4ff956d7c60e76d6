# SPDX-License-Identifier: GPL-2.0
"""What one packet did in one traversal of a table (legacy) or of a base chain (nftables), as either side tells it."""

import dataclasses

BUILTIN = {"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}
POLICY = 0  # in place of a rule's number or handle
UNSAID = ""  # a verdict that the witness doesn't say
DROP_OR_CONTINUE = "drop or continue"  # nor this, but there are only two
OPEN = (UNSAID, DROP_OR_CONTINUE)


@dataclasses.dataclass(frozen=True)
class Step:
    chain: str
    rule: int  # number (legacy) or handle (nftables), or POLICY
    verdict: str = UNSAID

    def __str__(self) -> str:
        return f"{self.chain} {'policy' if self.rule == POLICY else self.rule}{' ' + self.verdict if self.verdict else ''}"


@dataclasses.dataclass
class Walk:
    table: str  # with its family before it for nftables
    base: str  # chain
    steps: list[Step] = dataclasses.field(default_factory=list)
    missing: list[str] = dataclasses.field(default_factory=list)  # of pathtrace: why something is not told
    outward: bool = False  # the packet leaves, or would
    rules: dict = dataclasses.field(default_factory=dict)  # of the table, by chain
    ambiguous: bool = False  # of the witness: no counters of rules could tell this walk from another
    ended: bool = False  # of TRACE's lines: the last is of a rule or policy that ends a walk

    def deciding(self) -> "Walk":
        """Without the rules that let the packet go on, which can't be told without the trace key."""
        return dataclasses.replace(self, steps=[step for step in self.steps if step.verdict != "continue"])

    def __str__(self) -> str:
        return f"{self.table}: {', '.join(map(str, self.steps))}" + "".join(f" [{why}]" for why in self.missing)


def without_emptied_witness(walks: list[Walk]) -> list[Walk]:
    """While rulesets change, a packet may pass the old witness's chain, emptied, before the new one. Whether the witness tells that walk
    depends on whether an earlier table, of another family, has marked the packet; so neither side's is compared."""
    return [walk for walk in walks if not (walk.table.endswith(" witness") and [step.rule for step in walk.steps] == [POLICY])]
