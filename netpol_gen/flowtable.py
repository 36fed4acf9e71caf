"""The canonical flow table: what every reader returns, and the ledger that accounts for every record.

A *row* is one conversation as one source saw it: client end, server end, protocol, port, observed verdict. Readers fold
records into rows while they read, so a table is bounded by distinct conversations, never by records.

Orientation. When a reader knows who opened the connection (`direction` is not null) `src` is the client and `dst` the
server, `src_port` is null, and records that were answers have been turned round and counted in `replies`. When it does
not know, `direction` is null, both ports are kept and `src`/`dst` are as in the packet; `netpol_gen.direction` decides.

`COLUMNS` says what each column holds; the same names are in CSV, JSONL, Parquet and pandas. The table in
docs/flow-table.md is made of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from netpol_gen.errors import InvariantError
from netpol_gen.model import UNKNOWN_TIME

if TYPE_CHECKING:
    import pyarrow as pa

    from netpol_gen.codes import Columns


class Column(NamedTuple):
    """A column of a flow table. Texts are Markdown: `null` is what a null means, `absent` what the column's absence.

    Where `null` is empty no value may be null. Where `absent` is empty the column must be there.
    """

    name: str
    kind: str
    meaning: str
    null: str = ""
    absent: str = "null"


_TIME, _TEXTS = "timestamp[ns, tz=UTC]", "list<string>"


def _end(end: str) -> tuple[Column, ...]:
    """What the source itself says of an end, besides its address."""
    said = "not said"
    return (
        Column(f"{end}_namespace", "string", "namespace that the source names", said),
        Column(f"{end}_pod", "string", "pod that the source names", said),
        Column(
            f"{end}_labels",
            "string",
            "labels that the source has, all of them, as a JSON object of texts with sorted keys",
            said,
        ),
        Column(f"{end}_workload", "string", "owner that the source names, as `Kind/name`", said),
        Column(
            f"{end}_entities",
            "string",
            "reserved identities of the source, sorted, with commas between (`host,kube-apiserver`, `world`); "
            "`untyped`: what is named may be no pod, and is one only where another row or the inventory has a pod of "
            "that name",
            "none",
        ),
        Column(f"{end}_identity", "int64", "Cilium security identity", said),
        Column(f"{end}_names", _TEXTS, "DNS names that the source had for the address", absent="`[]`"),
        Column(f"{end}_uid", "string", "UID of the pod", said),
    )


COLUMNS: tuple[Column, ...] = (
    Column("first_seen", _TIME, "time of the first record folded in", "the source tells no time", absent=""),
    Column("last_seen", _TIME, "time of the last one", "as `first_seen`", absent="as `first_seen`"),
    Column(
        "hours",
        "list<int32>",
        "hours since the epoch with at least one record, ascending",
        absent="the hour of `first_seen`",
    ),
    Column("src_ip", "string", "address of the client; IPv4-mapped IPv6 as IPv4, no zone", "hidden by the source"),
    Column("dst_ip", "string", "address of the server, as dialled", "hidden by the source"),
    Column(
        "src_port", "int32", "port of the client, where `direction` is null", "folded away, unknown, or none (ICMP)"
    ),
    Column("dst_port", "int32", "port of the server, as dialled", "unknown, or none (ICMP)"),
    Column("protocol", "string", "`TCP`, `UDP`, `SCTP`, `ICMP`, `ICMPv6`, else the IANA number", absent=""),
    Column(
        "observed_verdict",
        "string",
        "`forwarded`, `dropped` (by policy; from AWS, GCP and Azure by the network's own firewall), `audit`, `unknown`",
        absent="",
    ),
    Column("drop_reason", "string", "the source's own word for a drop", "not dropped, or not said"),
    Column(
        "direction", "string", "what tells that the source is the client (below)", "not told: `src` and `dst` as sent"
    ),
    Column("signals", "int32", "sum of what was seen of the conversation (below)", absent="0"),
    Column(
        "flows",
        "int64",
        "distinct connections: exact up to 64, then estimated from the 64 smallest hashes",
        absent="1",
    ),
    Column("records", "int64", "records of the log folded in", absent="1"),
    Column("replies", "int64", "how many of them were answers", absent="0"),
    Column("bytes", "int64", "bytes of all records, both ways", "not counted by the source"),
    Column("packets", "int64", "packets of all records, both ways", "not counted by the source"),
    *_end("src"),
    *_end("dst"),
    Column("dst_service", "string", "Service dialled, as `namespace/name`, where the source says so", "not said"),
    Column("backend_ip", "string", "address of the server after destination NAT", "not visible"),
    Column("backend_port", "int32", "port of the server after destination NAT", "not visible"),
    Column("nodes", _TEXTS, "nodes that reported it, ascending", absent="`[]`"),
    Column(
        "source",
        "string",
        "what wrote the log: `hubble`, `aws-vpc`, `gcp-vpc`, `azure-vnet`, `conntrack`, `calico`; else `flows`",
        absent="`flows`",
    ),
    Column(
        "sample", "string", "`file:line` of the first record in file order", "not known", absent="place in the table"
    ),
)
"""The columns of a flow table, in order."""


def schema() -> pa.Schema:
    """The Arrow schema of a flow table. There `UNKNOWN_TIME` stands for a time that the source does not tell."""
    import pyarrow as pa  # noqa: PLC0415 - half a second that `--help` must not pay

    kinds = {
        _TIME: pa.timestamp("ns", tz="UTC"),
        _TEXTS: pa.list_(pa.string()),
        "list<int32>": pa.list_(pa.int32()),
        "string": pa.string(),
        "int32": pa.int32(),
        "int64": pa.int64(),
    }
    return pa.schema([(column.name, kinds[column.kind]) for column in COLUMNS])


TIMES = ("first_seen", "last_seen")


def with_null_times(table: pa.Table) -> pa.Table:
    """The same for others to read: `UNKNOWN_TIME` as null."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    for name in TIMES:
        column = table.column(name)
        unknown = pc.equal(column, pa.scalar(UNKNOWN_TIME, column.type))
        if pc.any(unknown, min_count=0).as_py():
            known = pc.if_else(unknown, pa.scalar(None, column.type), column)
            table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), known)
    return table


