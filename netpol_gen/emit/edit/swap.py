"""A value written anew at its place, where its text cannot be changed in parts."""

from __future__ import annotations

from typing import Any

from netpol_gen.emit.edit.draft import Draft, Slot
from netpol_gen.emit.edit.layout import Entry, column, line_tail, tail
from netpol_gen.emit.edit.tree import Kind, Node
from netpol_gen.emit.edit.write import block_lines, flow_text, is_block, json_lines, scalar_text


def swap(draft: Draft, node: Node, wanted: Any, slot: Slot) -> None:
    """`wanted` for a node, in brackets if the node is, or all around it is; else in block style.

    Raises:
        NotEditableError: there is no place that is the node's alone.

    """
    entry = slot.entry
    if entry is None:
        raise draft.source.refusal("the whole object would have to be written anew", node.start)
    draft.forget(node)
    if slot.flow:
        _replaced(draft, node, wanted, _flow(draft, wanted, entry))
    elif not is_block(wanted):
        _inline(draft, node, wanted, slot, entry)
    elif node.flow and node.value and isinstance(wanted, type(node.value)):
        _replaced(draft, node, wanted, flow_text(wanted, draft.habits))
    elif entry.key is None:
        _item(draft, node, block_lines(wanted, draft.habits), slot, entry)
    else:
        _block(draft, node, wanted, slot, entry)


def _is_block(node: Node) -> bool:
    return node.kind in (Kind.MAPPING, Kind.SEQUENCE) and not node.flow


def _flow(draft: Draft, wanted: Any, entry: Entry) -> str:
    lead = draft.source.text[draft.source.line_start(entry.begin) : entry.begin]
    if not draft.habits.json or lead.strip():
        return flow_text(wanted, draft.habits)
    return (draft.source.line_break(entry.begin) + lead).join(json_lines(wanted, draft.habits))


def _replaced(draft: Draft, node: Node, wanted: Any, text: str) -> None:
    """New text for old. A scalar's anchor stays and names the new value; a tag goes, it said what the old one was."""
    start = node.start
    if node.kind is Kind.SCALAR and "!" not in draft.source.text[node.start : node.body]:
        start = node.body
        draft.becomes(node, wanted)
    draft.swap(start, node.end, f" {text}" if node.empty else text)


def _inline(draft: Draft, node: Node, wanted: Any, slot: Slot, entry: Entry) -> None:
    text = scalar_text(wanted, draft.habits)
    if not _is_block(node):
        _replaced(draft, node, wanted, text)
    elif entry.key is None:
        _item(draft, node, [text], slot, entry)
    else:
        draft.swap(entry.after, _properties_end(draft, node, entry), f" {text}")
        draft.cut(_below(draft, node, entry), tail(draft.source, entry, slot.column))


def _properties_end(draft: Draft, node: Node, entry: Entry) -> int:
    """Behind a block's anchor and tag, which stand on its key's line; white space before a comment is the comment's."""
    if node.body == node.start:
        return entry.after
    return node.start + len(draft.source.text[node.start : node.body].rstrip())


def _below(draft: Draft, node: Node, entry: Entry) -> int:
    """Where the lines of a block begin that hangs below its key."""
    return draft.source.line_end(_properties_end(draft, node, entry))


def _item(draft: Draft, node: Node, lines: list[str], slot: Slot, entry: Entry) -> None:
    source = draft.source
    stop = source.line_break(entry.begin)
    if node.empty:
        gap = " " * (slot.gap - 1)
        draft.swap(entry.after, node.end, gap + f"{stop}{' ' * (slot.column + slot.gap)}".join(lines))
        return
    # The comments behind a block's last line, and below it further right, are about what is in it.
    end = node.end
    if _is_block(node):
        end = node.start + len(source.text[node.start : tail(source, entry, slot.column)].rstrip("\r\n"))
    depth = column(source, Entry(node.start, node.start, node.start, node))
    draft.swap(node.start, end, f"{stop}{' ' * depth}".join(lines))


def _block(draft: Draft, node: Node, wanted: Any, slot: Slot, entry: Entry) -> None:
    source, habits = draft.source, draft.habits
    depth = slot.column + (habits.mapping if isinstance(wanted, dict) else habits.sequence)
    if not _is_block(node):
        draft.cut(entry.after, entry.end)
        draft.put_lines(line_tail(source, entry.end), block_lines(wanted, habits), depth)
        return
    if isinstance(wanted, type(node.value)):
        first = node.items[0] if node.items else node.pairs[0][0]
        if node.kind is Kind.MAPPING:
            depth = source.column(first.start)
    start = _below(draft, node, entry)
    draft.cut(entry.after, _properties_end(draft, node, entry))
    draft.put_lines(start, block_lines(wanted, habits), depth)
    draft.cut(start, tail(source, entry, slot.column))
