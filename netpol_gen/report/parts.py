"""Markdown that has to fit: sections packed into as few texts as a limit allows, cut between rows and never within."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MORE = "\n*Continued in the comments below.*\n"
"""Ends a part that is not the last."""
_SHORTENED = "\n*… too long to be shown here; the attached version has it.*\n"


@dataclass(frozen=True, slots=True)
class Section:
    """A piece of a text: `head` (a heading, sentences), then rows, under `columns` if they are those of a table.

    `folded` puts the rows behind this line of plain text, to be unfolded by a click; `columns` ends with a newline.
    Rows are lines of Markdown without their newline.
    """

    head: str
    rows: tuple[str, ...] = ()
    columns: str = ""
    folded: str = ""

    def text(self, rows: Sequence[str], *, first: bool = True) -> str:
        """The section with some of its rows, as one text that stands for itself."""
        head = self.head if first else ""
        if not rows:
            return head
        table = self.columns + "".join(f"{row}\n" for row in rows)
        if self.folded:
            table = f"<details><summary>{self.folded}</summary>\n\n{table}\n</details>\n"
        return f"{head}\n{table}" if head else table


def size(text: str) -> int:
    """What a forge may count of a text: bytes, which are never fewer than characters."""
    return len(text.encode("utf-8", "surrogatepass"))


def pack(sections: Sequence[Section], limit: int) -> tuple[str, ...]:
    """The sections as texts of at most `limit` bytes each, in order; one empty text if there is nothing.

    A row that alone is longer than the limit is shortened, and says so.
    """
    room = limit - size(MORE)
    parts: list[str] = []
    now = ""
    for section in sections:
        whole = section.text(section.rows)
        if size(now) + size(whole) + 1 <= room:
            now = _joined(now, whole)
            continue
        rest, first = list(section.rows), True
        while rest or first:
            taken = _fitting(section, rest, room - size(now) - 1, first=first)
            if not taken and now:
                parts.append(now)
                now = ""
                continue
            if not taken:
                taken = 1
                text = _shortened(section, rest[:1], room, first=first)
            else:
                text = section.text(rest[:taken], first=first)
            now = _joined(now, text)
            rest, first = rest[taken:], False
            if rest:
                parts.append(now)
                now = ""
    parts.append(now)
    return (*(p + MORE for p in parts[:-1]), parts[-1])


def _joined(before: str, text: str) -> str:
    return f"{before}\n{text}" if before else text


def _fitting(section: Section, rows: Sequence[str], room: int, *, first: bool) -> int:
    """How many of the rows fit; a head counts as one where there are none."""
    if not rows:
        return int(size(section.text((), first=first)) <= room)
    low, high = 0, len(rows)
    while low < high:
        middle = (low + high + 1) // 2
        if size(section.text(rows[:middle], first=first)) <= room:
            low = middle
        else:
            high = middle - 1
    return low


def _shortened(section: Section, rows: Sequence[str], room: int, *, first: bool) -> str:
    """What cannot fit even alone: its head if that does, and that something is missing."""
    head = section.head if first else ""
    if size(head) + size(_SHORTENED) <= room or not rows:
        kept = head.encode("utf-8", "surrogatepass")[: max(0, room - size(_SHORTENED))].decode("utf-8", "ignore")
        return kept + _SHORTENED
    return _SHORTENED
