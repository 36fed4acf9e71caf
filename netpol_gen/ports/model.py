"""The port inventory as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from netpol_gen.model import Protocol, Workload

if TYPE_CHECKING:
    import pandas as pd


class Answer(StrEnum):
    """Three values; unknown is one of them."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class Allowed(StrEnum):
    """What policies say about connections to a port, whoever the client is."""

    OPEN = "open"
    """No policy isolates the workload for ingress: everyone is admitted."""
    ADMITTED = "admitted"
    """A rule names the port, or a range that holds it, for some client."""
    CLOSED = "closed"
    """The workload is isolated and no rule admits the port for anyone."""
    UNKNOWN = "unknown"
    """No policies were given, or the workload's labels are not known."""


class Mark(StrEnum):
    """What deserves a look."""

    UNDECLARED = "used but not declared"
    UNUSED = "declared but never used"
    ALLOWED_UNUSED = "allowed but never used"
    NOT_ALLOWED = "used but not allowed by the policies given"
    SERVICE_DIFFERS = "Service port differs from its target"
    NAME_DIFFERS = "one name for different numbers"
    CONTROL = "administration or debugging"


@dataclass(frozen=True, slots=True, order=True)
class ServiceRef:
    """A port of a Service that leads here. `target` is as the Service has it: a number or a container port's name."""

    service: str
    """`namespace/name`."""
    port: int
    target: str

    def __str__(self) -> str:
        """`shop/api 80→http`."""
        return f"{self.service} {self.port}→{self.target}"


@dataclass(frozen=True, slots=True, order=True)
class Client:
    """Who was seen calling: a workload, or a class of parties outside (`world`, `node`) with how many addresses."""

    name: str
    addresses: int = 0
    flows: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class PortRow:
    """One port of one workload.

    `names` are the container ports' names for this number. `declared`: a container of some pod lists the port (`no`
    only where the pods' own objects are known). `allowed_by` are rules as `namespace/name ingress[0]`. `first_seen` and
    `last_seen` are nanoseconds since the epoch, UTC, `None` where no accepted flow had a time; `seen` is unknown for
    workloads on their node's network, whose flows cannot be told from the node's.
    """

    workload: Workload
    protocol: Protocol
    number: int
    names: tuple[str, ...] = ()
    declared: Answer = Answer.UNKNOWN
    services: tuple[ServiceRef, ...] = ()
    seen: Answer = Answer.NO
    flows: int = 0
    first_seen: int | None = None
    last_seen: int | None = None
    clients: tuple[Client, ...] = ()
    allowed: Allowed = Allowed.UNKNOWN
    allowed_by: tuple[str, ...] = ()
    marks: tuple[Mark, ...] = ()
    control: str = ""
    """What is administered or debugged there, going by number or name."""

    @property
    def key(self) -> tuple[Workload, str, int]:
        """Identity and total order."""
        return (self.workload, self.protocol, self.number)


@dataclass(frozen=True, slots=True, order=True)
class Wide:
    """Ports that a rule admits without naming them one by one: all, all of a protocol, or a long range."""

    workload: Workload
    ports: str
    """`all`, `all TCP`, `UDP 10000-20000`."""
    allowed_by: str


@dataclass(frozen=True, slots=True)
class PortInventory:
    """Rows and wide rules in total order; `start` and `end` are the first and the last flow, `None` without any."""

    rows: tuple[PortRow, ...]
    wide: tuple[Wide, ...] = ()
    start: int | None = None
    end: int | None = None

    def to_frame(self) -> pd.DataFrame:
        """One line per port; columns as in `COLUMNS`, Arrow-backed dtypes."""
        import pandas as pd  # noqa: PLC0415 - half a second that `--help` must not pay

        frame = pd.DataFrame([_cells(row) for row in self.rows], columns=list(COLUMNS))
        for column in ("first_seen", "last_seen"):
            frame[column] = pd.to_datetime(frame[column], unit="ns", utc=True)
        return frame.astype(COLUMNS)


COLUMNS: Mapping[str, str] = {
    "namespace": "string[pyarrow]",
    "kind": "string[pyarrow]",
    "name": "string[pyarrow]",
    "protocol": "string[pyarrow]",
    "port": "int32[pyarrow]",
    "port_names": "string[pyarrow]",
    "declared": "string[pyarrow]",
    "services": "string[pyarrow]",
    "seen": "string[pyarrow]",
    "flows": "int64[pyarrow]",
    "first_seen": "timestamp[ns, tz=UTC][pyarrow]",
    "last_seen": "timestamp[ns, tz=UTC][pyarrow]",
    "clients": "string[pyarrow]",
    "allowed": "string[pyarrow]",
    "allowed_by": "string[pyarrow]",
    "control": "string[pyarrow]",
    "marks": "string[pyarrow]",
}
"""Columns of `PortInventory.to_frame()`. Lists are joined by a semicolon and a space; empty ones are null."""


def _cells(row: PortRow) -> tuple[Any, ...]:
    return (
        row.workload.namespace,
        row.workload.kind,
        row.workload.name,
        str(row.protocol),
        row.number,
        joined(row.names),
        str(row.declared),
        joined(row.services),
        str(row.seen),
        row.flows,
        row.first_seen,
        row.last_seen,
        joined(c.name for c in row.clients),
        str(row.allowed),
        joined(row.allowed_by),
        row.control or None,
        joined(row.marks),
    )


def joined(items: Any) -> str | None:
    """Items joined by a semicolon and a space; `None` of none."""
    return "; ".join(map(str, items)) or None
