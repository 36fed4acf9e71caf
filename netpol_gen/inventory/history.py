"""Several looks at one cluster as one history.

A pod seen in several dumps is one pod; of any other object the latest look counts. Only a date inside the dump orders
them: the time of a file says when it was copied.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Generic, TypeVar

from netpol_gen.errors import InputError, Place
from netpol_gen.inventory.fields import Fields, parse_time
from netpol_gen.inventory.objects import Pod
from netpol_gen.inventory.parse import SeenPod
from netpol_gen.manifests import Manifest

TAKEN_AT = "netpol-gen.dev/taken-at"
"""Annotation on a List: the RFC 3339 time of the snapshot. What is not in a dated List of pods was not there then."""
NAMESPACES = "netpol-gen.dev/namespaces"
"""Annotation on a dated List that holds only some namespaces: their names, joined by commas."""
SHOWS_PODS = "netpol-gen.dev/shows-pods"
"""Annotation on a dated List, `true` or `false`: whether it shows all pods, even if there are none."""
CHANGES_SINCE = "netpol-gen.dev/changes-since"
"""Annotation on a dated List that holds only what changed since the time given: what is not in it stayed as it was."""
NOT_READ = "netpol-gen.dev/not-read"
"""Annotation on a List: what could not be read when it was made, one line `what: why; what follows` each."""
API_GROUPS = "netpol-gen.dev/api-groups"
"""Annotation on a List: API groups of network plug-ins that the server served, joined by commas."""
CLUSTER = "netpol-gen.dev/cluster"
"""Annotation on a List: what tells one cluster from another, the uid of its namespace kube-system."""
GONE = ("netpol-gen.dev", "Gone")
"""Group and kind of an entry that says that an object was there at `lastSeen` and no more at `goneBy`."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Look:
    """When an object was seen, `None` if nobody says; in a list of changes also since when it was not otherwise."""

    taken: int | None = None
    since: int | None = None


@dataclass(frozen=True, slots=True)
class About:
    """What a List says about itself. `shows_pods` is `None` where that is for its items to say."""

    metadata: Mapping[str, Any]
    look: Look
    namespaces: frozenset[str] | None
    shows_pods: bool | None
    not_read: tuple[str, ...]
    api_groups: frozenset[str]


@dataclass(frozen=True, slots=True)
class Gone:
    """An object that was there at `last_seen` and no more at `gone_by`, as the list of `taken` tells."""

    group: str
    kind: str
    namespace: str
    name: str
    uid: str
    last_seen: int
    gone_by: int
    taken: int


Shown = dict[int, frozenset[str] | None]
"""Times of looks that show all objects of a kind, with the namespaces that they show, `None` for all."""


@dataclass(slots=True)
class Snapshots:
    """The dated looks."""

    pods_shown: Shown = field(default_factory=dict)
    shown: dict[tuple[str, str], Shown] = field(default_factory=dict)
    """Of other kinds, by group and kind."""
    gone_pods: dict[Hashable, list[Gone]] = field(default_factory=dict)
    """By uid, else by namespace and name."""
    _read: dict[int, About] = field(default_factory=dict)

    def look(self, manifest: Manifest) -> Look:
        """When the manifest's list was dumped, if it says so; notes what the list shows."""
        metadata = manifest.list_metadata
        if not metadata:
            return _UNDATED
        # One object per list: the annotations of 20,000 items need one look. Holding it keeps its id from being reused.
        about = self._read.get(id(metadata))
        if about is None:
            about = self._read[id(metadata)] = _about(metadata, manifest.place)
        taken, shows = about.look.taken, about.shows_pods
        if taken is not None:
            pods = manifest.kind == "Pod" or manifest.list_kind == "PodList"
            if shows or (shows is None and pods):
                _note(self.pods_shown, taken, about)
            # A list of changes leaves out what stayed, and one with gaps what could not be read.
            if about.look.since is None and not about.not_read and not pods:
                # Others have kinds of these names, too: Services of Knative.
                kind = manifest.list_kind.removesuffix("List") if manifest.empty_list else manifest.kind
                _note(self.shown.setdefault((manifest.group, kind), {}), taken, about)
        return about.look

    @property
    def lists(self) -> list[About]:
        """Every list that said something about itself."""
        return list(self._read.values())

    def end_of(self, pod: Pod) -> Gone | None:
        """The entry that says that a pod is gone."""
        found = self.gone_pods.get(pod.uid or (pod.namespace, pod.name), [])
        later = [g for g in found if pod.started is None or g.gone_by >= pod.started]
        return min(later, key=lambda g: g.gone_by, default=None)

    def absent_from(self, namespace: str, after: int) -> int | None:
        """The first look after a time that shows the namespace's pods."""
        later = (t for t, shown in self.pods_shown.items() if t > after and (shown is None or namespace in shown))
        return min(later, default=None)


