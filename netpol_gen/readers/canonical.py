"""Flow tables as `netpol_gen.flowio` writes them, or as anybody else may: CSV, JSON lines and Parquet.

The columns are those of `flowtable.schema()`, in any order. `first_seen`, `protocol` and `observed_verdict` must be
there; others may be missing. A column of another name, or a value that its column cannot hold, is an error: a table
that means something else must not be half understood.

Each row stands for its `records`: that many were read, so that ledgers close. A Parquet file that has the ledger of its
first reading goes on with that one, and so does a text that has it beside it (`flowio`).
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from netpol_gen.errors import InputError, Place, printable, utf8
from netpol_gen.flowio import BESIDE, LEDGER_KEY, beside, load_ledger, read_beside
from netpol_gen.flowtable import TIMES, Flows, Ledger, Reason, schema
from netpol_gen.model import UNKNOWN_TIME
from netpol_gen.readers.canonical_check import HOUR, REQUIRED, Columns, known, to_table
from netpol_gen.readers.files import PARQUET, Input, Stream
from netpol_gen.readers.rows import Window
from netpol_gen.readers.vpc import Options
from netpol_gen.readers.vpc_lines import arrow_file, footer
from netpol_gen.readers.vpc_table import ordered

if TYPE_CHECKING:
    import pyarrow as pa

NAME = "flows"


def looks_like(head: bytes, path: str = "") -> bool:
    """Whether a file with this beginning is a flow table."""
    if head.startswith(PARQUET):
        return b"first_seen" in footer(head, path) and set(REQUIRED) <= set(_parquet_names(head, path))
    text = head.removeprefix(b"\xef\xbb\xbf")
    first = text.lstrip().split(b"\n", 1)[0]
    if first.startswith(b"{"):
        return all(f'"{name}"'.encode() in first for name in REQUIRED) and b'"flow"' not in first
    return set(REQUIRED) <= set(_header(first))


def _header(line: bytes) -> list[str]:
    try:
        return next(csv.reader([line.decode("utf-8").strip()]), [])
    except (UnicodeDecodeError, csv.Error):
        return []


def _parquet_names(head: bytes, path: str) -> list[str]:
    import pyarrow as pa  # noqa: PLC0415 - half a second that `--help` must not pay
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        with arrow_file(head, path) as file:
            return list(pq.read_schema(file).names)
    except (pa.ArrowException, OSError):
        return []


def read(items: Sequence[Input], options: Options) -> Flows:
    """Read flow tables into one.

    Raises:
        InputError: a file that cannot be read, or is no flow table: with the line and the column.

    """
    import pyarrow as pa  # noqa: PLC0415

    ledger = Ledger()
    sources: dict[str, int] = {}
    notes: dict[str, None] = {}
    tables = [schema().empty_table()]
    for item in items:
        found, saved = _file(item)
        table = to_table(found)
        mine, read_from, said = saved.account(item, table)
        ledger.merge(mine)
        for source, count in read_from.items():
            sources[source] = sources.get(source, 0) + count
        notes |= dict.fromkeys(said)
        tables.append(_within(table, options.window, ledger))
    return Flows(ordered(pa.concat_tables(tables)), ledger, dict(sorted(sources.items())), tuple(notes))


@dataclass(frozen=True, slots=True)
class _Saved:
    """The ledger that a table goes on with, if there is one: as JSON, from which file, or why it is not used."""

    ledger: bytes | None = None
    name: str = ""
    note: str = ""

    def account(self, item: Input, table: pa.Table) -> tuple[Ledger, dict[str, int], tuple[str, ...]]:
        """The ledger, sources and notes of the rows of a table."""
        records = int(table.column("records").to_numpy().sum())
        if self.ledger is not None:
            try:
                return load_ledger(self.ledger, records)
            except ValueError as error:
                raise InputError(str(error), Place(self.name)) from None
        by_source = table.group_by("source").aggregate([("records", "sum")])
        read = dict(zip(*by_source.to_pydict().values(), strict=True))
        return Ledger(read=records, files={item.name: records}), read, (self.note,) if self.note else ()


def _beside(item: Input, data: bytes) -> _Saved:
    """What lies beside a table of text, also of one that was compressed afterwards."""
    if (there := _ledger_of(item)) is None:
        return _Saved()
    name = utf8(str(there))
    try:
        ledger = read_beside(there, data)
    except ValueError as error:
        raise InputError(f"{error}; without this file only the records of the rows are counted", Place(name)) from None
    except OSError as error:
        raise InputError((error.strerror or str(error)).lower(), Place(name)) from None
    if ledger is None:
        text = "was written for other rows, and is not used: only the records of the rows are counted"
        return _Saved(note=f"{item.name}: {utf8(there.name)} beside it {text}")
    return _Saved(ledger, name)


def _ledger_of(item: Input) -> Path | None:
    """Where the ledger of an input lies, if there is one: beside it, or beside the file that a link leads to."""
    if item.source is not None or not item.path:
        return None
    paths = [item.path, os.path.realpath(item.path)]
    if item.compression:
        paths = [name for path in paths for name in (path, os.path.splitext(path)[0])]  # noqa: PTH122 - any bytes
    return next((there for path in paths if os.path.lexists(there := beside(path))), None)


def has_ledger(item: Input) -> bool:
    """Whether a ledger lies beside an input."""
    return _ledger_of(item) is not None


def without_ledgers(inputs: Sequence[Input]) -> list[Input]:
    """The inputs but for the ledgers that lie beside tables among them, as in a directory."""
    by_path = {item.path: item for item in inputs}

    def is_ledger(item: Input) -> bool:
        table, found, rest = item.path.rpartition(BESIDE)
        named = [by_path[path] for end in ("", ".gz", ".zst") if (path := table + end) in by_path]
        return bool(found) and not rest and any(not each.head or looks_like(each.head, each.again) for each in named)

    return [item for item in inputs if not is_ledger(item)]


def _within(table: pa.Table, window: Window, ledger: Ledger) -> pa.Table:
    """The rows that the window touches; the others are set aside."""
    import pyarrow as pa  # noqa: PLC0415

    if not window:
        return table
    wanted = _touched(table, window)
    out = table.filter(pa.array(~wanted))
    for records, sample in zip(out.column("records").to_pylist(), out.column("sample").to_pylist(), strict=True):
        ledger.aside(Reason.OUT_OF_WINDOW, records, sample or "")
    return table.filter(pa.array(wanted))


def _touched(table: pa.Table, window: Window) -> np.ndarray:
    """Where a row has a record within the window, as far as its times and hours tell, or no time at all."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    low = min(window.since or 0, _FOREVER)
    high = _FOREVER if window.until is None else min(window.until - 1, _FOREVER)
    first, last = (table.column(name).cast(pa.int64()).to_numpy() for name in TIMES)
    lists = table.column("hours").combine_chunks()
    hours = pc.list_flatten(lists).to_numpy(zero_copy_only=False)
    rows = pc.list_parent_indices(lists).to_numpy()
    awake = np.zeros(len(first), dtype=bool)
    awake[rows[(hours >= low // HOUR) & (hours <= high // HOUR)]] = True
    begun, over = first <= high, last < low
    ends = (begun & (first >= low)) | (~over & (last <= high))
    wanted: np.ndarray = (first == UNKNOWN_TIME) | ends | (awake & begun & ~over)
    return wanted


_FOREVER = 2**63 - 1


def _file(item: Input) -> tuple[Columns, _Saved]:
    """The columns of a file, and the ledger that it goes on with."""
    stream = Stream(item)
    whole = b"".join(stream.pieces())
    if damage := stream.damage or item.damage:
        raise InputError(damage, Place(item.name))
    data = whole.removeprefix(b"\xef\xbb\xbf")
    if data.startswith(PARQUET):
        return _parquet(item.name, data)
    read = _jsonl if data.lstrip()[:1] in {b"{", b""} else _csv
    return read(item.name, data), _beside(item, whole)


def _parquet(name: str, data: bytes) -> tuple[Columns, _Saved]:
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        table = pq.read_table(pa.BufferReader(data))
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"cannot be read as Parquet: {_short(error)}", Place(name)) from None
    known(table.column_names, Place(name))
    columns = dict(zip(table.column_names, table.columns, strict=True))
    saved = (table.schema.metadata or {}).get(LEDGER_KEY)
    return Columns(name, table.num_rows, columns, lambda row: Place(name, row + 1)), _Saved(saved, name)


def _csv(name: str, data: bytes) -> Columns:
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import csv as arrow_csv  # noqa: PLC0415

    names = _header(data.lstrip().split(b"\n", 1)[0])
    known(names, Place(name, 1))
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(data),
            # One block: Arrow's error then names the line within the file.
            arrow_csv.ReadOptions(use_threads=False, block_size=max(len(data) + 1, 1024)),
            arrow_csv.ParseOptions(newlines_in_values=True),
            arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=[""],
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
            ),
        )
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"cannot be read as CSV: {_short(error)}", Place(name)) from None
    columns = dict(zip(table.column_names, table.columns, strict=True))
    return Columns(name, table.num_rows, columns, _Lines(name, data))


