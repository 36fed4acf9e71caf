"""A node made to mean something else, by changing as little of its text as that takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from netpol_gen.emit.edit.align import align
from netpol_gen.emit.edit.draft import GONE, Draft, Slot
from netpol_gen.emit.edit.layout import Entry, entries_of, flow_entries_of
from netpol_gen.emit.edit.meaning import Role, absent, implied, same
from netpol_gen.emit.edit.regroup import Plan, regroup_block, regroup_flow
from netpol_gen.emit.edit.swap import swap
from netpol_gen.emit.edit.tree import Kind, Node, key_text


def change(draft: Draft, node: Node, wanted: Any, role: Role, slot: Slot) -> None:
    """Bring a node up to `wanted`. What means the same already is not touched.

    Raises:
        NotEditableError: there is no way that leaves everything else as it is.

    """
    if not draft.touches(node) and same(node.value, wanted, role):
        return
    if node.kind is Kind.ALIAS and node.target is not None:
        now = draft.fates.get(node.target, node.value)
        if now is GONE or not same(now, wanted, role):
            swap(draft, node, wanted, slot)
        return
    plan = _plan(draft, node, wanted, role)
    entries = _entries(draft, node, slot) if plan is not None and plan.stays else None
    if plan is None or entries is None:
        swap(draft, node, wanted, slot)
        return

    def visit(index: int, inner: Slot) -> None:
        entry = entries[index]
        inner_role = role.item if entry.key is None else role.under(key_text(entry.key.value))
        change(draft, entry.value, plan.wanted[index], inner_role, inner)

    regroup = regroup_flow if node.flow else regroup_block
    regroup(draft, entries, plan, visit)
    draft.becomes(node, wanted)


def _entries(draft: Draft, node: Node, slot: Slot) -> Sequence[Entry] | None:
    if node.flow:
        return flow_entries_of(draft.source, node)
    # What stands above the first line of an object is about the object, or a licence.
    return entries_of(draft.source, node, node.body if slot.entry is None else slot.entry.after)


def _plan(draft: Draft, node: Node, wanted: Any, role: Role) -> Plan | None:
    """How to get there by parts; `None` if there is no such way: another kind of node, or a merged mapping."""
    if node.kind is Kind.SEQUENCE and isinstance(wanted, list):
        return _list_plan(draft, node, wanted, role.item)
    if node.kind is not Kind.MAPPING or not isinstance(wanted, dict) or node.merges:
        return None
    return None if any(draft.touches(key) for key, _ in node.pairs) else _mapping_plan(node, wanted, role)


def _mapping_plan(node: Node, wanted: dict[str, Any], role: Role) -> Plan:
    names = [key_text(key.value) for key, _ in node.pairs]
    values: list[Any] = []
    for name, (_, value) in zip(names, node.pairs, strict=True):
        silent = role is not Role.PLAIN and absent(name, value.value)
        values.append(wanted.get(name, value.value if silent else GONE))
    added: dict[int, list[tuple[str | None, Any]]] = {}
    places = {name: i for i, name in enumerate(names)}
    last = -1
    for name, value in wanted.items():
        if name in places:
            last = places[name]
        elif not implied(name, wanted, role):
            added.setdefault(last, []).append((name, value))
    return Plan(values, added)


def _list_plan(draft: Draft, node: Node, wanted: list[Any], role: Role) -> Plan:
    old = [_now(draft, item) for item in node.items]
    pairs = align(old, wanted, role)
    places = {j: i for i, j in pairs.items()}
    added: dict[int, list[tuple[str | None, Any]]] = {}
    last = -1
    for j, value in enumerate(wanted):
        if j in places:
            last = places[j]
        else:
            added.setdefault(last, []).append((None, value))
    return Plan([wanted[pairs[i]] if i in pairs else GONE for i in range(len(old))], added)


def _now(draft: Draft, item: Node) -> Any:
    """What an item means by now: an alias follows what it names."""
    fate = item.value if item.target is None else draft.fates.get(item.target, item.value)
    return item.value if fate is GONE else fate
