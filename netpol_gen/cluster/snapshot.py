"""The live cluster as an inventory: read once, stripped, in the form that the file readers take."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import yaml

from netpol_gen.cluster.http import Api
from netpol_gen.cluster.kinds import CNI_GROUPS, ENDPOINTS, KINDS, NAMESPACES, PODS, SLICES, Kind
from netpol_gen.cluster.lists import FORBIDDEN, PAGE, Listed, Served, Take, read_list, segment
from netpol_gen.errors import Place, RemoteError, printable
from netpol_gen.inventory.history import API_GROUPS, CLUSTER, NOT_READ, SHOWS_PODS, TAKEN_AT
from netpol_gen.inventory.history import NAMESPACES as NAMESPACES_KEY
from netpol_gen.manifests import Manifest

CLUSTER_WIDE = ""
_SILENT = "its API does not answer"
SKEW_SECONDS = 30
"""Difference between this machine's clock and the server's from which on it is worth a word."""

Key = tuple[int, str, str, str, str]
"""Order and identity of an object: its kind's place in the table, kind and group, namespace, name, uid (of pods)."""

_ORDER = (NAMESPACES, *KINDS, ENDPOINTS)


@dataclass(frozen=True, slots=True)
class Point:
    """A list that was read, and where a watch of it goes on. `namespace` is empty for all."""

    kind: Kind
    version: str
    namespace: str
    resource_version: str

    @property
    def path(self) -> str:
        """Where the list is."""
        return self.kind.path(self.version, segment(self.namespace))


@dataclass(frozen=True, slots=True, order=True)
class NotRead:
    """A kind that could not be read, in some namespaces or (empty) at all, and what follows from that."""

    kind: str
    namespaces: tuple[str, ...]
    reason: str
    without: str

    def __str__(self) -> str:
        where = f" in {', '.join(self.namespaces)}" if self.namespaces else ""
        return f"{self.kind}{where}: {self.reason}; {self.without}"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one look at a cluster showed. `objects` are stripped objects as JSON text, by identity, in total order.

    `pod_namespaces` are the namespaces whose pods are shown, `None` for all. `scopes` says for each kind that was read
    at all in which namespaces, `None` for all. `points` are the lists it was put together from. `cluster` is the uid of
    kube-system, empty if that may not be read. `skew` is how far this machine's clock is ahead of the server's, in
    seconds, 0 where that is too little to matter.
    """

    taken_at: datetime
    objects: Mapping[Key, str]
    not_read: tuple[NotRead, ...] = ()
    api_groups: tuple[str, ...] = ()
    scopes: Mapping[str, frozenset[str] | None] = field(default_factory=dict)
    points: tuple[Point, ...] = ()
    cluster: str = ""
    skew: float = 0.0

    @property
    def annotations(self) -> dict[str, str]:
        """What the list says about itself."""
        out = {TAKEN_AT: rfc3339(self.taken_at), SHOWS_PODS: "true" if PODS.full_name in self.scopes else "false"}
        namespaces = self.scopes.get(PODS.full_name)
        if namespaces is not None:
            out[NAMESPACES_KEY] = ",".join(sorted(namespaces))
        if self.not_read:
            out[NOT_READ] = "\n".join(map(str, self.not_read))
        if self.api_groups:
            out[API_GROUPS] = ",".join(self.api_groups)
        if self.cluster:
            out[CLUSTER] = self.cluster
        return out

    def counts(self) -> dict[str, int]:
        """Objects by kind and group, sorted."""
        out: dict[str, int] = {}
        for key in self.objects:
            out[key[1]] = out.get(key[1], 0) + 1
        return dict(sorted(out.items()))

    def to_json(self) -> str:
        """One `List`, one object a line, in the order of their identities."""
        return list_text(self.annotations, self.objects.values())

    def to_yaml(self) -> str:
        """The same as YAML; some twenty times as slow to read."""
        document = {
            "apiVersion": "v1",
            "items": [json.loads(text) for text in self.objects.values()],
            "kind": "List",
            "metadata": {"annotations": self.annotations},
        }
        dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
        return str(yaml.dump(document, Dumper=dumper, sort_keys=True, allow_unicode=False, width=4096))

    def manifests(self, source: str) -> Iterator[Manifest]:
        """The objects as the file readers give them, `source` standing for the file's name."""
        metadata = {"annotations": self.annotations}
        for number, text in enumerate(self.objects.values(), 1):
            yield Manifest(Place(source, number, 1), json.loads(text), "List", metadata)
        if not self.objects:
            empty = {"apiVersion": "v1", "kind": "List", "items": []}
            yield Manifest(Place(source, 1, 1), empty, "List", metadata, empty_list=True)


