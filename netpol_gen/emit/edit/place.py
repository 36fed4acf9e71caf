"""Finding the objects that are meant in a file, and the text that is theirs alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from netpol_gen.emit.edit.layout import Entry, column, entries_of, flow_entries_of, head, on_own_line, tail
from netpol_gen.emit.edit.source import Source, read_source, refuse_template
from netpol_gen.emit.edit.tree import Kind, Node, Section, read_sections

Spot = tuple[int, int | None]
"""Where an object is: the number of its document, from 1, and its index if that is a list."""


@dataclass(frozen=True, slots=True)
class Found:
    """A node in a document with the text that is its alone. `siblings` are the entries of its list, if it is an item.

    `aliases` are those of the whole document.
    """

    source: Source
    root: Node
    node: Node
    start: int
    end: int
    aliases: tuple[Node, ...]
    siblings: tuple[Entry, ...] = ()
    items: Node | None = None


def read_file(content: bytes, path: str) -> tuple[Source, tuple[Section, ...]]:
    """A file and its documents.

    Raises:
        InputError: it cannot be read, or not be edited.

    """
    source = read_source(content, path)
    sections = read_sections(source)
    last = [node for s in sections[-1:] if s.root is not None for node in s.root.walk()]
    if source.open_end and any(n.style in ("|", ">") and not source.text[n.end :].strip() for n in last):
        # A line after it would add a line break to the value.
        raise source.refusal("block text without a line break at the end of the file is not edited")
    return source, sections


def together(sections: Sequence[Section], spots: Iterable[Spot]) -> tuple[Spot, ...]:
    """The last of the objects that can be changed at once, in the order of the text.

    All of them, unless items of a list share anchors: what may become of one hangs on what has become of those behind
    it, so that they change one by one, from the last one on.
    """
    out: list[Spot] = []
    tangled: dict[int, bool] = {}
    for spot in sorted(spots, key=_order, reverse=True):
        number = spot[0]
        if tangled.get(number):
            break
        if number not in tangled:
            root = sections[number - 1].root if 0 < number <= len(sections) else None
            tangled[number] = root is not None and spot[1] is not None and _tangled(root)
        out.append(spot)
    return tuple(reversed(out))


def _order(spot: Spot) -> tuple[int, int]:
    return (spot[0], -1 if spot[1] is None else spot[1])


def _tangled(root: Node) -> bool:
    """Whether an alias stands in another item of a list than what it names, or outside all of them."""
    aliases = [node for node in root.walk() if node.target is not None]
    if not aliases:
        return False
    items = _items(root)[1]
    owners = {node: i for i, item in enumerate(items.items if items is not None else ()) for node in item.walk()}
    return any(owners.get(alias) != owners.get(alias.target) for alias in aliases if alias.target is not None)


def _items(root: Node) -> tuple[Node, Node | None]:
    return next(((key, value) for key, value in root.pairs if key.value == "items"), (root, None))


def find(source: Source, sections: Sequence[Section], number: int, indexes: Iterable[int | None]) -> list[Found]:
    """Objects of the document with a number: the items with these indexes; without an index, the document itself.

    Raises:
        InputError: there is no such object; it is a template.

    """
    section = sections[number - 1] if 0 < number <= len(sections) else None
    if section is None or section.root is None or section.root.kind is not Kind.MAPPING:
        raise source.refusal(f"document {number} is not there, or no object")
    root = section.root
    aliases = tuple(n for n in root.walk() if n.target is not None)
    following = sections[number].start if number < len(sections) else len(source.text)
    siblings: tuple[Entry, ...] | None = None
    out: list[Found] = []
    for index in indexes:
        if index is None:
            found = Found(source, root, root, section.floor, following, aliases)
        else:
            items, node = _item(source, number, root, index)
            siblings = siblings or _siblings(source, root, items)
            start, end = _extent(source, siblings, index, flow=items.flow)
            found = Found(source, root, node, start, end, aliases, siblings, items)
        refuse_template(source, found.start, found.end)
        out.append(found)
    return out


def _item(source: Source, number: int, root: Node, index: int) -> tuple[Node, Node]:
    items = _items(root)[1]
    if items is None or items.kind is not Kind.SEQUENCE or not 0 <= index < len(items.items):
        raise source.refusal(f"document {number} has no item {index}", root.start)
    node = items.items[index]
    if node.kind is not Kind.MAPPING:
        raise source.refusal(f"item {index} is no object of its own", node.start)
    return items, node


def _siblings(source: Source, root: Node, items: Node) -> tuple[Entry, ...]:
    siblings = flow_entries_of(source, items) if items.flow else entries_of(source, items, _items(root)[0].end)
    if siblings is None:
        raise source.refusal("a list that is written so is not edited", items.start)
    return siblings


def _extent(source: Source, siblings: Sequence[Entry], index: int, *, flow: bool) -> tuple[int, int]:
    entry = siblings[index]
    if flow:
        return entry.begin, entry.end
    start = head(source, entry) if on_own_line(source, entry) else entry.begin
    if index + 1 < len(siblings):
        return start, siblings[index + 1].begin
    # Comments that follow further right stand inside it: what is added to it may come behind them.
    return start, tail(source, entry, column(source, entry))
