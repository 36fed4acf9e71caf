"""One object of a file changed or taken out; what comes of it is read again before it is handed back."""

from __future__ import annotations

import bisect
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from netpol_gen.emit.edit.change import change
from netpol_gen.emit.edit.draft import GONE, Draft, Slot
from netpol_gen.emit.edit.meaning import Role
from netpol_gen.emit.edit.place import Found, Spot, find, read_file, together
from netpol_gen.emit.edit.regroup import Plan, regroup_block, regroup_flow
from netpol_gen.emit.edit.source import Source
from netpol_gen.emit.edit.spans import spans
from netpol_gen.emit.edit.tree import Node, Section, equal, read_values
from netpol_gen.emit.edit.write import Habits, habits_of
from netpol_gen.errors import InputError, InvariantError, Place, printable
from netpol_gen.policy import API_VERSION, KIND, parse_policy

_GROUP = API_VERSION.partition("/")[0] + "/"


def edit_document(content: bytes, number: int, index: int | None, wanted: Mapping[str, Any], path: str) -> bytes:
    """`edit_documents` for a single one."""
    return edit_documents(content, {(number, index): wanted}, path)


def edit_documents(content: bytes, wanted: Mapping[Spot, Mapping[str, Any]], path: str) -> bytes:
    """`content` with NetworkPolicies changed so that they mean what is wanted; the same bytes if they do already.

    The file is read once and what comes of it once, however many objects change.

    Args:
        content: the file, UTF-8, YAML or JSON.
        wanted: manifests as `dump_policy` gives them, of the same names, by the number of the document, from 1, as
            `netpol_gen.manifests` counts, and the index of the item in a `kind: List`, `None` for a document of its
            own. Their specs are brought in, and those entries of metadata.labels and metadata.annotations that they
            have; all other metadata of an object stays.
        path: of the file, for errors.

    Raises:
        NotEditableError: a change would alter something else, or it is a template, or not the object that is meant.
        InputError: the file cannot be read, or what comes of it is no policy.

    """
    left = dict(wanted)
    while left:
        source, sections = read_file(content, path)
        chosen = {spot: left.pop(spot) for spot in together(sections, left)}
        content = _edited(content, source, sections, chosen)
    return content


def _edited(
    content: bytes, source: Source, sections: tuple[Section, ...], wanted: Mapping[Spot, Mapping[str, Any]]
) -> bytes:
    draft = Draft(source, Habits(), frozenset())
    targets: dict[Spot, tuple[Any, dict[str, Any]]] = {}
    json_like = False
    for number, indexes in _by_document(wanted).items():
        for index, found in zip(indexes, find(source, sections, number, indexes), strict=True):
            _must_be_meant(found, wanted[number, index])
            target = _target(found.node.value, wanted[number, index])
            own = _changed(found, target)
            draft.edits += own.edits
            json_like |= own.habits.json
            targets[number, index] = (found.node.value, target)
    if not draft.edits:
        return content
    result = draft.result()
    before, after = _values_of(sections), _values(result, source.path)
    if not equal(_others(before, targets), _others(after, targets)):
        numbers = ", ".join(str(n) for n in _by_document(targets))
        raise InvariantError(f"{source.path}: an edit of document {numbers} changed something else")
    for (number, index), (old, target) in targets.items():
        edited = after[number] if index is None else after[number]["items"][index]
        _must_mean(edited, old, target, Place(source.path, 0, number))
    if json_like and _is_json(content) and not _is_json(result):
        raise InvariantError(f"{source.path}: was JSON and is no more")
    return result


def _changed(found: Found, target: Mapping[str, Any]) -> Draft:
    draft = _draft(found)
    change(draft, found.node, target, Role.OBJECT, Slot())
    draft.spare(found.aliases, [found.node])
    if any(start < found.start or end > found.end for start, end, _ in draft.edits):
        raise InvariantError(f"{found.source.path}: a change outside the object that it is about")
    return draft


def remove_document(content: bytes, number: int, index: int | None, path: str) -> bytes | None:
    """`remove_documents` for a single one."""
    return remove_documents(content, [(number, index)], path)


