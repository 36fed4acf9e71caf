"""Entries of a collection that go and come, between those that stay."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netpol_gen.emit.edit.draft import GONE, Draft, Slot
from netpol_gen.emit.edit.layout import Entry, blank_end, column, head, keeps_blank_lines, on_own_line, tail
from netpol_gen.emit.edit.write import entry_lines, flow_text, item_lines, json_lines, pair_text, scalar_text


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of the entries of a collection; at least one stays.

    `wanted` is the value of each entry, or `GONE`. `added` are keys and values (items have no key) by the index of the
    entry that they follow, -1 for the front.
    """

    wanted: Sequence[Any]
    added: Mapping[int, Sequence[tuple[str | None, Any]]]

    @property
    def first(self) -> int:
        """Index of the first entry that stays."""
        return next(i for i, value in enumerate(self.wanted) if value is not GONE)

    @property
    def stays(self) -> bool:
        """Whether any entry does."""
        return any(value is not GONE for value in self.wanted)


Visit = Callable[[int, Slot], None]
"""Brings the value of the entry with an index up to date."""


def regroup_block(draft: Draft, entries: Sequence[Entry], plan: Plan, visit: Visit) -> None:
    """Carry out a plan on a block mapping or list."""
    source = draft.source
    depth = column(source, entries[0])
    gap = _gap(draft, entries[0])
    alone = on_own_line(source, entries[0])
    begin = 0
    if front := _lines(draft, plan.added.get(-1, ()), gap):
        if alone:
            draft.put_lines(head(source, entries[0]), front, depth)
        else:
            pad = f"{source.line_break(entries[0].begin)}{' ' * depth}"
            draft.put(entries[0].begin, "".join(line + pad for line in front))
    if not alone and plan.wanted[0] is GONE:
        # The next one moves up beside the dash, with the comments that are its own.
        begin = plan.first
        draft.cut(entries[0].begin, head(source, entries[begin]) + depth)
        draft.forget(*(node for e in entries[:begin] for node in (e.key, e.value)))
    takes = -1  # where blank lines would become part of the block text before them
    for i, entry in enumerate(entries[begin:], begin):
        inside = source.line_end(entry.end) if keeps_blank_lines(source, entry.value) else -1
        if plan.wanted[i] is GONE:
            draft.forget(entry.key, entry.value)
            start, end = head(source, entry), tail(source, entry, depth)
            if start == takes:
                end = inside = blank_end(source, end)
            draft.cut(start, end)
        else:
            visit(i, Slot(entry, depth, flow=False, gap=gap))
        takes = inside
        if lines := _lines(draft, plan.added.get(i, ()), gap):
            draft.put_lines(tail(source, entry, depth), lines, depth)


def _gap(draft: Draft, entry: Entry) -> int:
    """Columns from a dash to its item."""
    if entry.key is None and not entry.value.empty and "\n" not in draft.source.text[entry.begin : entry.value.start]:
        return entry.value.start - entry.begin
    return draft.habits.gap


def _lines(draft: Draft, added: Sequence[tuple[str | None, Any]], gap: int) -> list[str]:
    out: list[str] = []
    for key, value in added:
        out += item_lines(value, draft.habits, gap) if key is None else entry_lines(key, value, draft.habits)
    return out


def regroup_flow(draft: Draft, entries: Sequence[Entry], plan: Plan, visit: Visit) -> None:
    """Carry out a plan on a mapping or list in brackets."""
    begin = plan.first
    for key, value in plan.added.get(-1, ()):
        lead, text = _between(draft, entries[0]), _element(draft, entries[0], key, value)
        draft.put(entries[0].begin, f"{text},{lead}")
    if begin:
        draft.cut(entries[0].begin, entries[begin].begin)
        draft.forget(*(node for e in entries[:begin] for node in (e.key, e.value)))
    for i, entry in enumerate(entries[begin:], begin):
        if plan.wanted[i] is GONE:
            draft.forget(entry.key, entry.value)
            draft.cut(entries[i - 1].end, entry.end)
        else:
            visit(i, Slot(entry, flow=True))
        for key, value in plan.added.get(i, ()):
            draft.put(entry.end, f",{_between(draft, entry)}{_element(draft, entry, key, value)}")


def _between(draft: Draft, entry: Entry) -> str:
    """What stands behind a comma: a space, or a new line where each entry has one."""
    source = draft.source
    if not on_own_line(source, entry):
        return " "
    return source.line_break(entry.begin) + source.text[source.line_start(entry.begin) : entry.begin]


def _element(draft: Draft, beside: Entry, key: str | None, value: Any) -> str:
    habits = draft.habits
    if not habits.json or not on_own_line(draft.source, beside):
        return flow_text(value, habits) if key is None else pair_text(key, value, habits)
    name = "" if key is None else f"{scalar_text(key, habits)}: "
    return name + _between(draft, beside).join(json_lines(value, habits))
