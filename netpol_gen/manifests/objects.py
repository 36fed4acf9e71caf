"""Objects out of documents: lists expanded, types checked, each with the place it was found."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import PurePath
from types import MappingProxyType
from typing import Any, BinaryIO

from netpol_gen.errors import InputError, Place, printable
from netpol_gen.manifests.document import Document
from netpol_gen.manifests.files import documents, manifest_files

_KIND = re.compile(r"[A-Za-z][A-Za-z0-9]{0,62}")
_API_VERSION = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_MAX_LISTS = 8
_KUSTOMIZATION = ("kustomization.yaml", "kustomization.yml", "kustomization.json")
_KUSTOMIZE_GROUP = "kustomize.config.k8s.io"


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object. `data` always has string `kind` and `apiVersion`; it is shared, so do not change it."""

    place: Place
    data: dict[str, Any]
    list_kind: str = ""
    """Kind of the list it was an item of, empty for a document of its own."""
    list_metadata: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    empty_list: bool = False
    """This is no object but a list without any."""
    index: int | None = None
    """Place in the document's list, from 0; `None` for a document of its own, -1 within a list in a list."""

    @property
    def kind(self) -> str:
        """The kind alone: `Pod`, `NetworkPolicy`."""
        kind: str = self.data["kind"]
        return kind

    @property
    def group(self) -> str:
        """API group, empty for the core group. The version plays no part in what an object means here."""
        group, slash, _ = self.data["apiVersion"].rpartition("/")
        return str(group) if slash else ""

    @property
    def full_kind(self) -> str:
        """`NetworkPolicy.networking.k8s.io`, `Pod`: kind and group, as kubectl writes them."""
        return f"{self.kind}.{self.group}" if self.group else self.kind


def read_manifests(paths: Sequence[str | PathLike[str]], *, stdin: BinaryIO | None = None) -> Iterator[Manifest]:
    """Objects of all files in order, lists expanded.

    A path is a file, a directory (every `.yaml`, `.yml` and `.json` below it, sorted, hidden ones left out) or `-` for
    `stdin`. Files may be packed with gzip or zstd. An empty list yields one `Manifest` of the list itself, so that
    "nothing there" differs from "nothing read"; so does a kustomization, which is no object of a cluster.

    Raises:
        InputError: anything that cannot be read as Kubernetes objects, with file, line, document and field.

    """
    for given, files in manifest_files(paths):
        empty = True
        for path in files:
            for document in documents(path, stdin):
                empty = False
                yield from manifests_in(document, path)
        if empty:
            raise InputError("holds no object", Place(given))


def manifests_in(document: Document, path: str) -> Iterator[Manifest]:
    """The objects of one document, lists expanded.

    Raises:
        InputError: it holds something else than Kubernetes objects.

    """
    place = Place(path, document.line, document.number)
    data = document.data
    if not isinstance(data, dict):
        raise InputError(f"a document is a mapping, not {_kind_of(data)}", place)
    if PurePath(path).name.lower() in _KUSTOMIZATION:
        # Its own type is optional in it.
        data = {"apiVersion": f"{_KUSTOMIZE_GROUP}/v1beta1", "kind": "Kustomization", **data}
    _check_type(data, place)
    items = document.items
    if items is None and isinstance(data.get("items"), list):
        items = ((place.line, item) for item in data["items"])
    if _is_list(data):
        yield from _expand(data, items, place, 1)
    else:
        if document.items is not None:
            data["items"] = [item for _, item in document.items]
        yield Manifest(place, data)


def _is_list(data: Mapping[str, Any]) -> bool:
    """`List`, or a typed list. A custom resource may be *called* something that ends in `List`; it has a spec."""
    return data["kind"] == "List" or (data["kind"].endswith("List") and "items" in data and "spec" not in data)


def _expand(
    data: dict[str, Any], items: Iterator[tuple[int, Any]] | None, place: Place, depth: int
) -> Iterator[Manifest]:
    if depth > _MAX_LISTS:
        raise InputError(f"lists within lists, more than {_MAX_LISTS} deep", place)
    if items is None and data.get("items") is not None:
        raise InputError(f"items is a list, not {_kind_of(data['items'])}", place.at("items"))
    metadata = data.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise InputError(f"metadata is a mapping, not {_kind_of(metadata)}", place.at("metadata"))
    kind, of_list, count = data["kind"], MappingProxyType(metadata or {}), 0
    of_items = place.at("items").field
    for index, (line, item) in enumerate(items or ()):
        at = Place(place.path, line, place.document, f"{of_items}[{index}]")
        count += 1
        if not isinstance(item, dict):
            raise InputError(f"an item is a mapping, not {_kind_of(item)}", at)
        if kind != "List":
            # The API server leaves both out of the items of a typed list.
            item = {"kind": kind.removesuffix("List"), "apiVersion": data["apiVersion"], **item}  # noqa: PLW2901
        _check_type(item, at)
        if _is_list(item):
            inner = item.get("items")
            pairs = ((line, each) for each in inner) if isinstance(inner, list) else None
            yield from _expand(item, pairs, at, depth + 1)
        else:
            yield Manifest(at, item, kind, of_list, index=index if depth == 1 else -1)
    if not count:
        yield Manifest(place, {**data, "items": []}, kind, of_list, empty_list=True)


def _check_type(data: Mapping[str, Any], place: Place) -> None:
    for key, pattern in (("kind", _KIND), ("apiVersion", _API_VERSION)):
        value = data.get(key)
        if value is None:
            raise InputError(f"no {key}: this is no Kubernetes object", place)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise InputError(f"{printable(value)} is not a {key}", place.at(key))


def _kind_of(data: object) -> str:
    names = {list: "a list", str: "text", bool: "a boolean", int: "a number", float: "a number", type(None): "nothing"}
    return names.get(type(data), "a mapping")
