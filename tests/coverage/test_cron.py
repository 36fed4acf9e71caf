"""Schedules as the CronJob controller reads them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from netpol_gen.coverage import parse_cron
from netpol_gen.errors import InputError

MONDAY = datetime(2025, 10, 6, tzinfo=UTC)


def due(text: str, days: float = 7, start: datetime = MONDAY) -> list[str]:
    times = parse_cron(text).due(start, start + timedelta(days=days))
    return [f"{t:%a %d %H:%M}" for t in times]


@pytest.mark.parametrize(
    ("text", "days", "times"),
    [
        ("0 3 * * 0", 7, ["Sun 12 03:00"]),
        ("0 3 * * 0", 3, []),
        ("30 2 * * SUN,wed", 7, ["Wed 08 02:30", "Sun 12 02:30"]),
        ("0 0 1 * *", 30, ["Sat 01 00:00"]),
        ("0 12 1-7 10 *", 2, ["Mon 06 12:00", "Tue 07 12:00"]),
        ("@weekly", 7, ["Sun 12 00:00"]),
        ("@daily", 2, ["Mon 06 00:00", "Tue 07 00:00"]),
        ("15 */8 * * ?", 1, ["Mon 06 00:15", "Mon 06 08:15", "Mon 06 16:15"]),
        ("0 20/2 * * *", 1, ["Mon 06 20:00", "Mon 06 22:00"]),  # 20/2 is 20-23/2
        ("TZ=UTC 0 3 * * 1", 1, ["Mon 06 03:00"]),
        # Both day fields restricted: one of them is enough.
        ("0 0 9 * 2", 7, ["Tue 07 00:00", "Thu 09 00:00"]),
        # A stepped star restricts: even days, or Tuesdays.
        ("0 0 */2 * 2", 3, ["Tue 07 00:00"]),
        ("0 0 */2 * 2", 4, ["Tue 07 00:00", "Thu 09 00:00"]),
    ],
)
def test_due(text, days, times):
    assert due(text, days) == times


def test_every():
    assert due("@every 6h", 1) == ["Mon 06 00:00", "Mon 06 06:00", "Mon 06 12:00", "Mon 06 18:00"]
    assert parse_cron("@every 1h30m").every == 5400
    assert parse_cron("@every 6h").next_after(MONDAY) is None


def test_both_ends():
    schedule = parse_cron("0 * * * *")
    at = MONDAY + timedelta(hours=1)
    assert list(schedule.due(at, at + timedelta(seconds=1))) == [at]
    assert list(schedule.due(MONDAY + timedelta(minutes=1), at)) == []


@pytest.mark.parametrize(
    ("text", "then"),
    [
        ("0 3 * * 0", "2025-10-12T03:00:00+00:00"),
        ("0 0 29 2 *", "2028-02-29T00:00:00+00:00"),
        ("0 0 * * *", "2025-10-07T00:00:00+00:00"),  # midnight itself has been
    ],
)
def test_next(text, then):
    assert parse_cron(text).next_after(MONDAY).isoformat() == then


def test_never():
    assert parse_cron("0 0 30 2 *").next_after(MONDAY) is None


@pytest.mark.parametrize(
    "text",
    ["", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 7", "5-1 * * * *", "*/0 * * * *",
     "a * * * *", "1,,2 * * * *", "* * * * * *", "@reboot", "-1 * * * *", "TZ=Europe/Paris 0 3 * * *"],
)  # fmt: skip
def test_refused(text):
    with pytest.raises(InputError):
        parse_cron(text)
