"""Finding the object that is meant in a file, and the text that is its alone."""

from __future__ import annotations

from dataclasses import dataclass

from netpol_gen.emit.edit.layout import Entry, entries_of, flow_entries_of, head, on_own_line
from netpol_gen.emit.edit.source import Source, read_source, refuse_template
from netpol_gen.emit.edit.tree import Kind, Node, Section, read_sections


@dataclass(frozen=True, slots=True)
class Found:
    """A node among the sections of a file. `siblings` are the entries of the list that it is an item of, if any."""

    source: Source
    sections: tuple[Section, ...]
    section: Section
    root: Node
    node: Node
    start: int
    end: int
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


def find(content: bytes, path: str, number: int, index: int | None) -> Found:
    """The object with a number, in its list if there is an index.

    Raises:
        InputError: the file cannot be read, or not be edited; there is no such object; it is a template.

    """
    source, sections = read_file(content, path)
    section = sections[number - 1] if 0 < number <= len(sections) else None
    if section is None or section.root is None or section.root.kind is not Kind.MAPPING:
        raise source.refusal(f"document {number} is not there, or no object")
    root = section.root
    if index is None:
        following = sections[number].start if number < len(sections) else len(source.text)
        found = Found(source, sections, section, root, root, section.floor, following)
    else:
        found = _item(source, sections, section, root, index)
    refuse_template(source, found.start, found.end)
    return found


def _item(source: Source, sections: tuple[Section, ...], section: Section, root: Node, index: int) -> Found:
    key, items = next(((key, value) for key, value in root.pairs if key.value == "items"), (root, None))
    if items is None or items.kind is not Kind.SEQUENCE or not 0 <= index < len(items.items):
        raise source.refusal(f"document {section.number} has no item {index}", root.start)
    node = items.items[index]
    if node.kind is not Kind.MAPPING:
        raise source.refusal(f"item {index} is no object of its own", node.start)
    siblings = flow_entries_of(source, items) if items.flow else entries_of(source, items, key.end)
    if siblings is None:
        raise source.refusal("a list that is written so is not edited", items.start)
    entry = siblings[index]
    if items.flow:
        return Found(source, sections, section, root, node, entry.begin, entry.end, siblings, items)
    start = head(source, entry) if on_own_line(source, entry) else entry.begin
    end = siblings[index + 1].begin if index + 1 < len(siblings) else source.line_end(entry.end)
    return Found(source, sections, section, root, node, start, end, siblings, items)
