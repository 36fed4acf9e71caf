"""Replays observed edges through policies: which would be allowed, which denied, and of which nobody can tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from netpol_gen.evaluate import Judge, Verdict
from netpol_gen.model import Decision, Edge, Evidence
from netpol_gen.policy import NetworkPolicy
from netpol_gen.tiers import TierPolicy

if TYPE_CHECKING:
    import pandas as pd

    from netpol_gen.inventory import Inventory


@dataclass(frozen=True, slots=True)
class Replayed:
    """An observed edge, what stands behind it, and what the policies make of it."""

    edge: Edge
    evidence: Evidence
    verdict: Verdict


@dataclass(frozen=True)
class Replay:
    """All edges in total order."""

    rows: tuple[Replayed, ...]

    @cached_property
    def denied(self) -> tuple[Replayed, ...]:
        """Edges that the policies deny."""
        return self._with(Decision.DENY)

    @cached_property
    def unknown(self) -> tuple[Replayed, ...]:
        """Edges of which a fact is missing."""
        return self._with(Decision.UNKNOWN)

    @cached_property
    def allowed(self) -> tuple[Replayed, ...]:
        """Edges that the policies allow."""
        return self._with(Decision.ALLOW)

    def _with(self, decision: Decision) -> tuple[Replayed, ...]:
        return tuple(r for r in self.rows if r.verdict.decision is decision)

    @property
    def holds(self) -> bool:
        """Whether nothing observed is denied."""
        return not self.denied

    def to_frame(self) -> pd.DataFrame:
        """Columns `decision`, `src`, `dst`, `protocol`, `port`, `flows`, `egress`, `ingress`, `missing`."""
        import pandas as pd  # noqa: PLC0415 - takes longer to import than most runs take

        columns = ["decision", "src", "dst", "protocol", "port", "flows", "egress", "ingress", "missing"]
        data = [
            [
                str(r.verdict.decision),
                str(r.edge.src),
                str(r.edge.dst),
                str(r.edge.protocol),
                r.edge.port,
                r.evidence.flows,
                r.verdict.egress.reason,
                r.verdict.ingress.reason,
                r.verdict.missing,
            ]
            for r in self.rows
        ]
        frame = pd.DataFrame(data, columns=columns)
        return frame.astype({c: "int64" if c in ("port", "flows") else "str" for c in columns})


def replay(
    policies: Iterable[NetworkPolicy],
    inventory: Inventory,
    edges: Mapping[Edge, Evidence],
    *,
    tiers: Iterable[TierPolicy] = (),
    ipblock_matches_pods: Decision = Decision.UNKNOWN,
) -> Replay:
    """The verdict on every observed edge.

    Args:
        policies: NetworkPolicies in force.
        inventory: workloads that the edges name.
        edges: observed edges with their evidence.
        tiers: cluster-wide policies in force.
        ipblock_matches_pods: whether the CNI matches ipBlocks against pod addresses.

    """
    judge = Judge(policies, inventory, tiers=tiers, ipblock_matches_pods=ipblock_matches_pods)
    return Replay(tuple(Replayed(edge, edges[edge], judge.edge(edge)) for edge in sorted(edges)))
