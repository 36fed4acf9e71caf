r"""Folding records into rows while reading: what every reader writes to.

A reader is a function `read(stream: Stream, rows: Rows) -> None`. It goes over `rows.blocks(stream)`, and for each
record it either folds it into a row or sets it aside:

    for block in rows.blocks(stream):
        for line, text in enumerate(block.data.split(b"\n"), block.line):
            if not text.strip():
                continue
            rows.read += 1                                          # every record that was met
            ...
            rows.aside(Reason.MALFORMED, line, "field 3 is no number")      # or:
            row = rows.row(Key(src, dst, ports, kind), line)
            row.fold(first, last, counted(replies=0), Signal.SYN, DirectionEvidence.SYN, node)
            rows.connection(row, hour, client_port)

where `src = rows.end(Endpoint(namespace="a", pod="b"), "10.0.0.7")` and `kind = rows.kind(Kind("TCP", "forwarded"))`
are small numbers that stand for values, `ports` is `decided(dst_port)` or `undecided(src_port, dst_port)`. When the
record is an answer and the reader knows it, it turns the ends round first (`counted(replies=1)`): orientation is
described in `flowtable`. Records are never kept, so memory grows with distinct conversations alone.

`rows.read` is counted apart from rows and reasons, so that the ledger can notice a record that went nowhere.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from netpol_gen.errors import InputError
from netpol_gen.flowtable import Reason
from netpol_gen.model import DirectionEvidence
from netpol_gen.readers import times
from netpol_gen.readers.files import Block, Stream

if TYPE_CHECKING:
    import numpy as np

MAX_PLACES = 5
SKETCH = 64
"""Connections of a row are counted exactly up to this number, then estimated from this many smallest hashes."""
EVIDENCE_SHIFT = 16
"""In `Row.bits`, signals are below this bit and `1 << DirectionEvidence.rank` above it."""
REPLY_UNIT = 1 << 40
"""In `Row.count`, records are below this unit and replies above it."""
MAX_ROWS = 1 << 24
MAX_HOUR = 1 << 20
"""The year 2089."""
LINE_BITS = 44
"""In `Row.line`, the line is below this bit and the number of the share above it."""
PORT_BITS = 16
CONNECTION_BITS = 36
_LOG_LIMIT = 1 << 19


class Endpoint(NamedTuple):
    """What the source says of one end, besides its address. The columns of `flowtable` explain the fields."""

    namespace: str | None = None
    pod: str | None = None
    labels: str | None = None
    workload: str | None = None
    entities: str | None = None
    identity: int | None = None
    names: tuple[str, ...] = ()
    uid: str | None = None


NOBODY = Endpoint()
Identity = Endpoint | tuple[str | None, str, str | None]
"""What makes two ends with one address the same: namespace, name and UID of a pod, else all that is known."""


class Kind(NamedTuple):
    """The part of a row's identity that few values share."""

    protocol: str
    verdict: str
    drop_reason: str | None = None
    backend_ip: str | None = None
    backend_port: int | None = None
    source: str = ""
    """Filled in by `Rows.kind`."""


class Key(NamedTuple):
    """A row's identity within one part. A plain tuple of the same four numbers is equal and quicker to make."""

    src: int
    dst: int
    ports: int
    kind: int


def decided(dst_port: int | None) -> int:
    """Ports of a row whose client is known: its port is folded away."""
    return dst_port or 0


def undecided(src_port: int, dst_port: int) -> int:
    """Ports of a row whose client is not known."""
    return dst_port | (src_port + 1) << PORT_BITS


def split_ports(ports: int) -> tuple[int | None, int | None, bool]:
    """Source port, destination port and whether the client is known."""
    src, dst = ports >> PORT_BITS, ports & 0xFFFF
    return (src - 1 if src else None), (dst or None), not src


def counted(records: int = 1, replies: int = 0) -> int:
    """What to add to `Row.count`."""
    return records + replies * REPLY_UNIT


