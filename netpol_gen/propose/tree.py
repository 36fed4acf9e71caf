"""The policies of a folder of manifests as they lie in a commit: plain files, Kustomize bases and components.

What is judged must be what will be in force. So a kustomization that would change what its policies say (a prefix, a
patch, labels put into selectors) is an error here, with the way out: the rendered output, which can be commented on.
"""

from __future__ import annotations

import os
import posixpath
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from netpol_gen.errors import InputError, Place, printable
from netpol_gen.inventory import Inventory
from netpol_gen.manifests import NETWORK_POLICY, PARSERS, Manifest, documents_in, manifests_in
from netpol_gen.owners import PLACES
from netpol_gen.policy import NetworkPolicy, parse_policy
from netpol_gen.propose.kustomize import (
    NAMES,
    Kustomization,
    chains,
    parse_kustomization,
    taken_in,
    with_components,
)
from netpol_gen.synthesize.baseline import MANAGED_BY
from netpol_gen.tiers import TierPolicy

OPT_OUT = "netpol-gen.dev/propose"
"""An annotation by which a policy is left as it is; only `"true"` means the same as not having it."""
SUFFIXES = (".yaml", ".yml", ".json")
_CLUSTER_WIDE = ("Namespace", "Node", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration", "APIService")


@dataclass(frozen=True, slots=True)
class Located:
    """A policy and where it lies: file, document (from 1), place in a list (from 0; `None` if in none) and line.

    `managed` policies are ours by their label. `fixed` says why one cannot be edited at all, empty if it can.
    """

    policy: NetworkPolicy
    path: str
    document: int
    index: int | None
    line: int
    managed: bool
    fixed: str = ""


@dataclass(frozen=True, slots=True)
class ManifestTree:
    """A folder. `files` are all manifests by path in the repository, `policies` by `namespace/name`.

    With them come those from outside the folder that its kustomizations take in. `kustomizations` by their folder,
    `manifests` the objects of every kind. `notes` say what was passed over.
    """

    root: str
    files: Mapping[str, bytes]
    policies: Mapping[str, Located]
    tiers: tuple[TierPolicy, ...] = ()
    kustomizations: Mapping[str, Kustomization] = field(default_factory=lambda: MappingProxyType({}))
    manifests: tuple[Manifest, ...] = ()
    notes: tuple[str, ...] = ()


UNJUDGED_GROUPS = frozenset({"cilium.io", "projectcalico.org", "crd.projectcalico.org", "crd.antrea.io"})
"""Groups whose policies admit and deny traffic and are not evaluated here."""


def unjudged(tree: ManifestTree) -> Mapping[str, Any]:
    """Policies of kinds that nothing here evaluates, by kind and name: what they do is not known, and must be said."""
    out: dict[str, Any] = {}
    for manifest in tree.manifests:
        if manifest.group in UNJUDGED_GROUPS and "NetworkPolicy" in manifest.kind:
            metadata = manifest.data.get("metadata")
            named = metadata if isinstance(metadata, dict) else {}
            name = "/".join(str(named[key]) for key in ("namespace", "name") if named.get(key))
            out[f"{manifest.full_kind} {name}"] = manifest.data
    return {key: out[key] for key in sorted(out)}


def is_manifest(path: str) -> bool:
    """Whether a file is looked at: by its ending or as a kustomization, and nothing in its path is hidden."""
    known = path.lower().endswith(SUFFIXES) or posixpath.basename(path) in NAMES
    return known and not any(part.startswith(".") for part in path.split("/"))


def below(root: str, path: str) -> bool:
    """Whether a path lies in a folder of the repository; the empty folder is all of it."""
    return not root or path == root or path.startswith(f"{root}/")


def read_tree(files: Mapping[str, bytes], root: str = "", default_namespace: str = "default") -> ManifestTree:
    """The policies below `root`, and those that kustomizations there take in from elsewhere.

    A policy beside a kustomization that does not list it, and that no other one lists, is not in force.

    Raises:
        InputError: a file that mentions a NetworkPolicy and cannot be read, a policy that the API server would reject,
            two different policies of one name, a kustomization that changes what its policies mean.

    """
    mine = {path: files[path] for path in sorted(files) if below(root, path) and is_manifest(_within(root, path))}
    kustomizations = _kustomizations(mine, files)
    # A patch looks like an object and is a part of one.
    other = {*(k.path for k in kustomizations.values()), *(p for k in kustomizations.values() for p in k.patches)}
    manifests: list[Manifest] = []
    passed: dict[str, list[str]] = {}
    for path, content in mine.items():
        if path in other:
            continue
        try:
            found, strange = _objects(content, path)
        except InputError as error:
            if b"NetworkPolicy" in content:
                hint = "; a template is no manifest: narrow --path, or give the rendered output (--path -)"
                raise InputError(error.problem + (hint if b"{{" in content else ""), error.place) from None
            passed.setdefault("cannot be read as YAML", []).append(path)
            continue
        manifests += found
        if strange:
            passed.setdefault("holds no Kubernetes object", []).append(path)
    around = _Around(root, kustomizations, default_namespace)
    for manifest in manifests:
        if reason := around.doubt(manifest):
            passed.setdefault(reason, []).append(manifest.place.path)
    policies, tiers = _policies(manifests, around)
    notes = tuple(_passed_over(reason, paths) for reason, paths in sorted(passed.items()))
    known = MappingProxyType(kustomizations)
    return ManifestTree(root, MappingProxyType(mine), policies, tiers, known, tuple(manifests), notes)


def read_files(directory: str | os.PathLike[str]) -> Mapping[str, bytes]:
    """The manifests and CODEOWNERS of a checkout, by path within it; links are not followed.

    Raises:
        InputError: no such directory, or a file that cannot be read.

    """
    top = Path(directory)
    if not top.is_dir():
        raise InputError("no such directory", Place(os.fspath(directory)))
    out: dict[str, bytes] = {}
    try:
        for folder, folders, names in os.walk(top):
            folders[:] = sorted(name for name in folders if name != ".git")
            for name in sorted(names):
                file = Path(folder) / name
                path = file.relative_to(top).as_posix()
                wanted = path in PLACES or name in NAMES or name.lower().endswith(SUFFIXES)
                if wanted and not file.is_symlink():
                    out[path] = file.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", Place(str(error.filename))) from None
    return MappingProxyType(out)


def read_rendered(manifests: Iterable[Manifest], default_namespace: str = "default") -> ManifestTree:
    """The policies of rendered output. It has no files behind it: what would be edited can only be said.

    Raises:
        InputError: as `read_tree`.

    """
    objects = tuple(m for m in manifests if not m.empty_list)
    policies, tiers = _policies(objects, _Around("", {}, default_namespace))
    return ManifestTree("", MappingProxyType({}), policies, tiers, manifests=objects)


def _kustomizations(mine: dict[str, bytes], files: Mapping[str, bytes]) -> dict[str, Kustomization]:
    """Those among the files, by their folder; what they take in from outside the folder is added to the files."""
    out: dict[str, Kustomization] = {}
    new = set(mine)
    while new:
        found = [parse_kustomization(mine[p], p) for p in sorted(new) if posixpath.basename(p) in NAMES]
        out |= {posixpath.dirname(k.path): _looked_into(k, files) for k in found if k is not None}
        new = taken_in((k for k in found if k is not None), files) - set(mine)
        mine |= {path: files[path] for path in sorted(new)}
    return out


def _looked_into(kustomization: Kustomization, files: Mapping[str, bytes]) -> Kustomization:
    """With its patch files taken into account; one that is not there may say anything."""
    if not kustomization.changes and any(
        path not in files or b"NetworkPolicy" in files[path] for path in kustomization.patches
    ):
        return replace(kustomization, changes="patches")
    return kustomization


def _within(root: str, path: str) -> str:
    """The path as seen from `root`: if that itself lies in a hidden folder, it is the caller's choice."""
    return path[len(root) :].lstrip("/") if path != root else posixpath.basename(path)


def _passed_over(reason: str, paths: list[str]) -> str:
    shown = ", ".join(printable(p) for p in paths[:3])
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return f"passed over, because it {reason}: {shown}{more}"


def _objects(content: bytes, path: str) -> tuple[list[Manifest], int]:
    """The Kubernetes objects of a file, and how many documents are none (`values.yaml` and the like)."""
    found: list[Manifest] = []
    others = 0
    for document in documents_in(content, path):
        data = document.data
        if isinstance(data, dict) and "kind" in data and "apiVersion" in data:
            found += (m for m in manifests_in(document, path) if not m.empty_list)
        else:
            others += 1
    return found, others


def tiers_in_force(tree: ManifestTree, gone: Iterable[TierPolicy], inventory: Inventory) -> tuple[TierPolicy, ...]:
    """Cluster-wide policies of the folder and those that only the cluster has, but for those that are gone."""
    mine = {(t.kind, t.name): t for t in tree.tiers}
    without = {(t.kind, t.name) for t in gone}
    found = {(t.kind, t.name): t for t in inventory.tiers if (t.kind, t.name) not in without} | mine
    return tuple(found[key] for key in sorted(found))


def in_namespaces(tree: ManifestTree) -> Iterator[Manifest]:
    """The objects of a tree once for each namespace that kustomizations put them into."""
    around = _Around(tree.root, tree.kustomizations, "")
    for manifest in tree.manifests:
        metadata = manifest.data.get("metadata")
        spaces = {_namespace(way) for way in around.chains(manifest.place.path)} - {""}
        if manifest.kind in _CLUSTER_WIDE or not isinstance(metadata, dict) or not spaces:
            yield manifest
            continue
        for namespace in sorted(spaces):
            yield replace(manifest, data={**manifest.data, "metadata": {**metadata, "namespace": namespace}})


def _namespace(way: Sequence[Kustomization]) -> str:
    """What the outermost kustomization that has one says; empty if none does."""
    return next((k.namespace for k in reversed(way) if k.namespace), "")


class _Around:
    """What stands around a manifest: the folder that is looked at, and the kustomizations that take it in."""

    def __init__(self, root: str, kustomizations: Mapping[str, Kustomization], default_namespace: str) -> None:
        self.root = root
        self.kustomizations = kustomizations
        self.default_namespace = default_namespace
        self._users: dict[str, list[Kustomization]] = defaultdict(list)
        for kustomization in kustomizations.values():
            for path in kustomization.resources:
                self._users[path].append(kustomization)

    def doubt(self, manifest: Manifest) -> str:
        """Why a policy is not taken for one that is in force, empty if it is."""
        path = manifest.place.path
        beside = self.kustomizations.get(posixpath.dirname(path))
        if (manifest.group, manifest.kind) not in PARSERS or beside is None or path in self._users:
            return ""
        return "is no resource of the kustomization beside it"

    def chains(self, path: str) -> list[list[Kustomization]]:
        """Every way by which a file is taken in: whose settings are for it, the innermost first."""
        ways = chains(path, self._users)
        return [[each for k in way for each in reversed([*with_components(k, self.kustomizations)])] for way in ways]


def _policies(manifests: Iterable[Manifest], around: _Around) -> tuple[Mapping[str, Located], tuple[TierPolicy, ...]]:
    out: dict[str, Located] = {}
    tiers: dict[str, TierPolicy] = {}
    for manifest in manifests:
        parser = PARSERS.get((manifest.group, manifest.kind))
        if parser is None or around.doubt(manifest):
            continue
        if (manifest.group, manifest.kind) != NETWORK_POLICY:
            value = parser(manifest.data, manifest.place, around.default_namespace)
            if isinstance(value, TierPolicy) and tiers.setdefault(value.ref, value) != value:
                raise InputError(f"a different {manifest.kind} {printable(value.ref)} was given before", manifest.place)
            continue
        for located in _located(manifest, around):
            held = out.setdefault(located.policy.ref, located)
            if held is not located and held.policy == located.policy and held.path != located.path:
                # Whichever is edited, the other one would say something else.
                out[located.policy.ref] = replace(held, fixed=f"it lies in {printable(located.path)} as well")
            if held is not located and held.policy != located.policy:
                where = f"{held.path}:{held.line}"
                text = f"a different NetworkPolicy {printable(located.policy.ref)} lies in {printable(where)}"
                raise InputError(f"{text}: one --path is one environment", manifest.place)
    return MappingProxyType({ref: out[ref] for ref in sorted(out)}), tuple(tiers[ref] for ref in sorted(tiers))


def _located(manifest: Manifest, around: _Around) -> Iterator[Located]:
    """The policy of a manifest, once for each namespace that kustomizations put it into."""
    path = manifest.place.path
    ways: Sequence[Sequence[Kustomization]] = around.chains(path)
    for chain in ways:
        for kustomization in chain:
            if kustomization.changes:
                text = f"{kustomization.changes} changes what NetworkPolicies say: give the rendered output (--path -)"
                raise InputError(text, Place(kustomization.path))
    given = parse_policy(manifest.data, manifest.place, around.default_namespace)
    namespaces = {_namespace(way) or given.namespace for way in ways}
    fixed = _fixed(given, manifest, several=len(namespaces) > 1, inside=below(around.root, path))
    for namespace in sorted(namespaces or {given.namespace}):
        policy = replace(given, namespace=namespace)
        managed = MANAGED_BY in policy.labels
        yield Located(policy, path, manifest.place.document, manifest.index, manifest.place.line, managed, fixed)


def _fixed(policy: NetworkPolicy, manifest: Manifest, *, several: bool, inside: bool) -> str:
    if dict(policy.annotations).get(OPT_OUT, "true") != "true":
        return f"opted out by its annotation {OPT_OUT}"
    if several:
        return "several kustomizations use it, each in a namespace of its own"
    if not inside:
        return "it lies outside of the folder, where others may use it too"
    return "it lies in a list within a list" if manifest.index == -1 else ""
