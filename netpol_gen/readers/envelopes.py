"""Flow logs inside what log shippers and Loki put around them, for sources that do not know such envelopes themselves.

`opened(item)` is the input as if the texts inside had been the file, one on each line. Texts are those of

- `{"message": "…"}`, as agents write it, with `Message`, `log` (container runtimes) or `@message` for the name;
- `{"labels": {…}, "line": "…", "timestamp": "…"}`, one line of `logcli -o jsonl`;
- what is pushed to Loki or asked of it (`streams`, `data.result`, `values`), with many texts to one document;
- `logEvents`, `events` and `records` whose members are such objects, or records themselves: CloudWatch, its
  subscriptions, Firehose, Event Hubs.

Objects one per line give one line each, so that places stay those of the file: a line that holds no text is passed on
as it is, for the source to count and to name. Of other documents a place is the line where the document begins, or as
many lines later as texts came before. A text is taken as it is, whatever envelope may be in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, islice
from typing import Any

import msgspec

from netpol_gen.errors import InputError, Place
from netpol_gen.readers.documents import CUT_OFF, TOO_LONG, Element, Layout, elements, layout
from netpol_gen.readers.files import BLOCK, HEAD, MAX_LINE, Input, Stream, View

MAX_DOCUMENT = 32 * 1024 * 1024
"""Bytes of one document: it is held in memory, about five times. Loki answers with 5,000 lines unless it is told."""

_BOM = b"\xef\xbb\xbf"
_LOOK = 50
"""Lines, or documents, of a beginning that are looked into."""
_NAMES = ("message", "Message", "log", "@message")
_LISTS = ("logEvents", "events", "records")
_HINT = re.compile(rb'"(?:message|Message|log|@message|line|values|logEvents|events|records)"\s*:\s*["\[]')

_VALUES = re.compile(rb'"values"\s*:\s*\[\s*\[')
_MEMBERS = re.compile(rb'"(?:logEvents|events|records)"\s*:\s*\[\s*\{')
# Possessive quantifiers would say it shorter; Python 3.11 before its fifth release matches some of them wrongly.
_BODY = rb'[^"\\]*(?:(?:\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})[^"\\]*)*'
# A quote within a text has a backslash before it, so that this does not begin inside one.
_BEFORE = rb'(?:\[\s*"\d{1,20}"\s*,|"(?:message|Message|log|@message|line)"\s*:)\s*'
_ENTRY = re.compile(_BEFORE + rb'"(' + _BODY + rb')"')
# From one line of Loki's to the next, perhaps of another stream.
_BETWEEN = re.compile(
    rb'(?:\s*,\s*\{[^{}]*\})?\s*\]\s*(?:,|\](?:(?!"values"\s*:\s*\[).)*"values"\s*:\s*\[)\s*', re.DOTALL
)
_BEGUN = re.compile(_BEFORE + rb'"(' + _BODY + rb")\\?(?:u[0-9a-fA-F]{0,3})?\Z")


def opened(item: Input) -> Input | None:
    """The input as what its envelopes hold; None where its beginning has none."""
    head = item.head.removeprefix(_BOM)
    if item.view is not None or not _HINT.search(head):
        return None
    found = _layout(head)
    if found is None:
        return None
    if found is Layout.LINES:
        # What a file is told by is in the texts alone; the last one may go on beyond this beginning.
        *lines, last = head.split(b"\n")
        texts = [*(_text(_value(line)) for line in lines), _text(_value(last)) or _begun(last)]
        inside, unwrap = b"\n".join(text for text in texts if text), _from_lines
    else:
        inside, unwrap = b"".join(_padded(elements([head], kept=HEAD))), _from_documents
    # A pipe stays one that is read once; what was read of it is with the inner input.
    return replace(item, head=inside[:HEAD], compression="", pending=b"", view=View(item, unwrap))


def _layout(head: bytes) -> Layout | None:
    """How the envelopes lie; None where there are none."""
    for line in head.split(b"\n", _LOOK)[:_LOOK]:
        value = _value(line)
        if _text(value):
            return Layout.LINES
        if _texts(value) is not None:
            return Layout.DOCUMENTS
    if head.lstrip()[:1] not in {b"{", b"["}:
        return None
    for element in islice(elements([head], kept=HEAD), _LOOK):
        if element.problem and element.problem != CUT_OFF:
            continue
        value = _value(element.data)
        if value is not None:
            if _texts(value) is not None:
                return Layout.DOCUMENTS
        elif _VALUES.search(element.data) or _MEMBERS.search(element.data):
            return Layout.DOCUMENTS
        elif _ENTRY.search(element.data) or _begun(element.data):
            return layout(head)
    return None


# --- what an object holds ---------------------------------------------------------------------------------------------


def _value(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _text(value: Any) -> bytes:
    """The text of one object, on one line; empty where it has none."""
    if not isinstance(value, dict):
        return b""
    for name in _NAMES:
        if text := _flat(value.get(name)):
            return text
    # `line` alone may be anything, as the number of a line of code.
    return _flat(value.get("line")) if "timestamp" in value or "labels" in value else b""


def _texts(value: Any) -> list[bytes] | None:
    """All texts of a document, what is none as it is; None where it is no envelope."""
    if text := _text(value):
        return [text]
    if not isinstance(value, dict):
        return None
    data = value.get("data")
    for streams in (value.get("streams"), data.get("result") if isinstance(data, dict) else None, [value]):
        if isinstance(streams, list) and any(_is_stream(each) for each in streams):
            return [text for each in streams for text in _entries(each)]
    for name in _LISTS:
        members = value.get(name)
        if isinstance(members, list) and any(isinstance(each, dict) for each in members):
            return [_text(each) or msgspec.json.encode(each) for each in members]
    return None


def _is_stream(value: Any) -> bool:
    """Whether these are lines of Loki's; numbers (`metric`) have the same form."""
    return isinstance(value, dict) and isinstance(value.get("stream"), dict) and isinstance(value.get("values"), list)