def rfc3339(moment: datetime) -> str:
    """UTC, with as many digits of a second as there are."""
    text = moment.astimezone(UTC).replace(tzinfo=None).isoformat()
    return f"{text}Z"


def list_text(annotations: Mapping[str, str], items: Iterable[str]) -> str:
    """A `List` whose items are JSON texts already."""
    head = json.dumps({"annotations": annotations}, sort_keys=True)
    body = ",\n".join(items)
    return f'{{"apiVersion": "v1", "kind": "List", "metadata": {head}, "items": [\n{body}\n]}}\n'


def take_snapshot(
    api: Api,
    namespaces: Sequence[str] = (),
    *,
    limit: int = PAGE,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    progress: Callable[[str], object] = lambda _: None,
) -> Snapshot:
    """Read a cluster once; nothing is changed in it.

    Args:
        api: which cluster, and who asks.
        namespaces: read namespaced kinds in these alone; all by default.
        limit: objects per page.
        now: this machine's clock, used where the server does not tell its own and to compare the two.
        progress: told the name of each kind before it is read.

    Raises:
        RemoteError: the server cannot be reached, or none of the pods may be read.

    """
    reader = _Reader(api, tuple(sorted(set(namespaces))), limit, now)
    return reader.run(progress)


@dataclass(slots=True)
class _Reader:
    api: Api
    given: tuple[str, ...]
    limit: int
    now: Callable[[], datetime]
    objects: dict[Key, str] = field(default_factory=dict)
    not_read: set[NotRead] = field(default_factory=set)
    scopes: dict[str, frozenset[str] | None] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)
    silent: set[str] = field(default_factory=set)
    """Groups whose own server did not answer: each try takes its time, so there is one."""
    namespaces: tuple[str, ...] = ()
    taken_at: datetime | None = None
    cluster: str = ""
    skew: float = 0.0

    def run(self, progress: Callable[[str], object]) -> Snapshot:
        served = Served.ask(self.api)
        for kind in _ORDER:
            if kind is ENDPOINTS and SLICES.full_name in self.scopes:
                continue
            progress(kind.full_name)
            self._kind(kind, served)
        if PODS.full_name not in self.scopes:
            reasons = [str(n) for n in sorted(self.not_read) if n.kind == PODS.full_name]
            raise RemoteError(f"no pods may be read, so there is nothing to show: {'; '.join(reasons[:5])}")
        groups = tuple(sorted(set(CNI_GROUPS) & set(served.groups)))
        return Snapshot(
            self.taken_at or self.now().replace(microsecond=0),
            {key: self.objects[key] for key in sorted(self.objects)},
            tuple(sorted(self.not_read)),
            groups,
            {name: self.scopes[name] for name in sorted(self.scopes)},
            tuple(self.points),
            self.cluster,
            self.skew,
        )

    def _kind(self, kind: Kind, served: Served) -> None:
        for version in served.versions(kind):
            if self._version(kind, version):
                return
        if kind.essential:
            raise RemoteError(f"the server has no {kind.full_name}; is this a Kubernetes API?")

    def _version(self, kind: Kind, version: str) -> bool:
        """Read a kind cluster-wide, else namespace by namespace. False: this version has no such kind."""
        if not kind.namespaced:
            problem = self._list(kind, version, CLUSTER_WIDE)
            if problem is None:
                return False
            self._note_namespaces(kind)
            if problem:
                self._miss(kind, (), problem)
            else:
                self.scopes[kind.full_name] = None
            return True
        if not self.given:
            problem = self._list(kind, version, CLUSTER_WIDE)
            if problem is None:
                return False
            if not problem:
                self.scopes[kind.full_name] = None
                return True
            if problem != FORBIDDEN:
                self._miss(kind, (), problem)
                return True
        problems: dict[str, list[str]] = {}
        for namespace in self.namespaces:
            problem = self._list(kind, version, namespace)
            if problem is None:
                return False
            problems.setdefault(problem, []).append(namespace)
        read = problems.pop("", [])
        if read:
            self.scopes[kind.full_name] = frozenset(read)
        for problem, missed in problems.items():
            self._miss(kind, missed if read else (), problem)
        return True

    def _note_namespaces(self, kind: Kind) -> None:
        """Where to ask for namespaced kinds that may not be listed cluster-wide."""
        if kind is NAMESPACES:
            known = tuple(key[3] for key in self.objects if key[1] == NAMESPACES.name)
            self.namespaces = self.given or known or (self.api.connection.namespace,)

    def _miss(self, kind: Kind, namespaces: Iterable[str], reason: str) -> None:
        self.not_read.add(NotRead(kind.full_name, tuple(namespaces), reason, kind.without))

    def _list(self, kind: Kind, version: str, namespace: str) -> str | None:
        """Empty if it was read, why it was not, or `None` if the server has no such kind in this version."""
        point = Point(kind, version, namespace, "")
        if kind.group in self.silent:
            return _SILENT
        try:
            listed, held = read_objects(self.api, point, self.limit, self._note)
        except RemoteError:
            if kind.essential:
                raise
            # An extension whose own server is down must not keep the rest from being read.
            self.silent.add(kind.group)
            return _SILENT
        if listed.absent:
            return None
        if listed.problem:
            return listed.problem
        self.objects.update(held)
        self.points.append(replace(point, resource_version=listed.resource_version))
        if kind is PODS and self.taken_at is None:
            self._date(listed.date)
        return ""

    def _note(self, kind: Kind, item: Mapping[str, Any]) -> None:
        if kind is NAMESPACES and item["metadata"].get("name") == "kube-system":
            self.cluster = str(item["metadata"].get("uid") or "")

    def _date(self, date: datetime | None) -> None:
        """The snapshot's moment: when the first pods were looked at, by the clock that wrote their times."""
        here = self.now()
        self.taken_at = date or here.replace(microsecond=0)
        if date is not None and abs(skew := (here - date).total_seconds()) >= SKEW_SECONDS:
            self.skew = skew


