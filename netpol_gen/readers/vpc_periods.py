"""Keeping the holders of an address apart: records fold into rows of one period of each address."""

# Queries are put together from our own constants, never from what a file says.
# ruff: noqa: S608

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from netpol_gen.codes import numbered, texts
from netpol_gen.handovers import LAST, Handovers
from netpol_gen.readers import vpc
from netpol_gen.readers.columns import array, chosen
from netpol_gen.readers.vpc_table import address

if TYPE_CHECKING:
    import pyarrow as pa

_TABLE, _CANONICAL = "periods", "canonical"
_REMEMBERED = 1 << 16
_TIMES = re.compile(
    rb"(?<![0-9A-Za-z.-])(?:1[0-9]{9}(?:[0-9]{3})?(?=[^0-9])|20[1-3][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9])"
)
"""Seconds or milliseconds since 2001, or the hour of an RFC 3339 time. A number at the end may go on."""
_SCANNED = 4096
"""So many bytes of each file are looked at."""
_SLACK = 2 * 3600
"""Seconds: what begins so much before the first record that is looked at is not reckoned with."""
_FIRST = "[1-9a-f][0-9a-f]{0,3}"
_NEXT = f"(:(0|{_FIRST}))"
USUAL = "|".join([f"{_FIRST}{_NEXT}{{7}}", *(f"{_FIRST}{_NEXT}{{{n}}}:({_NEXT}{{1,{5 - n}}}|:)" for n in range(5))])
UNUSUAL = (":0:0", "::0", ":0::")
"""IPv6 addresses that match the one and have none of the others are surely in canonical form, and no mapped IPv4."""


def relevant(handovers: Handovers, heads: Iterable[bytes]) -> Handovers:
    """Those that may lie in the time that files tell of, by what their beginnings say: keeping rows apart costs time.

    Files that are not in order lose no more than that: a row of theirs may span a hand-over, and is ambiguous then.
    """
    if not handovers:
        return handovers
    first = None
    for head in heads:
        told = [_seconds(found) for found in _TIMES.findall(head, 0, _SCANNED)]
        if not told:
            return handovers
        first = min(told) if first is None else min(first, *told)
    return handovers if first is None else handovers.within((first - _SLACK) * vpc.NS, LAST)


def measured(
    engine: vpc.Engine, records: str, handovers: Handovers, told: Sequence[tuple[int, int] | None]
) -> Handovers:
    """The same by the records, where reading their times alone is cheap and they can be read again.

    `told` has first and last time of each file, where they are known without.
    """
    if not handovers:
        return handovers
    spans = [span for span in told if span is not None]
    if len(spans) == len(told):
        return handovers.within(min(first for first, _ in spans), max(last for _, last in spans))
    batches = engine.query(f"SELECT min(first) AS first, max(last) AS last FROM ({records})")
    (found,) = (row for batch in batches for row in batch.to_pylist())
    return handovers if found["first"] is None else handovers.within(found["first"], found["last"])


def _seconds(text: bytes) -> int:
    if text[4:5] == b"-":
        year, month, day, hour = (int(text[a:b]) for a, b in ((0, 4), (5, 7), (8, 10), (11, 13)))
        with contextlib.suppress(ValueError):
            return int(datetime(year, month, day, hour, tzinfo=UTC).timestamp())
        return 0
    return int(text[:10])


def fold(engine: vpc.Engine, records: str, meaning: vpc.Meaning, handovers: Handovers, *, places: bool = True) -> str:
    """`vpc.fold_sql`, with rows that do not span `handovers`."""
    if not handovers:
        return vpc.fold_sql(records, meaning, places=places)
    engine.table(_TABLE, table(handovers))
    engine.function(_CANONICAL, _canonical)
    # Nobody knows how many records a stream has: the planner would take them for few and hold them all in memory.
    engine.run("SET disabled_optimizers = 'build_side_probe_side'")
    return vpc.fold_sql(_told(records), meaning, places=places, apart=True)


def table(handovers: Handovers) -> pa.Table:
    """The periods as rows `address`, `h`, `since`, `until`, `number` (from 1): those of each hour that need them.

    Rows do not span hours, so most hours of most addresses need none. An hour before a change does: what begins in it
    may end after the change, and must not be folded with the rest. And so does one after it, for what goes on there.
    """
    import pyarrow as pa  # noqa: PLC0415 - half a second that `--help` must not pay

    owner = np.repeat(np.arange(len(handovers.addresses)), np.diff(handovers.offsets))
    hours = handovers.times // vpc.HOUR
    both, near = np.tile(owner, 3), np.concatenate([hours - 1, hours, hours + 1])
    example, _ = numbered(both, near)
    which, hour = both[example], near[example]
    borders = np.concatenate([hour * vpc.HOUR, (hour + 1) * vpc.HOUR - 1])
    low, high = np.split(handovers.number(np.concatenate([which, which]), borders, borders), 2)
    count = high - low + 1
    entry = np.repeat(np.arange(len(which)), count)
    number = low[entry] + np.arange(len(entry)) - np.repeat(np.cumsum(count) - count, count)
    _, since, until, _ = handovers.periods()
    period = handovers.offsets[which[entry]] + which[entry] + number
    return pa.table(
        {
            "address": chosen(handovers.addresses, which[entry]),
            "h": array(hour[entry], pa.int64()),
            "since": array(since[period], pa.int64()),
            "until": array(until[period], pa.int64()),
            "number": array(number + 1, pa.int64()),
        }
    )


def _told(records: str) -> str:
    """Records with the periods of their ends, `src_period` and `dst_period`.

    0 is that of addresses that do not change hands near that hour, and of records that span a change.
    """
    hour = f"(rec.first // {vpc.HOUR})::BIGINT"
    joins = " ".join(
        f"LEFT JOIN {_TABLE} AS {end}_at ON {_spelled(end)} = {end}_at.address AND {hour} = {end}_at.h "
        f"AND rec.first >= {end}_at.since AND rec.last < {end}_at.until"
        for end in ("src", "dst")
    )
    return f"""SELECT rec.*, coalesce(src_at.number, 0) AS src_period, coalesce(dst_at.number, 0) AS dst_period
        FROM ({records}) AS rec {joins}"""


def _spelled(end: str) -> str:
    """The canonical text. To ask Python takes as long as all else of a record, and most are written so already."""
    odd = " OR ".join(f"contains(rec.{end}, '{part}')" for part in UNUSUAL)
    usual = f"NOT contains(rec.{end}, ':') OR (regexp_full_match(rec.{end}, '{USUAL}') AND NOT ({odd}))"
    return f"(CASE WHEN {usual} THEN rec.{end} ELSE {_CANONICAL}(rec.{end}) END)"


@lru_cache(_REMEMBERED)
def _meant(text: str) -> str:
    return address(text)[0]


def _canonical(column: pa.ChunkedArray) -> pa.Array:
    said = texts(column)
    return chosen([_meant(text) for text in said.values], said.codes)
