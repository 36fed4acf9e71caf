"""Results of a CloudWatch Logs Insights query as CSV: the records are in the column `@message`.

A query has ten thousand results at most, so they are taken row by row.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from netpol_gen.flowtable import Reason
from netpol_gen.readers import vpc_lines
from netpol_gen.readers.files import Input, Stream
from netpol_gen.readers.vpc import PLACE_BITS
from netpol_gen.readers.vpc_table import Account, Spot

if TYPE_CHECKING:
    import pyarrow as pa

MESSAGE = "@message"
_BATCH = 4096


def column(line: bytes) -> int:
    """Which cell of a CSV header is that of the records; -1 where there is none."""
    cells = _cells(line)
    return cells.index(MESSAGE) if MESSAGE in cells else -1


def messages(head: bytes) -> list[bytes]:
    """The records that a file begins with; the last line may be cut off, and is left out."""
    header, *lines = head.removeprefix(b"\xef\xbb\xbf").lstrip().splitlines()
    at = column(header)
    rows = (_cells(line) for line in (lines[:-1] or lines)) if at >= 0 else ()
    return [cells[at].encode(errors="replace") for cells in rows if len(cells) > at]


def batches(files: Sequence[tuple[int, Input]], account: Account) -> Iterator[pa.RecordBatch]:
    """Batches of `vpc_lines.schema`, one line per result; results are counted on the way."""
    for number, item in files:
        stream = Stream(item, block=vpc_lines.BLOCK)
        waiting: list[tuple[bytes, int]] = []
        for found in _records(_lines(stream, number, account)):
            waiting.append(found)
            if len(waiting) == _BATCH:
                yield vpc_lines.listed(waiting)
                waiting = []
        if waiting:
            yield vpc_lines.listed(waiting)
        if stream.damage:
            _refuse(account, number << PLACE_BITS | stream.lines + 1, Reason.MALFORMED, stream.damage)


def _lines(stream: Stream, number: int, account: Account) -> Iterator[tuple[bytes, int]]:
    """Lines that are not blank, with their places."""
    base = number << PLACE_BITS
    for block in stream.blocks():
        if block.too_long:
            _refuse(account, base + block.line, Reason.TOO_LONG, f"begins {block.data[:40]!r}")
            continue
        for place, line in enumerate(block.data.split(b"\n"), base + block.line):
            if line.strip():
                account.met(number, 1)
                yield line, place


def _records(lines: Iterable[tuple[bytes, int]]) -> Iterator[tuple[bytes, int]]:
    """What stands in the column of records; of a line that lacks it the line, which is none."""
    at = -1
    for line, place in lines:
        cells = _cells(line)
        if MESSAGE in cells:
            at = cells.index(MESSAGE)
            yield b"#", place  # a header, as further files have it that were put behind the first
        elif 0 <= at < len(cells):
            yield vpc_lines.tidy(cells[at].encode(errors="replace")), place
        else:
            yield line, place


def _cells(line: bytes) -> list[str]:
    try:
        return next(csv.reader([line.decode("utf-8", "replace").removeprefix("\ufeff").strip()]), [])
    except csv.Error:
        return []


def _refuse(account: Account, place: int, reason: Reason, detail: str) -> None:
    account.met(place >> PLACE_BITS, 1)
    account.aside(reason, 1, [Spot(place, detail)])