def _sum(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else a + b


class Counts(NamedTuple):
    """What a source counted itself."""

    flows: int = 0
    """Connections, on top of those given to `Rows.connection`."""
    packets: int | None = None
    bytes: int | None = None

    def plus(self, other: Counts) -> Counts:
        """Of both together."""
        return Counts(self.flows + other.flows, _sum(self.packets, other.packets), _sum(self.bytes, other.bytes))


@dataclass(slots=True)
class Extra:
    """What only some rows have."""

    src_names: set[str] = field(default_factory=set)
    dst_names: set[str] = field(default_factory=set)
    services: set[str] = field(default_factory=set)
    """`namespace/name` of the Service dialled; the smallest is kept."""
    views: dict[str, Counts] = field(default_factory=dict)
    """What was counted, by who counted: several may have seen the same connections."""

    def count(self, view: str, counts: Counts) -> None:
        """Add what one of those who look counted."""
        self.views[view] = self.views.get(view, Counts()).plus(counts)

    def counted(self) -> Counts:
        """Each number from the view that has most: nothing counts twice, and what one view missed counts."""
        views = self.views.values()
        packets = max((each.packets for each in views if each.packets is not None), default=None)
        octets = max((each.bytes for each in views if each.bytes is not None), default=None)
        return Counts(max((each.flows for each in views), default=0), packets, octets)


_FEW_NODES = 16
"""A conversation is seen by two, and a tuple takes the least; but a log may name any number."""


class Row:
    """One conversation so far.

    Times are nanoseconds since the epoch, or `times.canonical` text, the same throughout one source;
    `Rows.finish` makes numbers of them.
    """

    __slots__ = ("bits", "count", "extra", "first", "index", "last", "line", "nodes")

    def __init__(self, index: int, line: int) -> None:
        self.index = index
        self.line = line
        self.count = 0
        self.bits = 0
        self.first: int | str | None = None
        self.last: int | str | None = None
        self.nodes: tuple[str, ...] | dict[str, None] = ()
        self.extra: Extra | None = None

    def fold(
        self, first: int, last: int, count: int, signals: int, evidence: DirectionEvidence | None = None, node: str = ""
    ) -> None:
        """Add records. `count` as `counted` makes it; `evidence` is what decided the client, None where undecided."""
        self.count += count
        self.bits |= signals | (0 if evidence is None else 1 << (EVIDENCE_SHIFT + evidence.rank))
        if self.first is None or first < self.first:  # type: ignore[operator]
            self.first = first
        if self.last is None or last > self.last:  # type: ignore[operator]
            self.last = last
        if node:
            self.told_by(node)

    def told_by(self, node: str) -> None:
        """Note the name of a node that saw it."""
        if node in self.nodes:
            return
        if isinstance(self.nodes, dict):
            self.nodes[node] = None
        elif len(self.nodes) < _FEW_NODES:
            self.nodes += (node,)
        else:
            self.nodes = dict.fromkeys((*self.nodes, node))

    def more(self) -> Extra:
        """The rarely needed fields."""
        if self.extra is None:
            self.extra = Extra()
        return self.extra

    def absorb(self, other: Row) -> None:
        """Add all records of another row of the same conversation."""
        self.line = min(self.line, other.line)
        self.count += other.count
        self.bits |= other.bits
        self.first = min(self.first, other.first)  # type: ignore[type-var]
        self.last = max(self.last, other.last)  # type: ignore[type-var]
        for node in other.nodes:
            self.told_by(node)
        if other.extra is not None:
            mine, theirs = self.more(), other.extra
            mine.src_names |= theirs.src_names
            mine.dst_names |= theirs.dst_names
            mine.services |= theirs.services
            for view, counts in theirs.views.items():
                mine.count(view, counts)


@dataclass(frozen=True, slots=True)
class Window:
    """`--since` and `--until` in nanoseconds since the epoch: `since <= first_seen < until`."""

    since: int | None = None
    until: int | None = None

    def __bool__(self) -> bool:
        return self.since is not None or self.until is not None

    def holds(self, time: int) -> bool:
        """Whether a record of this time is wanted."""
        return (self.since is None or time >= self.since) and (self.until is None or time < self.until)


class Spot(NamedTuple):
    """Where something was met: number of the share (see `Rows.begin`), line within it, and what it was."""

    share: int
    line: int
    detail: str


@dataclass(slots=True)
class Partial:
    """What one process made of its shares. Lines count from the beginning of each share."""

    read: dict[int, int]
    """Records by share."""
    lines: dict[int, int]
    """Newlines by share."""
    ends: list[tuple[Identity, str | None]]
    forms: dict[Identity, set[Endpoint]]
    """All that was said of an end."""
    kinds: list[Kind]
    keys: list[Key]
    rows: list[Row]
    hashes: np.ndarray
    """uint64, ascending: `row << 40 | hash` of the connections kept."""
    hours: np.ndarray
    """uint64, ascending: `row << 20 | hour` since the epoch."""
    set_aside: dict[Reason, int]
    places: dict[Reason, list[Spot]]
    losses: dict[tuple[str, int, str], int]
    names: dict[str, set[str]]
    """DNS names by the address that a resolver answered for them."""


class Rows:
    """The rows of one process."""

    def __init__(self, window: Window | None = None) -> None:
        self.window = window or Window()
        self.read = 0
        """Records met in the share at hand."""
        self.set_aside: dict[Reason, int] = {}
        self.places: dict[Reason, list[Spot]] = {}
        self.losses: dict[tuple[str, int, str], int] = {}
        self.names: dict[str, set[str]] = {}
        """DNS names by the address that a resolver answered for them."""
        self.rows: dict[Key, Row] = {}
        self.memo: dict[str, Any] = {}
        """For readers: what they have worked out, by source name, kept from one share to the next."""
        self.settling: list[Callable[[], None]] = []
        """For readers: called before all is handed over, to put in rows what they have counted elsewhere."""
        self.log = array("Q")
        """Connections seen: `row << 36 | hour << 16 | client port`; `compact` folds them into the sketches."""
        self._ends: dict[tuple[Identity, str | None], int] = {}
        self._forms: dict[Identity, set[Endpoint]] = {}
        self._kinds: dict[Kind, int] = {}
        self._hashes: np.ndarray | None = None
        self._hours: np.ndarray | None = None
        self._share = -1
        self._source = ""
        self._reads: dict[int, int] = {}
        self._lines: dict[int, int] = {}

    def begin(self, share: int, source: str) -> None:
        """Start on a share. Shares are numbered in file order; those of one compressed file have the same number."""
        self._close_share()
        self._share, self._source = share, source

    def _close_share(self) -> None:
        if self._share >= 0:
            self._reads[self._share] = self._reads.get(self._share, 0) + self.read
            self.read = 0

    def blocks(self, stream: Stream) -> Iterator[Block]:
        """The stream's blocks; lines too long and damaged compression are counted on the way."""
        for block in stream.blocks():
            if block.too_long:
                self.read += 1
                self.aside(Reason.TOO_LONG, block.line, f"begins {block.data[:40]!r}")
                continue
            yield block
            self.breathe()
        self.passed(stream)

    def breathe(self) -> None:
        """Fold the log of connections when it has grown long; call it between blocks, not within one."""
        if len(self.log) > _LOG_LIMIT:
            self.compact()

    def passed(self, stream: Stream) -> None:
        """The stream is read to its end (`blocks` calls this)."""
        self._lines[self._share] = max(stream.lines, self._lines.get(self._share, 0))
        if stream.damage:
            self.read += 1
            self.aside(Reason.MALFORMED, stream.lines + 1, stream.damage)

    def end(self, endpoint: Endpoint, address: str | None) -> int:
        """The number of an end; `address` is canonical text, None where hidden.

        A pod's end is one, whatever forms of it are met; `merge.unify` puts them together.
        """
        identity: Identity = endpoint
        if endpoint.pod is not None:
            identity = (endpoint.namespace, endpoint.pod, endpoint.uid)
        self._forms.setdefault(identity, set()).add(endpoint)
        return self._ends.setdefault((identity, address), len(self._ends))

    def kind(self, kind: Kind) -> int:
        """The number of a kind."""
        return self._kinds.setdefault(kind._replace(source=self._source), len(self._kinds))

    def row(self, key: Key, line: int) -> Row:
        """The row of this identity; `line` is where it was met."""
        row = self.rows.get(key)
        if row is None:
            if len(self.rows) >= MAX_ROWS - 1:
                raise InputError(f"more than {MAX_ROWS} distinct conversations; split the input by time")
            row = self.rows[key] = Row(len(self.rows), self._share << LINE_BITS | line)
        return row

    def connection(self, row: Row, hour: int, client_port: int) -> None:
        """Note a connection; the same one noted again, here or by another process, counts once. Hours 0 to MAX_HOUR."""
        self.log.append(row.index << CONNECTION_BITS | hour << PORT_BITS | client_port)

    def aside(self, reason: Reason, line: int, detail: str = "", count: int = 1) -> None:
        """Set records aside; the first few places of each reason are kept."""
        self.set_aside[reason] = self.set_aside.get(reason, 0) + count
        places = self.places.setdefault(reason, [])
        if len(places) < MAX_PLACES:
            places.append(Spot(self._share, line, detail))

    def lose(self, node: str, hour: int, stage: str, events: int) -> None:
        """Note what a loss marker says (the marker itself is a record)."""
        self.losses[node, hour, stage] = self.losses.get((node, hour, stage), 0) + events

    def compact(self) -> None:
        """Fold the log of connections into the sketches."""
        from netpol_gen.readers import sketch  # noqa: PLC0415 - numpy is not needed before the first record

        self._hashes, self._hours = sketch.fold(self.log, self._hashes, self._hours)
        del self.log[:]

    def finish(self) -> Partial:
        """Hand everything over; the object is spent then."""
        for settle in self.settling:
            settle()
        self.settling.clear()
        self.memo.clear()
        self.compact()
        self._close_share()
        told = [row for row in self.rows.values() if isinstance(row.first, str) and isinstance(row.last, str)]
        first = times.all_nanoseconds([str(row.first) for row in told])
        last = times.all_nanoseconds([str(row.last) for row in told])
        for row, earliest, latest in zip(told, first, last, strict=True):
            row.first, row.last = earliest, latest
        assert self._hashes is not None  # noqa: S101 - compact has just made them
        assert self._hours is not None  # noqa: S101
        return Partial(
            read=self._reads,
            lines=self._lines,
            ends=list(self._ends),
            forms=self._forms,
            kinds=list(self._kinds),
            keys=list(self.rows),
            rows=list(self.rows.values()),
            hashes=self._hashes,
            hours=self._hours,
            set_aside=self.set_aside,
            places=self.places,
            losses=self.losses,
            names=self.names,
        )
