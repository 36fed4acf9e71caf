"""A history of one cluster: a file of Lists, the first with everything, each later one with what changed since.

The file is JSON, one List after the other, and is replaced as a whole: whoever is killed while writing leaves the
history as it was. Object by object the file readers take the latest look; an entry of kind `Gone` says between which
two times an object went.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from netpol_gen.cluster.kinds import PODS
from netpol_gen.cluster.snapshot import Snapshot, list_text, rfc3339
from netpol_gen.errors import InputError, Place, printable
from netpol_gen.inventory.history import CHANGES_SINCE, CLUSTER, GONE, NAMESPACES, SHOWS_PODS, TAKEN_AT
from netpol_gen.manifests import Manifest, read_manifests

Name = tuple[str, str, str, str]
"""Identity of an object: kind and group, namespace, name, uid (of pods)."""

STEP = timedelta(milliseconds=1)
"""Least time between two entries. A server tells its time in whole seconds only."""
LENIENT = timedelta(seconds=10)
"""So far the servers of one cluster may disagree about the time."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What an entry added to a history."""

    new: int
    changed: int
    gone: int
    first: bool = False

    def __str__(self) -> str:
        what = "begun" if self.first else "continued"
        return f"{what}: {self.new:,} new, {self.changed:,} changed, {self.gone:,} gone"


@dataclass(slots=True)
class History:
    """The state of a cluster at the end of its history: objects as JSON text by their names.

    `seen` is, for each namespace (or `*`), when its pods were last looked at.
    """

    path: Path
    state: dict[Name, str] = field(default_factory=dict)
    taken_at: datetime | None = None
    cluster: str = ""
    seen: dict[str, datetime] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> History:
        """What a file says, or a new history where there is none.

        Raises:
            InputError: a file that is no history.

        """
        history = cls(path)
        if not path.exists() or not path.stat().st_size:
            return history
        noted: Mapping[str, Any] | None = None
        for manifest in read_manifests([path]):
            if manifest.list_metadata is not noted:
                noted = manifest.list_metadata
                history.note(noted.get("annotations"), manifest.place)
            if not manifest.empty_list:
                history.fold(manifest)
        return history

    def note(self, annotations: Any, place: Place) -> None:
        """What a list says about itself."""
        found = annotations if isinstance(annotations, dict) else {}
        try:
            taken = datetime.fromisoformat(str(found.get(TAKEN_AT)))
        except ValueError:
            raise InputError(f"no history: a list without the annotation {TAKEN_AT}", place) from None
        if taken.tzinfo is None or (self.taken_at is not None and taken <= self.taken_at):
            raise InputError("no history: its lists are not in the order of their times", place)
        self.taken_at = taken
        self.cluster = str(found.get(CLUSTER) or self.cluster)
        if found.get(SHOWS_PODS) == "true":
            self.seen.update(dict.fromkeys(_namespaces(found.get(NAMESPACES)), taken))

    def fold(self, manifest: Manifest) -> None:
        """One entry of a list."""
        if (manifest.group, manifest.kind) == GONE:
            spec = manifest.data.get("spec") or {}
            kind = f"{spec.get('kind')}.{spec.get('group')}" if spec.get("group") else str(spec.get("kind"))
            namespace, called, uid = (str(spec.get(key) or "") for key in ("namespace", "name", "uid"))
            self.state.pop((kind, namespace, called, uid), None)
            return
        metadata = manifest.data.get("metadata") or {}
        uid = str(metadata.get("uid") or "") if manifest.full_kind == PODS.name else ""
        name = (manifest.full_kind, str(metadata.get("namespace") or ""), str(metadata.get("name") or ""), uid)
        self.state[name] = json.dumps(manifest.data, sort_keys=True)

    def last_seen(self, namespace: str) -> datetime | None:
        """When the pods of a namespace were last looked at."""
        times = [self.seen[key] for key in ("*", namespace) if key in self.seen]
        return max(times, default=self.taken_at)

    def next_time(self, moment: datetime) -> datetime:
        """A moment as the time of the next entry.

        Raises:
            InputError: it lies before the last entry.

        """
        if self.taken_at is None or moment > self.taken_at:
            return moment
        if moment < self.taken_at - LENIENT:
            problem = f"ends at {rfc3339(self.taken_at)}, which is later than the snapshot of {rfc3339(moment)}"
            raise InputError(problem, Place(str(self.path)))
        return self.taken_at + STEP

    def write(self, annotations: Mapping[str, str], entries: Sequence[str]) -> None:
        """Add one list to the file and take note of it.

        Raises:
            InputError: the file cannot be written.

        """
        text = list_text(annotations, entries)
        try:
            _append(self.path, text.encode())
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror}", Place(str(self.path))) from None
        self.note(annotations, Place(str(self.path)))