def _entries(stream: Any) -> Iterator[bytes]:
    if not _is_stream(stream):
        yield msgspec.json.encode(stream)
        return
    for entry in stream["values"]:
        # A third member, if any, is metadata.
        text = _flat(entry[1]) if isinstance(entry, list) and len(entry) > 1 else b""
        yield text or msgspec.json.encode(entry)


def _flat(text: Any) -> bytes:
    """A text on one line, without the newline that container runtimes leave at its end; empty where it is blank."""
    if not isinstance(text, str):
        return b""
    data = text.encode(errors="replace").strip(b"\r\n")
    if b"\n" in data or b"\r" in data:
        data = data.replace(b"\r\n", b" ").replace(b"\n", b" ").replace(b"\r", b" ")
    return data if data.strip() else b""


def _begun(data: bytes) -> bytes:
    """The text that data ends in the middle of; empty where it does not."""
    found = _BEGUN.search(data)
    return _flat(_value(_closed(found[1]))) if found else b""


def _closed(text: bytes) -> bytes:
    """A text as JSON has it. What is no UTF-8, as a character that is cut in two, is replaced, as in plain lines."""
    return b'"' + text.decode(errors="replace").encode() + b'"'


# --- unwrapping -------------------------------------------------------------------------------------------------------


def _line(line: bytes) -> bytes:
    return _text(_value(line)) or line


def _from_lines(stream: Stream) -> Iterator[bytes]:
    for block in stream.blocks():
        if block.too_long:
            # As long again, so that it is counted as that.
            yield block.data + b" " * MAX_LINE
            yield b"\n"
            continue
        lines = block.data.removesuffix(b"\n").split(b"\n")
        yield b"\n".join([_line(line) for line in lines]) + b"\n"


def _from_documents(stream: Stream) -> Iterator[bytes]:
    yield from _padded(_whole(elements(_without_mark(stream), limit=MAX_DOCUMENT, kept=MAX_DOCUMENT), stream.name))


def _whole(found: Iterable[Element], name: str) -> Iterator[Element]:
    """The elements.

    Raises:
        InputError: one is too large to be held in memory: it would count as one record and stand for thousands.

    """
    for element in found:
        if element.problem == TOO_LONG:
            raise InputError(
                f"a JSON document of more than {MAX_DOCUMENT:,} bytes with log lines in it: ask Loki for fewer at a "
                "time, or use `logcli query -o jsonl`, which writes one per line",
                Place(name, element.line),
            )
        yield element


def _without_mark(stream: Stream) -> Iterator[bytes]:
    pieces = stream.pieces()
    yield next(pieces, b"").removeprefix(_BOM)
    yield from pieces


def _padded(found: Iterable[Element]) -> Iterator[bytes]:
    """The texts of documents as lines, none of them before the line of its document: blank lines do not count."""
    at = 1
    for element in found:
        while at < element.line:
            blank = min(element.line - at, BLOCK)
            yield b"\n" * blank
            at += blank
        for text in _held(element):
            yield text + b"\n"
            at += 1


def _held(element: Element) -> Iterable[bytes]:
    if element.problem and element.problem != CUT_OFF:
        return [_one_line(element.data)]
    value = _value(element.data)
    if value is None:
        return _saved(element.data)
    texts = _texts(value)
    return [element.data] if texts is None else texts


def _saved(data: bytes) -> Iterator[bytes]:
    """The texts of a damaged document, and what is none: of an answer that was interrupted most is there.

    What follows the last text counts as one more record that is none, so that damage is always told.
    """
    at, listed = 0, False
    for entry in chain(_ENTRY.finditer(data), _BEGUN.finditer(data)):
        between = data[at : entry.start()]
        if listed and not _BETWEEN.fullmatch(between):
            yield _one_line(between[:BLOCK])
        listed = entry[0].startswith(b"[")
        yield _flat(_value(_closed(entry[1]))) or _one_line(entry[0])
        at = entry.end()
    if at < len(data):
        yield _one_line(data[at : at + BLOCK])


def _one_line(data: bytes) -> bytes:
    return data.replace(b"\r", b" ").replace(b"\n", b" ")
