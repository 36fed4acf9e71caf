"""What `generate` would write, with its proof: values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from netpol_gen.edges import Edges
from netpol_gen.errors import CheckFailedError
from netpol_gen.model import Diagnostic
from netpol_gen.policy import NetworkPolicy
from netpol_gen.synthesize import Gap, RuleNote
from netpol_gen.verify import Replay

if TYPE_CHECKING:
    import pandas as pd


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
    replay: Replay
    existing: tuple[NetworkPolicy, ...]
    replaces: tuple[str, ...] = ()

    def check(self) -> None:
        """Refuse a plan that would deny what was observed.

        Raises:
            CheckFailedError: an accepted edge would be denied, by existing policies or by a bug.

        """
        if not self.replay.holds:
            first = self.replay.denied[0]
            raise CheckFailedError(
                f"{len(self.replay.denied)} accepted edges would be denied, nothing was written; the first: "
                f"{first.edge}: {first.verdict.reason}"
            )

    def to_frame(self) -> pd.DataFrame:
        """One line per accepted edge with its verdict: `netpol_gen.verify.Replay.to_frame`."""
        return self.replay.to_frame()

    def gaps_frame(self) -> pd.DataFrame:
        """One line per direction that stays open: `workload`, `direction`, `reason`."""
        import pandas as pd  # noqa: PLC0415 - half a second that `--help` must not pay

        rows = [(str(g.workload), str(g.direction), g.reason) for g in self.gaps]
        return pd.DataFrame(rows, columns=["workload", "direction", "reason"], dtype="string[pyarrow]")

    def _repr_html_(self) -> str:
        """What a notebook shows: the replay, escaped by pandas."""
        return f"<p>{len(self.policies)} policies, {len(self.gaps)} gaps</p>{self.to_frame().to_html(index=False)}"