def filled_times(first: pa.ChunkedArray, last: pa.ChunkedArray) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """Nulls filled: what has no beginning is of a time unknown, and what has no end was seen when it began."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    unknown = pa.scalar(UNKNOWN_TIME, first.type)
    first = pc.fill_null(first, unknown)
    return first, pc.if_else(pc.fill_null(pc.equal(last, unknown), fill_value=True), first, last)


class Bucket(StrEnum):
    """Where a record can end."""

    USED = "used"
    DUPLICATE = "duplicate"
    REPLY = "reply"
    SET_ASIDE = "set aside"


class Reason(StrEnum):
    """Why a record was set aside. `BAD` reasons count against `--max-bad` and `--strict`."""

    # bad input
    MALFORMED = "malformed record"
    NOT_A_FLOW = "not a flow record"
    TOO_LONG = "line too long"
    BAD_FIELD = "field out of range"
    # records that are no evidence
    CONTROL = "status record (node_status, agent_event, header, NODATA, …)"
    LOST_EVENTS = "loss marker"
    NO_L4 = "no transport layer"
    NO_ENDPOINT = "endpoint missing"
    ICMP = "icmp"
    OTHER_PROTOCOL = "protocol that no policy can name"
    SOCKET_EVENT = "socket translation event"
    NO_VERDICT = "verdict unknown"
    ERROR_VERDICT = "verdict error"
    DENIED = "currently denied by policy"
    FIREWALL = "denied by the network's own firewall (security group, NSG)"
    OTHER_DROP = "dropped for another reason than policy"
    AUDIT = "audit verdict not accepted"
    HEALTH = "health probe of the network plug-in"
    LOOPBACK = "loopback"
    MULTICAST = "multicast, broadcast or link-local"
    OUT_OF_WINDOW = "outside --since/--until"
    DUPLICATE_DELIVERY = "same record delivered twice"
    # decided later, by row
    UNDECIDED = "client and server cannot be told apart"
    WEAK = "weak evidence, left out by --min-evidence strong"
    UNKNOWN_PARTY = "endpoint unknown"
    AMBIGUOUS = "address or Service changed about then, or two pods claim it"
    NODE_TO_NODE = "no pod at either end"
    SELF = "a workload's pod to itself"
    UNANSWERED = "never answered, or handshake never completed"
    REFUSED = "refused"
    DENIED_ELSEWHERE = "forwarded at one end, denied at the other"
    SCAN = "scan, quarantined for review"
    NO_BACKEND = "service without a backend"
    EXCLUDED = "exclusion list"
    FILTERED = "left out of the frame by the caller"


FIREWALLS = frozenset({"aws-vpc", "gcp-vpc", "azure-vnet"})
"""Sources whose denials are those of the network they run in. Policies change nothing about these."""

BAD = frozenset({Reason.MALFORMED, Reason.NOT_A_FLOW, Reason.TOO_LONG, Reason.BAD_FIELD})


@dataclass(frozen=True, slots=True, order=True)
class Loss:
    """Events that the source says it lost: on which node, in which hour since the epoch, at which stage, how many."""

    node: str
    hour: int
    stage: str
    events: int


@dataclass(slots=True)
class Ledger:
    """Every record read ends in one bucket. `close` checks that the sum is the number read.

    A reader adds what it sets aside itself and leaves the rest in rows; later steps take rows out of the pending
    count. Mutable by design: it is an accumulator, merged in any order with one result.
    """

    read: int = 0
    used: int = 0
    duplicate: int = 0
    reply: int = 0
    set_aside: dict[Reason, int] = field(default_factory=dict)
    places: dict[Reason, list[str]] = field(default_factory=dict)
    """The first five places (`file:line: detail`) per reason, smallest first."""
    losses: dict[tuple[str, int, str], int] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)
    """Records read by file."""

    def aside(self, reason: Reason, count: int = 1, place: str = "") -> None:
        """Set `count` records aside."""
        self.set_aside[reason] = self.set_aside.get(reason, 0) + count
        if place:
            self._keep(reason, (place,))

    def aside_all(self, reason: Reason, count: int, places: Iterable[str | None]) -> None:
        """Set `count` records aside that were met at these places."""
        self.aside(reason, count)
        if told := [place for place in places if place]:
            self._keep(reason, told)

    def lose(self, node: str, hour: int, stage: str, events: int) -> None:
        """Note a loss marker's content (the marker itself is a record: `aside(Reason.LOST_EVENTS)`)."""
        key = (node, hour, stage)
        self.losses[key] = self.losses.get(key, 0) + events

    def settle(self, *, flows: int, records: int, replies: int) -> None:
        """Take one row as evidence: its connections are used, its answers replies, the rest duplicates."""
        used = min(flows, records - replies)
        self.used += used
        self.reply += replies
        self.duplicate += records - replies - used

    def merge(self, other: Ledger) -> None:
        """Add another reader's or process's ledger."""
        self.read += other.read
        self.used += other.used
        self.duplicate += other.duplicate
        self.reply += other.reply
        for reason, count in other.set_aside.items():
            self.aside(reason, count)
        for reason, places in other.places.items():
            self._keep(reason, places)
        for (node, hour, stage), events in other.losses.items():
            self.lose(node, hour, stage, events)
        for path, count in other.files.items():
            self.files[path] = self.files.get(path, 0) + count

    def _keep(self, reason: Reason, places: Iterable[str]) -> None:
        kept = self.places.setdefault(reason, [])
        kept.extend(places)
        if len(kept) > 5:
            kept.sort(key=_place_key)
            del kept[5:]

    @property
    def bad(self) -> int:
        """Records that were not what they should be."""
        return sum(self.set_aside.get(reason, 0) for reason in BAD)

    @property
    def lost(self) -> int:
        """Events that the sources say they lost."""
        return sum(self.losses.values())

    @property
    def accounted(self) -> int:
        """Records that have ended in a bucket."""
        return self.used + self.duplicate + self.reply + sum(self.set_aside.values())

    def close(self) -> None:
        """Check that every record read is in one bucket.

        Raises:
            InvariantError: it is not; nothing may be written then.

        """
        if self.accounted != self.read:
            raise InvariantError(f"the ledger does not close: {self.read} records read, {self.accounted} accounted for")

    def rows(self) -> list[tuple[str, str, int]]:
        """Bucket, reason and count, in a fixed order, zero counts left out."""
        out = [(Bucket.USED, "", self.used), (Bucket.DUPLICATE, "", self.duplicate), (Bucket.REPLY, "", self.reply)]
        out += [(Bucket.SET_ASIDE, reason, self.set_aside.get(reason, 0)) for reason in Reason]
        return [(str(b), str(r), n) for b, r, n in out if n]


_LINE = re.compile(r":([0-9]{1,18})(?=: |$)")


def _place_key(place: str) -> tuple[str, int, str]:
    """Path, line, detail. A name may have colons, too: the first line number ends it."""
    found = _LINE.search(place)
    return (place[: found.start()], int(found[1]), place[found.end() :]) if found else (place, 0, "")


@dataclass(frozen=True, slots=True)
class Flows:
    """A flow table with its ledger: what `read_flows` returns.

    `table` has `schema()`; rows are sorted by every column, so that the order of records and files leaves no trace.
    """

    table: pa.Table
    ledger: Ledger
    sources: Mapping[str, int]
    """Records by source name."""
    notes: tuple[str, ...] = ()
    """Sentences for the user about what this input cannot tell, sorted."""
    told: Columns | None = field(default=None, compare=False, repr=False)
    """`table` with what its reader had as numbers, which spares finding out which texts are equal."""

    @property
    def columns(self) -> Columns:
        """`table`, for those who work on numbers."""
        from netpol_gen.codes import Columns  # noqa: PLC0415 - numpy, which `--help` must not pay

        # A copy with another table may still have what was told of this one.
        return self.told if self.told is not None and self.told.table is self.table else Columns(self.table, {})
