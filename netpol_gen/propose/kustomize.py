"""What a kustomization does to the policies it takes in."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from netpol_gen.errors import InputError, Place
from netpol_gen.manifests import documents_in

NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_KIND = "NetworkPolicy"


@dataclass(frozen=True, slots=True)
class Kustomization:
    """A kustomization or component.

    `resources` and `patches` are paths in the repository, of files and folders. `changes` names the first setting by
    which policies would not stay what their files say; empty if there is none.
    """

    path: str
    namespace: str = ""
    resources: tuple[str, ...] = ()
    patches: tuple[str, ...] = ()
    changes: str = ""


def parse_kustomization(content: bytes, path: str) -> Kustomization:
    """What of a kustomization matters for policies.

    Raises:
        InputError: it is no mapping, or no YAML.

    """
    folder = posixpath.dirname(path)
    data: Any = {}
    for document in documents_in(content, path):
        if not isinstance(document.data, dict):
            raise InputError("a kustomization is a mapping", Place(path, document.line))
        data = document.data
    lists = (*_texts(data.get("resources")), *_texts(data.get("bases")), *_texts(data.get("components")))
    patches = [item for key in ("patches", "patchesJson6902") for item in _mappings(data.get(key))]
    files = [*_texts(data.get("patchesStrategicMerge")), *(_text(p.get("path")) for p in patches)]
    return Kustomization(
        path,
        _text(data.get("namespace")),
        tuple(sorted({_joined(folder, item) for item in lists if "://" not in item})),
        tuple(sorted({_joined(folder, item) for item in files if item and "\n" not in item})),
        _changes(data, patches),
    )


def _changes(data: Mapping[str, Any], patches: list[Mapping[str, Any]]) -> str:
    """The first setting that touches policies."""
    for key in ("namePrefix", "nameSuffix", "commonLabels", "replacements", "transformers", "configMapTransformers"):
        if data.get(key):
            return key
    if any(entry.get("includeSelectors") for entry in _mappings(data.get("labels"))):
        return "labels with includeSelectors"
    for patch in patches:
        target = patch.get("target")
        # Without a target it names its object itself: in the text here, or in a file, which the caller looks into.
        if _KIND in _text(patch.get("patch")) if target is None else _may_mean_policies(target):
            return "patches"
    return "patchesStrategicMerge" if any(_KIND in t for t in _texts(data.get("patchesStrategicMerge"))) else ""


def _may_mean_policies(target: Any) -> bool:
    kind = _text(target.get("kind")) if isinstance(target, dict) else ""
    return kind in ("", _KIND)


def _joined(folder: str, item: str) -> str:
    return posixpath.normpath(posixpath.join(folder, item))


def _texts(value: Any) -> Iterator[str]:
    yield from (item for item in (value if isinstance(value, list) else ()) if isinstance(item, str))


def _mappings(value: Any) -> Iterable[Mapping[str, Any]]:
    return [item for item in (value if isinstance(value, list) else ()) if isinstance(item, dict)]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
