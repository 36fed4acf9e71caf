"""Cron schedules as the CronJob controller reads them: when a job was due, so that its silence can be told from rest.

Fields are minute, hour, day of month, month, day of week, in UTC. The rules are those of the library that Kubernetes
uses (docs/adr says why this is not a dependency): names of months and days, `?` for `*`, `n/step` up to the field's
end, `@daily` and its kin, `@every`; and where both day fields are restricted, one of them is enough. `7` is no day.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from netpol_gen.errors import InputError, Place, printable

_MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, start=1)}
_DAYS = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 6, _DAYS),
)
_MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_ZONE = re.compile(r"(?:CRON_)?TZ=(\S+)\s+")
_EVERY = re.compile(r"@every (?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_UTC_NAMES = frozenset({"UTC", "Etc/UTC", "GMT", "Etc/GMT"})
_LOOK_AHEAD_DAYS = 5 * 366
"""29 February on a Monday may be 28 years off; five years is when the controller gives up looking too."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A parsed schedule. `every` (seconds) stands for `@every`, whose phase nobody knows; the rest is empty then."""

    text: str
    minutes: tuple[int, ...] = ()
    hours: tuple[int, ...] = ()
    days: frozenset[int] = frozenset()
    months: frozenset[int] = frozenset()
    weekdays: frozenset[int] = frozenset()
    any_day: bool = False
    """The day of month or the day of week is unrestricted: both have to match. Otherwise one is enough."""
    every: int = 0

    def on(self, day: date) -> bool:
        """Whether it is due on a day at all."""
        if day.month not in self.months:
            return False
        by_date, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return by_date and by_weekday if self.any_day else by_date or by_weekday

    def due(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """Times from `start` (inclusive) to `end` (exclusive), both UTC, ascending."""
        if self.every:
            step = timedelta(seconds=self.every)
            while start < end:
                yield start
                start += step
            return
        day = start.date()
        while day <= end.date():
            if self.on(day):
                for hour in self.hours:
                    for minute in self.minutes:
                        moment = datetime.combine(day, time(hour, minute), UTC)
                        if start <= moment < end:
                            yield moment
            day += timedelta(days=1)

    def next_after(self, moment: datetime) -> datetime | None:
        """The first time after `moment`; `None` if there is none within five years, or its phase is not known."""
        if self.every:
            return None
        start = moment + timedelta(microseconds=1)
        for ahead in range(_LOOK_AHEAD_DAYS):
            day = start.date() + timedelta(days=ahead)
            if self.on(day):
                midnight = datetime.combine(day, time(0), UTC)
                found = next(self.due(max(start, midnight), midnight + timedelta(days=1)), None)
                if found is not None:
                    return found
        return None


def parse_cron(text: str, place: Place | None = None) -> Schedule:
    """A CronJob's `spec.schedule`.

    Raises:
        InputError: what the controller would not take either, and time zones other than UTC, which are not known here.

    """
    rest = text.strip()
    if zone := _ZONE.match(rest):
        if zone[1] not in _UTC_NAMES:
            raise InputError(f"time zone {printable(zone[1])} of a schedule is not known here", place)
        rest = rest[zone.end() :]
    if (every := _EVERY.fullmatch(rest)) and any(every.groups()):
        seconds = sum(int(n or 0) * unit for n, unit in zip(every.groups(), (3600, 60, 1), strict=True))
        return Schedule(text, every=max(seconds, 1))
    fields = _MACROS.get(rest, rest).split()
    if len(fields) != len(_FIELDS):
        raise InputError(f"{printable(text)} is not a schedule of five fields", place)
    parsed = [_field(f, *known, text, place) for f, known in zip(fields, _FIELDS, strict=True)]
    (minutes, _), (hours, _), (days, any_date), (months, _), (weekdays, any_weekday) = parsed
    return Schedule(text, tuple(sorted(minutes)), tuple(sorted(hours)), days, months, weekdays, any_date or any_weekday)


def _field(
    text: str, what: str, low: int, high: int, names: dict[str, int], whole: str, place: Place | None
) -> tuple[frozenset[int], bool]:
    """The numbers that a field stands for, and whether it is a bare star."""
    out: set[int] = set()
    star = False
    for part in text.split(","):
        span, slash, step = part.partition("/")
        first, dash, last = span.partition("-")
        if first in ("*", "?"):
            start, end = low, high
        else:
            start = _number(first, names)
            end = _number(last, names) if dash else high if slash else start
        stride = _number(step, {}) if slash else 1
        if not (low <= start <= end <= high) or stride < 1 or (first in ("*", "?") and dash):
            raise InputError(f"{printable(part)} is not a {what} in schedule {printable(whole)}", place)
        # `*/2` restricts the field; only the star itself leaves it open.
        star = star or (first in ("*", "?") and stride == 1)
        out.update(range(start, end + 1, stride))
    return frozenset(out), star


def _number(text: str, names: dict[str, int]) -> int:
    if text.lower() in names:
        return names[text.lower()]
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else -1
