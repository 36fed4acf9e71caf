"""One object of a file changed or taken out; what comes of it is read again before it is handed back."""

from __future__ import annotations

import bisect
import json
from collections.abc import Mapping
from typing import Any

from netpol_gen.emit.edit.change import change
from netpol_gen.emit.edit.draft import GONE, Draft, Slot
from netpol_gen.emit.edit.layout import Entry, head
from netpol_gen.emit.edit.meaning import Role
from netpol_gen.emit.edit.place import Found, find
from netpol_gen.emit.edit.regroup import Plan, regroup_block, regroup_flow
from netpol_gen.emit.edit.source import Source
from netpol_gen.emit.edit.tree import Node, Section, equal, read_values
from netpol_gen.emit.edit.write import habits_of
from netpol_gen.errors import InputError, InvariantError, Place, printable
from netpol_gen.policy import API_VERSION, KIND, parse_policy

_GROUP = API_VERSION.partition("/")[0] + "/"


def edit_document(content: bytes, number: int, index: int | None, wanted: Mapping[str, Any], path: str) -> bytes:
    """`content` with one NetworkPolicy changed so that it means `wanted`; the same bytes if it does already.

    Args:
        content: the file, UTF-8, YAML or JSON.
        number: of the document, from 1, as `netpol_gen.manifests` counts.
        index: of the item in a `kind: List`, `None` for a document of its own.
        wanted: a manifest as `dump_policy` gives it, of the same name. Its spec is brought in, and those entries of
            metadata.labels and metadata.annotations that it has; all other metadata of the object stays.
        path: of the file, for errors.

    Raises:
        NotEditableError: the change would alter something else, or it is a template, or not the object that is meant.
        InputError: the file cannot be read, or what comes of it is no policy.

    """
    found = find(content, path, number, index)
    old = found.node.value
    _must_be_meant(found, wanted)
    target = _target(old, wanted)
    draft = _draft(found)
    change(draft, found.node, target, Role.OBJECT, Slot())
    draft.spare(found.root, found.node)
    if not draft.edits:
        return content
    if any(start < found.start or end > found.end for start, end, _ in draft.edits):
        raise InvariantError(f"{path}: a change outside the object that it is about")
    result = draft.result()
    before, after = (_values(each, path) for each in (content, result))
    _same_but(before, after, number, index, path)
    edited = after[number] if index is None else after[number]["items"][index]
    _must_mean(edited, old, target, Place(path, 0, number))
    if draft.habits.json and _is_json(content) and not _is_json(result):
        raise InvariantError(f"{path}: was JSON and is no more")
    return result


def remove_document(content: bytes, number: int, index: int | None, path: str) -> bytes | None:
    """`content` without one object; `None` if no other object is in it, so that the file can go.

    Arguments are those of `edit_document`. The numbers and indexes of what follows are one less afterwards: of several
    objects, the last one goes first.

    Raises:
        NotEditableError: something else would change too.
        InputError: the file cannot be read.

    """
    found = find(content, path, number, index)
    draft = _draft(found)
    whole = index is None or found.items is None or len(found.items.items) == 1
    if whole:
        if not any(_holds_object(s.root) for s in found.sections if s is not found.section):
            return None
        draft.cut(*_span(found.source, found.sections, number - 1))
    else:
        plan = Plan([GONE if i == index else each.value for i, each in enumerate(found.siblings)], {})
        regroup = regroup_flow if found.items is not None and found.items.flow else regroup_block
        regroup(draft, found.siblings, plan, lambda _, __: None)
        draft.spare(found.root, found.node)
    result = draft.result()
    before, after = (_values(each, path) for each in (content, result))
    if whole:
        del before[number]
        rest = [before[n] for n in sorted(before)]
        if not equal(rest, [after[n] for n in sorted(after)]):
            raise InvariantError(f"{path}: taking out document {number} changed another one")
    else:
        del before[number]["items"][index]
        if not equal(before, after):
            raise InvariantError(f"{path}: taking out item {index} of document {number} changed something else")
    return result


def _draft(found: Found) -> Draft:
    aliased = frozenset(n.target for n in found.root.walk() if n.target is not None)
    root = found.root if found.root.flow else found.node
    return Draft(found.source, habits_of(found.source, root), aliased)