def _short(error: BaseException) -> str:
    return printable(str(error).split("\n", 1)[0], 200)


@dataclass(slots=True)
class _Lines:
    """Where the rows of a CSV file begin; worked out when it is asked for."""

    name: str
    data: bytes
    lines: list[int] | None = None

    def __call__(self, row: int) -> Place:
        if self.lines is None:
            self.lines = []
            at = 1
            reader = csv.reader(io.StringIO(self.data.decode("utf-8", "replace"), newline=""))
            for record in reader:
                # Arrow passes over blank lines, too.
                if record:
                    self.lines.append(at)
                at = reader.line_num + 1
        return Place(self.name, self.lines[row + 1] if row + 1 < len(self.lines) else 0)


def _jsonl(name: str, data: bytes) -> Columns:
    import pyarrow as pa  # noqa: PLC0415

    fields = [
        (each.name, _json_type(each.type) | msgspec.UnsetType, msgspec.UNSET)
        if each.name == TIMES[0]
        else (each.name, _json_type(each.type), None)
        for each in schema()
    ]
    record = msgspec.defstruct("FlowRow", fields, forbid_unknown_fields=True, kw_only=True)
    decode = msgspec.json.Decoder(record).decode
    rows: list[Any] = []
    lines: list[int] = []
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            rows.append(decode(line))
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise _json_error(str(error), Place(name, number)) from None
        lines.append(number)

    def where(row: int) -> Place:
        return Place(name, lines[row] if row < len(lines) else 0)

    columns = {}
    for each in schema():
        values = [getattr(row, each.name) for row in rows]
        if each.name == TIMES[0] and msgspec.UNSET in values:
            raise InputError("is missing", where(values.index(msgspec.UNSET)).at(each.name))
        if each.name == TIMES[0] or any(value is not None for value in values):
            kind = pa.string() if pa.types.is_timestamp(each.type) else each.type
            columns[each.name] = _column(values, kind, each.name, where)
    for required in REQUIRED:
        if rows and required not in columns:
            raise InputError("is missing", where(0).at(required))
        columns.setdefault(required, pa.chunked_array([pa.nulls(0, pa.string())]))
    return Columns(name, len(rows), columns, where)


