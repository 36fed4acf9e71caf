"""What becomes of a text: pieces cut out and put in, and what that does to the anchors in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from netpol_gen.emit.edit.layout import Entry
from netpol_gen.emit.edit.source import Source
from netpol_gen.emit.edit.tree import Node, equal
from netpol_gen.emit.edit.write import Habits
from netpol_gen.errors import InvariantError


class _Gone(Enum):
    GONE = "gone"


GONE: Final = _Gone.GONE
"""In place of a value: it goes."""


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a node hangs: its entry, the column of that, and whether it is in brackets. No entry: it is the object."""

    entry: Entry | None = None
    column: int = 0
    flow: bool = False
    gap: int = 2


@dataclass(slots=True)
class Draft:
    """Changes to one document, collected in the order of its text.

    `fates` are the anchored nodes that aliases name and that do not stay as they are, with what they mean afterwards.
    """

    source: Source
    habits: Habits
    aliased: frozenset[Node]
    edits: list[tuple[int, int, str]] = field(default_factory=list)
    fates: dict[Node, Any] = field(default_factory=dict)

    def cut(self, start: int, end: int) -> None:
        """Take out a piece."""
        self.swap(start, end, "")

    def put(self, at: int, text: str) -> None:
        """Put in a piece; of several at one place the first comes first."""
        self.swap(at, at, text)

    def swap(self, start: int, end: int, text: str) -> None:
        """One piece for another."""
        if start != end or text:
            self.edits.append((start, end, text))

    def put_lines(self, at: int, lines: list[str], indent: int) -> None:
        """Put in whole lines, at the beginning of one."""
        stop = self.source.line_break(max(at - 1, 0))
        self.put(at, "".join(f"{' ' * indent}{line}{stop}" for line in lines))

    def forget(self, *nodes: Node | None) -> None:
        """These nodes go, and with them the anchors in them."""
        for node in nodes:
            for each in node.walk() if node is not None else ():
                if each in self.aliased:
                    self.fates[each] = GONE

    def becomes(self, node: Node, value: Any) -> None:
        """An anchored node stays and means something else."""
        if node in self.aliased:
            self.fates[node] = value

    def touches(self, node: Node | None) -> bool:
        """Whether an alias in a node names something that does not stay as it is."""
        return bool(self.fates) and node is not None and any(each.target in self.fates for each in node.walk())

    def result(self) -> bytes:
        """The file's new content."""
        out: list[str] = []
        at = 0
        for start, end, text in sorted(self.edits, key=lambda e: e[0]):
            if start < at:
                raise InvariantError(f"{self.source.path}: two changes overlap at offset {start}")
            out += [self.source.text[at:start], text]
            at = end
        # Where the last line was cut off, the one before it keeps the break that it had.
        size = len(self.source.text)
        cut_off = any(start < end == size for start, end, _ in self.edits)
        put_on = any(start == size for start, _, _ in self.edits)
        text = "".join([*out, self.source.text[at:]])
        return self.source.content(text, added_break=put_on or not cut_off)

    def spare(self, aliases: Iterable[Node], changed: Sequence[Node]) -> None:
        """Make sure that of a document's aliases none outside `changed` hangs on an anchor that does not stay as it is.

        Raises:
            NotEditableError: something does.

        """
        for node in aliases if self.fates else ():
            if node.target is None or any(each.start <= node.start < each.end for each in changed):
                continue
            fate = self.fates.get(node.target, node.value)
            if fate is GONE or not equal(fate, node.value):
                raise self.source.refusal("the change would alter something else too, through this alias", node.start)
