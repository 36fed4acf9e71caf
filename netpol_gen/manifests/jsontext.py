"""JSON documents: one object, several one after another, or a long list of which one item at a time is decoded.

The text lies in memory, what it decodes to does not: of a `kubectl get -o json` list, msgspec finds where each item
begins and ends, and each is decoded when it is asked for. The standard library decodes, because it can be told to
refuse a repeated key, of which others keep the last one in silence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from netpol_gen.errors import InputError, Place, printable
from netpol_gen.manifests.document import Document

# Between two values of one document there is always a comma or a colon, and a string never holds a raw line break: a
# closing brace, a line break and an opening brace are the border of two documents.
_BORDER = re.compile(rb"\}[ \t\r]*\n\s*(?=\{)")
_ITEMS = re.compile(rb'"items"[ \t\r\n]*:[ \t\r\n]*\[[ \t\r\n]*')
_BYTE_SPACE = re.compile(rb"[ \t\r\n]*")
_SPACE = re.compile(r"[ \t\r\n]*")


class _List(msgspec.Struct):
    """Where the items of a list are; msgspec skips everything else."""

    items: list[msgspec.Raw] = []


def json_documents(content: bytes, path: str) -> Iterator[Document]:
    """Objects of a text in order.

    Raises:
        InputError: broken JSON, text that is not UTF-8, a repeated key, `NaN`, deep nesting.

    """
    reader = _Reader(path)
    start = 0
    for border in [*(m.end() for m in _BORDER.finditer(content)), len(content)]:
        yield from reader.chunk(content[start:border] if start or border < len(content) else content)
        start = border


class _Reader:
    """Decodes one chunk after the other and knows the line at which each begins."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.line = 1
        self.number = 0
        self._decoder = json.JSONDecoder(object_pairs_hook=_distinct, parse_constant=_no_constant)

    def chunk(self, content: bytes) -> Iterator[Document]:
        """The document that fills a chunk, or the several that share it."""
        try:
            items = msgspec.json.decode(content, type=_List).items
        except (msgspec.MsgspecError, RecursionError):
            # Several documents, a broken one, or an `items` field that is no list.
            items = []
        found = self._list(content, [bytes(item) for item in items]) if items else None
        if found is None:
            yield from self._objects(content)
        else:
            yield found
        self.line += content.count(b"\n")

    def _list(self, content: bytes, items: list[bytes]) -> Document | None:
        """The list whose items msgspec found; `None` if they cannot be told from another field's text."""
        start = _end_of_space(content, 0)
        line = self.line + content.count(b"\n", 0, start)
        for candidate in _ITEMS.finditer(content):
            places = _follow(content, items, candidate.end())
            if places is None:
                continue
            # What is left holds the list's own fields, and a second `items` if there is one.
            self.number += 1
            fields = self._decode(content[start : candidate.end()] + content[places[-1] + len(items[-1]) :], line)
            if fields.get("items") == []:
                decoded = self._items(content, places, items)
                return Document(self.number, line, fields, decoded)
            self.number -= 1
        return None

    def _items(self, content: bytes, places: list[int], items: list[bytes]) -> Iterator[tuple[int, Any]]:
        line, counted = self.line, 0
        for place, item in zip(places, items, strict=True):
            line += content.count(b"\n", counted, place)
            counted = place
            yield line, self._decode(item, line)

    def _decode(self, content: bytes, line: int) -> Any:
        """One value that fills its text."""
        text = self._text(content, line)
        value, end = self._value(text, _end_of_space(text, 0), line)
        if text[end:].strip():
            raise self._error("text after the end of a document", line + text.count("\n", 0, end))
        return value

    def _objects(self, content: bytes) -> Iterator[Document]:
        text = self._text(content, self.line)
        at = _end_of_space(text, 0)
        while at < len(text):
            self.number += 1
            line = self.line + text.count("\n", 0, at)
            value, at = self._value(text, at, self.line)
            yield Document(self.number, line, value)
            at = _end_of_space(text, at)

    def _text(self, content: bytes, line: int) -> str:
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise self._error("not UTF-8 text", line + content.count(b"\n", 0, error.start)) from None

    def _value(self, text: str, at: int, line: int) -> tuple[Any, int]:
        """The value that starts at a position, and where it ends; `line` is that of the text's beginning."""
        try:
            return self._decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise self._error(f"not JSON: {printable(error.msg.lower())}", line + error.lineno - 1) from None
        except (InputError, ValueError) as error:
            # The second is a number of thousands of digits, which Python refuses to convert.
            problem = error.problem if isinstance(error, InputError) else "a number is too long"
            raise self._error(problem, line + text.count("\n", 0, at)) from None
        except RecursionError:
            raise self._error("nested too deep", line + text.count("\n", 0, at)) from None

    def _error(self, problem: str, line: int) -> InputError:
        return InputError(problem, Place(self.path, line, self.number))


def _follow(content: bytes, items: list[bytes], at: int) -> list[int] | None:
    """Where the items lie if the list that starts here is theirs."""
    places = []
    for index, item in enumerate(items):
        if index:
            if content[at : at + 1] != b",":
                return None
            at = _end_of_space(content, at + 1)
        if not content.startswith(item, at):
            return None
        places.append(at)
        at = _end_of_space(content, at + len(item))
    return places if content[at : at + 1] == b"]" else None


def _end_of_space(text: str | bytes, at: int) -> int:
    found = _SPACE.match(text, at) if isinstance(text, str) else _BYTE_SPACE.match(text, at)
    return found.end() if found else at


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise InputError(f"key {printable(twice)} is given twice in the document that starts here")
    return out


def _no_constant(name: str) -> Any:
    raise InputError(f"{name} is not JSON, in the document that starts here")