def _json_type(kind: pa.DataType) -> Any:
    import pyarrow as pa  # noqa: PLC0415

    if pa.types.is_list(kind):
        return list[int] | None if pa.types.is_integer(kind.value_type) else list[str] | None
    return int | None if pa.types.is_integer(kind) else str | None


def _column(values: list[Any], kind: pa.DataType, name: str, where: Any) -> pa.ChunkedArray:
    import pyarrow as pa  # noqa: PLC0415

    if name in _LISTS:
        values = [[] if value is None else value for value in values]
    elif name in _ZERO:
        values = [_ZERO[name] if value is None else value for value in values]
    try:
        return pa.chunked_array([pa.array(values, kind)])
    except (pa.ArrowInvalid, OverflowError):
        for i, value in enumerate(values):
            try:
                pa.array([value], kind)
            except (pa.ArrowInvalid, OverflowError):
                raise InputError(f"{str(value)[:40]} is no {kind}", where(i).at(name)) from None
        raise


_LISTS = frozenset({"src_names", "dst_names", "nodes"})
_ZERO = {"signals": 0, "replies": 0, "flows": 1, "records": 1, "source": NAME}


def _json_error(text: str, place: Place) -> InputError:
    """The decoder says `Expected `int | null`, got `str` - at `$.src_port``."""
    problem, _, path = text.partition(" - at `$")
    field = path.strip("`.")
    if problem.startswith("Object contains unknown field"):
        return InputError(f"a flow table has no such column: {problem.split('`')[1]}", place)
    return InputError(problem[:1].lower() + problem[1:], place.at(field) if field else place)
