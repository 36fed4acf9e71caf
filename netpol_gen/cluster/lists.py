"""Whole lists out of pages, each object once, from one moment of the cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from netpol_gen.cluster.http import Api, Reply
from netpol_gen.cluster.kinds import Kind
from netpol_gen.errors import RemoteError, printable

PAGE = 500
"""Objects asked for at a time."""
RESTARTS = 2
"""So often a list whose pages expired is begun again before it is asked for in one piece."""

FORBIDDEN = "forbidden"
"""The `problem` of a list that may not be read: the one that asking for less can help against."""

_FORBIDDEN, _NOT_FOUND, _GONE = 403, 404, 410

Take = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Listed:
    """How a list went. `problem` is empty, or why it was not read; `resource_version` is where a watch goes on.

    `date` is the server's clock when it looked, `absent` says that the server has no such kind.
    """

    problem: str = ""
    absent: bool = False
    resource_version: str = ""
    date: datetime | None = None


def read_list(api: Api, path: str, begin: Callable[[], Take], limit: int = PAGE) -> Listed:
    """Every object of a list, one page at a time.

    Pages of one list show one moment of the cluster. Where the server has forgotten it (410), the list is begun again,
    and after `RESTARTS` times asked for in one piece: to go on from a newer moment would show pods that are gone and
    leave out others. `begin` is called at each beginning and returns what takes an object; what was taken before is
    to be forgotten.

    Raises:
        RemoteError: the server cannot be reached or does not answer as an API server does.

    """
    for restart in range(RESTARTS + 1):
        found = _pages(api, path, begin(), limit if restart < RESTARTS else 0)
        if found is not None:
            return found
    raise RemoteError(f"{printable(path)}: the list expired although it was asked for in one piece")


def _pages(api: Api, path: str, take: Take, limit: int) -> Listed | None:
    """`None` if the pages expired."""
    token, first, tokens = "", None, set[str]()
    while True:
        query: dict[str, str | int] = {"limit": limit} if limit else {}
        if token:
            query["continue"] = token
        reply = api.get(path, query)
        if reply.status == _GONE:
            return None
        if reply.status != 200:
            return _refused(path, reply)
        first = first or reply
        for item in _items(path, reply):
            take(item)
        token = _text(_metadata(path, reply).get("continue"))
        if not token:
            return Listed("", False, _text(_metadata(path, first).get("resourceVersion")), first.date)
        if token in tokens:
            raise RemoteError(f"{printable(path)}: the server hands out the same page again and again")
        tokens.add(token)


def _refused(path: str, reply: Reply) -> Listed:
    if reply.status == _NOT_FOUND:
        return Listed(f"not found: {reply.reason}", absent=True)
    if reply.status == _FORBIDDEN:
        return Listed(FORBIDDEN)
    raise RemoteError(f"{printable(path)}: status {reply.status}: {reply.reason}")


def _items(path: str, reply: Reply) -> list[Mapping[str, Any]]:
    items = reply.data.get("items")
    if items is None:
        items = []
    sound = isinstance(items, list) and all(isinstance(i, dict) and isinstance(i.get("metadata"), dict) for i in items)
    if not sound:
        raise RemoteError(f"{printable(path)}: a list whose items are no objects; is this a Kubernetes API?")
    return items


def _metadata(path: str, reply: Reply) -> Mapping[str, Any]:
    found = reply.data.get("metadata")
    if not isinstance(found, dict):
        raise RemoteError(f"{printable(path)}: a list without metadata; is this a Kubernetes API?")
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


@dataclass(frozen=True, slots=True)
class Served:
    """What the server serves: for each API group its versions, the preferred one first."""

    groups: Mapping[str, tuple[str, ...]]
    problem: str = ""
    """Why the groups are not known, empty if they are."""

    @classmethod
    def ask(cls, api: Api) -> Served:
        """The groups as the server lists them.

        Raises:
            RemoteError: the server cannot be reached.

        """
        reply = api.get("/apis")
        if reply.status != 200:
            return cls({}, reply.reason)
        groups = {}
        for group in reply.data.get("groups") or []:
            if isinstance(group, dict) and isinstance(group.get("name"), str):
                versions = [v.get("version") for v in group.get("versions") or [] if isinstance(v, dict)]
                groups[group["name"]] = tuple(v for v in versions if isinstance(v, str))
        return cls(groups)

    def versions(self, kind: Kind) -> tuple[str, ...]:
        """Versions of a kind to try, best first; none where its group is not served or another one stands for it."""
        if not kind.group or self.problem:
            return kind.versions
        if kind.instead_of in self.groups and kind.instead_of:
            return ()
        return tuple(v for v in kind.versions if v in self.groups.get(kind.group, ()))


def segment(name: str) -> str:
    """A name as one part of a path."""
    return quote(name, safe="")
