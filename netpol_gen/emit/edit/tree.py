"""YAML as a tree of nodes with the exact offsets of their text, from libyaml's events.

An alias is a node of its own that knows what it names. The values are those that `netpol_gen.manifests` reads; the
tree adds where each stands. A block collection's own end mark lies behind the comments and blank lines that follow it,
so its end here is that of the last thing in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import yaml
from yaml.cyaml import CParser  # type: ignore[attr-defined]

from netpol_gen.emit.edit.source import Source, refuse_template
from netpol_gen.errors import InputError, InvariantError
from netpol_gen.manifests.yamltext import resolve, yaml_documents

_PROPERTIES = re.compile(r"(?:(?:&[-\w]+|![^\s,\[\]{}]*)[ \t]*)+")
_TEXT_TAGS = ("!", "tag:yaml.org,2002:str")


class Kind(Enum):
    """What a node is."""

    SCALAR = "scalar"
    MAPPING = "mapping"
    SEQUENCE = "sequence"
    ALIAS = "alias"


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One node. `start` is that of its anchor and tag if it has any, `body` that of what comes after them.

    `value` is plain data, shared with aliases. Compared by identity: equal texts at two places are two nodes.
    """

    kind: Kind
    start: int
    end: int
    body: int
    value: Any
    flow: bool = False
    """A collection in brackets."""
    style: str = ""
    """A scalar's: empty for a plain one, `!` for one with a tag, else a quote, `|` or `>`."""
    anchored: bool = False
    items: tuple[Node, ...] = ()
    pairs: tuple[tuple[Node, Node], ...] = ()
    target: Node | None = None
    """What an alias names."""
    merges: bool = False
    """A mapping with a key `<<`."""

    @property
    def empty(self) -> bool:
        """A value that is left out: nothing stands there."""
        return self.kind is Kind.SCALAR and self.body == self.end and not self.style

    def walk(self) -> Iterator[Node]:
        """This node and all in it, in the order of the text."""
        todo = [self]
        while todo:
            node = todo.pop()
            yield node
            todo.extend(reversed([*node.items, *(each for pair in node.pairs for each in pair)]))


@dataclass(frozen=True, slots=True, eq=False)
class Section:
    """One document of a file, numbered from 1. `root` is missing if it is empty.

    `start` is that of its directives or dashes, else of its content; `stop` that of the three dots that end it, if any.
    """

    number: int
    start: int
    dashes: bool
    root: Node | None = None
    stop: int | None = None
    floor: int = 0
    """Behind its dashes, or behind the document before: its own comments begin here."""


def key_text(value: Any) -> str:
    """A key as the text that it becomes on the way to the API server."""
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def read_values(text: str, path: str) -> dict[int, Any]:
    """The values of all documents by their number, empty ones left out.

    Raises:
        InputError: as `netpol_gen.manifests` does.

    """
    out: dict[int, Any] = {}
    for document in yaml_documents(text, path):
        if document.items is not None:
            document.data["items"] = [item for _, item in document.items]
        out[document.number] = document.data
    return out


def read_sections(source: Source) -> tuple[Section, ...]:
    """The documents of a file, empty ones included.

    Raises:
        InputError: what `netpol_gen.manifests` would not read.
        NotEditableError: a template that is no YAML.

    """
    try:
        values = read_values(source.text, source.path)
    except InputError:
        refuse_template(source, 0, len(source.text))
        raise
    sections = _Builder(source.text).sections()
    found = {s.number: s.root.value for s in sections if s.root is not None and s.root.value is not None}
    if not equal(found, values):
        raise InvariantError(f"{source.path}: the tree does not mean what was read")
    return sections


def equal(a: Any, b: Any) -> bool:
    """Equality of plain data with its types: unlike in Python, 1 is neither true nor 1.0.

    Stops at the first difference, so that what aliases blow up costs no more than what it is compared with.
    """
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        if a.keys() != b.keys():
            return False
        # Not all(): a generator would take twice the stack, and what people nest goes deep.
        for key, value in a.items():  # noqa: SIM110
            if not equal(value, b[key]):
                return False
        return True
    if isinstance(a, list):
        return len(a) == len(b) and all(map(equal, a, b))
    return bool(a == b) or (a != a and b != b)  # noqa: PLR0124 - NaN


