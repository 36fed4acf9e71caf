"""Columns from outside, checked and turned into a flow table; the first wrong value is named with its place."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from netpol_gen.errors import InputError, Place, printable
from netpol_gen.flowtable import filled_times, schema
from netpol_gen.model import UNKNOWN_TIME, DirectionEvidence, ObservedVerdict, Protocol, Signal

if TYPE_CHECKING:
    import pyarrow as pa

REQUIRED = ("first_seen", "protocol", "observed_verdict")
"""Columns without which a table is no flow table; all others may be missing, and are null or what `_fill` says. A
`first_seen` that is null is a time that nobody told."""
HOUR = 3600 * 1_000_000_000
_PROTOCOLS = frozenset({*(str(p) for p in Protocol), "ICMP", "ICMPv6"})
_DIRECTIONS = frozenset(str(e) for e in DirectionEvidence if e is not DirectionEvidence.NONE)
_VERDICTS = frozenset(str(v) for v in ObservedVerdict)
_ALL_SIGNALS = sum(int(s) for s in Signal)
_INTEGER = re.compile(r"-?[0-9]{1,19}")
_COUNTS = ("flows", "records", "replies", "bytes", "packets")
NEVER_NULL = (
    *("first_seen", "last_seen", "hours", "protocol", "observed_verdict", "signals", "flows", "records", "replies"),
    *("src_names", "dst_names", "nodes", "source"),
)

Where = Callable[[int], Place]
"""The place of row number i, from 0."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns as found: texts (CSV), or values of some type. `where` gives the place of a row."""

    name: str
    rows: int
    columns: Mapping[str, pa.ChunkedArray]
    where: Where


def known(names: Iterable[str], place: Place) -> None:
    """Refuse columns that no flow table has, and a table without those it must have.

    Raises:
        InputError: the first such column.

    """
    allowed = schema().names
    seen: set[str] = set()
    for name in names:
        if name not in allowed:
            raise InputError(f"a flow table has no column {printable(name, 60)!r}", place)
        if name in seen:
            raise InputError("the column is there twice", place.at(name))
        seen.add(name)
    for name in REQUIRED:
        if name not in seen:
            raise InputError("the column is missing", place.at(name))


def to_table(found: Columns) -> pa.Table:
    """The flow table, in the order of `schema()`, rows as they came.

    Raises:
        InputError: the first value that is not what its column holds.

    """
    import pyarrow as pa  # noqa: PLC0415 - half a second that `--help` must not pay

    columns: dict[str, Any] = {}
    for each in schema():
        if each.name in found.columns:
            columns[each.name] = _convert(found, each.name, each.type)
    _fill(columns, found)
    for each in schema():
        if each.name not in columns:
            columns[each.name] = pa.nulls(found.rows, each.type)
    table = pa.table([columns[each.name] for each in schema()], schema=schema())
    _check(table, found.where)
    return _canonical_addresses(table, found.where)


def _convert(found: Columns, name: str, kind: pa.DataType) -> pa.ChunkedArray:
    import pyarrow as pa  # noqa: PLC0415

    column = found.columns[name]
    try:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            return _parsed(column.cast(pa.string()), kind)
        if pa.types.is_timestamp(kind) and (not pa.types.is_timestamp(column.type) or column.type.tz is None):
            raise InputError("times need a time zone", found.where(0).at(name))
        if not _castable(column.type, kind):
            raise InputError(f"the column is of type {column.type}, not {kind}", found.where(0).at(name))
        return column.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        raise _first_wrong(column, kind, found, name) from error


def _castable(found: pa.DataType, kind: pa.DataType) -> bool:
    """Whether values of a type can be meant for a column; a cast would make texts of numbers and numbers of truths."""
    import pyarrow as pa  # noqa: PLC0415

    if pa.types.is_null(found):
        return True
    if pa.types.is_list(kind):
        return (pa.types.is_list(found) or pa.types.is_large_list(found)) and _castable(
            found.value_type, kind.value_type
        )
    if pa.types.is_string(kind):
        return bool(pa.types.is_string(found) or pa.types.is_large_string(found))
    if pa.types.is_timestamp(kind):
        return bool(pa.types.is_timestamp(found))
    return bool(pa.types.is_integer(found) or pa.types.is_floating(found))


