"""What a kustomization does to the policies it takes in."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netpol_gen.errors import InputError, Place, printable
from netpol_gen.manifests import documents_in

NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_KIND = "NetworkPolicy"
_GROUPS = ("", "kustomize.config.k8s.io")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Kustomization:
    """A kustomization or component.

    `resources` and `patches` are paths in the repository, of files and folders. Among the resources are the
    `components`, in their order: what these do is done to all of the others. `changes` names the first setting by which
    policies would not stay what their files say; empty if there is none.
    """

    path: str
    namespace: str = ""
    resources: tuple[str, ...] = ()
    patches: tuple[str, ...] = ()
    changes: str = ""
    components: tuple[str, ...] = ()


def parse_kustomization(content: bytes, path: str) -> Kustomization | None:
    """What of a kustomization matters for policies; `None` for an object of another group that is called alike (Flux).

    Raises:
        InputError: it is no mapping, or no YAML; a namespace that is none.

    """
    folder = posixpath.dirname(path)
    data: Any = {}
    for document in documents_in(content, path):
        if not isinstance(document.data, dict):
            raise InputError("a kustomization is a mapping", Place(path, document.line))
        data = document.data
    if _text(data.get("apiVersion")).rpartition("/")[0] not in _GROUPS:
        return None
    namespace = _text(data.get("namespace"))
    if namespace and not _NAMESPACE.fullmatch(namespace):
        raise InputError(f"{printable(namespace)} is no namespace", Place(path, field="namespace"))
    lists = (*_texts(data.get("resources")), *_texts(data.get("bases")), *_texts(data.get("components")))
    patches = [item for key in ("patches", "patchesJson6902") for item in _mappings(data.get(key))]
    files = [*_texts(data.get("patchesStrategicMerge")), *(_text(p.get("path")) for p in patches)]
    return Kustomization(
        path,
        namespace,
        tuple(sorted({_joined(folder, item) for item in lists if "://" not in item})),
        tuple(sorted({_joined(folder, item) for item in files if item and "\n" not in item})),
        _changes(data, patches),
        tuple(_joined(folder, item) for item in _texts(data.get("components")) if "://" not in item),
    )


def taken_in(kustomizations: Iterable[Kustomization], paths: Collection[str]) -> set[str]:
    """Those of the paths that the kustomizations name, be it the kustomization of a folder or a patch."""
    named = {item for k in kustomizations for item in (*k.resources, *k.patches)}
    return {path for item in named for path in (item, *(posixpath.join(item, name) for name in NAMES)) if path in paths}


def chains(
    path: str, users: Mapping[str, Sequence[Kustomization]], seen: frozenset[str] = frozenset()
) -> Iterator[tuple[Kustomization, ...]]:
    """Every way by which kustomizations take a file or folder in, the innermost first; one empty way if none does.

    `users` are the kustomizations that list a path.
    """
    found = [k for k in users.get(path, ()) if k.path not in seen]
    if not found:
        yield ()
    for kustomization in found:
        for outer in chains(posixpath.dirname(kustomization.path), users, seen | {kustomization.path}):
            yield (kustomization, *outer)


def with_components(
    kustomization: Kustomization, known: Mapping[str, Kustomization], seen: frozenset[str] = frozenset()
) -> Iterator[Kustomization]:
    """A kustomization and its components, whose settings are for all that it takes in; the one that wins first."""
    yield kustomization
    for folder in reversed(kustomization.components):
        if (inner := known.get(folder)) is not None and folder not in seen:
            yield from with_components(inner, known, seen | {folder})


def _changes(data: Mapping[str, Any], patches: list[Mapping[str, Any]]) -> str:
    """The first setting that touches policies."""
    for key in ("namePrefix", "nameSuffix", "commonLabels", "replacements", "transformers", "configMapTransformers"):
        if data.get(key):
            return key
    for entry in _mappings(data.get("labels")):
        for key in ("includeSelectors", "fields"):
            if entry.get(key):
                return f"labels with {key}"
    for patch in patches:
        target = patch.get("target")
        # Without a target it names its object itself: in the text here, or in a file, which the caller looks into.
        if _KIND in _text(patch.get("patch")) if target is None else _may_mean_policies(target):
            return "patches"
    return "patchesStrategicMerge" if any(_KIND in t for t in _texts(data.get("patchesStrategicMerge"))) else ""


def _may_mean_policies(target: Any) -> bool:
    """Kustomize takes the kind as a regular expression; one that is none here is not ruled out."""
    kind = _text(target.get("kind")) if isinstance(target, dict) else ""
    try:
        return not kind or re.fullmatch(kind, _KIND) is not None
    except re.error:
        return True


def _joined(folder: str, item: str) -> str:
    return posixpath.normpath(posixpath.join(folder, item))


def _texts(value: Any) -> Iterator[str]:
    yield from (item for item in (value if isinstance(value, list) else ()) if isinstance(item, str))


def _mappings(value: Any) -> Iterable[Mapping[str, Any]]:
    return [item for item in (value if isinstance(value, list) else ()) if isinstance(item, dict)]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
