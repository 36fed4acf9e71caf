"""AWS records as lines for the engine, and the words for lines that are no records."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from netpol_gen.flowtable import Reason
from netpol_gen.readers import aws_fields, vpc_json, vpc_lines
from netpol_gen.readers.aws_fields import STAMP, Kind, Layout
from netpol_gen.readers.files import Block, Input, Stream
from netpol_gen.readers.vpc import PLACE_BITS
from netpol_gen.readers.vpc_table import Account, Spot

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(slots=True)
class Text:
    """The lines of files of one layout."""

    account: Account
    layout: Layout

    def batches(self, files: Sequence[tuple[int, Input]]) -> Iterator[pa.RecordBatch]:
        """Batches of `vpc_lines.schema`; records are counted, and what is no line is set aside, on the way."""
        for number, item in files:
            stream = Stream(item, block=vpc_lines.BLOCK)
            base = number << PLACE_BITS
            for batch in self._lines(stream, base):
                self.account.met(number, batch.num_rows)
                yield batch
            if stream.damage:
                self._refuse(number, Reason.MALFORMED, stream.lines + 1, stream.damage)

    def _refuse(self, number: int, reason: Reason, line: int, detail: str) -> None:
        self.account.met(number, 1)
        self.account.aside(reason, 1, [Spot(number << PLACE_BITS | line, detail)])

    def _lines(self, stream: Stream, base: int) -> Iterator[pa.RecordBatch]:
        tidy = _tidy_csv if self.layout.kind is Kind.CSV else vpc_lines.tidy
        current = self.layout.fields
        for block in stream.blocks():
            if block.too_long:
                self._refuse(base >> PLACE_BITS, Reason.TOO_LONG, block.line, f"begins {block.data[:40]!r}")
                continue
            lines = vpc_lines.Lines.of(block.data)
            quoted = self.layout.kind is Kind.CSV and b'"' in lines.data
            if quoted or current != self.layout.fields or lines.blank or self._other_header(lines):
                pairs, current = self._one_by_one(block, tidy, current)
                yield vpc_lines.listed((text, base + line) for text, line in pairs)
            else:
                yield vpc_lines.batch(lines, base + block.line)

    def _other_header(self, lines: vpc_lines.Lines) -> bool:
        """Whether a header among these lines names other fields. A record of most formats begins with a digit."""
        data = lines.data
        if self.layout.fields[0] in ("version", "account-id", "start", "end", STAMP):
            starts = lines.starts()
            first = np.frombuffer(data, dtype=np.uint8)[starts]
            suspects = starts[(first < ord("0")) | (first > ord("9"))].tolist()
        else:
            suspects = [data.rfind(b"\n", 0, found.start()) + 1 for found in re.finditer(rb"srcaddr", data)]
        for start in suspects:
            line = data[start : data.find(b"\n", start)]
            found = aws_fields.header(line, self.layout.kind) if b"addr" in line else None
            if found is not None and found != self.layout.fields:
                return True
        return False

    def _one_by_one(
        self, block: Block, tidy: Callable[[bytes], bytes], current: tuple[str, ...]
    ) -> tuple[list[tuple[bytes, int]], tuple[str, ...]]:
        """Tidy lines with their numbers, in the order of fields that this layout has, and the order in force after."""
        wanted = self.layout.fields
        comma = b"," if self.layout.kind is Kind.CSV else b" "
        out = []
        for line, raw in enumerate(block.data.split(b"\n"), block.line):
            text = tidy(raw)
            if not text:
                continue
            if b"addr" in text and (names := aws_fields.header(text, self.layout.kind)):
                current = names
            elif current != wanted:
                cells = text.split(comma)
                if len(cells) == len(current):
                    by_name = dict(zip(current, cells, strict=True))
                    text = comma.join(by_name.get(name, b"-") if name else b"-" for name in wanted)
                else:
                    text = b"".join((text, comma, b"?"))
            out.append((text, line))
        return out, current


def _tidy_csv(line: bytes) -> bytes:
    """No quotes: a comma within a value becomes a blank."""
    text = line.strip()
    if b'"' not in text:
        return text
    try:
        cells = next(csv.reader([text.decode("utf-8", "replace")], strict=True), [])
    except csv.Error:
        return text
    return ",".join(cell.replace(",", " ").strip() for cell in cells).encode()


# --- why a text is no record ------------------------------------------------------------------------------------------

_NOTHING = ("", "-", "null", "None", "nan", "NaN", "NULL")


def explain(text: str, layouts: Collection[Layout]) -> tuple[Reason, str]:
    """The reason why a line (or the members of an object, as JSON) could not be used, and the words for it."""
    text = text.rstrip("\n")
    if not text.strip():
        return Reason.MALFORMED, "empty"
    if text.startswith(("CWL CONTROL MESSAGE", "#")):
        return Reason.CONTROL, ""
    if text.lstrip()[:1] in ("{", "["):
        value = vpc_json.loads(text)
        if not isinstance(value, dict):
            return Reason.MALFORMED, "no JSON object" if value is None else "not a flow record"
        cells = {name: value[key] for key in value if (name := aws_fields.canonical(key))}
        if not cells:
            control = "searchedCompletely" in value or value.get("messageType") == "CONTROL_MESSAGE"
            return (Reason.CONTROL, "") if control else (Reason.NOT_A_FLOW, "no field of a flow record")
        return _field(cells, frozenset(cells))
    if aws_fields.header(text.encode(errors="replace")) or aws_fields.header(text.encode(errors="replace"), Kind.CSV):
        return Reason.CONTROL, "header"
    known = sorted({layout.fields for layout in layouts if layout.kind in (Kind.TEXT, Kind.CSV, Kind.WRAPPED)})
    for words in (text.split(" "), text.split(",")):
        for fields in known:
            if len(fields) == len(words):
                return _field(dict(zip(fields, words, strict=True)), frozenset(fields))
    wanted = " or ".join(str(count) for count in sorted({len(fields) for fields in known}))
    told = all(layout.headed for layout in layouts)
    advice = "" if told else "; --aws-format tells the order of fields where there is no header"
    return Reason.MALFORMED, f"{len(text.split())} fields, {wanted} wanted{advice}"


def _field(cells: Mapping[str, Any], has: frozenset[str]) -> tuple[Reason, str]:
    """The first field that is wrong."""
    words = {name: "" if value is None else str(value) for name, value in cells.items()}
    status = words.get("log-status", "OK")
    if status not in ("OK", "-", ""):
        return Reason.MALFORMED, f"log-status {status}"
    if "start" not in has:
        return Reason.BAD_FIELD, "no start: the time of these records is not known"
    for name, low, high in _RANGES:
        word = words.get(name, "-")
        if name == "action" or (word in _NOTHING and name in ("packets", "bytes", "tcp-flags")):
            continue
        if word in _NOTHING and name != "start":
            return Reason.NO_L4, f"no {name}"
        number = _number(word)
        if number is None or not low <= number <= high:
            return Reason.BAD_FIELD, f"{name} {word or 'missing'}"
    return Reason.BAD_FIELD, f"action {words.get('action', 'missing')}"


_RANGES = (
    ("start", 0, 1 << 63),
    ("protocol", 0, 255),
    ("srcport", 0, 65535),
    ("dstport", 0, 65535),
    ("packets", 0, 1 << 50),
    ("bytes", 0, 1 << 50),
    ("tcp-flags", 0, 1 << 31),
)


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None