@dataclass(slots=True)
class _Frame:
    """A collection that is not finished."""

    event: Any
    children: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class _Builder:
    """Nodes from events of a text that is known to be good."""

    text: str
    stack: list[_Frame] = field(default_factory=list)
    anchors: dict[str, Node] = field(default_factory=dict)

    def sections(self) -> tuple[Section, ...]:
        parser: Any = CParser(self.text)
        out: list[Section] = []
        floor, root = 0, None
        start: Any = None
        while True:
            event: Any = parser.get_event()
            begin, end = event.start_mark.index, event.end_mark.index
            if isinstance(event, yaml.StreamEndEvent):
                return tuple(out)
            if isinstance(event, yaml.DocumentStartEvent):
                start, root = event, None
                self.anchors.clear()
            elif isinstance(event, yaml.DocumentEndEvent):
                before = start.end_mark.index if start.explicit else floor
                stop = begin if event.explicit else None
                out.append(Section(len(out) + 1, start.start_mark.index, start.explicit, root, stop, before))
                floor = end if event.explicit else (root.end if root else before)
            elif not isinstance(event, yaml.StreamStartEvent):
                root = self._take(event) or root

    def _take(self, event: Any) -> Node | None:
        """One event; the document's root once it is complete."""
        node: Node
        start, end = event.start_mark.index, event.end_mark.index
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self.stack.append(_Frame(event))
            return None
        name = event.anchor if isinstance(event, yaml.ScalarEvent) else None
        if isinstance(event, yaml.ScalarEvent):
            node = self._scalar(event)
        elif isinstance(event, yaml.AliasEvent):
            target = self.anchors[str(event.anchor)]
            node = Node(Kind.ALIAS, start, end, start, target.value, target=target)
        else:
            frame = self.stack.pop()
            name = frame.event.anchor
            node = self._collection(frame, end)
        if name is not None:
            self.anchors[name] = node
        if not self.stack:
            return node
        self.stack[-1].children.append(node)
        return None

    def _body(self, event: Any) -> int:
        start: int = event.start_mark.index
        if event.anchor is None and event.tag is None:
            return start
        found = _PROPERTIES.match(self.text, start)
        return found.end() if found else start

    def _scalar(self, event: Any) -> Node:
        start, end, body = event.start_mark.index, event.end_mark.index, self._body(event)
        style = event.style or ("" if event.tag is None else "!")
        if style in ("|", ">"):
            # What is kept of the blank lines behind it depends on its header; its last line break is never cut off.
            header = self.text[body : self.text.index("\n", body)].partition("#")[0]
            inner = self.text[body:end]
            end = body + len(inner.removesuffix("\n").removesuffix("\r") if "+" in header else inner.rstrip("\r\n"))
        if event.tag is None:
            value = resolve(event.value) if event.implicit[0] else event.value
        else:
            value = event.value if event.tag in _TEXT_TAGS else resolve(event.value)
        return Node(Kind.SCALAR, start, end, min(body, end), value, style=style, anchored=event.anchor is not None)

    def _collection(self, frame: _Frame, end: int) -> Node:
        event, children = frame.event, frame.children
        flow, anchored = bool(event.flow_style), event.anchor is not None
        start, body = event.start_mark.index, self._body(event)
        end = end if flow or not children else children[-1].end
        if isinstance(event, yaml.SequenceStartEvent):
            value = [child.value for child in children]
            return Node(Kind.SEQUENCE, start, end, body, value, flow, anchored=anchored, items=tuple(children))
        pairs = tuple(zip(children[::2], children[1::2], strict=True))
        merged = [value for key, value in pairs if is_merge(key)]
        mapping = {key_text(key.value): value.value for key, value in pairs if not is_merge(key)}
        for base in merged:
            for each in base.value if isinstance(base.value, list) else [base.value]:
                for key, inherited in each.items():
                    mapping.setdefault(key, inherited)
        return Node(Kind.MAPPING, start, end, body, mapping, flow, anchored=anchored, pairs=pairs, merges=bool(merged))


def is_merge(key: Node) -> bool:
    """Whether a key is `<<`, written plainly."""
    return key.kind is Kind.SCALAR and key.value == "<<" and not key.style