def _namespaces(text: Any) -> list[str]:
    return [name for name in text.split(",") if name] if isinstance(text, str) else ["*"]


def append(path: Path, taken: Snapshot) -> Changes:
    """Add a snapshot to a history: everything if it is the first, else what changed.

    What was not read this time is left as it was; a kind or namespace that could not be read has not gone.

    Raises:
        InputError: the file is no history, is of another cluster, or ends later than the snapshot.

    """
    check_name(path)
    history = History.read(path)
    if history.cluster and taken.cluster and history.cluster != taken.cluster:
        raise InputError("is the history of another cluster", Place(str(path)))
    objects = {key[1:]: text for key, text in taken.objects.items()}
    moment = history.next_time(taken.taken_at)
    annotations = {**taken.annotations, TAKEN_AT: rfc3339(moment)}
    if history.taken_at is None:
        history.write(annotations, list(objects.values()))
        return Changes(len(objects), 0, 0, first=True)
    looks = [text for name, text in objects.items() if history.state.get(name) != text]
    new = sum(1 for name in objects if name not in history.state)
    gone = [name for name in history.state if name not in objects and _was_read(name, taken)]
    entries = [gone_text(name, history.last_seen(name[1]) or moment, moment) for name in sorted(gone)]
    history.write({**annotations, CHANGES_SINCE: rfc3339(history.taken_at)}, [*looks, *entries])
    return Changes(new, len(looks) - new, len(gone))


def _was_read(name: Name, taken: Snapshot) -> bool:
    for point in taken.points:
        kind = f"{point.kind.name}.{point.kind.group}" if point.kind.group else point.kind.name
        if kind == name[0] and point.namespace in ("", name[1]):
            return True
    return False


def gone_text(name: Name, last_seen: datetime, gone_by: datetime) -> str:
    """The entry that says that an object went."""
    kind, _, group = name[0].partition(".")
    spec = {
        "group": group,
        "kind": kind,
        "namespace": name[1],
        "name": name[2],
        "uid": name[3],
        "lastSeen": rfc3339(last_seen),
        "goneBy": rfc3339(gone_by),
    }
    whole = {"apiVersion": f"{GONE[0]}/v1", "kind": GONE[1], "spec": {k: v for k, v in spec.items() if v}}
    return json.dumps(whole, sort_keys=True)


def _append(path: Path, addition: bytes) -> None:
    """The old content and the addition under the old name, or the old content alone: never something in between."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as out:
            if path.exists():
                with path.open("rb") as old:
                    shutil.copyfileobj(old, out, 2**20)
            # Several gzip members one after another are one gzip file.
            out.write(gzip.compress(addition, mtime=0) if path.suffix == ".gz" else addition)
            out.flush()
            os.fsync(out.fileno())
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(temporary).unlink()
        raise


def check_name(path: Path) -> None:
    """Refuse a name under which the history could not be read again.

    Raises:
        InputError: it ends in neither `.json` nor `.json.gz`.

    """
    if not path.name.endswith((".json", ".json.gz")):
        raise InputError("a history is named *.json or *.json.gz", Place(printable(path, 400)))


def pending_entries(looks: Mapping[Name, Sequence[str]], gone: Iterable[str]) -> list[str]:
    """Entries of one list: looks in the order of their names, then what went."""
    return [*(text for name in sorted(looks) for text in looks[name]), *sorted(gone)]