_UNDATED = Look()


def _note(shown: Shown, taken: int, about: About) -> None:
    held = shown.get(taken, frozenset())
    shown[taken] = None if held is None or about.namespaces is None else held | about.namespaces


def _about(metadata: Mapping[str, Any], place: Place) -> About:
    found = Fields(metadata, Place(place.path, 0, place.document, "metadata")).sub("annotations")
    taken, names, shows = found.text(TAKEN_AT), found.text(NAMESPACES), found.text(SHOWS_PODS)
    if shows not in ("", "true", "false"):
        raise found.wrong(SHOWS_PODS, "true or false")
    since = found.text(CHANGES_SINCE)
    return About(
        metadata,
        Look(
            parse_time(taken, found.at(TAKEN_AT)) if taken else None,
            parse_time(since, found.at(CHANGES_SINCE)) if since else None,
        ),
        _words(names) if names else None,
        False if since else {"true": True, "false": False}.get(shows),
        tuple(line for line in found.text(NOT_READ).splitlines() if line),
        _words(found.text(API_GROUPS)),
    )


def _words(text: str) -> frozenset[str]:
    return frozenset(word.strip() for word in text.split(",") if word.strip())


def parse_gone(manifest: Manifest, taken: int | None) -> Gone:
    """An entry of a history that says that an object is gone.

    Raises:
        InputError: a field is missing or of the wrong type.

    """
    spec = Fields(manifest.data, manifest.place).sub("spec")
    times = []
    for key in ("lastSeen", "goneBy"):
        if not spec.text(key):
            raise InputError("no time", spec.at(key))
        times.append(parse_time(spec.text(key), spec.at(key)))
    namespace, name = spec.text("namespace"), spec.name(free=True)
    at = times[1] if taken is None else taken
    return Gone(spec.text("group"), spec.kind(), namespace, name, spec.text("uid"), times[0], times[1], at)


@dataclass(slots=True)
class Latest(Generic[T]):
    """The latest look at each object of one kind.

    Of two looks of one date or none that differ, the one that sorts last is taken, so that the order of files plays no
    part, and the name is remembered for a diagnostic.
    """

    name: Callable[[T], Hashable]
    _held: dict[Hashable, tuple[int, T]] = field(default_factory=dict)
    _gone: dict[Hashable, int] = field(default_factory=dict)
    contradictions: set[str] = field(default_factory=set)

    def add(self, value: T, look: Look) -> None:
        """One look."""
        key = self.name(value)
        self._add(key, (-1 if look.taken is None else look.taken, value))

    def _add(self, key: Hashable, look: tuple[int, T]) -> None:
        held = self._held.setdefault(key, look)
        if held is look or held == look:
            return
        if held[0] == look[0]:
            self.contradictions.add(_ref(look[1]))
        if look[0] > held[0] or (look[0] == held[0] and sorts_behind(look[1], held[1])):
            self._held[key] = look

    def drop(self, key: Hashable, taken: int) -> None:
        """The object was gone at that time, unless a later look shows it again."""
        self._gone[key] = max(taken, self._gone.get(key, taken))

    def values(self) -> list[T]:
        """All objects that are still there, sorted by name."""
        there = [key for key, (taken, _) in self._held.items() if taken >= self._gone.get(key, taken)]
        return [self._held[key][1] for key in sorted(there)]  # type: ignore[type-var]