def read_objects(
    api: Api, point: Point, limit: int, note: Callable[[Kind, Mapping[str, Any]], None] = lambda _kind, _item: None
) -> tuple[Listed, dict[Key, str]]:
    """All objects of one list, stripped; `note` sees each as it came.

    Raises:
        RemoteError: as `read_list`.

    """
    held: dict[Key, str] = {}

    def begin() -> Take:
        held.clear()
        return take

    def take(item: Mapping[str, Any]) -> None:
        note(point.kind, item)
        if (kept := stripped(point.kind, point.version, item)) is not None:
            held[kept[0]] = kept[1]

    return read_list(api, point.path, begin, limit), held


def stripped(kind: Kind, version: str, item: Mapping[str, Any]) -> tuple[Key, str] | None:
    """Identity and JSON text of an object; `None` of one that says nothing about the cluster.

    Raises:
        RemoteError: an object without a name.

    """
    metadata = item["metadata"]
    name, namespace = metadata.get("name"), metadata.get("namespace") or ""
    if not isinstance(name, str) or not isinstance(namespace, str):
        raise RemoteError(f"{kind.full_name}: an object without a name; is this a Kubernetes API?")
    kept = kind.strip(item)
    if kept is None:
        return None
    whole = {"apiVersion": kind.api_version(version), "kind": kind.name, **kept}
    try:
        text = json.dumps(whole, sort_keys=True, ensure_ascii=True, allow_nan=False)
    except ValueError:
        raise RemoteError(f"{kind.full_name}: {printable(name)} holds a number that is none") from None
    full = f"{kind.name}.{kind.group}" if kind.group else kind.name
    # Two pods of one name in the course of time are two pods.
    uid = metadata.get("uid") if kind is PODS else ""
    return (_ORDER.index(kind), full, namespace, name, str(uid or "")), text
