"""What a coverage run says, as values. Nothing here ever says that enforcing is without risk: only what was seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from netpol_gen.coverage.bins import Window
from netpol_gen.coverage.estimate import Estimate
from netpol_gen.errors import OptionError
from netpol_gen.flowtable import Loss
from netpol_gen.model import Direction, Workload

if TYPE_CHECKING:
    import pandas as pd


class State(StrEnum):
    """How settled the picture is, least first."""

    LEARNING = "Learning"
    """New edges still appear, or there is too little to go by."""
    STABILIZING = "Stabilizing"
    """No new edge for more than two time bins, but something named in the reason is still open."""
    STABLE = "Stable"
    """A week or more, quiet for a third of it, and nothing named in the rules that speaks against it."""

    @property
    def rank(self) -> int:
        """0 is the least."""
        return tuple(State).index(self)


class Scope(StrEnum):
    """What a line is about."""

    WHOLE = "whole"
    NAMESPACE = "namespace"
    WORKLOAD = "workload"


@dataclass(frozen=True, slots=True)
class Line:
    """One workload and direction, one namespace, or the whole.

    `edges` counts accepted edges that it takes part in, addresses outside as classes (`world`, `node`). `newest`
    (nanoseconds since the epoch) is when the last of them was first seen, `quiet_hours` how long before the end of the
    window that was. `lossy_hours` are the hours in which a node of it lost events, `lost` how many.
    """

    scope: Scope
    namespace: str
    workload: Workload | None
    direction: Direction | None
    state: State
    reason: str
    edges: int
    estimate: Estimate
    newest: int | None = None
    newest_edge: str = ""
    quiet_hours: float | None = None
    lossy_hours: int = 0
    lost: int = 0

    @property
    def name(self) -> str:
        """`whole`, the namespace, or `ns/name[Kind] Egress`."""
        if self.workload is not None:
            return f"{self.workload} {self.direction}"
        return self.namespace if self.scope is Scope.NAMESPACE else "whole"


class Exercise(StrEnum):
    """Whether a scheduled job ran within the window, as far as flows can tell."""

    SEEN = "seen"
    NOT_DUE = "not due in the window"
    DUE_UNSEEN = "due, but no flow of it was seen"
    UNKNOWN = "schedule not understood"


@dataclass(frozen=True, slots=True)
class Job:
    """A CronJob against its schedule. `runs` of `due` times have a flow in their hour or the next.

    `next_due` is RFC 3339, empty where it is not known. Its edges are no part of any estimate.
    """

    workload: Workload
    schedule: str
    exercise: Exercise
    due: int = 0
    runs: int = 0
    edges: int = 0
    next_due: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Touched:
    """Events that one node lost, by hour, and the workloads in scope that this touches (all, if no node is named)."""

    node: str
    losses: tuple[Loss, ...]
    workloads: tuple[Workload, ...]

    @property
    def events(self) -> int:
        """How many events."""
        return sum(loss.events for loss in self.losses)

    @property
    def hours(self) -> frozenset[int]:
        """The hours, since the epoch."""
        return frozenset(loss.hour for loss in self.losses)


@dataclass(frozen=True, slots=True)
class Unseen:
    """Something in the inventory that no flow named, and what to make of that."""

    kind: str
    name: str
    note: str


@dataclass(frozen=True, slots=True)
class Point:
    """A point of the accumulation curve: edges seen up to the end of a bin, `hours` after the window began."""

    hours: int
    edges: int


@dataclass(frozen=True, slots=True)
class Coverage:
    """The statement. `lines` begin with the whole, then namespaces, then workloads, each in order.

    `blind_spots` by source: what it cannot show however long one watches. `set_aside` counts records under reasons that
    may hide edges.
    """

    window: Window | None
    lines: tuple[Line, ...]
    jobs: tuple[Job, ...] = ()
    losses: tuple[Touched, ...] = ()
    silent_nodes: tuple[Unseen, ...] = ()
    unseen: tuple[Unseen, ...] = ()
    curve: tuple[Point, ...] = ()
    blind_spots: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    set_aside: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def whole(self) -> Line:
        """The line about everything in scope."""
        return self.lines[0]

    def of(self, scope: Scope) -> tuple[Line, ...]:
        """Lines of one scope."""
        return tuple(line for line in self.lines if line.scope is scope)

    def short_of(self, level: State) -> tuple[Line, ...]:
        """Lines below a level. A workload's direction without any edge stays open, and so is not asked."""
        return tuple(
            line
            for line in self.lines
            if line.state.rank < level.rank and (line.edges or line.scope is not Scope.WORKLOAD)
        )

    def to_frame(self) -> pd.DataFrame:
        """One line per whole, namespace, and workload and direction; columns as in `COLUMNS`, Arrow-backed dtypes."""
        import pandas as pd  # noqa: PLC0415 - half a second that `--help` must not pay

        frame = pd.DataFrame([_cells(line) for line in self.lines], columns=list(COLUMNS))
        frame["newest"] = pd.to_datetime(frame["newest"], unit="ns", utc=True)
        return frame.astype(COLUMNS)


COLUMNS: Mapping[str, str] = {
    "scope": "string[pyarrow]",
    "namespace": "string[pyarrow]",
    "kind": "string[pyarrow]",
    "name": "string[pyarrow]",
    "direction": "string[pyarrow]",
    "state": "string[pyarrow]",
    "reason": "string[pyarrow]",
    "edges": "int64[pyarrow]",
    "newest": "timestamp[ns, tz=UTC][pyarrow]",
    "quiet_hours": "double[pyarrow]",
    "bins": "int64[pyarrow]",
    "unseen": "double[pyarrow]",
    "unseen_low": "double[pyarrow]",
    "unseen_high": "double[pyarrow]",
    "next_bin": "double[pyarrow]",
    "completeness": "double[pyarrow]",
    "moved": "bool[pyarrow]",
    "not_estimable": "string[pyarrow]",
    "lossy_hours": "int64[pyarrow]",
    "lost": "int64[pyarrow]",
}
"""Columns of `Coverage.to_frame()`. What is estimated is null where `not_estimable` says why."""


def _cells(line: Line) -> tuple[Any, ...]:
    w, e = line.workload, line.estimate
    return (
        str(line.scope),
        line.namespace or None,
        w.kind if w else None,
        w.name if w else None,
        str(line.direction) if line.direction else None,
        str(line.state),
        line.reason,
        line.edges,
        line.newest,
        line.quiet_hours,
        e.bins,
        e.unseen,
        e.low,
        e.high,
        e.next_bin,
        e.completeness,
        e.moved,
        e.why_not or None,
        line.lossy_hours,
        line.lost,
    )


def parse_level(text: str) -> State:
    """`stable`, `stabilizing` or `learning`, in any case.

    Raises:
        OptionError: none of them.

    """
    for state in State:
        if text.lower() == state.lower():
            return state
    raise OptionError(f"{text!r} is not one of {', '.join(s.lower() for s in State)}")
