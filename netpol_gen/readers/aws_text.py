"""AWS records in text and CSV as columns: Arrow's CSV parser does the lines, a tolerant second look those it refuses.

Files, or blocks of a large file, are parsed in threads of their own while the engine folds what is ready.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from isal import isal_zlib

from netpol_gen.flowtable import Reason
from netpol_gen.readers import aws_fields, vpc_lines
from netpol_gen.readers.aws_fields import Kind, Layout
from netpol_gen.readers.aws_notes import Fields
from netpol_gen.readers.columns import array
from netpol_gen.readers.files import Input, Stream
from netpol_gen.readers.vpc import PLACE_BITS
from netpol_gen.readers.vpc_table import Account, Spot

if TYPE_CHECKING:
    import pyarrow as pa

SMALL = 1024 * 1024
"""Bytes on disk up to which a file is parsed as a whole, by one thread."""
NOTHING = ("-", "", "null", "NULL", "nan", "NaN", "None")
"""How exports write a value that is not there."""
_LARGE = 32 * SMALL
# Made in C, and not typed.
_DAMAGE = cast("type[Exception]", isal_zlib.error)
_SHORT = ("srcport", "dstport", "protocol", "tcp-flags")
_NUMBER = r"^[+-]?\d{1,18}(\.0{1,9})?$"


class Batch(NamedTuple):
    """Lines as columns, and their order of fields; none where no line is a record."""

    columns: pa.RecordBatch
    layout: Layout | None


class Parsed(NamedTuple):
    """Batches of one piece of input, the order of fields at its end, and what was refused (lines within the file)."""

    batches: list[Batch]
    layout: Layout
    refused: list[tuple[Reason, int, str]]


class Piece(NamedTuple):
    """What one thread parses: a small file, or a block of complete lines of a large one from `line` on."""

    number: int
    item: Input
    data: bytes | None = None
    line: int = 1


def schema(numbers: Sequence[str], texts: Sequence[str]) -> pa.Schema:
    """`place`, `line` (only where the record cannot be used) and the fields."""
    import pyarrow as pa  # noqa: PLC0415 - half a second that other sources need not pay

    kinds = [(name, pa.int32() if name in _SHORT else pa.int64()) for name in numbers]
    columns = [("place", pa.int64()), ("line", pa.string()), *kinds]
    return pa.schema([*columns, *((name, pa.string()) for name in texts)])


@dataclass(slots=True)
class Text:
    """The text and CSV files of one read."""

    account: Account
    columns: pa.Schema
    fields: Fields
    threads: int = 2

    def batches(self, files: Iterable[tuple[int, Input, Layout]]) -> Iterator[pa.RecordBatch]:
        """Batches of `schema`, in file order; records are counted on the way."""
        with ThreadPoolExecutor(self.threads) as pool:
            for number, parsed in self._in_order(files, pool):
                for refused in parsed.refused:
                    self._refuse(number, *refused)
                for batch, layout in parsed.batches:
                    self.account.met(number, batch.num_rows)
                    if layout is not None:
                        self.fields.met(number, layout)
                    yield batch

    def _in_order(
        self, files: Iterable[tuple[int, Input, Layout]], pool: ThreadPoolExecutor
    ) -> Iterator[tuple[int, Parsed]]:
        """Parse a few pieces ahead. A header within a large file changes how the pieces behind it are to be parsed."""
        waiting: deque[tuple[Piece, Layout, Future[Parsed]]] = deque()

        def first() -> tuple[int, Parsed]:
            piece, before, future = waiting.popleft()
            parsed = future.result()
            if parsed.layout != before:
                for i, (later, _, old) in enumerate(waiting):
                    if later.number == piece.number:
                        old.cancel()
                        waiting[i] = (later, parsed.layout, pool.submit(self.parse, later, parsed.layout))
                layouts[piece.number] = parsed.layout
            return piece.number, parsed

        layouts: dict[int, Layout] = {}
        try:
            for number, item, layout in files:
                layouts[number] = layout
                for piece in self._pieces(number, item):
                    waiting.append((piece, layouts[number], pool.submit(self.parse, piece, layouts[number])))
                    if len(waiting) > 2 * self.threads:
                        yield first()
            while waiting:
                yield first()
        finally:
            for _, _, future in waiting:
                future.cancel()

    def _pieces(self, number: int, item: Input) -> Iterator[Piece]:
        if item.source is None and item.size <= SMALL:
            yield Piece(number, item)
            return
        stream = Stream(item, block=vpc_lines.BLOCK)
        for block in stream.blocks():
            if block.too_long:
                self._refuse(number, Reason.TOO_LONG, block.line, f"begins {block.data[:40]!r}")
            else:
                yield Piece(number, item, block.data, block.line)
        if stream.damage:
            self._refuse(number, Reason.MALFORMED, stream.lines + 1, stream.damage)

    def _refuse(self, number: int, reason: Reason, line: int, detail: str) -> None:
        self.account.met(number, 1)
        self.account.aside(reason, 1, [Spot(number << PLACE_BITS | line, detail)])

    def parse(self, piece: Piece, layout: Layout) -> Parsed:
        """Parse a piece whose first line is in this order, unless a header says otherwise."""
        base = piece.number << PLACE_BITS
        if piece.data is not None:
            batches, layout = self.block(piece.data, base + piece.line, layout)
            return Parsed(batches, layout, [])
        if (whole := _inflated(piece.item)) is not None:
            batches, _ = self.block(whole, base + 1, layout)
            return Parsed(batches, layout, [])
        stream = Stream(piece.item, block=vpc_lines.BLOCK)
        out: list[Batch] = []
        refused: list[tuple[Reason, int, str]] = []
        current = layout
        for block in stream.blocks():
            if block.too_long:
                refused.append((Reason.TOO_LONG, block.line, f"begins {block.data[:40]!r}"))
                continue
            batches, current = self.block(block.data, base + block.line, current)
            out += batches
        if stream.damage:
            refused.append((Reason.MALFORMED, stream.lines + 1, stream.damage))
        return Parsed(out, layout, refused)

    # --- one block --------------------------------------------------------------------------------------------------

    def block(self, data: bytes, place: int, layout: Layout) -> tuple[list[Batch], Layout]:
        """Batches for complete lines, the first at `place`, and the layout in force after them."""
        data = vpc_lines.utf8(data)
        first = data[: data.find(b"\n")] if b"\n" in data else data
        if (names := aws_fields.header(first, layout.kind)) is None:
            return self._records(data, 0, place, layout)
        layout = Layout(layout.kind, names)
        out = [self._notes([(first.strip(), place)])]
        if len(data) > len(first) + 1:
            batches, layout = self._records(data, len(first) + 1, place + 1, layout)
            out += batches
        return out, layout

    def _records(self, data: bytes, start: int, place: int, layout: Layout) -> tuple[list[Batch], Layout]:
        """The lines from `start` on, the first of them at `place`."""
        import pyarrow as pa  # noqa: PLC0415

        if (b"x" in data and b"0x" in data) or (b"X" in data and b"0X" in data):
            # Arrow reads `0x50` as a number, which no flow log means. A single byte is quickly looked for.
            return self._careful(data[start:], place, layout)
        try:
            found, skipped = self._table(pa.py_buffer(data).slice(start), layout, typed=True)
        except pa.ArrowInvalid:
            return self._careful(data[start:], place, layout)
        if skipped:
            return self._careful(data[start:], place, layout)
        places = np.arange(place, place + found.num_rows, dtype=np.int64)
        return self._batches(found, places, layout, None), layout

    def _table(self, data: pa.Buffer, layout: Layout, *, typed: bool) -> tuple[pa.Table, int]:
        """Arrow's own parser, and how many lines have too many or too few fields: those are not in the table."""
        import pyarrow.csv as pc  # noqa: PLC0415

        skipped: list[None] = []

        def skip(_: Any) -> str:
            skipped.append(None)
            return "skip"

        comma = layout.kind is Kind.CSV
        convert = self._conversion(layout, typed=typed)
        parse = pc.ParseOptions(
            delimiter="," if comma else " ",
            quote_char='"' if comma else False,
            invalid_row_handler=skip,
            # An empty line has too few fields: it is skipped and counted, like any other.
            ignore_empty_lines=False,
        )
        names = [name or f"#{i}" for i, name in enumerate(layout.fields)]
        read = pc.ReadOptions(use_threads=False, block_size=max(data.size + 1, 1024), column_names=names)
        return pc.read_csv(data, read_options=read, parse_options=parse, convert_options=convert), len(skipped)

    def _conversion(self, layout: Layout, *, typed: bool) -> Any:
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.csv as pc  # noqa: PLC0415

        has = layout.has
        wanted = [name for name in self.columns.names if name in has]
        kinds = {name: self.columns.field(name).type if typed else pa.string() for name in wanted}
        return pc.ConvertOptions(
            include_columns=wanted,
            column_types=kinds,
            null_values=list(NOTHING) if typed else [],
            strings_can_be_null=True,
            check_utf8=False,
        )

    def _batches(self, found: pa.Table, places: np.ndarray, layout: Layout, notes: pa.Array | None) -> list[Batch]:
        """`found` with all columns of `schema`."""
        import pyarrow as pa  # noqa: PLC0415

        rows, has = found.num_rows, layout.has
        columns: list[Any] = []
        for each in self.columns:
            if each.name == "place":
                columns.append(array(places, pa.int64()))
            elif each.name == "line":
                columns.append(pa.nulls(rows, pa.string()) if notes is None else notes)
            elif each.name in has:
                columns.append(found.column(each.name))
            elif each.name == "action" and layout.forwards:
                columns.append(pa.array(np.full(rows, "ACCEPT", dtype=object), pa.string()))
            else:
                columns.append(pa.nulls(rows, each.type))
        used = None if notes is not None and not notes.null_count else layout
        return [Batch(batch, used) for batch in pa.Table.from_arrays(columns, schema=self.columns).to_batches()]

    def _notes(self, texts: Sequence[tuple[bytes, int]]) -> Batch:
        """Lines that are no records."""
        import pyarrow as pa  # noqa: PLC0415

        lines = vpc_lines.listed(texts)
        columns = [
            lines.column("place") if each.name == "place" else lines.column("line") if each.name == "line" else None
            for each in self.columns
        ]
        filled = [
            pa.nulls(len(texts), each.type) if column is None else column
            for each, column in zip(self.columns, columns, strict=True)
        ]
        return Batch(pa.RecordBatch.from_arrays(filled, schema=self.columns), None)

    # --- lines that the fast way refuses ----------------------------------------------------------------------------

    def _careful(self, data: bytes, place: int, layout: Layout) -> tuple[list[Batch], Layout]:
        """The same with headers in the middle, blanks, comments, and values that are no numbers."""
        out: list[Batch] = []
        waiting: list[tuple[bytes, int]] = []
        comma = layout.kind is Kind.CSV
        for number, raw in enumerate(data.split(b"\n"), place):
            text = raw.strip() if comma else vpc_lines.tidy(raw)
            if not text:
                continue
            names = aws_fields.header(text, layout.kind) if b"addr" in text.lower() else None
            if names is None:
                waiting.append((text, number))
                continue
            out += self._tolerant(waiting, layout)
            out.append(self._notes([(text, number)]))
            waiting, layout = [], Layout(layout.kind, names)
        return out + self._tolerant(waiting, layout), layout

    def _tolerant(self, lines: Sequence[tuple[bytes, int]], layout: Layout) -> list[Batch]:
        """Records as text first, so that one bad value costs its record only."""
        import pyarrow as pa  # noqa: PLC0415
        import pyarrow.compute as pc  # noqa: PLC0415

        fitting = [(text, place) for text, place in lines if _width(text, layout) == len(layout.fields)]
        others = [(text, place) for text, place in lines if _width(text, layout) != len(layout.fields)]
        out = [self._notes(others)] if others else []
        if not fitting:
            return out
        data = b"".join(text + b"\n" for text, _ in fitting)
        found, _ = self._table(pa.py_buffer(data), layout, typed=False)
        if found.num_rows != len(fitting):
            # A quote that does not close, in CSV: no telling which line is which.
            return [*out, self._notes(fitting)]
        bad = pa.array(np.zeros(len(fitting), dtype=bool))
        columns = []
        for name in found.column_names:
            text = found.column(name).combine_chunks()
            missing = pc.is_in(text, value_set=pa.array(NOTHING))
            kind = self.columns.field(name).type
            if pa.types.is_integer(kind):
                text, wrong = _integers(text, missing, kind)
                bad = pc.or_(bad, wrong)
            else:
                text = pc.if_else(missing, pa.scalar(None, pa.string()), text)
            columns.append(text)
        notes = pc.if_else(bad, vpc_lines.listed(fitting).column("line"), pa.scalar(None, pa.string()))
        places = np.array([place for _, place in fitting], dtype=np.int64)
        table = pa.Table.from_arrays(columns, names=found.column_names)
        return out + self._batches(table, places, layout, notes)