def sorts_behind(one: Any, other: Any) -> bool:
    """Which of two looks of one date is taken, whatever the order of files."""
    return _text(one) > _text(other)


def _text(value: Any) -> str:
    """The same text for equal values in every run: sets have no order, and a place is no part of a value."""
    if is_dataclass(value):
        return ",".join(_text(getattr(value, f.name)) for f in fields(value) if f.compare)
    if isinstance(value, frozenset):
        return f"{{{','.join(sorted(map(_text, value)))}}}"
    return f"({','.join(map(_text, value))})" if isinstance(value, tuple) else repr(value)


def _ref(value: Any) -> str:
    subject = getattr(getattr(value, "controller", value), "workload", None)
    if subject is not None:
        return str(subject)
    namespace = getattr(value, "namespace", "")
    return f"{type(value).__name__} {namespace}{'/' if namespace else ''}{getattr(value, 'name', '')}"


def merge_pods(looks: Iterable[tuple[SeenPod, int | None]], snapshots: Snapshots) -> list[SeenPod]:
    """One entry per pod of all looks, with the time it ended at the latest where a dated look lacks it."""
    by_pod: dict[Hashable, list[tuple[SeenPod, int | None]]] = {}
    for seen, taken in looks:
        pod = seen.pod
        key: Hashable = (pod.uid,) if pod.uid else (pod.namespace, pod.name, pod.started)
        by_pod.setdefault(key, []).append((seen, taken))
    return [_merged(several, snapshots) for several in by_pod.values()]


def _merged(several: list[tuple[SeenPod, int | None]], snapshots: Snapshots) -> SeenPod:
    if len(several) > 1:
        several = sorted(several, key=_newest, reverse=True)
    seen = several[0][0]
    pod = seen.pod
    if len(several) > 1:
        pods = [each.pod for each, _ in several]
        if any((p.namespace, p.name) != (pod.namespace, pod.name) for p in pods):
            raise InputError(f"uid {pod.uid} belongs to both {pod.namespace}/{pod.name} and another pod")
        pod = replace(
            pod,
            addresses=tuple(dict.fromkeys(a for p in pods for a in p.addresses)),
            started=min((p.started for p in pods if p.started is not None), default=None),
            ended=next((p.ended for p in pods if p.ended is not None), None),
        )
    dated = [taken for _, taken in several if taken is not None]
    if (gone := snapshots.end_of(pod)) is not None:
        pod = _ended_seen(pod, gone)
    elif dated:
        pod = _ended_unseen(pod, max(dated), snapshots)
    return seen if pod is seen.pod else replace(seen, pod=pod)


def _newest(look: tuple[SeenPod, int | None]) -> tuple[Any, ...]:
    """Order of looks at one pod: the latest, else the one that knows most."""
    pod, taken = look[0].pod, look[1]
    return (-1 if taken is None else taken, pod.ended is not None, not pod.live, bool(pod.addresses), repr(pod))


def _ended_seen(pod: Pod, gone: Gone) -> Pod:
    """A pod of which a history says when it was deleted, or between which two looks."""
    if pod.ended is not None and pod.ended <= gone.gone_by:
        return pod
    return replace(pod, ended=gone.gone_by, unsure_from=gone.last_seen if gone.last_seen < gone.gone_by else None)


def _ended_unseen(pod: Pod, last_seen: int, snapshots: Snapshots) -> Pod:
    """A pod that a later look lacks was deleted in between; nobody knows when."""
    gone = snapshots.absent_from(pod.namespace, last_seen)
    if gone is None or (pod.ended is not None and pod.ended <= gone):
        return pod
    return replace(pod, ended=gone, unsure_from=last_seen)
