"""What Parquet files say of themselves at their end, without parsing all of it.

A footer begins with a version, the columns and the number of rows (`FileMetaData` in Thrift's compact protocol); what
follows, the places and statistics of every column, is most of it and of no interest here. Files of one flow log have
the same columns, so that their footers are the same up to the number of rows: only the first one is parsed.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

MAGIC = b"PAR1"
_BEGINNING = 64 * 1024
"""Columns take less; a footer takes megabytes where there are many groups of rows."""
_TRAILER = 8
"""The length of the footer, and `MAGIC`."""

# Types of the compact protocol. Field headers have them in their lower half.
_I32, _I64, _LIST = 5, 6, 9
_VERSION, _SCHEMA, _ROWS = 0x10 | _I32, 0x10 | _LIST, 0x10 | _I64
"""Headers of the first three fields of `FileMetaData`, each the next one after the last."""


def footer(head: bytes, name: str) -> bytes:
    """The beginning of a file's footer; of a file that is cut off, its end.

    `head` is its beginning, for what can be read only once.
    """
    path = Path(name)
    if not path.is_file():
        return head
    with path.open("rb", buffering=0) as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(max(0, size - _TRAILER))
        trailer = file.read()
        length = int.from_bytes(trailer[:4], "little") + _TRAILER if trailer.endswith(MAGIC) else _BEGINNING
        file.seek(max(0, size - length))
        return file.read(min(length, _BEGINNING))


class Beginning(NamedTuple):
    """A footer up to the number of rows, the same for all files with these columns; and that number."""

    columns: bytes
    rows: int


def beginning(footer: bytes, columns: bytes = b"") -> Beginning | None:
    """The beginning of a footer, which may be known to begin with `columns`; None where it cannot be told."""
    try:
        at = len(columns) if columns else _after_columns(footer)
        if footer[at] != _ROWS:
            return None
        rows, _ = _number(footer, at + 1)
    except (IndexError, ValueError, RecursionError):
        return None
    # Signed numbers are written with the sign last.
    return None if rows & 1 else Beginning(footer[:at], rows >> 1)


def _after_columns(data: bytes) -> int:
    if data[0] != _VERSION:
        raise ValueError
    _, at = _number(data, 1)
    if data[at] != _SCHEMA:
        raise ValueError
    return _past(data, at + 1, _LIST)


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, and where it ends."""
    value = shift = 0
    while data[at] & 0x80:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return value | data[at] << shift, at + 1


def _past(data: bytes, at: int, kind: int) -> int:
    """Where a value of this type ends."""
    match kind:
        case 1 | 2:
            return at
        case 3:
            return at + 1
        case 4 | 5 | 6:
            return _number(data, at)[1]
        case 7:
            return at + 8
        case 8:
            length, at = _number(data, at)
            return at + length
        case 9 | 10:
            count, item, at = data[at] >> 4, data[at] & 0xF, at + 1
            if count == 0xF:
                count, at = _number(data, at)
            # Only as a field has a truth value its place in the type.
            for _ in range(count):
                at = _past(data, at, 3 if item in (1, 2) else item)
            return at
        case 12:
            while header := data[at]:
                # A field that is not one of the next fifteen has its number written out.
                at = _past(data, at + 1 if header >> 4 else _number(data, at + 1)[1], header & 0xF)
            return at + 1
        case _:
            raise ValueError
