"""The list of resources of a kustomization or component, one entry more or less."""

from __future__ import annotations

import bisect
import posixpath
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

from netpol_gen.emit.edit.change import change
from netpol_gen.emit.edit.draft import Draft, Slot
from netpol_gen.emit.edit.meaning import Role
from netpol_gen.emit.edit.place import read_file
from netpol_gen.emit.edit.source import NotEditableError, Source, refuse_template
from netpol_gen.emit.edit.tree import Kind, Node, equal, read_values
from netpol_gen.emit.edit.write import Habits, entry_lines, habits_of
from netpol_gen.errors import InvariantError, Place, printable

_KINDS = (None, "Kustomization", "Component")
_BEFORE = ("apiVersion", "kind", "metadata", "namespace")
_KEY = "resources"


def resources(content: bytes, path: str) -> tuple[str, ...]:
    """What a kustomization lists, in its order.

    Raises:
        InputError: it cannot be read, or is no kustomization.

    """
    source, root = _read(content, path)
    return tuple(_listed(source, root))


def add_resource(content: bytes, resource: str, path: str) -> bytes:
    """`content` with a resource in its list: in its sorted place if the list is sorted, else at the end.

    The same bytes if it is listed, in whatever spelling (`./a.yaml`).

    Raises:
        NotEditableError: the name leads out of the directory, or something else would change too.
        InputError: the file cannot be read.

    """
    name = _inside(resource, path)

    def more(listed: list[str]) -> list[str]:
        if any(_plain(each) == name for each in listed):
            return listed
        at = bisect.bisect(listed, resource) if listed == sorted(listed) else len(listed)
        return [*listed[:at], resource, *listed[at:]]

    return _edited(content, path, more)


def remove_resource(content: bytes, resource: str, path: str) -> bytes:
    """`content` without a resource in its list; the same bytes if it is not listed.

    Raises:
        NotEditableError: as for `add_resource`.
        InputError: the file cannot be read.

    """
    name = _inside(resource, path)
    return _edited(content, path, lambda listed: [each for each in listed if _plain(each) != name])


def _inside(resource: str, path: str) -> str:
    parts = PurePosixPath(resource).parts
    local = parts and not resource.startswith("/") and "\\" not in resource and "://" not in resource
    if not local or ".." in parts or not resource.isprintable() or _plain(resource) == ".":
        raise NotEditableError(f"{printable(resource)} leads out of the kustomization's directory", Place(path))
    return _plain(resource)


def _plain(resource: str) -> str:
    return resource if "://" in resource else posixpath.normpath(resource)


def _read(content: bytes, path: str) -> tuple[Source, Node | None]:
    source, sections = read_file(content, path)
    refuse_template(source, 0, len(source.text))
    if len(sections) > 1:
        raise source.refusal("a kustomization of several documents is not edited", sections[1].start)
    root = sections[0].root if sections else None
    if root is None or root.value is None:
        return source, None
    if root.kind is not Kind.MAPPING or root.value.get("kind") not in _KINDS:
        raise source.refusal("not a kustomization", root.start)
    return source, root


def _listed(source: Source, root: Node | None) -> list[str]:
    listed = None if root is None else root.value.get(_KEY)
    if listed is None:
        return []
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise source.refusal(f"{_KEY} is not a list of names", None if root is None else root.start)
    return listed


def _edited(content: bytes, path: str, update: Callable[[list[str]], list[str]]) -> bytes:
    source, root = _read(content, path)
    listed = _listed(source, root)
    wanted = update(listed)
    if wanted == listed:
        return content
    if root is None:
        draft = Draft(source, Habits(), frozenset())
        draft.put_lines(len(source.text), entry_lines(_KEY, wanted, draft.habits), 0)
        target: dict[str, Any] = {_KEY: wanted}
    else:
        aliased = frozenset(n.target for n in root.walk() if n.target is not None)
        draft = Draft(source, habits_of(source, root), aliased)
        target = _target(root.value, wanted)
        change(draft, root, target, Role.PLAIN, Slot())
    result = draft.result()
    if not equal(read_values(result.decode("utf-8-sig"), path), {1: target}):
        raise InvariantError(f"{path}: an edit of {_KEY} changed something else")
    return result


def _target(old: dict[str, Any], wanted: list[str]) -> dict[str, Any]:
    if _KEY in old:
        return {**old, _KEY: wanted}
    last = max((i for i, key in enumerate(old) if key in _BEFORE), default=-1)
    pairs = list(old.items())
    return dict([*pairs[: last + 1], (_KEY, wanted), *pairs[last + 1 :]])
