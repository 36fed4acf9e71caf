"""YAML documents one by one, built from libyaml's events so that a long file never lies in memory as a whole.

Scalars are resolved as `kubectl apply` does (YAML 1.1 as in go-yaml: `yes`, `on` and `y` are booleans, `0644` is octal,
a time stamp stays text, `1:30` is text), because a manifest must mean here what it means there. Repeated keys are
errors. Aliases share the value they name; what would be huge once written out, or contains itself, is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, Any

import yaml
from yaml.cyaml import CParser  # type: ignore[attr-defined]

from netpol_gen.errors import InputError, Place, printable
from netpol_gen.manifests.document import Document

MAX_DEPTH = 300
"""Nesting of mappings and lists within one document."""
MAX_ALIAS_NODES = 1_000_000
"""Nodes that the aliases of one document may stand for, counted as if written out."""

_TAG = "tag:yaml.org,2002:"
_CONSTANTS: dict[str, object] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
}
_INTEGER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO]?[0-7_]+|0|[1-9][0-9_]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_LONGEST_NUMBER = 64
_MEMO = 100_000


def yaml_documents(stream: IO[bytes] | str, path: str) -> Iterator[Document]:
    """Documents of a stream in order, empty ones left out but counted in the numbers.

    Raises:
        InputError: broken YAML, text that is not UTF-8 or UTF-16, repeated keys, aliases that blow up, deep nesting.

    """
    builder = _Builder(path)
    try:
        # libyaml looks at the first bytes already when the parser is made.
        parser: Any = CParser(stream)
        while True:
            event = parser.get_event()
            if isinstance(event, yaml.StreamEndEvent):
                return
            if isinstance(event, yaml.DocumentStartEvent) and (found := builder.document(parser)) is not None:
                yield found
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(path, mark.line + 1 if mark else builder.line, builder.number)
        raise InputError(f"not YAML: {printable(error.problem or error.context)}", place) from None
    except yaml.YAMLError as error:
        place = Place(path, builder.line, builder.number)
        raise InputError(f"not YAML text: {printable(getattr(error, 'reason', error))}", place) from None


@dataclass(slots=True)
class _Frame:
    """A mapping or list that is not finished. `size` counts nodes as if aliases were written out."""

    value: dict[str, Any] | list[Any]
    anchor: str | None
    line: int
    size: int = 1
    key: str | None = None
    merge: bool = False
    merged: list[Any] = field(default_factory=list)


@dataclass(slots=True)
class _Builder:
    """Values from events. `line` follows the events, for errors that carry no place of their own."""

    path: str
    number: int = 0
    line: int = 0
    stack: list[_Frame] = field(default_factory=list)
    anchors: dict[str, tuple[Any, int] | None] = field(default_factory=dict)
    expanded: int = 0
    items: list[int] = field(default_factory=list)
    memo: dict[str, Any] = field(default_factory=dict)

    def document(self, parser: Any) -> Document | None:
        """The document whose start was just read; `None` if it is empty."""
        self.number += 1
        self.anchors.clear()
        self.items.clear()
        self.expanded = 0
        root, start = None, 0
        while True:
            event = parser.get_event()
            self.line = event.start_mark.line + 1
            if isinstance(event, yaml.DocumentEndEvent):
                return None if root is None else self._finished(root, start)
            start = start or self.line
            done = self._take(event)
            if done is not None:
                root = done[0]

    def _finished(self, root: Any, start: int) -> Document:
        items = root.get("items") if isinstance(root, dict) else None
        if not isinstance(items, list) or len(items) != len(self.items):
            return Document(self.number, start, root)
        root["items"] = []
        return Document(self.number, start, root, zip(tuple(self.items), items, strict=True))

    def _take(self, event: Any) -> tuple[Any] | None:
        """One event; the document's root once it is complete."""
        if isinstance(event, yaml.ScalarEvent):
            return self._attach(self._scalar(event), 1, event)
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._open(event)
            return None
        if isinstance(event, yaml.AliasEvent):
            return self._attach(*self._alias(str(event.anchor)), event)
        frame = self.stack.pop()
        if frame.merged:
            self._merge(frame)
        if frame.anchor is not None:
            self.anchors[frame.anchor] = (frame.value, frame.size)
        return self._attach(frame.value, frame.size, event)

    def _open(self, event: Any) -> None:
        mapping = isinstance(event, yaml.MappingStartEvent)
        if event.tag not in (None, "!", _TAG + ("map" if mapping else "seq")):
            raise self._error(f"tag {printable(event.tag)} is not supported")
        if len(self.stack) >= MAX_DEPTH:
            raise self._error(f"nested more than {MAX_DEPTH} deep")
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        if len(self.stack) == 2 and self.stack[0].key == "items" and isinstance(self.stack[1].value, list):
            self.items.append(self.line)
        self.stack.append(_Frame({} if mapping else [], event.anchor, self.line))

    def _attach(self, value: Any, size: int, event: Any) -> tuple[Any] | None:
        if not self.stack:
            return (value,)
        frame = self.stack[-1]
        frame.size += size
        if isinstance(frame.value, list):
            frame.value.append(value)
        elif frame.merge:
            frame.merged.append(value)
            frame.merge = False
        elif frame.key is None:
            if value == "<<" and isinstance(event, yaml.ScalarEvent) and event.implicit[0]:
                frame.merge = True
            else:
                frame.key = self._key(value)
                if frame.key in frame.value:
                    raise self._error(f"key {printable(frame.key)} is given twice")
        else:
            frame.value[frame.key] = value
            frame.key = None
        return None

    def _key(self, value: Any) -> str:
        """Keys that are not text become text as they do on the way to the API server's JSON."""
        if isinstance(value, str):
            return value
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, int):
            return str(value)
        raise self._error("a key is neither text nor a whole number nor a boolean")

    def _alias(self, name: str) -> tuple[Any, int]:
        if name not in self.anchors:
            raise self._error(f"alias {printable(name)} names nothing")
        found = self.anchors[name]
        if found is None:
            raise self._error(f"alias {printable(name)} lies within what it names")
        self.expanded += found[1]
        if self.expanded > MAX_ALIAS_NODES:
            raise self._error(f"aliases stand for more than {MAX_ALIAS_NODES} nodes")
        return found

    def _merge(self, frame: _Frame) -> None:
        """`<<: *base`: keys of the base that are not given. Of several bases the first wins."""
        assert isinstance(frame.value, dict)  # noqa: S101 - only mappings collect merges
        if len(frame.merged) > 1:
            raise self._error("key << is given twice")
        bases = frame.merged[0] if isinstance(frame.merged[0], list) else frame.merged
        for base in bases:
            if not isinstance(base, dict):
                raise self._error("<< takes a mapping or a list of mappings")
            for key, value in base.items():
                frame.value.setdefault(key, value)

    def _scalar(self, event: Any) -> Any:
        tag = event.tag
        if tag is None:
            value = self._plain(event.value) if event.implicit[0] else event.value
        elif tag == "!":
            value = event.value
        else:
            value = self._tagged(tag, event.value)
        if event.anchor is not None:
            self.anchors[event.anchor] = (value, 1)
        return value

    def _plain(self, text: str) -> Any:
        # Manifests repeat themselves: one look-up for most, and equal texts are one object.
        try:
            return self.memo[text]
        except KeyError:
            value = resolve(text)
            if len(self.memo) < _MEMO:
                self.memo[text] = value
            return value

    def _tagged(self, tag: str, text: str) -> Any:
        if tag == _TAG + "str":
            return text
        value = resolve(text)
        kinds: dict[str, type | tuple[type, ...]] = {
            "int": int,
            "float": (int, float),
            "bool": bool,
            "null": type(None),
        }
        wanted = kinds.get(tag.removeprefix(_TAG))
        if wanted is None:
            raise self._error(f"tag {printable(tag)} is not supported")
        if not isinstance(value, wanted):
            raise self._error(f"{printable(text)} is not what tag {printable(tag)} says")
        return value

    def _error(self, problem: str) -> InputError:
        return InputError(problem, Place(self.path, self.line, self.number))


def resolve(text: str) -> Any:
    """The value of a plain scalar: `None`, a boolean, a number, or the text itself."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in "-+.0123456789" or len(text) > _LONGEST_NUMBER:
        return text
    if _INTEGER.fullmatch(text) and not text.endswith("_"):
        digits = text.replace("_", "").lower()
        if re.fullmatch(r"[-+]?0[0-7]+", digits):
            digits = digits.replace("0", "0o", 1)
        return int(digits, 0)
    if _FLOAT.fullmatch(text) or _INFINITE.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text
