"""Many policies as files or as one stream, and the files onto the disk.

A directory that is written to holds, for each namespace, the policies and a kustomization that lists them. Files that
netpol-gen did not write are never touched: one that stands in the way is an error, raised before anything is written.
A policy of an earlier run that is not made any more is removed if the earlier kustomization lists it and it carries our
label, unless it is said to stay; namespaces that a run does not write are left as they are.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType

import yaml

from netpol_gen.emit import yamltext
from netpol_gen.emit.render import render_kustomization, render_policy
from netpol_gen.errors import InvariantError, OptionError, printable
from netpol_gen.policy import NetworkPolicy
from netpol_gen.synthesize import RuleNote
from netpol_gen.synthesize.baseline import MANAGED_BY
from netpol_gen.synthesize.names import DEFAULT_DENY, is_namespace

KUSTOMIZATION = "kustomization.yaml"
_MARK = "# Written by netpol-gen"


@dataclass(frozen=True, slots=True)
class Written:
    """Paths relative to the directory, sorted: made or changed, same as before, removed."""

    written: tuple[str, ...]
    unchanged: tuple[str, ...]
    removed: tuple[str, ...]

    def __len__(self) -> int:
        """How many files were made or changed."""
        return len(self.written)


def earlier_files(
    policies: Iterable[NetworkPolicy], directory: Path, dropped: Collection[str] = ()
) -> Mapping[str, tuple[str, ...]]:
    """Names of our files of an earlier run that stay beside `policies`, by namespace.

    Args:
        policies: what will be written; only their namespaces are looked at.
        directory: where they will be written.
        dropped: refs (`namespace/name`) of policies that go.

    """
    out: dict[str, tuple[str, ...]] = {}
    for namespace in sorted({p.namespace for p in policies}):
        listed = _listed(_target(_path(namespace, KUSTOMIZATION.removesuffix(".yaml")), directory))
        out[namespace] = tuple(
            name
            for name in listed
            if f"{namespace}/{name.removesuffix('.yaml')}" not in dropped
            and _is_ours(_target(f"{namespace}/{name}", directory))
        )
    return out


def render_tree(
    policies: Iterable[NetworkPolicy],
    notes: Iterable[RuleNote] = (),
    templates: Path | None = None,
    beside: Mapping[str, Iterable[str]] = MappingProxyType({}),
) -> Mapping[str, str]:
    """Text by relative path: `<namespace>/<policy>.yaml` and `<namespace>/kustomization.yaml`, sorted.

    A default deny is a file of its own, and the last that its kustomization lists. `beside` are names of files by
    namespace that stay from an earlier run: the kustomization lists them too, and `write_tree` leaves them.

    Raises:
        OptionError: a template that cannot be used.

    """
    files: dict[str, str] = {}
    resources: dict[str, list[str]] = {}
    noted = _by_policy(notes)
    for policy in policies:
        path = _path(policy.namespace, policy.name)
        if path in files or path.endswith(f"/{KUSTOMIZATION}"):
            raise InvariantError(f"{policy.ref} would overwrite another file")
        files[path] = render_policy(policy, noted.get(policy.ref, ()), templates)
        resources.setdefault(policy.namespace, []).append(path.rpartition("/")[2])
    for namespace, names in resources.items():
        # What admits comes before what denies the rest.
        together = {*names, *beside.get(namespace, ())}
        ordered = sorted(together, key=lambda n: (n.startswith(DEFAULT_DENY), n))
        files[_path(namespace, KUSTOMIZATION.removesuffix(".yaml"))] = render_kustomization(ordered, templates)
    return {path: files[path] for path in sorted(files)}


def render_stream(
    policies: Iterable[NetworkPolicy], notes: Iterable[RuleNote] = (), templates: Path | None = None
) -> str:
    """All policies as one YAML stream, in the order of their names; empty if there is none.

    Raises:
        OptionError: a template that cannot be used.

    """
    noted = _by_policy(notes)
    ordered = sorted(policies, key=lambda p: (p.namespace, p.name))
    return "---\n".join(render_policy(policy, noted.get(policy.ref, ()), templates) for policy in ordered)


def _by_policy(notes: Iterable[RuleNote]) -> dict[str, list[RuleNote]]:
    out: dict[str, list[RuleNote]] = {}
    for note in notes:
        out.setdefault(note.policy, []).append(note)
    return out


def _path(namespace: str, stem: str) -> str:
    if not is_namespace(namespace) or not is_namespace(stem):
        raise InvariantError(f"{namespace}/{stem} cannot be a path")
    return f"{namespace}/{stem}.yaml"


def write_tree(files: Mapping[str, str], directory: Path) -> Written:
    """Write files that `render_tree` made, each of them at once or not at all.

    Raises:
        OptionError: a path that leads out of the directory, a file that is not ours in the way, or a disk that says no.

    """
    try:
        return _write_tree(files, directory)
    except OSError as error:
        raise OptionError(f"cannot write {printable(error.filename or directory)}: {error.strerror}") from error


def _write_tree(files: Mapping[str, str], directory: Path) -> Written:
    targets = {path: _target(path, directory) for path in sorted(files)}
    stale = _stale(files, directory)
    for path, target in targets.items():
        _must_be_ours(path, target)
    written, unchanged = [], []
    for path, target in targets.items():
        content = files[path].encode("utf-8")
        if target.is_file() and target.read_bytes() == content:
            unchanged.append(path)
        else:
            _write(target, content)
            written.append(path)
    for target in stale.values():
        target.unlink()
    return Written(tuple(written), tuple(unchanged), tuple(sorted(stale)))


def _target(path: str, directory: Path) -> Path:
    """Where a file goes; neither `..` nor a symbolic link may take it elsewhere."""
    parts = PurePosixPath(path).parts
    if not parts or PurePosixPath(path).is_absolute() or any(p in ("..", ".") or "\\" in p or "\0" in p for p in parts):
        raise OptionError(f"{printable(path)} leads out of {directory}")
    target = directory
    for part in parts:
        target = target / part
        if target.is_symlink():
            raise OptionError(f"{target} is a symbolic link: nothing is written through it")
    return target


def _must_be_ours(path: str, target: Path) -> None:
    if not target.exists():
        return
    if not target.is_file():
        raise OptionError(f"{target} is in the way: not a file")
    if not (_is_kustomization(target) if target.name == KUSTOMIZATION else _is_ours(target)):
        raise OptionError(f"{target} was not written by netpol-gen: move it, or choose another directory ({path})")


def _is_kustomization(target: Path) -> bool:
    """A kustomization carries no labels of its own: its first comment tells, or what it lists is all ours."""
    if target.read_bytes().startswith(_MARK.encode()):
        return True
    return bool(listed := _listed(target)) and all(_is_ours(target.parent / name) for name in listed)


def _is_ours(target: Path) -> bool:
    """Whether a file holds one object with our label."""
    try:
        documents = yamltext.load(target.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return False
    found = documents[0] if len(documents) == 1 else None
    metadata = found.get("metadata") if isinstance(found, dict) else None
    labels = metadata.get("labels") if isinstance(metadata, dict) else None
    return isinstance(labels, dict) and labels.get(MANAGED_BY[0]) == MANAGED_BY[1]


def _listed(kustomization: Path) -> list[str]:
    """Plain file names that a kustomization of ours lists."""
    try:
        return _resources(kustomization.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return []


def _resources(kustomization: str) -> list[str]:
    documents = yamltext.load(kustomization)
    found = documents[0].get("resources") if len(documents) == 1 and isinstance(documents[0], dict) else None
    names = found if isinstance(found, list) else []
    return [n for n in names if isinstance(n, str) and n.endswith(".yaml") and is_namespace(n.removesuffix(".yaml"))]


def _stale(files: Mapping[str, str], directory: Path) -> dict[str, Path]:
    """Policies of an earlier run in the namespaces of this one."""
    out: dict[str, Path] = {}
    for path in sorted(files):
        parent, _, name = path.rpartition("/")
        if name != KUSTOMIZATION:
            continue
        staying = set(_resources(files[path]))
        for listed in _listed(_target(path, directory)):
            old = f"{parent}/{listed}"
            if listed not in staying:
                target = _target(old, directory)
                if target.is_file() and _is_ours(target):
                    out[old] = target
    return out


def _write(target: Path, content: bytes) -> None:
    """Into a new file beside it, which then takes its name: a reader sees the old one or the new one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), 0o644)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
