"""RFC 3339 times with up to nine digits of fraction, which `datetime` would cut to six.

*Canonical text* is UTC without zone or trailing zeros: `2021-06-16T16:52:13.1368344`. Two of them compare as their
times do, so that a reader can keep the earliest and latest without turning each into a number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
LAST_YEAR = 2088

_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,30}))?[ ]?([Zz]|UTC|[+-]\d\d:?\d\d)", re.ASCII
)


def canonical(text: str) -> str | None:
    """The canonical text of a time between 1970 and LAST_YEAR; None for anything else."""
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None
    *fields, fraction, zone = match.groups()
    offset = timedelta() if zone.upper() in {"Z", "UTC"} else timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
    year, month, day, hour, minute, second = map(int, fields)
    try:
        # A leap second (:60) is the same instant as the next minute's :00 for every purpose here.
        leap = timedelta(seconds=1 if second == 60 else 0)
        zoned = timezone(-offset if zone[0] == "-" else offset)
        when = datetime(year, month, day, hour, minute, min(second, 59) if leap else second, tzinfo=zoned) + leap
        when = when.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    if not 1970 <= when.year <= LAST_YEAR:
        return None
    return _with_fraction(when, (fraction or "")[:9])


def _with_fraction(when: datetime, digits: str) -> str:
    digits = digits.rstrip("0")
    return when.strftime("%Y-%m-%dT%H:%M:%S") + (f".{digits}" if digits else "")


def text(nanoseconds_since_epoch: int) -> str:
    """The canonical text of a number of nanoseconds."""
    seconds, fraction = divmod(nanoseconds_since_epoch, SECOND)
    return _with_fraction(datetime.fromtimestamp(seconds, UTC), f"{fraction:09d}")


def nanoseconds(canonical_text: str) -> int:
    """Nanoseconds since the epoch. Seconds or a fraction that are no numbers count as zero."""
    seconds, fraction = canonical_text[17:19], canonical_text[20:29]
    whole = _minute(canonical_text[:16]) + (int(seconds) if seconds.isdecimal() and seconds.isascii() else 0)
    return whole * SECOND + (int(fraction.ljust(9, "0")) if fraction.isdecimal() and fraction.isascii() else 0)


def all_nanoseconds(canonical_texts: Sequence[str]) -> list[int]:
    """Nanoseconds since the epoch of many times."""
    import numpy as np  # noqa: PLC0415 - a twelfth of the time, for those who read anyway

    found: list[int] = np.array(canonical_texts, dtype="datetime64[ns]").astype(np.int64).tolist()
    return found


@lru_cache(1 << 12)
def _minute(text_of_minute: str) -> int:
    """Seconds since the epoch of `2021-06-16T16:52`: a capture has few of them, and many times in each."""
    return int(datetime.fromisoformat(f"{text_of_minute}:00+00:00").timestamp())


def parse(text_of_time: str) -> int | None:
    """Nanoseconds since the epoch of an RFC 3339 time; None for anything else."""
    found = canonical(text_of_time)
    return None if found is None else nanoseconds(found)
