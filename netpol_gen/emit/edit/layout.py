"""Where the parts of a collection begin and end, dashes, comments and line breaks included.

A comment that stands directly above an entry, in the entry's column, is the entry's. One that follows it in a column
further right stands inside it. All others are nobody's, and stay where they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from netpol_gen.emit.edit.source import Source
from netpol_gen.emit.edit.tree import Kind, Node

_BLANK = re.compile(r"(?:[ ]*\r?\n)*")
_COMMENT = re.compile(r"( *)#")
_GAP = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_LEAD = re.compile(r"[ -]*")
_REST = re.compile(r"[ \t]*(?:#[^\n]*)?\r?\n?")


@dataclass(frozen=True, slots=True)
class Entry:
    """One pair or item of a collection.

    `begin` is the offset of its key or dash (in brackets: of its text), `after` that behind its colon or dash, `floor`
    one before which nothing belongs to it.
    """

    begin: int
    after: int
    floor: int
    value: Node
    key: Node | None = None

    @property
    def end(self) -> int:
        """Behind the last thing in it."""
        return max(self.value.end, self.after)


def entries_of(source: Source, node: Node, floor: int) -> tuple[Entry, ...]:
    """The entries of a block mapping or list.

    Raises:
        NotEditableError: a key whose colon is on another line, after a question mark.

    """
    out: list[Entry] = []
    at = node.body
    if node.kind is Kind.SEQUENCE:
        for item in node.items:
            dash = _gap_end(source, at)
            if source.text[dash : dash + 1] != "-":
                raise source.refusal("a list without its dash is not edited", at)
            out.append(Entry(dash, dash + 1, floor, item))
            floor = at = out[-1].end
        return tuple(out)
    for key, value in node.pairs:
        colon = _gap_end(source, key.end)
        if source.text[colon : colon + 1] != ":" or "\n" in source.text[key.end : colon]:
            raise source.refusal("a key that is not followed by its colon is not edited", key.start)
        out.append(Entry(key.start, colon + 1, floor, value, key))
        floor = out[-1].end
    return tuple(out)


def flow_entries_of(source: Source, node: Node) -> tuple[Entry, ...] | None:
    """The entries of a collection in brackets; `None` if something about it is odd: a pair without braces or colon."""
    opening, closing = ("[", "]") if node.kind is Kind.SEQUENCE else ("{", "}")
    if source.text[node.body] != opening or source.text[node.end - 1] != closing:
        return None
    out: list[Entry] = []
    at = node.body + 1
    for key, value in node.pairs or ((None, item) for item in node.items):
        begin = value.start if key is None else key.start
        after = begin
        if key is not None:
            after = _gap_end(source, key.end) + 1
            if source.text[after - 1] != ":":
                return None
        if value.empty or (key is not None and key.empty) or _gap_end(source, at) != begin:
            return None
        out.append(Entry(begin, after, at, value, key))
        comma = _gap_end(source, value.end)
        at = comma + 1 if source.text[comma] == "," else comma
    return tuple(out) if _gap_end(source, at) == node.end - 1 else None


def _gap_end(source: Source, at: int) -> int:
    """The first offset from `at` on that is neither white space nor in a comment."""
    found = _GAP.match(source.text, at)
    return found.end() if found else at


def column(source: Source, entry: Entry) -> int:
    """An entry's column.

    Raises:
        NotEditableError: something other than spaces and dashes stands before it, so that the column is not its depth.

    """
    start = source.line_start(entry.begin)
    lead = source.text[start : entry.begin]
    if not _LEAD.fullmatch(lead):
        raise source.refusal("a collection that begins so is not edited", entry.begin)
    return len(lead)


def on_own_line(source: Source, entry: Entry) -> bool:
    """Whether nothing stands before an entry on its line; the first one in a list's item shares that of the dash."""
    return not source.text[source.line_start(entry.begin) : entry.begin].strip()


def head(source: Source, entry: Entry) -> int:
    """Where an entry on its own line begins, with the comments directly above it."""
    start = source.line_start(entry.begin)
    wanted = entry.begin - start
    while start > entry.floor:
        above = source.line_start(start - 1)
        found = _COMMENT.match(source.text, above)
        if above < entry.floor or found is None or len(found[1]) != wanted:
            break
        start = above
    return start


def tail(source: Source, entry: Entry, depth: int) -> int:
    """Behind the line on which an entry ends, and behind the comments that follow it in a column beyond `depth`."""
    end = line_tail(source, entry.end)
    while (found := _COMMENT.match(source.text, end)) is not None and len(found[1]) > depth:
        end = source.line_end(end)
    return end


def line_tail(source: Source, at: int) -> int:
    """Behind the break of a line of which only white space and a comment is left.

    Raises:
        NotEditableError: something else is left.

    """
    end = source.line_end(at)
    if not _REST.fullmatch(source.text, at, end):
        raise source.refusal("a collection that ends so is not edited", at)
    return end


def blank_end(source: Source, at: int) -> int:
    """Behind the blank lines from the beginning of a line on."""
    found = _BLANK.match(source.text, at)
    return found.end() if found else at


def keeps_blank_lines(source: Source, node: Node) -> bool:
    """Whether a node ends with block text to which the blank lines behind it belong."""
    *_, last = node.walk()
    return last.style in ("|", ">") and "+" in source.text[last.body : source.line_end(last.body)].partition("#")[0]
