"""From the engine's result to the flow table and the ledger."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from netpol_gen.codes import Columns, Texts, known, numbers, picked, plain, texts
from netpol_gen.errors import LONGEST_PATH, InvariantError, printable
from netpol_gen.flowtable import Flows, Ledger, Reason, schema
from netpol_gen.memory import keep_freed
from netpol_gen.readers.columns import array, chosen, column, sequence, written
from netpol_gen.readers.rows import MAX_PLACES
from netpol_gen.readers.vpc import NS, PLACE_BITS, REASONS, VERDICTS
from netpol_gen.sets import parse_address

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
    unplaced: set[Reason] = field(default_factory=set)
    """Reasons whose places the engine was not asked for yet."""
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
    where = f"{printable(names[spot.place >> PLACE_BITS], LONGEST_PATH)}:{spot.place & _LINE_MASK}"
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
) -> Columns:
    """Rows of the flow table, sorted; what is none goes to `account`."""
    import pyarrow as pa  # noqa: PLC0415 - half a second that `--help` must not pay

    kept = []
    for batch in batches:
        rows = plain(batch.column("y")) >= 0
        if not rows.all():
            _set_aside(_taken(batch, np.flatnonzero(~rows)), source, account, explain)
            batch = _taken(batch, np.flatnonzero(rows))  # noqa: PLW2901 - what is left of it
        kept.append(batch)
    if not kept:
        return Columns(schema().empty_table(), {})
    keep_freed()
    found = pa.Table.from_batches(kept)
    ends, found = _addresses(found, account)
    return _columns(found, ends, source, names)


def _taken(data: Any, rows: np.ndarray) -> Any:
    """Some rows of a batch or table."""
    import pyarrow as pa  # noqa: PLC0415

    return data.take(array(rows, pa.int64()))


def _set_aside(batch: pa.RecordBatch, source: Source, account: Account, explain: Explain) -> None:
    for row in batch.select(["src", "y", "h", "records", "places"]).to_pylist():
        mark, count = row["y"], row["records"]
        if mark <= -1000:
            reason, detail = explain(row["src"] or "")
            account.aside(reason, count, [Spot(-mark - 1000, detail)])
            continue
        reason = REASONS[-mark - 1]
        account.aside(reason, count, [Spot(place, "") for place in row["places"] or ()])
        if row["places"] is None:
            account.unplaced.add(reason)
        if reason is Reason.LOST_EVENTS:
            key = (row["src"] or "", row["h"] or 0, source.lost_stage)
            account.losses[key] = account.losses.get(key, 0) + count


def place(batches: Iterable[pa.RecordBatch], account: Account) -> None:
    """Take note of where things were set aside: the result of `vpc.places_sql`."""
    for batch in batches:
        for row in batch.to_pylist():
            account.aside(REASONS[row["kind"] - 1], 0, [Spot(where, "") for where in row["places"]])


class End(NamedTuple):
    """One end of each row: canonical addresses, each distinct one once and in order, and which of them it is."""

    texts: list[str]
    codes: np.ndarray


def address(text: str | None) -> tuple[str, Reason | None]:
    """Canonical text of an address, and why it is no party, if so.

    Unicast 169.254.0.0/16 stays: node-local DNS and metadata services have addresses there.
    """
    if not text or text == "-":
        return "", Reason.NO_ENDPOINT
    try:
        found = parse_address(text.partition("%")[0])
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


def _addresses(found: pa.Table, account: Account) -> tuple[list[End], pa.Table]:
    """Canonical addresses, with the rows whose ends are no parties set aside."""
    ends, problems = [], np.zeros(found.num_rows, dtype=np.int64)
    # Most addresses are at both ends.
    meaning = functools.cache(address)
    for name in ("src", "dst"):
        said = texts(found.column(name))
        answers = [meaning(text) for text in [*said.values, None]]
        ordered_texts = sorted({text for text, _ in answers})
        rank = {text: i for i, text in enumerate(ordered_texts)}
        ends.append(End(ordered_texts, np.array([rank[text] for text, _ in answers], dtype=np.int64)[said.codes]))
        reasons = np.array([0 if r is None else REASONS.index(r) + 1 for _, r in answers], dtype=np.int64)
        problems = np.where(problems == 0, reasons[said.codes], problems)
    bad = np.flatnonzero(problems)
    if len(bad):
        taken = _taken(found, bad)
        facts = zip(*(taken.column(c).to_pylist() for c in ("src", "dst", "records", "place")), strict=True)
        for code, (src, dst, records, where) in zip(problems[bad].tolist(), facts, strict=True):
            reason = REASONS[code - 1]
            wrong = next((t for t in (src, dst) if address(t)[1] is reason), "")
            detail = f"{wrong} is no address" if reason is Reason.BAD_FIELD else ""
            account.aside(reason, records, [Spot(where, detail)])
        good = np.flatnonzero(problems == 0)
        found, ends = _taken(found, good), [End(end.texts, end.codes[good]) for end in ends]
    return ends, found


def _columns(found: pa.Table, ends: Sequence[End], source: Source, names: Sequence[str]) -> Columns:
    """The flow table. Its order is found first, so that columns are made in it."""
    import pyarrow as pa  # noqa: PLC0415

    at, same = _sequence(found, ends)
    with ThreadPoolExecutor(1) as pool:
        # Columns of texts are half of the work, all of it Arrow's: meanwhile the interpreter makes the others.
        sampled = pool.submit(samples, numbers(found.column("place"))[at], names)
        told = _told(found, ends, source, at)
        texts_of = {name: pool.submit(written, said) for name, said in told.items()}
        columns = _counted(found, at)
        columns |= {name: made.result() for name, made in texts_of.items()}
        columns["sample"] = sampled.result()
    made = pa.table(columns)
    if same.any():
        # Sorted before the columns that no source of this kind has are added: most of them are.
        made, told = ordered(made), {}
    whole = [
        made.column(each.name)
        if each.name in columns
        else lists(np.zeros(len(at) + 1), column([], pa.string()))
        if pa.types.is_list(each.type)
        else pa.nulls(len(at), each.type)
        for each in schema()
    ]
    return Columns(pa.Table.from_arrays(whole, schema=schema()), told)


def _told(found: pa.Table, ends: Sequence[End], source: Source, at: np.ndarray) -> dict[str, Texts]:
    """The texts that a source of this kind has, but for samples and names of ends, as numbers in an order of rows."""
    mark = numbers(found.column("y"))[at]
    decided, verdict = mark >> 60 & 1, mark >> 40 & 3
    return {
        "protocol": _named(_PROTOCOLS, mark >> 32 & 0xFF),
        "observed_verdict": _named(dict(enumerate(VERDICTS)), verdict),
        "drop_reason": _named({1: source.drop_reason}, verdict),
        "direction": _named({1: source.evidence}, decided),
        "source": Texts(np.broadcast_to(np.int64(0), mark.shape), [source.name]),
        **{f"{name}_ip": Texts(end.codes[at], end.texts) for name, end in zip(("src", "dst"), ends, strict=True)},
    }


def _counted(found: pa.Table, at: np.ndarray) -> dict[str, pa.Array]:
    """The other columns that a source of this kind has, in an order of rows."""
    import pyarrow as pa  # noqa: PLC0415

    mark = numbers(found.column("y"))[at]
    when, short = pa.timestamp("ns", tz="UTC"), pa.int32()
    columns: dict[str, pa.Array] = {
        "first_seen": array(numbers(found.column("first"))[at], when),
        "last_seen": array(numbers(found.column("last"))[at], when),
        "hours": lists(np.arange(len(at) + 1), array(numbers(found.column("h"))[at], short)),
        "src_port": array(numbers(found.column("sport"))[at], short, mark >> 60 & 1 == 1),
        "dst_port": array(mark & 0xFFFF, short),
        "signals": array(numbers(found.column("signals"))[at], short),
    }
    for name in ("flows", "records", "replies", "bytes", "packets"):
        counted = found.column(name)
        missing = ~known(counted)[at] if counted.null_count else None
        columns[name] = array(numbers(counted)[at], pa.int64(), missing)
    for name in ("src", "dst"):
        columns |= _who(name, texts(found.column(f"who_{name}")), at) if f"who_{name}" in found.column_names else {}
    return columns


def _sequence(found: pa.Table, ends: Sequence[End]) -> tuple[np.ndarray, np.ndarray]:
    """The rows in the order of `_ORDER`, and which of them it does not tell from the one before."""
    mark = numbers(found.column("y"))
    protocol, verdict = _in_order(_PROTOCOLS)[mark >> 32 & 0xFF], _in_order(dict(enumerate(VERDICTS)))[mark >> 40 & 3]
    # No port comes after all ports.
    sport = np.where(mark >> 60 & 1, 1 << 16, numbers(found.column("sport")))
    src, dst = ends
    times = _coarse(*(numbers(found.column(name)) for name in ("first", "last")))
    return sequence(*times, src.codes, dst.codes, mark & 0xFFFF, sport, protocol, verdict)


def _coarse(first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same order in smaller numbers: most sources have times of whole seconds or milliseconds."""
    for unit in (NS, NS // 1000):
        if not (first % unit).any() and not (last % unit).any():
            first, last = first // unit, last // unit
            break
    return first, last - first


def _in_order(names: Mapping[int, str]) -> np.ndarray:
    """By number the place of its name in the order of names."""
    out = np.zeros(max(names) + 1, dtype=np.int64)
    out[sorted(names, key=names.__getitem__)] = np.arange(len(names))
    return out


def _named(names: Mapping[int, str], codes: np.ndarray) -> Texts:
    """Texts by number; null for numbers that are not in `names`."""
    rank = np.full(256, -1, dtype=np.int64)
    rank[list(names)] = np.arange(len(names))
    if len(codes) and codes.min() == codes.max():
        # As often: one number stands for all rows.
        return Texts(np.broadcast_to(rank[codes[0]], codes.shape), list(names.values()))
    return Texts(rank[codes], list(names.values()))


def lists(ends: np.ndarray, items: pa.Array) -> pa.Array:
    """A column of lists by where each ends, which begins with zero."""
    import pyarrow as pa  # noqa: PLC0415

    return pa.ListArray.from_arrays(array(ends, pa.int32()), items)


def samples(places: np.ndarray, names: Sequence[str]) -> pa.Array:
    """Places as `file:line`."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    lines = array(places & _LINE_MASK, pa.int64()).cast(pa.string())
    # A Python string here would import pandas.
    between = column([":"], pa.string())[0]
    return pc.binary_join_element_wise(chosen(names, places >> PLACE_BITS), lines, between)


def _who(end: str, said: Texts, at: np.ndarray) -> dict[str, pa.Array]:
    """What the source says of an end: namespace, pod and workload, separated by `WHO_SEPARATOR`."""
    parts = [[part or None for part in (*text.split(WHO_SEPARATOR), "", "", "")[:3]] for text in [*said.values, ""]]
    return {
        f"{end}_{name}": chosen([each[i] for each in parts], said.codes[at] % len(parts))
        for i, name in enumerate(("namespace", "pod", "workload"))
    }


_ORDER = ("src_ip", "dst_ip", "dst_port", "src_port", "protocol", "observed_verdict")
_TIES = ("drop_reason", "direction", "source", "src_namespace", "src_pod", "dst_namespace", "dst_pod")


def ordered(table: pa.Table) -> pa.Table:
    """The rows in their order: times, addresses, ports, then all else that tells rows apart; null after all."""
    keys = list(_coarse(*(numbers(table.column(name)) for name in ("first_seen", "last_seen"))))
    for name in (*_ORDER, *_TIES):
        if name not in table.column_names:
            continue
        values = table.column(name)
        keys.append(numbers(values, 1 << 31) if name.endswith("port") else _ranks(texts(values)))
    order, same = sequence(*keys)
    if same.any():
        # Only few rows are left that differ in nothing but where they were met.
        at = np.flatnonzero(same | np.append(same[1:], False))
        places = picked(table.column("sample"), order[at])
        alike = zip(np.cumsum(~same)[at].tolist(), (p is None for p in places), (p or "" for p in places), strict=True)
        tie = [i for _, i in sorted(zip(alike, range(len(at)), strict=True))]
        order[at] = order[at][tie]
    # Most columns are those that no source of the kind has.
    moved = [each if each.null_count == len(each) else _taken(each, order) for each in table.columns]
    return type(table).from_arrays(moved, schema=table.schema)


def _ranks(said: Texts) -> np.ndarray:
    """For each row the place of its text in the order of texts."""
    place = {text: i for i, text in enumerate(sorted(said.values))}
    return said.mapped(place, len(place))


def finish(found: Columns, account: Account, source: Source, names: Sequence[str], notes: Sequence[str]) -> Flows:
    """The value that readers return.

    Raises:
        InvariantError: a record was read and is neither in a row nor set aside.

    """
    table = found.table
    records = int(numbers(table.column("records")).sum())
    if records + sum(account.set_aside.values()) != account.read:
        raise InvariantError(f"{account.read} records read, but {records} in rows and {account.set_aside} set aside")
    return Flows(table, account.ledger(names), {source.name: account.read}, tuple(notes), found)


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