def remove_documents(content: bytes, spots: Iterable[Spot], path: str) -> bytes | None:
    """`content` without some objects; `None` if no other object is in it, so that the file can go.

    Arguments are those of `edit_documents`; all numbers and indexes are those of `content`.

    Raises:
        NotEditableError: something else would change too.
        InputError: the file cannot be read.

    """
    left = set(spots)
    while left:
        source, sections = read_file(content, path)
        chosen = together(sections, left)
        left.difference_update(chosen)
        rest = _without(source, sections, chosen)
        if rest is None:
            return None
        content = rest
    return content


def _without(source: Source, sections: tuple[Section, ...], spots: Sequence[Spot]) -> bytes | None:
    draft = Draft(source, Habits(), frozenset())
    expected = _values_of(sections)
    whole: list[int] = []
    for number, indexes in _by_document(spots).items():
        objects = find(source, sections, number, indexes)
        gone = {index for index in indexes if index is not None}
        items = objects[-1].items
        if None in indexes or items is None or len(gone) == len(items.items):
            whole.append(number)
            del expected[number]
        else:
            draft.edits += _thinned(objects, gone)
            listed = expected[number]
            kept = [each for i, each in enumerate(listed["items"]) if i not in gone]
            expected[number] = {**listed, "items": kept}
    if whole and not any(_holds_object(s.root) for s in sections if s.number not in whole):
        return None
    for start, end in spans(source, sections, whole):
        draft.cut(start, end)
    result = draft.result()
    after = _values(result, source.path)
    if not equal([expected[n] for n in sorted(expected)], [after[n] for n in sorted(after)]):
        numbers = ", ".join(str(n) for n in _by_document(spots))
        raise InvariantError(f"{source.path}: taking out objects of document {numbers} changed something else")
    return result


def _thinned(objects: Sequence[Found], gone: set[int]) -> list[tuple[int, int, str]]:
    """What takes some items out of their list, others stay."""
    one = objects[0]
    draft = _draft(one)
    plan = Plan([GONE if i in gone else each.value for i, each in enumerate(one.siblings)], {})
    regroup = regroup_flow if one.items is not None and one.items.flow else regroup_block
    regroup(draft, one.siblings, plan, lambda _, __: None)
    draft.spare(one.aliases, [each.node for each in objects])
    return draft.edits


def _draft(found: Found) -> Draft:
    root = found.root if found.root.flow else found.node
    aliased = frozenset(n.target for n in found.aliases if n.target is not None)
    return Draft(found.source, habits_of(found.source, root), aliased)


def _by_document(spots: Iterable[Spot]) -> dict[int, list[int | None]]:
    out: dict[int, list[int | None]] = {}
    for number, index in spots:
        out.setdefault(number, []).append(index)
    return out


def _holds_object(root: Node | None) -> bool:
    if root is None or root.value is None:
        return False
    value = root.value
    empty = isinstance(value, dict) and str(value.get("kind")).endswith("List") and value.get("items") in (None, [])
    return not empty


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


# --- what came of it --------------------------------------------------------------------------------------------------


def _values_of(sections: Iterable[Section]) -> dict[int, Any]:
    """As `_values`, of what was read already."""
    return {s.number: s.root.value for s in sections if s.root is not None and s.root.value is not None}


def _values(content: bytes, path: str) -> dict[int, Any]:
    try:
        return read_values(content.decode("utf-8-sig"), path)
    except InputError as error:
        raise InvariantError(f"{path}: what an edit made cannot be read: {error}") from error


def _others(values: Mapping[int, Any], spots: Iterable[Spot]) -> dict[int, Any] | None:
    """All values but these; `None` if some are not there."""
    out = dict(values)
    for number, indexes in _by_document(spots).items():
        if indexes == [None]:
            out[number] = None
            continue
        changed = values.get(number)
        if not isinstance(changed, dict) or not isinstance(items := changed.get("items"), list):
            return None
        out[number] = {**changed, "items": [None if i in indexes else each for i, each in enumerate(items)]}
    return out


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
