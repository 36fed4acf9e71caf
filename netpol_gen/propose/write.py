"""Changes of policies as changes of files: where a new policy goes, and what else has to name it."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from netpol_gen.emit import render_policy
from netpol_gen.emit.edit import Spot, add_resource, edit_documents, remove_documents, remove_resource
from netpol_gen.errors import InputError, InvariantError, OptionError, Place, printable
from netpol_gen.policy import NetworkPolicy, dump_policy
from netpol_gen.proposal import Action, PolicyChange
from netpol_gen.propose.kustomize import Kustomization
from netpol_gen.propose.tree import ManifestTree, below

LAYOUT = "{namespace}/{policy}.yaml"
_FIELDS = ("{namespace}", "{policy}")


@dataclass(frozen=True, slots=True)
class Written:
    """Changes with their paths, and the new content of every touched file (`None`: the file goes)."""

    changes: tuple[PolicyChange, ...]
    files: Mapping[str, bytes | None]


def check_layout(layout: str) -> str:
    """A layout that names a file for every policy, or an error.

    Raises:
        OptionError: it leads out of its folder, or gives two policies one file.

    """
    bare = layout
    for field in _FIELDS:
        bare = bare.replace(field, "x")
    parts = bare.split("/")
    if "{" in bare or "}" in bare or "\\" in bare or any(part in ("", ".", "..") for part in parts):
        raise OptionError(f"layout: {printable(layout)} is no path below the environment's")
    if "{policy}" not in posixpath.basename(layout) or not layout.endswith((".yaml", ".yml")):
        raise OptionError(f"layout: {printable(layout)} does not end in a YAML file named after {{policy}}")
    if "{namespace}" not in layout:
        raise OptionError(f"layout: {printable(layout)} gives policies of two namespaces one file: add {{namespace}}")
    return layout


def write(
    changes: Iterable[PolicyChange],
    tree: ManifestTree,
    everything: Iterable[str],
    layout: str = LAYOUT,
    templates: Path | None = None,
) -> Written:
    """The files that the changes make of the tree's.

    Args:
        changes: what to do, as `decide` has it.
        tree: the folder as it is.
        everything: the paths of all files of the repository, so that none is overwritten.
        layout: where policies go in namespaces that have none of ours yet.
        templates: directory of templates that go before our own.

    Raises:
        InputError: a file that cannot be edited, a place that is taken.

    """
    state = _State(tree, set(everything), layout)
    done: list[PolicyChange] = []
    for change in changes:
        if change.action is Action.ADD:
            assert change.after is not None  # noqa: S101 - an added policy is one
            path = state.place(change.after)
            text = render_policy(change.after, change.notes, templates)
            done.append(replace(change, path=path))
            state.add(path, text.encode("utf-8"), change.after.namespace)
        else:
            done.append(change)
    # All changes of a file at once: it is read as a whole for each call. Numbers move with the removals only.
    for path, edits in _by_path(tree, done, Action.EDIT).items():
        state.edit(path, edits)
    for path, gone in _by_path(tree, done, Action.REMOVE).items():
        state.remove(path, gone)
    same = {path for path, content in state.files.items() if tree.files.get(path) == content}
    return Written(tuple(done), {path: state.files[path] for path in sorted(state.files) if path not in same})


def _by_path(tree: ManifestTree, changes: Iterable[PolicyChange], action: Action) -> dict[str, list[PolicyChange]]:
    out: dict[str, list[PolicyChange]] = {}
    for change in changes:
        if change.action is action:
            out.setdefault(tree.policies[change.ref].path, []).append(change)
    return {path: out[path] for path in sorted(out)}


class _State:
    """The files as they become, one change after the other."""

    def __init__(self, tree: ManifestTree, everything: set[str], layout: str) -> None:
        self.tree = tree
        self.everything = everything
        self.layout = layout
        self.files: dict[str, bytes | None] = {}
        self.folders = _folders(tree)

    def now(self, path: str) -> bytes:
        content = self.files.get(path, self.tree.files.get(path))
        if content is None:
            raise InvariantError(f"{path} is not there to be changed")
        return content

    def place(self, policy: NetworkPolicy) -> str:
        """A path for a new policy: beside ours of its namespace, else by the layout."""
        folder = self.folders.get(policy.namespace)
        whole = self.tree.kustomizations.get(self.tree.root)
        if folder is not None:
            path = posixpath.join(folder, f"{policy.name}.yaml")
        elif self.layout == LAYOUT and whole is not None and whole.namespace == policy.namespace:
            # A folder for one namespace needs no folder for it within.
            path = posixpath.join(self.tree.root, f"{policy.name}.yaml")
        else:
            inside = self.layout.replace("{namespace}", policy.namespace).replace("{policy}", policy.name)
            path = posixpath.join(self.tree.root, inside)
        if path in self.everything:
            path = path.removesuffix(".yaml").removesuffix(".yml") + ".networkpolicy.yaml"
        if path in self.everything:
            raise InputError(f"in the way of the new policy {policy.ref}: set a layout", Place(path))
        self.everything.add(path)
        return path

    def add(self, path: str, content: bytes, namespace: str) -> None:
        self.files[path] = content
        kustomization = self._nearest(path)
        if kustomization is None:
            return
        if kustomization.namespace not in ("", namespace):
            text = f"it puts everything into namespace {kustomization.namespace}, also a new policy of {namespace}"
            raise InputError(f"{text}: set a layout, or an environment of its own path", Place(kustomization.path))
        folder = posixpath.dirname(kustomization.path)
        inside = posixpath.relpath(path, folder or ".")
        self.files[kustomization.path] = add_resource(self.now(kustomization.path), inside, kustomization.path)

    def _nearest(self, path: str) -> Kustomization | None:
        """The kustomization of the file's own folder, or of the nearest one above it within the environment."""
        folder = posixpath.dirname(path)
        while below(self.tree.root, folder):
            if (found := self.tree.kustomizations.get(folder)) is not None:
                return found
            if not folder:
                return None
            folder = posixpath.dirname(folder)
        return None

    def edit(self, path: str, changes: Iterable[PolicyChange]) -> None:
        wanted: dict[Spot, dict[str, Any]] = {}
        for change in changes:
            assert change.after is not None  # noqa: S101 - an edited policy is one
            wanted[self._spot(change)] = dump_policy(replace(change.after, annotations=()))
        self.files[path] = edit_documents(self.now(path), wanted, path)

    def _spot(self, change: PolicyChange) -> Spot:
        located = self.tree.policies[change.ref]
        return (located.document, located.index)

    def remove(self, path: str, changes: Iterable[PolicyChange]) -> None:
        rest = remove_documents(self.now(path), [self._spot(change) for change in changes], path)
        self.files[path] = rest
        if rest is not None:
            return
        for kustomization in self.tree.kustomizations.values():
            if path in kustomization.resources:
                folder = posixpath.dirname(kustomization.path)
                inside = posixpath.relpath(path, folder or ".")
                content = remove_resource(self.now(kustomization.path), inside, kustomization.path)
                self.files[kustomization.path] = content


def _folders(tree: ManifestTree) -> dict[str, str]:
    """For each namespace, the folder in which most of our policies lie."""
    counts: dict[str, Counter[str]] = {}
    for located in tree.policies.values():
        if located.managed and not located.fixed:
            counts.setdefault(located.policy.namespace, Counter())[posixpath.dirname(located.path)] += 1
    return {namespace: min(c, key=lambda f: (-c[f], f)) for namespace, c in counts.items()}
