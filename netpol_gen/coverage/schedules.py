"""CronJobs against their schedules: what was due within the window, what was seen, what no statistics can know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from netpol_gen.coverage.bins import HOUR_NS, Window
from netpol_gen.coverage.cron import parse_cron
from netpol_gen.coverage.model import Exercise, Job
from netpol_gen.errors import InputError
from netpol_gen.inventory.objects import Controller
from netpol_gen.model import Workload

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def check_jobs(
    controllers: Iterable[Controller], window: Window | None, active: Mapping[Workload, frozenset[int]]
) -> tuple[Job, ...]:
    """One `Job` for each controller with a schedule. `active` has the hours in which a workload had any flow."""
    return tuple(_check(c, window, active.get(c.workload, frozenset())) for c in controllers if c.schedule)


def _check(controller: Controller, window: Window | None, active: frozenset[int]) -> Job:
    name, text = controller.workload, controller.schedule
    try:
        schedule = parse_cron(text)
    except InputError as error:
        return Job(name, text, Exercise.UNKNOWN, runs=len(active), note=error.problem)
    if window is None:
        return Job(name, text, Exercise.NOT_DUE, note="nothing was observed")
    start, end = _time(window.start), _time(window.end)
    due = [_hour(t) for t in schedule.due(start, end + timedelta(microseconds=1))]
    # A run may start late, or talk only near its end: the following hour counts too.
    runs = sum(1 for hour in due if hour in active or hour + 1 in active)
    then = schedule.next_after(end)
    exercise = Exercise.SEEN if active else Exercise.DUE_UNSEEN if due else Exercise.NOT_DUE
    note = "" if due or not active else "ran out of schedule: started by hand, or its time zone is not UTC"
    return Job(
        name,
        text,
        exercise,
        len(due),
        runs if due else len(active),
        next_due=then.strftime("%Y-%m-%dT%H:%M:%SZ") if then else "",
        note=note,
    )


def _time(nanoseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=nanoseconds // 1000)


def _hour(moment: datetime) -> int:
    return int((moment - _EPOCH).total_seconds()) * 1_000_000_000 // HOUR_NS
