"""What the judge answers: a decision for each end with the policies and rules behind it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from netpol_gen.model import Decision, Direction


@dataclass(frozen=True, slots=True, order=True)
class RuleRef:
    """One rule of one policy. `policy` is `namespace/name` or, for a cluster-wide policy, `Kind/name`."""

    policy: str
    direction: Direction
    index: int

    def __str__(self) -> str:
        """`shop/cart ingress[0]`."""
        return f"{self.policy} {self.direction.rules_key}[{self.index}]"


@dataclass(frozen=True, slots=True)
class SideVerdict:
    """What one end says. `isolated_by` are the NetworkPolicies that select it for `direction`, sorted.

    `admitted_by` are the rules that admit the connection, `denied_by` those of cluster-wide policies that deny it (a
    NetworkPolicy denies by having no rule). `missing` is the fact that an unknown decision lacks, else empty.
    """

    decision: Decision
    direction: Direction
    isolated_by: tuple[str, ...] = ()
    admitted_by: tuple[RuleRef, ...] = ()
    reason: str = ""
    missing: str = ""
    denied_by: tuple[RuleRef, ...] = ()

    @property
    def allowed(self) -> bool:
        """Whether this end certainly lets it pass."""
        return self.decision is Decision.ALLOW


@dataclass(frozen=True, slots=True)
class Verdict:
    """Egress of the source and ingress of the destination; both have to allow (semantics 4.1 no. 13)."""

    decision: Decision
    egress: SideVerdict
    ingress: SideVerdict

    @classmethod
    def of(cls, egress: SideVerdict, ingress: SideVerdict) -> Verdict:
        """Both ends together."""
        return cls(both(egress.decision, ingress.decision), egress, ingress)

    @property
    def allowed(self) -> bool:
        """Whether the connection certainly comes about."""
        return self.decision is Decision.ALLOW

    @property
    def denied(self) -> bool:
        """Whether the connection certainly does not come about."""
        return self.decision is Decision.DENY

    @property
    def reason(self) -> str:
        """The sentence of the end that decides: the first that denies, else the first that is unknown, else both."""
        for wanted in (Decision.DENY, Decision.UNKNOWN):
            for side in (self.egress, self.ingress):
                if side.decision is wanted:
                    return side.reason
        return "; ".join(dict.fromkeys(side.reason for side in (self.egress, self.ingress) if side.reason))

    @property
    def missing(self) -> str:
        """The facts that an unknown verdict lacks; empty for the others."""
        if self.decision is not Decision.UNKNOWN:
            return ""
        return "; ".join(dict.fromkeys(side.missing for side in (self.egress, self.ingress) if side.missing))


def both(*decisions: Decision) -> Decision:
    """All have to hold: a denial wins, then a doubt."""
    if Decision.DENY in decisions:
        return Decision.DENY
    return Decision.UNKNOWN if Decision.UNKNOWN in decisions else Decision.ALLOW


def either(*decisions: Decision) -> Decision:
    """One that holds is enough: an admission wins, then a doubt. Of none at all: deny."""
    if Decision.ALLOW in decisions:
        return Decision.ALLOW
    return Decision.UNKNOWN if Decision.UNKNOWN in decisions else Decision.DENY


def agreed(decisions: Iterable[Decision]) -> Decision:
    """What all say, or unknown where they differ or nobody says anything."""
    distinct = set(decisions)
    return distinct.pop() if len(distinct) == 1 else Decision.UNKNOWN
