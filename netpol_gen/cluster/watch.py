"""A history that stays current: every list is watched, and what changed is written every few seconds."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from netpol_gen.cluster.history import History, Name, append, check_name, gone_text, pending_entries
from netpol_gen.cluster.http import Api
from netpol_gen.cluster.kinds import PODS
from netpol_gen.cluster.lists import PAGE
from netpol_gen.cluster.snapshot import Snapshot, rfc3339, take_snapshot
from netpol_gen.cluster.stream import Anew, Clock, Event, Seen, Watcher
from netpol_gen.inventory.history import CHANGES_SINCE, SHOWS_PODS, TAKEN_AT

HEARTBEAT_SECONDS = 300
"""So often an entry says that nothing changed, so that a restart knows until when pods were looked at."""
FRESH_SECONDS = 75
"""A stream that was silent for longer may be dead: bookmarks come about once a minute."""

_ADDRESS = '"podIP"'


@dataclass(slots=True)
class Recorder:
    """Turns events into entries of a history; what is not written yet is in `looks` and `gone`."""

    history: History
    looks: dict[Name, list[str]] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)

    def take(self, event: Event) -> None:
        """One event."""
        if isinstance(event, Anew):
            self._anew(event)
        elif event.text is not None:
            self._look(event.key[1:], event.text)
        else:
            self._went(event)

    def _look(self, name: Name, text: str) -> None:
        known = self.history.state.get(name)
        if known == text:
            return
        self.history.state[name] = text
        held = self.looks.setdefault(name, [])
        # One look a batch is enough, unless the newer one has lost the address that the older one shows.
        if held and not (_ADDRESS in held[-1] and _ADDRESS not in text):
            held.pop()
        held.append(text)

    def _went(self, event: Seen) -> None:
        name = event.key[1:]
        if event.last is not None:
            self._look(name, event.last)
        if self.history.state.pop(name, None) is not None:
            self.gone.append(gone_text(name, event.sure_until, event.moment))

    def _anew(self, event: Anew) -> None:
        there = {key[1:]: text for key, text in event.objects.items()}
        kind, inside = event.point.kind, event.point.namespace
        full = f"{kind.name}.{kind.group}" if kind.group else kind.name
        for name in sorted(self.history.state):
            if name[0] == full and inside in ("", name[1]) and name not in there:
                del self.history.state[name]
                self.gone.append(gone_text(name, event.sure_until, event.moment))
        for name, text in there.items():
            self._look(name, text)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to write."""
        return not self.looks and not self.gone

    def write(self, moment: datetime, annotations: dict[str, str], *, pods_current: bool) -> int:
        """Write what there is as one entry, and say how many lines it has."""
        entries = pending_entries(self.looks, self.gone)
        last = self.history.taken_at
        now = self.history.next_time(moment)
        whole = {**annotations, TAKEN_AT: rfc3339(now), SHOWS_PODS: "true" if pods_current else "false"}
        if last is not None:
            whole[CHANGES_SINCE] = rfc3339(last)
        self.history.write(whole, entries)
        self.looks, self.gone = {}, []
        return len(entries)


def watch(
    api: Api,
    path: Path,
    stop: threading.Event,
    *,
    namespaces: Sequence[str] = (),
    flush_seconds: float = 10.0,
    limit: int = PAGE,
    tell: Callable[[str], object] = lambda _: None,
) -> None:
    """Keep a history current until `stop` is set. Whenever it is killed, the file is a valid history.

    Begins with a snapshot that is appended; from then on each list is watched in a thread of its own. A stream that
    breaks is resumed where it broke, so that nothing is lost; where the server has forgotten that moment, the list is
    read anew and what it lacks went some time in between, which the history says.

    Args:
        api: which cluster, and who asks.
        path: the history.
        stop: set it to end.
        namespaces: as in `take_snapshot`.
        flush_seconds: how long changes wait to be written together.
        limit: objects per page.
        tell: told what a user may want to know, one line at a time.

    Raises:
        InputError: the file is no history of this cluster, or cannot be written.
        RemoteError: the first snapshot cannot be taken.

    """
    check_name(path)
    taken = take_snapshot(api, namespaces, limit=limit)
    tell(f"{path}: {append(path, taken)}")
    for missed in taken.not_read:
        tell(f"not read: {missed}")
    recorder = Recorder(History.read(path))
    clock = Clock(taken.taken_at)
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    # One that stops waiting when told to, even between two tries.
    patient = Api(api.access, pause=stop.wait)
    watchers = [Watcher(patient, point, clock, events, stop, tell, limit, taken.taken_at) for point in taken.points]
    threads = [threading.Thread(target=w.run, name=w.point.path, daemon=True) for w in watchers]
    for thread in threads:
        thread.start()
    try:
        _record(recorder, events, watchers, clock, stop, flush_seconds, _standing(taken))
    finally:
        stop.set()
        for watcher in watchers:
            watcher.interrupt()
        for thread in threads:
            thread.join(5.0)
        patient.close()


def _standing(taken: Snapshot) -> dict[str, str]:
    """Annotations that every entry bears."""
    return {k: v for k, v in taken.annotations.items() if k not in (TAKEN_AT, SHOWS_PODS)}


def _record(
    recorder: Recorder,
    events: queue.SimpleQueue[Event],
    watchers: Sequence[Watcher],
    clock: Clock,
    stop: threading.Event,
    flush_seconds: float,
    standing: dict[str, str],
) -> None:
    """Collect and write, until stopped; what came before the stop is written too."""
    written = time.monotonic()
    while True:
        stopped = stop.is_set()
        _drain(recorder, events, 0.0 if stopped else min(flush_seconds, 0.5))
        waited = time.monotonic() - written
        due = waited >= (HEARTBEAT_SECONDS if recorder.idle else flush_seconds)
        if due or (stopped and not recorder.idle):
            recorder.write(clock.now(), standing, pods_current=_current(watchers))
            written = time.monotonic()
        if stopped:
            return


def _drain(recorder: Recorder, events: queue.SimpleQueue[Event], wait: float) -> None:
    """Take what is there, waiting a little for the first."""
    try:
        recorder.take(events.get(timeout=wait) if wait else events.get_nowait())
        while True:
            recorder.take(events.get_nowait())
    except queue.Empty:
        return


def _current(watchers: Sequence[Watcher]) -> bool:
    """Whether every stream of pods is alive."""
    now = time.monotonic()
    pods = [w for w in watchers if w.point.kind is PODS]
    return bool(pods) and all(w.connected and now - w.heard < FRESH_SECONDS for w in pods)