def _parsed(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Values from their texts.

    Raises:
        ValueError: a text is none (`pyarrow.ArrowInvalid` is one).

    """
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    if pa.types.is_string(kind):
        return column
    if pa.types.is_integer(kind):
        proper = pc.match_substring_regex(column, f"^{_INTEGER.pattern}$")
        if not pc.all(proper, min_count=0).as_py():
            raise ValueError("not a whole number")
        return column.cast(kind)
    if pa.types.is_list(kind):
        item = list[int] if pa.types.is_integer(kind.value_type) else list[str]
        decode = msgspec.json.Decoder(item).decode
        memo: dict[str | None, Any] = {None: None}
        for text in column.unique().to_pylist():
            if text is not None:
                memo[text] = decode(text)
        return pa.chunked_array([pa.array([memo[text] for text in column.to_pylist()], kind)], kind)
    return column.cast(kind)


def _first_wrong(column: pa.ChunkedArray, kind: pa.DataType, found: Columns, name: str) -> InputError:
    """Which value it is that a column cannot hold."""
    import pyarrow as pa  # noqa: PLC0415

    for i, value in enumerate(column.to_pylist()):
        single = pa.chunked_array([pa.array([value], column.type)])
        try:
            _parsed(single, kind) if isinstance(value, str) else single.cast(kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError):
            what = {"timestamp[ns, tz=UTC]": "time with a zone (RFC 3339)"}.get(str(kind), str(kind))
            return InputError(f"{printable(value, 40)!r} is no {what}", found.where(i).at(name))
    return InputError(f"the column is of type {column.type}, not {kind}", found.where(0).at(name))


def _fill(columns: dict[str, Any], found: Columns) -> None:
    """Defaults for columns that are missing and must not be null."""
    import pyarrow as pa  # noqa: PLC0415

    def constant(value: Any, kind: pa.DataType) -> pa.Array:
        return pa.array([value], kind).take(pa.array(np.zeros(found.rows, dtype=np.int8)))

    kinds = {each.name: each.type for each in schema()}
    columns.setdefault("last_seen", columns["first_seen"])
    _fill_times(columns, found)
    for name, value in (("signals", 0), ("flows", 1), ("replies", 0)):
        columns.setdefault(name, constant(value, kinds[name]))
    columns.setdefault("records", constant(1, kinds["records"]))
    columns.setdefault("source", constant("flows", kinds["source"]))
    for name in ("src_names", "dst_names", "nodes"):
        columns.setdefault(name, constant([], kinds[name]))
    if "hours" not in columns:
        times = columns["first_seen"].cast(pa.int64()).to_numpy()
        timed = times != UNKNOWN_TIME
        offsets = pa.array(np.concatenate([[0], np.cumsum(timed)]).astype(np.int32))
        columns["hours"] = pa.ListArray.from_arrays(offsets, pa.array((times[timed] // HOUR).astype(np.int32)))
    if "sample" not in columns:
        columns["sample"] = pa.array([str(found.where(i)) for i in range(found.rows)], pa.string())


def _fill_times(columns: dict[str, Any], found: Columns) -> None:
    """Times that are null: unknown, unless only the end is."""
    import pyarrow.compute as pc  # noqa: PLC0415

    first, last = columns["first_seen"], columns["last_seen"]
    at = pc.index(pc.and_(first.is_null(), last.is_valid()), True).as_py()
    if at >= 0:
        raise InputError("is missing, and last_seen is not", found.where(at).at("first_seen"))
    columns["first_seen"], columns["last_seen"] = filled_times(first, last)


def _check(table: pa.Table, where: Where) -> None:
    """Refuse values that no reader writes."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    def refuse(bad: pa.ChunkedArray, name: str, problem: str) -> None:
        """`bad` is true, or null, for each value in order."""
        at = pc.index(bad, True).as_py()
        if at >= 0:
            value = table.column(name)[at].as_py()
            shown = "" if value is None else f"{printable(value, 40)!r} "
            raise InputError(f"{shown}{problem}", where(at).at(name))

    def among(name: str, allowed: Iterable[str], problem: str) -> None:
        column = table.column(name)
        refuse(pc.and_(column.is_valid(), pc.invert(pc.is_in(column, pa.array(sorted(allowed))))), name, problem)

    for name in NEVER_NULL:
        refuse(table.column(name).is_null(), name, "is missing")
    among("protocol", _PROTOCOLS | {str(number) for number in range(256)}, "is no protocol")
    among("observed_verdict", _VERDICTS, "is no observed verdict")
    among("direction", _DIRECTIONS, "is no direction evidence")
    for name in ("src_port", "dst_port", "backend_port"):
        column = table.column(name)
        refuse(pc.or_(pc.less(column, 0), pc.greater(column, 65535)), name, "is not a port")
    for name in _COUNTS:
        refuse(pc.less(table.column(name), 0), name, "is negative")
    records, signals = table.column("records"), table.column("signals")
    refuse(pc.equal(records, 0), "records", "is no number of records")
    refuse(pc.greater(table.column("replies"), records), "replies", "is more than all records")
    refuse(pc.or_(pc.less(signals, 0), pc.greater(signals, _ALL_SIGNALS)), "signals", "is no set of signals")
    first, last = table.column("first_seen"), table.column("last_seen")
    refuse(pc.less(first, pa.scalar(0, first.type)), "first_seen", "is before 1970")
    refuse(pc.less(last, first), "last_seen", "is before first_seen")
    _check_hours(table, where)
    for name in ("src_labels", "dst_labels"):
        _check_labels(table, name, where)


def _check_hours(table: pa.Table, where: Where) -> None:
    """Hours ascend within each list."""
    import pyarrow.compute as pc  # noqa: PLC0415

    column = table.column("hours").combine_chunks()
    hours, parent = pc.list_flatten(column).to_numpy(zero_copy_only=False), pc.list_parent_indices(column).to_numpy()
    wrong = np.flatnonzero((parent[1:] == parent[:-1]) & ~(hours[1:] > hours[:-1]))
    if len(wrong):
        raise InputError("hours do not ascend", where(int(parent[wrong[0]])).at("hours"))


def _check_labels(table: pa.Table, name: str, where: Where) -> None:
    """Labels are a JSON object of texts."""
    decode = msgspec.json.Decoder(dict[str, str]).decode
    for text in table.column(name).unique().to_pylist():
        try:
            if text is not None:
                decode(text)
        except ValueError:
            raise InputError("is no JSON object of labels", where(_first(table, name, text)).at(name)) from None


def _first(table: pa.Table, name: str, value: Any) -> int:
    import pyarrow.compute as pc  # noqa: PLC0415

    return int(pc.index(table.column(name), value).as_py())


def _canonical_addresses(table: pa.Table, where: Where) -> pa.Table:
    """Addresses in their canonical text."""
    import pyarrow as pa  # noqa: PLC0415

    for name in ("src_ip", "dst_ip", "backend_ip"):
        coded = table.column(name).combine_chunks().dictionary_encode()
        texts = []
        for text in coded.dictionary.to_pylist():
            canonical = _address(text)
            if canonical is None:
                raise InputError(f"{printable(text, 50)!r} is no address", where(_first(table, name, text)).at(name))
            texts.append(canonical)
        if texts != coded.dictionary.to_pylist():
            column = pa.array(texts, pa.string()).take(coded.indices)
            table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), column)
    return table


def _address(text: str) -> str | None:
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found)