# --- what is meant ----------------------------------------------------------------------------------------------------


def _must_be_meant(found: Found, wanted: Mapping[str, Any]) -> None:
    old = found.node.value
    # Items of a typed list go without.
    typed = found.items is not None and found.root.value.get("kind") == f"{KIND}List"
    source = {"kind": KIND, "apiVersion": found.root.value.get("apiVersion"), **old} if typed else old
    if source.get("kind") != KIND or not str(source.get("apiVersion")).startswith(_GROUP):
        raise found.source.refusal(f"not a {KIND} of {API_VERSION}", found.node.start)
    metadata = old.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if name != wanted["metadata"]["name"]:
        problem = f"named {printable(name)}, not {printable(wanted['metadata']['name'])}"
        raise found.source.refusal(problem, found.node.start)


def _target(old: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The whole object as it will be, keys in the order in which people write them."""
    metadata = dict(old["metadata"])
    for key in ("labels", "annotations"):
        entries = wanted["metadata"].get(key)
        if entries:
            before = metadata.get(key)
            metadata[key] = _merged(before if isinstance(before, dict) else {}, entries)
    out = {**old, "metadata": _ordered(metadata, ("name", "namespace", "labels", "annotations"))}
    out["spec"] = wanted["spec"]
    return _ordered(out, ("apiVersion", "kind", "metadata", "spec"))


def _merged(before: Mapping[str, Any], entries: Mapping[str, Any]) -> dict[str, Any]:
    """New keys in their sorted place if the old ones are sorted, else at the end."""
    keys = list(before)
    for key in entries:
        if key not in before:
            keys.insert(bisect.bisect(keys, key) if keys == sorted(keys) else len(keys), key)
    return {key: entries.get(key, before.get(key)) for key in keys}


def _ordered(mapping: Mapping[str, Any], first: tuple[str, ...]) -> dict[str, Any]:
    return {key: mapping[key] for key in (*(k for k in first if k in mapping), *(k for k in mapping if k not in first))}


# --- where a document is ----------------------------------------------------------------------------------------------


def _holds_object(root: Node | None) -> bool:
    if root is None or root.value is None:
        return False
    value = root.value
    empty = isinstance(value, dict) and str(value.get("kind")).endswith("List") and value.get("items") in (None, [])
    return not empty


def _span(source: Source, sections: tuple[Section, ...], index: int) -> tuple[int, int]:
    """The text of a document that goes, with its dashes, or the comments directly above it if it has none."""
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
    return start, section.stop if needed else source.line_end(section.stop)


# --- what came of it --------------------------------------------------------------------------------------------------


def _values(content: bytes, path: str) -> dict[int, Any]:
    try:
        return read_values(content.decode("utf-8-sig"), path)
    except InputError as error:
        raise InvariantError(f"{path}: what an edit made cannot be read: {error}") from error


def _same_but(before: dict[int, Any], after: dict[int, Any], number: int, index: int | None, path: str) -> None:
    """Every other document, and every other item, has the value that it had."""

    def others(values: dict[int, Any]) -> Any:
        changed = values.get(number)
        if index is None:
            return {**values, number: None}
        if not isinstance(changed, dict) or not isinstance(items := changed.get("items"), list):
            return None
        return {**values, number: {**changed, "items": [*items[:index], None, *items[index + 1 :]]}}

    if not equal(others(before), others(after)):
        raise InvariantError(f"{path}: an edit of document {number} changed something else")


def _must_mean(edited: Any, old: Mapping[str, Any], target: Mapping[str, Any], place: Place) -> None:
    wanted, found = parse_policy(target, place), parse_policy(edited, place)
    if wanted.canonical() != found.canonical():
        raise InvariantError(f"{place}: the edited policy does not mean what was wanted")
    rest = {k: v for k, v in old.items() if k not in ("metadata", "spec")}
    if not equal(rest, {k: v for k, v in edited.items() if k not in ("metadata", "spec")}):
        raise InvariantError(f"{place}: an edit changed more than metadata and spec")
    if not equal(target["metadata"], edited["metadata"]):
        raise InvariantError(f"{place}: an edit changed other metadata")


def _is_json(content: bytes) -> bool:
    try:
        json.loads(content)
    except (ValueError, RecursionError):
        return False
    return True
