"""What `generate` would write, with its proof: values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from netpol_gen.edges import Edges
from netpol_gen.errors import CheckFailedError
from netpol_gen.evaluate import Verdict
from netpol_gen.model import Decision, Diagnostic, Edge, Evidence
from netpol_gen.policy import NetworkPolicy
from netpol_gen.synthesize import Gap, RuleNote

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Replayed:
    """One accepted edge and what the policies say of it."""

    edge: Edge
    evidence: Evidence
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Plan:
    """What `generate` would write, and the proof.

    `policies` in canonical order; `notes` say what stands behind each rule; `gaps` which directions stay open and why;
    `replay` has every accepted edge; `replaces` names existing policies that the generated ones stand in for
    (`--mode tighten`).
    """

    policies: tuple[NetworkPolicy, ...]
    notes: tuple[RuleNote, ...]
    gaps: tuple[Gap, ...]
    diagnostics: tuple[Diagnostic, ...]
    edges: Edges
    replay: tuple[Replayed, ...]
    existing: tuple[NetworkPolicy, ...]
    replaces: tuple[str, ...] = ()

    @property
    def denied(self) -> tuple[Replayed, ...]:
        """Accepted edges that would be denied: a plan with any must not be written."""
        return tuple(r for r in self.replay if r.verdict.decision is Decision.DENY)

    @property
    def unproved(self) -> tuple[Replayed, ...]:
        """Accepted edges whose verdict lacks a fact."""
        return tuple(r for r in self.replay if r.verdict.decision is Decision.UNKNOWN)

    def check(self) -> None:
        """Refuse a plan that would deny what was observed.

        Raises:
            CheckFailedError: an accepted edge would be denied, by existing policies or by a bug.

        """
        if self.denied:
            first = self.denied[0]
            raise CheckFailedError(
                f"{len(self.denied)} accepted edges would be denied, nothing was written; the first: "
                f"{first.edge}: {first.verdict.reason}"
            )

    def to_frame(self) -> pd.DataFrame:
        """One line per accepted edge: both ends, protocol, port, `flows`, `decision` and, where there is one, `reason`."""
        import pandas as pd  # noqa: PLC0415 - half a second that `--help` must not pay

        rows = [
            (
                str(r.edge.src),
                str(r.edge.dst),
                str(r.edge.protocol),
                r.edge.port,
                r.evidence.flows,
                str(r.verdict.decision),
                r.verdict.missing or r.verdict.reason,
            )
            for r in self.replay
        ]
        frame = pd.DataFrame(rows, columns=list(REPLAY_COLUMNS))
        return frame.astype(REPLAY_COLUMNS)

    def gaps_frame(self) -> pd.DataFrame:
        """One line per direction that stays open: `workload`, `direction`, `reason`."""
        import pandas as pd  # noqa: PLC0415 - see `to_frame`

        rows = [(str(g.workload), str(g.direction), g.reason) for g in self.gaps]
        return pd.DataFrame(rows, columns=["workload", "direction", "reason"], dtype="string[pyarrow]")

    def _repr_html_(self) -> str:
        """What a notebook shows: the replay, escaped by pandas."""
        return f"<p>{len(self.policies)} policies, {len(self.gaps)} gaps</p>{self.to_frame().to_html(index=False)}"


REPLAY_COLUMNS = {
    "src": "string[pyarrow]",
    "dst": "string[pyarrow]",
    "protocol": "string[pyarrow]",
    "port": "int32[pyarrow]",
    "flows": "int64[pyarrow]",
    "decision": "string[pyarrow]",
    "reason": "string[pyarrow]",
}
"""Columns of `Plan.to_frame` and their pandas dtypes."""
