"""From the engine's result to the flow table and the ledger."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from netpol_gen.errors import InvariantError, printable
from netpol_gen.flowtable import Flows, Ledger, Reason, schema
from netpol_gen.readers.rows import MAX_PLACES
from netpol_gen.readers.vpc import PLACE_BITS, REASONS, VERDICTS

if TYPE_CHECKING:
    import pyarrow as pa

_LINE_MASK = (1 << PLACE_BITS) - 1
_BROADCAST = ipaddress.ip_address("255.255.255.255")
_PROTOCOLS = {6: "TCP", 17: "UDP", 132: "SCTP"}
_KEEP = 512
WHO_SEPARATOR = "\x1f"

Explain = Callable[[str], tuple[Reason, str]]
"""Why a text is no record that can be used."""


class Spot(NamedTuple):
    """Where something was met (`vpc.PLACE_BITS`), and what it was."""

    place: int
    detail: str


@dataclass(slots=True)
class Account:
    """Counts and first places of what is set aside, in any order with one result."""

    read: int = 0
    set_aside: dict[Reason, int] = field(default_factory=dict)
    losses: dict[tuple[str, int, str], int] = field(default_factory=dict)
    files: dict[int, int] = field(default_factory=dict)
    _spots: dict[Reason, list[Spot]] = field(default_factory=dict)

    def met(self, file: int, count: int) -> None:
        """Records read from a file, by its number."""
        self.read += count
        self.files[file] = self.files.get(file, 0) + count

    def aside(self, reason: Reason, count: int, spots: Iterable[Spot]) -> None:
        """Set records aside."""
        self.set_aside[reason] = self.set_aside.get(reason, 0) + count
        kept = self._spots.setdefault(reason, [])
        kept.extend(spots)
        if len(kept) > _KEEP:
            kept.sort()
            del kept[MAX_PLACES:]

    def ledger(self, names: Sequence[str]) -> Ledger:
        """The ledger, with rows still pending. `names` are the files by number."""
        out = Ledger(read=self.read, files={name: self.files.get(i, 0) for i, name in enumerate(names)})
        for reason in REASONS:
            if count := self.set_aside.get(reason, 0):
                out.aside(reason, count)
                for spot in sorted(self._spots.get(reason, ()))[:MAX_PLACES]:
                    out.aside(reason, 0, _place(names, spot))
        for (node, hour, stage), events in sorted(self.losses.items()):
            out.lose(node, hour, stage, events)
        return out


def _place(names: Sequence[str], spot: Spot) -> str:
    where = f"{printable(names[spot.place >> PLACE_BITS], 400)}:{spot.place & _LINE_MASK}"
    return f"{where}: {printable(spot.detail)}" if spot.detail else where


@dataclass(frozen=True, slots=True)
class Source:
    """What is the same for all rows of a source."""

    name: str
    evidence: str
    drop_reason: str
    lost_stage: str = ""


def gather(
    batches: Iterable[pa.RecordBatch], source: Source, names: Sequence[str], account: Account, explain: Explain
) -> pa.Table:
    """Rows of the flow table, sorted; what is none goes to `account`."""
    import pyarrow as pa  # noqa: PLC0415 - half a second that `--help` must not pay

    kept = []
    for batch in batches:
        marks = batch.column("y").to_numpy()
        rows = marks >= 0
        if not rows.all():
            _set_aside(batch.filter(pa.array(~rows)), source, account, explain)
            batch = batch.filter(pa.array(rows))  # noqa: PLW2901 - what is left of it
        kept.append(batch)
    if not kept:
        return schema().empty_table()
    found = pa.Table.from_batches(kept)
    ends, found = _addresses(found, account)
    return _columns(found, ends, source, names)


def _set_aside(batch: pa.RecordBatch, source: Source, account: Account, explain: Explain) -> None:
    for row in batch.select(["src", "y", "h", "records", "places"]).to_pylist():
        mark, count = row["y"], row["records"]
        if mark <= -1000:
            reason, detail = explain(row["src"] or "")
            account.aside(reason, count, [Spot(-mark - 1000, detail)])
            continue
        reason = REASONS[-mark - 1]
        account.aside(reason, count, [Spot(place, "") for place in row["places"] or ()])
        if reason is Reason.LOST_EVENTS:
            key = (row["src"] or "", row["h"] or 0, source.lost_stage)
            account.losses[key] = account.losses.get(key, 0) + count


class Ends(NamedTuple):
    """Canonical addresses of both ends of each row."""

    src: pa.Array
    dst: pa.Array


def address(text: str | None) -> tuple[str, Reason | None]:
    """Canonical text of an address, and why it is no party, if so.

    Unicast 169.254.0.0/16 stays: node-local DNS and metadata services have addresses there.
    """
    if not text or text == "-":
        return "", Reason.NO_ENDPOINT
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return text, Reason.BAD_FIELD
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    if found.is_loopback:
        return str(found), Reason.LOOPBACK
    if found.is_unspecified:
        return str(found), Reason.NO_ENDPOINT
    if found.is_multicast or found == _BROADCAST or (found.version == 6 and found.is_link_local):
        return str(found), Reason.MULTICAST
    return str(found), None


def _addresses(found: pa.Table, account: Account) -> tuple[Ends, pa.Table]:
    """Canonical addresses, with the rows whose ends are no parties set aside."""
    import pyarrow as pa  # noqa: PLC0415

    texts, codes, problems = [], [], np.zeros(found.num_rows, dtype=np.int16)
    for name in ("src", "dst"):
        coded = found.column(name).combine_chunks().dictionary_encode()
        index = coded.indices.fill_null(len(coded.dictionary)).to_numpy()
        answers = [address(text) for text in [*coded.dictionary.to_pylist(), None]]
        texts.append(np.array([text for text, _ in answers], dtype=object))
        codes.append(index)
        reasons = np.array([0 if r is None else REASONS.index(r) + 1 for _, r in answers], dtype=np.int16)
        problems = np.where(problems == 0, reasons[index], problems)
    bad = np.flatnonzero(problems)
    if len(bad):
        taken = found.take(pa.array(bad))
        facts = zip(*(taken.column(c).to_pylist() for c in ("src", "dst", "records", "place")), strict=True)
        for code, (src, dst, records, place) in zip(problems[bad].tolist(), facts, strict=True):
            reason = REASONS[code - 1]
            wrong = next((t for t in (src, dst) if address(t)[1] is reason), "")
            detail = f"{wrong} is no address" if reason is Reason.BAD_FIELD else ""
            account.aside(reason, records, [Spot(place, detail)])
        good = np.flatnonzero(problems == 0)
        found, codes = found.take(pa.array(good)), [index[good] for index in codes]
    arrays = [pa.array(text, pa.string()).take(pa.array(index)) for text, index in zip(texts, codes, strict=True)]
    return Ends(*arrays), found


def _columns(found: pa.Table, ends: Ends, source: Source, names: Sequence[str]) -> pa.Table:
    import pyarrow as pa  # noqa: PLC0415

    rows = found.num_rows
    when = pa.timestamp("ns", tz="UTC")
    mark = found.column("y").to_numpy()
    decided = mark >> 60 & 1 == 1
    verdict = (mark >> 40 & 3).astype(np.int8)
    columns: dict[str, Any] = {
        "first_seen": found.column("first").cast(when),
        "last_seen": found.column("last").cast(when),
        "hours": _single(found.column("h").combine_chunks()),
        "src_ip": ends.src,
        "dst_ip": ends.dst,
        "src_port": pa.array(found.column("sport").to_numpy(), pa.int32(), mask=decided),
        "dst_port": pa.array((mark & 0xFFFF).astype(np.int32)),
        "protocol": _named(_PROTOCOLS, (mark >> 32 & 0xFF).astype(np.int16)),
        "observed_verdict": _named(dict(enumerate(VERDICTS)), verdict),
        "drop_reason": _named({1: source.drop_reason}, verdict),
        "direction": _named({1: source.evidence}, decided.astype(np.int8)),
        "signals": found.column("signals").cast(pa.int32()),
        "source": pa.array([source.name], pa.string()).take(pa.array(np.zeros(rows, dtype=np.int8))),
        "sample": _samples(found.column("place").to_numpy(), names),
    }
    for name in ("flows", "records", "replies", "bytes", "packets"):
        columns[name] = found.column(name)
    for end in ("src", "dst"):
        columns |= _who(end, found.column(f"who_{end}").combine_chunks()) if f"who_{end}" in found.column_names else {}
    # Sorted before the columns that no source of this kind has are added: most of them are.
    found = ordered(pa.table(columns))
    whole = [
        found.column(each.name)
        if each.name in columns
        else _empty_lists(rows)
        if pa.types.is_list(each.type)
        else pa.nulls(rows, each.type)
        for each in schema()
    ]
    return pa.Table.from_arrays(whole, schema=schema())


def _named(names: Mapping[int, str], codes: np.ndarray) -> pa.Array:
    """Texts by number; null for numbers that are not in `names`."""
    import pyarrow as pa  # noqa: PLC0415

    known = sorted(names)
    at = np.searchsorted(known, codes).clip(max=len(known) - 1)
    missing = np.asarray(known)[at] != codes
    return pa.array([names[k] for k in known], pa.string()).take(pa.array(at, pa.int32(), mask=missing))


def _single(values: pa.Array) -> pa.Array:
    """Lists of one value."""
    import pyarrow as pa  # noqa: PLC0415

    return pa.ListArray.from_arrays(pa.array(np.arange(len(values) + 1, dtype=np.int32)), values.cast(pa.int32()))


def _empty_lists(rows: int) -> pa.Array:
    import pyarrow as pa  # noqa: PLC0415

    return pa.ListArray.from_arrays(pa.array(np.zeros(rows + 1, dtype=np.int32)), pa.array([], pa.string()))


def _samples(places: np.ndarray, names: Sequence[str]) -> pa.Array:
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    files = pa.array(list(names), pa.string()).take(pa.array(places >> PLACE_BITS))
    lines = pa.array(places & _LINE_MASK).cast(pa.string())
    return pc.binary_join_element_wise(files, lines, ":")


def _who(end: str, said: pa.Array) -> dict[str, pa.Array]:
    """What the source says of an end: namespace, pod and workload, separated by `WHO_SEPARATOR`."""
    import pyarrow as pa  # noqa: PLC0415

    coded = said.dictionary_encode()
    parts = [(*text.split(WHO_SEPARATOR), "", "", "")[:3] for text in coded.dictionary.to_pylist()]
    return {
        f"{end}_{name}": pa.array([p[i] or None for p in parts], pa.string()).take(coded.indices)
        for i, name in enumerate(("namespace", "pod", "workload"))
    }


_ORDER = ("first_seen", "last_seen", "src_ip", "dst_ip", "dst_port", "src_port", "protocol", "observed_verdict")
_TIES = ("drop_reason", "direction", "source", "src_namespace", "src_pod", "dst_namespace", "dst_pod", "sample")


def ordered(table: pa.Table) -> pa.Table:
    """The rows in their order: times, addresses, ports, then all else that tells rows apart."""
    return table.sort_by([(name, "ascending") for name in (*_ORDER, *_TIES) if name in table.column_names])


def finish(table: pa.Table, account: Account, source: Source, names: Sequence[str], notes: Sequence[str]) -> Flows:
    """The value that readers return.

    Raises:
        InvariantError: a record was read and is neither in a row nor set aside.

    """
    records = int(table.column("records").to_numpy().sum())
    if records + sum(account.set_aside.values()) != account.read:
        raise InvariantError(f"{account.read} records read, but {records} in rows and {account.set_aside} set aside")
    return Flows(table, account.ledger(names), {source.name: account.read}, tuple(notes))


def together(tables: Sequence[Flows]) -> Flows:
    """Tables of several sources as one."""
    import pyarrow as pa  # noqa: PLC0415

    ledger = Ledger()
    sources: dict[str, int] = {}
    for flows in tables:
        ledger.merge(flows.ledger)
        for name, count in flows.sources.items():
            sources[name] = sources.get(name, 0) + count
    for places in ledger.places.values():
        places.sort()
    notes = sorted({note for flows in tables for note in flows.notes})
    table = pa.concat_tables([flows.table for flows in tables])
    return Flows(ordered(table), ledger, dict(sorted(sources.items())), tuple(notes))
