"""The compiled way past records that say again what is known (`_hubble_known.c`), where there is one.

It counts what it knows and hands out the rest; what it knows it is told by the Python reader (`hubble_fold`), which
goes without where the module was not built, and then takes more than twice as long for the same table.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from netpol_gen.flowtable import Reason
from netpol_gen.readers.hubble_records import Flow
from netpol_gen.readers.rows import MAX_PLACES, Rows

if TYPE_CHECKING:
    from netpol_gen.readers._hubble_known import Known

_VERSION = 1
_SHAPE, _NEVER, _MORE = 0, 7, 8
_ROLES = {
    "time": 1,
    "IP": 2,
    "source": 3,
    "destination": 4,
    "l4": 5,
    "node_name": 6,
    "l7": _NEVER,
    "aggregate": _NEVER,
    "source_names": _MORE,
    "destination_names": _MORE,
    "source_service": _MORE,
    "destination_service": _MORE,
}
"""What each field of `Flow` is to the compiled module; all others decide what a record means. Records with one that is
`_NEVER` known add what only themselves say; one with `_MORE` says more of its row, which must be told it once."""
_REASONS = tuple(Reason)


def module() -> type[Known] | None:
    """The compiled type; None where it was not built."""
    try:
        from netpol_gen.readers import _hubble_known  # noqa: PLC0415 - a wheel or checkout may lack it
    except ImportError:
        return None
    # Left over from another version in a checkout: of no use.
    return _hubble_known.Known if _hubble_known.VERSION == _VERSION else None


def make(window: tuple[str, str] | None) -> Known | None:
    """One that knows nothing yet; `window` has canonical times, since and until. None: go without."""
    kind = module()
    if kind is None:
        return None
    names = (field.encode_name for field in msgspec.structs.fields(Flow))
    return kind(tuple((name.encode(), _ROLES.get(name, _SHAPE)) for name in names), os.urandom(16), window)


def number(reason: Reason, rows: Rows) -> int | None:
    """The number of a reason for records to be set aside unseen; None while their places are wanted."""
    return _REASONS.index(reason) if len(rows.places.get(reason, ())) >= MAX_PLACES else None


def settle(known: Known, rows: Rows) -> None:
    """Put what was counted where it belongs."""
    rows.log.frombytes(known.connections())
    counts, reasons = known.drain()
    every = list(rows.rows.values())
    for index, adds, bits, first, last in counts:
        row = every[index]
        row.count += adds
        row.bits |= bits
        if first < row.first:  # type: ignore[operator] # noqa: PLR1730 - twice as fast as min()
            row.first = first
        if last > row.last:  # type: ignore[operator] # noqa: PLR1730
            row.last = last
    for reason, count in zip(_REASONS, reasons, strict=False):
        if count:
            rows.set_aside[reason] = rows.set_aside.get(reason, 0) + count
