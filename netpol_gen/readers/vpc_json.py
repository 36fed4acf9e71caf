"""Cloud flow logs as JSON: one object per line, an array, objects one after another, or an array within an envelope."""

# Queries are put together from our own constants, numbers and quoted names, never from what a file says.
# ruff: noqa: S608

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import msgspec

from netpol_gen.flowtable import Reason
from netpol_gen.readers import vpc_lines
from netpol_gen.readers.documents import Layout as Lies
from netpol_gen.readers.documents import elements
from netpol_gen.readers.documents import layout as lies
from netpol_gen.readers.files import MAX_LINE, Input, Stream
from netpol_gen.readers.vpc import PLACE_BITS, Engine
from netpol_gen.readers.vpc_table import Account, Spot

if TYPE_CHECKING:
    import pyarrow as pa

_BOM = b"\xef\xbb\xbf"
_BATCH = 1024
# Members of an envelope that come before the array, all of them texts, numbers, or lists of such.
_ENVELOPE = re.compile(
    rb'\A\s*\{(?:\s*"\w{1,80}"\s*:\s*(?:"[^"\\]{0,400}"|\d{1,20}|\[[^\[\]{}]{0,400}\])\s*,){0,8}'
    rb'\s*"(?:events|logEvents|records|entries|value|receivedMessages|results)"\s*:\s*(?=\[)'
)


def loads(line: bytes | str) -> Any:
    """A JSON value, None for what is none."""
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return None


_TAIL = re.compile(
    rb'\](?:\s*,\s*"\w{1,80}"\s*:\s*(?:"[^"\\]{0,4096}"|\[[^\[\]]{0,4096}\]|\{[^\[\]{}]{0,4096}\}|\w{1,20}))*\s*\}\s*\Z'
)
_HELD = 16 * 1024


def unwrapped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces without `{"records": ` before an array and `}` behind it, unless that is one line of several."""
    flow = iter(pieces)
    first = next(flow, b"").removeprefix(_BOM)
    line, newline, rest = first.partition(b"\n")
    alone = not newline or not rest.strip()
    found = _ENVELOPE.match(first) if alone or loads(line) is None else None
    if found is None:
        return chain([first], flow)
    # Envelopes may come one after the other without a line between them, as Firehose writes them. What is within one of
    # several is looked for later, for all of them alike.
    while (ended := _followed(first)) is None and len(first) < MAX_LINE and (more := _at_least(len(first), flow)):
        first += more
    while ended is False and (piece := next(flow, b"")):
        first += piece
        ended = bool(piece.strip())
    if ended:
        return chain([first], flow)
    # Blank lines stand for those taken away, so that places stay right.
    return _without_tail(chain([b"\n" * first.count(b"\n", 0, found.end()) + first[found.end() :]], flow))


def _followed(text: bytes) -> bool | None:
    """Whether another object comes behind the first one; None where that does not end."""
    found = list(islice(elements([text]), 2))
    if len(found) > 1:
        return found[1].data.lstrip().startswith(b"{")
    return False if found and not found[0].problem else None


def _at_least(size: int, pieces: Iterator[bytes]) -> bytes:
    """Pieces of so many bytes together, if there are as many."""
    out: list[bytes] = []
    while size > 0 and (piece := next(pieces, b"")):
        out.append(piece)
        size -= len(piece)
    return b"".join(out)


def _without_tail(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Without what closes an envelope. It is missing from a file that is still being written."""
    held = b""
    for piece in pieces:
        held += piece
        if len(held) > 2 * _HELD:
            yield held[:-_HELD]
            held = held[-_HELD:]
    yield _TAIL.sub(b"]", held)


def first_objects(head: bytes, limit: int = 50) -> list[Any]:
    """The first values of a file that begins so."""
    text = b"".join(unwrapped([head])).lstrip()
    if text[:1] not in (b"{", b"["):
        return []
    if not _documents(text):
        return [loads(line) for line in text.split(b"\n")[:limit] if line.strip()]
    return [loads(element.data) for element in elements([text]) if not element.problem][:limit]


def _documents(head: bytes) -> bool:
    """Whether values have to be looked for, instead of one on each line."""
    return lies(head) is Lies.DOCUMENTS or bool(_followed(head.partition(b"\n")[0]))


@dataclass(slots=True)
class Json:
    """The objects of files, one line each."""

    account: Account
    count: bool = True
    """Whether each object is one record; otherwise whoever unpacks them counts."""

    def batches(self, files: Sequence[tuple[int, Input]]) -> Iterator[pa.RecordBatch]:
        """Batches of `vpc_lines.schema`; what is no object is set aside on the way."""
        for number, item in files:
            stream = Stream(item, block=vpc_lines.BLOCK)
            documents = _documents(b"".join(unwrapped([item.head])).lstrip())
            source = self._elements if documents else self._lines
            for batch in source(stream, number << PLACE_BITS):
                if self.count:
                    self.account.met(number, batch.num_rows)
                yield batch
            if stream.damage:
                self.refuse(number << PLACE_BITS | stream.lines + 1, Reason.MALFORMED, stream.damage)

    def refuse(self, place: int, reason: Reason, detail: str) -> None:
        """Count a record and set it aside."""
        self.account.met(place >> PLACE_BITS, 1)
        self.account.aside(reason, 1, [Spot(place, detail)])

    def _elements(self, stream: Stream, base: int) -> Iterator[pa.RecordBatch]:
        waiting: list[tuple[bytes, int]] = []
        size = 0
        for element in elements(unwrapped(stream.pieces())):
            if element.problem:
                reason = Reason.TOO_LONG if element.problem == "too long" else Reason.MALFORMED
                self.refuse(base + element.line, reason, element.problem)
                continue
            waiting.append((element.data, base + element.line))
            size += len(element.data)
            if len(waiting) == _BATCH or size > vpc_lines.BLOCK:
                yield vpc_lines.listed(waiting)
                waiting, size = [], 0
        if waiting:
            yield vpc_lines.listed(waiting)

    def _lines(self, stream: Stream, base: int) -> Iterator[pa.RecordBatch]:
        for block in stream.blocks():
            if block.too_long:
                self.refuse(base + block.line, Reason.TOO_LONG, f"begins {block.data[:40]!r}")
                continue
            lines = vpc_lines.Lines.of(block.data)
            if not lines.blank:
                yield vpc_lines.batch(lines, base + block.line)
                continue
            pairs = enumerate(block.data.split(b"\n"), base + block.line)
            yield vpc_lines.listed((text, place) for place, raw in pairs if (text := raw.strip()))


def unpack(engine: Engine, account: Account, name: str, query: str) -> str:
    """Put a query's lines (`line`, `place`: several to an object) into a table of the engine's, and count them."""
    engine.run(f"CREATE TEMP TABLE {name} AS {query}")
    count = f"SELECT place >> {PLACE_BITS} AS file, count(*) AS records FROM {name} GROUP BY ALL"
    for batch in engine.query(count):
        for row in batch.to_pylist():
            account.met(row["file"], row["records"])
    return name