def _inflated(item: Input) -> bytes | None:
    """The text of a small file at once; None for what is better read in blocks: large, damaged, of several members."""
    if item.compression != "gzip":
        return None
    stream = item.open()
    with stream:
        packed = stream.read(SMALL + 1)
    member = isal_zlib.decompressobj(wbits=31)
    try:
        text: bytes = member.decompress(packed, _LARGE)
    except _DAMAGE:
        return None
    if not member.eof or member.unused_data or len(text) >= _LARGE:
        return None
    return text.removeprefix(b"\xef\xbb\xbf") or None


def _width(text: bytes, layout: Layout) -> int:
    """How many fields a line has."""
    if layout.kind is not Kind.CSV:
        return text.count(b" ") + 1
    if b'"' not in text:
        return text.count(b",") + 1
    quoted = re.sub(rb'"(?:[^"]|"")*"', b"", text)
    return quoted.count(b",") + 1 if b'"' not in quoted else -1


def _integers(text: pa.Array, missing: pa.Array, kind: pa.DataType) -> tuple[pa.Array, pa.Array]:
    """Integers, some of them written as floats; and which values are none."""
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.compute as pc  # noqa: PLC0415

    good = pc.match_substring_regex(text, _NUMBER)
    whole = pc.replace_substring_regex(text, r"^\+|\.0+$", "")
    values = pc.if_else(good, whole, pa.scalar(None, pa.string())).cast(pa.int64())
    limit = 2 ** (31 if pa.types.is_int32(kind) else 62)
    inside = pc.and_(good, pc.fill_null(pc.and_(pc.less(values, limit), pc.greater(values, -limit)), False))
    values = pc.if_else(inside, values, pa.scalar(None, pa.int64())).cast(kind)
    return values, pc.and_(pc.invert(inside), pc.invert(missing))
