"""Watching one list: events as they come, resumed where the stream broke, read anew where the server has forgotten."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from urllib3.exceptions import HTTPError

from netpol_gen.cluster.http import Api
from netpol_gen.cluster.snapshot import Key, Point, read_objects, stripped
from netpol_gen.errors import InputError, OptionError, RemoteError, printable

SERVER_SECONDS = 290
"""After so long the server is to end a stream, so that a dead connection is noticed."""
SILENCE_SECONDS = 150
"""A living stream brings a bookmark about once a minute."""
CATCH_UP_SECONDS = 5
"""What comes so soon after a reconnection may have happened while there was none."""
LONGEST_PAUSE = 10.0

_GONE, _UNAUTHORIZED = 410, 401


@dataclass(slots=True)
class Clock:
    """The server's time, carried forward by this machine's steady clock; of the second told, its end."""

    base: datetime
    steady: float = field(default_factory=time.monotonic)

    def set(self, header: object) -> None:
        """Take the time from an answer that just came."""
        with suppress(ValueError, TypeError):
            told = parsedate_to_datetime(str(header))
            if told.tzinfo is not None:
                self.base, self.steady = told + timedelta(seconds=1), time.monotonic()

    def now(self) -> datetime:
        """UTC."""
        return (self.base + timedelta(seconds=time.monotonic() - self.steady)).astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Seen:
    """An object as it is now (`text`), or that it went (`None`): at `moment`, and surely there until `sure_until`."""

    key: Key
    text: str | None
    moment: datetime
    sure_until: datetime
    last: str | None = None
    """Of one that went: how it looked last."""


@dataclass(frozen=True, slots=True)
class Anew:
    """A whole list, read again: what it lacks went between `sure_until` and `moment`."""

    point: Point
    objects: Mapping[Key, str]
    moment: datetime
    sure_until: datetime


Event = Seen | Anew


@dataclass(slots=True)
class Watcher:
    """Follows one list in a thread of its own and puts what it sees into a queue."""

    api: Api
    point: Point
    clock: Clock
    events: queue.SimpleQueue[Event]
    stop: threading.Event
    tell: Callable[[str], object]
    limit: int
    sure_from: datetime
    """When the list was read that the watch goes on from."""
    heard: float = field(default_factory=time.monotonic)
    """When the stream last brought anything, by the steady clock."""
    connected: bool = False
    _version: str = ""
    _broke: datetime | None = None
    _opened: float = 0.0
    _response: Any = None
    _failures: int = 0
    _told: str = ""

    def run(self) -> None:
        """Until stopped."""
        self._version = self.point.resource_version
        self._broke = self.sure_from
        while not self.stop.is_set():
            problem = ""
            try:
                problem = self._once()
            except (HTTPError, OSError, ValueError) as error:
                # ValueError: a line that is cut off, or a stream closed under our hands.
                problem = type(error).__name__
            except (RemoteError, InputError, OptionError) as error:
                problem = str(error)
            if self.connected:
                self._broke = self.clock.now() if not problem else self._last_heard()
            self.connected, self._response = False, None
            self._after(problem)

    def interrupt(self) -> None:
        """End a read that waits for the server."""
        response = self._response
        if response is not None and hasattr(response, "shutdown"):
            with suppress(OSError, ValueError, RuntimeError, AttributeError):
                response.shutdown()

    def _last_heard(self) -> datetime:
        return self.clock.now() - timedelta(seconds=time.monotonic() - self.heard)

    def _after(self, problem: str) -> None:
        """A pause after what went wrong, longer each time."""
        if not problem or self.stop.is_set():
            self._failures = 0
            return
        if problem != self._told and self._failures:
            self.tell(f"watch of {self.point.kind.full_name}: {printable(problem, 300)}; trying again")
            self._told = problem
        self.stop.wait(min(0.25 * 2**self._failures, LONGEST_PAUSE))
        self._failures += 1

    def _once(self) -> str:
        """One stream to its end; empty if it ended as agreed, else what was wrong."""
        query: dict[str, str | int] = {
            "watch": "1",
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": SERVER_SECONDS,
        }
        with self.api.stream(self.point.path, query, SILENCE_SECONDS) as response:
            if response.status == _GONE:
                self._again()
                return ""
            if response.status == _UNAUTHORIZED:
                self.api.renew()
            if response.status != 200:
                return f"status {response.status}"
            self._response, self.connected = response, True
            if self.stop.is_set():
                return ""
            self.clock.set(response.headers.get("Date"))
            self.heard = self._opened = time.monotonic()
            for event in _events(response):
                self.heard, self._failures = time.monotonic(), 0
                if not self._take(event):
                    self._again()
                    return ""
                if self.stop.is_set():
                    break
        return ""

    def _take(self, event: Mapping[str, Any]) -> bool:
        """One event; false if the list must be read anew."""
        kind, item = event.get("type"), event.get("object")
        if kind == "ERROR" or not isinstance(item, dict) or not isinstance(item.get("metadata"), dict):
            return False
        version = item["metadata"].get("resourceVersion")
        if isinstance(version, str) and version:
            self._version = version
        if kind == "BOOKMARK":
            return True
        kept = stripped(self.point.kind, self.point.version, item)
        if kept is not None:
            moment = self.clock.now()
            late = time.monotonic() - self._opened < CATCH_UP_SECONDS
            sure = min(self._broke or moment, moment) if late else moment
            gone = kind == "DELETED"
            self.events.put(Seen(kept[0], None if gone else kept[1], moment, sure, kept[1] if gone else None))
        return True

    def _again(self) -> None:
        """Read the whole list.

        Raises:
            RemoteError: it cannot be read now.

        """
        sure = self._last_heard()
        moment = self.clock.now()
        listed, held = read_objects(self.api, self.point, self.limit)
        if listed.problem:
            raise RemoteError(f"{self.point.path}: {listed.problem}")
        self._version = listed.resource_version
        self.events.put(Anew(self.point, held, moment, min(sure, moment)))
        self._broke = moment


def _events(response: Any) -> Iterator[Mapping[str, Any]]:
    """The JSON objects of a stream, one a line.

    Raises:
        ValueError: a line that is no JSON object.

    """
    rest = b""
    for part in response.stream(65536, decode_content=True):
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            if line.strip():
                event = json.loads(line)
                if not isinstance(event, dict):
                    msg = "an event that is no object"
                    raise ValueError(msg)
                yield event
