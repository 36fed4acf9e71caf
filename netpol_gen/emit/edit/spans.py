"""Where documents are that go, with their dashes and comments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from netpol_gen.emit.edit.layout import Entry, head
from netpol_gen.emit.edit.source import Source
from netpol_gen.emit.edit.tree import Section


def spans(source: Source, sections: Sequence[Section], numbers: Iterable[int]) -> list[tuple[int, int]]:
    """The pieces of text to cut out so that these documents go, as if they went one by one, the last one first."""
    left = list(sections)
    out: list[tuple[int, int]] = []
    for number in sorted(numbers, reverse=True):
        start, end = _span(source, left, number - 1, out)
        gone = left.pop(number - 1)
        if gone.stop is not None and end == gone.stop:
            # Its dots stay, and end the document before.
            left[number - 2] = replace(left[number - 2], stop=gone.stop)
        while out and end >= out[-1][0]:
            end = max(end, out.pop()[1])
        out.append((start, end))
    return out


def _span(source: Source, sections: Sequence[Section], index: int, cut: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The text of one document, with its dashes, or the comments directly above it if it has none."""
    section, root = sections[index], sections[index].root
    start = section.start
    if not section.dashes and root is not None:
        start = head(source, Entry(root.start, root.start, section.floor, root))
    if index == len(sections) - 1:
        return start, len(source.text)
    following = sections[index + 1]
    if section.stop is None:
        return start, following.start
    # A directive needs the dots of a document before it.
    bare = source.text.startswith("---", following.start)
    needed = not bare and index > 0 and sections[index - 1].stop is None
    return start, section.stop if needed else source.line_end(_last_dots(source, section.stop, following.start, cut))


def _last_dots(source: Source, start: int, end: int, cut: Sequence[tuple[int, int]]) -> int:
    """The last dots that are left from those at `start` on: more than one line of them ends a document as one does."""
    at = source.text.rfind("\n...", start, end)
    while at >= 0 and any(first <= at + 1 < last for first, last in cut):
        at = source.text.rfind("\n...", start, at)
    return max(start, at + 1)
