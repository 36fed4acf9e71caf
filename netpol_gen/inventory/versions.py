"""What an object said at which time, from several looks at it.

Between two looks that differ nobody knows when it changed, unless the object says when it was made: both versions are
possible there, and neither is sure. Before the first look an object is taken to have been as it was then, since it was
made; after the last one it stayed so until a look lacks it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from netpol_gen.inventory.history import Latest, Look, Shown, sorts_behind
from netpol_gen.inventory.objects import Backend, Endpoints, Node, Service

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Version(Generic[T]):
    """One form of an object. Times are nanoseconds since the epoch, inclusive; `None` is open on that side.

    It was so for sure from `sure_from` to `sure_until`, and perhaps from `since` to `until`.
    """

    value: T
    since: int | None = None
    sure_from: int | None = None
    sure_until: int | None = None
    until: int | None = None
    follows: bool = False
    """It came out of the version before, at once: there was no time without the object."""
    looked: int | None = None
    """When it was first seen so; `None` where the look has no date."""

    def possible(self, first: int, last: int) -> bool:
        """Whether it may have been so at any time from first to last."""
        return (self.since is None or self.since <= last) and (self.until is None or first <= self.until)

    def sure(self, time: int, guard: int) -> bool:
        """Whether it was so at a time, as far as clocks can tell."""
        return (self.sure_from is None or self.sure_from - guard <= time) and (
            self.sure_until is None or time <= self.sure_until + guard
        )


Versions = tuple[Version[T], ...]
"""One object in the course of time, in order."""


@dataclass(frozen=True, slots=True)
class Past:
    """Services, their endpoints and nodes as of any time; `looked_until` is the time of the last dated look."""

    services: tuple[Versions[Service], ...] = ()
    endpoints: tuple[Versions[Endpoints], ...] = ()
    nodes: tuple[Versions[Node], ...] = ()
    looked_until: int | None = None

    @classmethod
    def of(cls, services: Iterable[Service], backends: Iterable[Backend], nodes: Iterable[Node]) -> Past:
        """A past in which nothing changed."""
        of_service: dict[str, list[Backend]] = {}
        for backend in backends:
            of_service.setdefault(backend.service, []).append(backend)
        return cls(
            tuple((Version(s, s.created, s.created),) for s in services),
            tuple(
                (Version(Endpoints(ref.partition("/")[0], ref.partition("/")[2], ref, tuple(found), slice=True)),)
                for ref, found in sorted(of_service.items())
            ),
            tuple((Version(n, n.created, n.created),) for n in nodes),
        )


def possible(versions: Versions[T], time: int, guard: int) -> tuple[list[Version[T]], bool]:
    """Which versions may have been in force at a time, and whether there may have been no such object."""
    found = [each for each in versions if each.possible(time - guard, time + guard)]
    # Of several the sure one decides, but for the guard round its ends.
    strictly = [each for each in found if each.sure(time, -guard)]
    found = strictly or found
    there = any(each.sure(time, guard) for each in found) or (
        len(found) > 1 and any(later.follows for later in found[1:])
    )
    return found, not there


def changes(versions: Versions[Any], guard: int) -> list[int]:
    """Times from which `possible` may give another answer."""
    out = []
    for each in versions:
        for time in (each.since, each.sure_from):
            out += [] if time is None else [time - guard, time + guard]
        for time in (each.sure_until, each.until):
            out += [] if time is None else [time - guard + 1, time + guard + 1]
    return out


@dataclass(slots=True)
class Looks(Latest[T]):
    """Every dated look at each object of one kind, beside the latest."""

    _looks: dict[Hashable, dict[int, tuple[int, T]]] = field(default_factory=dict)
    """By object and time: since when it was not otherwise than in the look before, and what was seen."""
    _went: dict[Hashable, list[tuple[int, int]]] = field(default_factory=dict)

    def add(self, value: T, look: Look) -> None:
        """One look."""
        key = self.name(value)
        taken = -1 if look.taken is None else look.taken
        self._add(key, (taken, value))
        if self._held[key] == (taken, value):
            self._held[key] = (taken, _older(self._held[key][1], value))
        if look.taken is None:
            return
        of_object = self._looks.setdefault(key, {})
        since = look.taken if look.since is None else look.since
        held = of_object.get(look.taken)
        if held is None or sorts_behind(value, held[1]):
            of_object[look.taken] = (since, value)
        elif held[1] == value:
            of_object[look.taken] = (min(since, held[0]), _older(held[1], value))

    def went(self, key: Hashable, last_seen: int, gone_by: int) -> None:
        """A history says that the object went between these times."""
        self._went.setdefault(key, []).append((last_seen, gone_by))

    def drop_absent(self, shown: Callable[[T], Shown]) -> None:
        """What a look lacks that shows all objects of its kind and namespace had gone by then."""
        for key, looks in self._looks.items():
            last = max(looks)
            if later := [taken for taken in _absences(looks, shown) if taken > last]:
                self.drop(key, min(later))

    def versions(self, shown: Callable[[T], Shown]) -> tuple[Versions[T], ...]:
        """Each object in the course of time, sorted by name."""
        out: list[Versions[T]] = []
        for key in sorted(self._held):  # type: ignore[type-var]
            looks = self._looks.get(key)
            if looks is None:
                # Undated: so it was all the time.
                value = self._held[key][1]
                out.append((Version(value, _made(value), _made(value)),))
            else:
                gone = [*self._went.get(key, ()), *((0, taken) for taken in _absences(looks, shown))]
                out.append(_versions(looks, gone))
        return tuple(out)


def _absences(looks: Mapping[int, tuple[int, T]], shown: Callable[[T], Shown]) -> list[int]:
    """Looks that would show the object and do not."""
    value: Any = next(iter(looks.values()))[1]
    there = shown(value).items()
    return [t for t, names in there if t not in looks and (names is None or getattr(value, "namespace", "") in names)]


def _versions(looks: Mapping[int, tuple[int, T]], absences: Sequence[tuple[int, int]]) -> Versions[T]:
    """Versions from looks and from absences (until when it may have been there, when it was not)."""
    seen: list[tuple[int, int, int, T | None]] = [(taken, 1, since, value) for taken, (since, value) in looks.items()]
    seen += [(gone_by, 0, last_seen, None) for last_seen, gone_by in absences]
    out: list[Version[T]] = []
    last = absent = None
    for taken, _, earlier, value in sorted(seen, key=lambda each: each[:2]):
        if value is None:
            if last is not None:
                out[-1] = replace(out[-1], sure_until=min(max(last, earlier), taken - 1), until=taken - 1)
            last, absent = None, taken
            continue
        made = _made(value)
        made = made if made is None else min(made, taken)
        if last is None:
            # In a list of changes: it would have been in an earlier one, had it been there before.
            absent = earlier if earlier < taken and (absent is None or absent < earlier) else absent
            if absent is None or (made is not None and made > absent):
                out.append(Version(value, made, made, looked=taken))
            else:
                out.append(Version(value, absent + 1, taken, looked=taken))
        elif value != out[-1].value:
            sure_until = min(max(last, earlier if earlier < taken else last), taken - 1)
            if made is not None and made > sure_until:
                # Another of that name.
                out[-1] = replace(out[-1], sure_until=sure_until, until=made - 1)
                out.append(Version(value, made, made, looked=taken))
            else:
                out[-1] = replace(out[-1], sure_until=sure_until, until=taken - 1)
                out.append(Version(value, sure_until + 1, taken, follows=True, looked=taken))
        last = taken
    return tuple(out)


def _older(one: T, other: T) -> T:
    """Of two looks that differ at most in when the object was made, the one that knows, or that was first."""
    made, later = _made(one), _made(other)
    return other if later is not None and (made is None or later < made) else one


def _made(value: Any) -> int | None:
    """When it was made, where the API server says so."""
    found: int | None = value.created
    return found
