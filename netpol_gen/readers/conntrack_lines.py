"""Conntrack text taken apart by the compiled module (`_conntrack_lines.c`), where there is one.

It knows the grammar of a line and nothing of what it means, and gives what `conntrack_text` gives in a fraction of the
time; that way is whole without it.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np

from netpol_gen.readers.conntrack_addresses import FIRST_OTHER, Addresses
from netpol_gen.readers.conntrack_entries import KEPT, LONGEST, WRITTEN, Decoded, Written, entries
from netpol_gen.readers.conntrack_meaning import STATES
from netpol_gen.readers.conntrack_times import LAST_SECOND, UNKNOWN_TIME
from netpol_gen.readers.conntrack_words import Int
from netpol_gen.readers.files import Block

_VERSION = 1
_LIMITS = (LONGEST, LAST_SECOND, UNKNOWN_TIME)
_STATES = tuple(name.encode() for name in STATES[1:])
_KEPT = len(KEPT)
"""The first columns of `Written`, which stay as they are; the others are only looked at."""
_SHORTEST = 64
"""Fewer bytes than any entry has."""


def module() -> ModuleType | None:
    """The compiled module; None where it was not built."""
    try:
        from netpol_gen.readers import _conntrack_lines  # noqa: PLC0415 - a wheel or checkout may lack it
    except ImportError:
        return None
    # Left over from another version in a checkout: of no use.
    return _conntrack_lines if _conntrack_lines.VERSION == _VERSION else None


def decode(block: Block, addresses: Addresses) -> Decoded:
    """Decode complete lines, where there is a module."""
    from netpol_gen.readers._conntrack_lines import scan  # noqa: PLC0415 - as above

    data, line = block.data, block.line
    room = min(block.lines, len(data) // _SHORTEST)
    kept = np.empty((_KEPT, room), dtype=np.int64)
    used = np.empty((len(WRITTEN) - _KEPT, room), dtype=np.int64)
    others = np.empty((3, block.lines), dtype=np.int64)
    wide = np.empty((4 * room, 2), dtype=np.uint64)
    count, left, distinct, records = scan(data, _LIMITS, _STATES, kept, used, others, wide)
    written = Written(*kept[:, :count], *used[:, :count])
    written.line += line
    if distinct:
        _number(written, addresses.numbered(wide[:distinct]))
    number, begin, end = others[:, :left]
    echo = begin < 0
    rest = np.flatnonzero(~echo)
    spans = zip((number[rest] + line).tolist(), begin[rest].tolist(), end[rest].tolist(), strict=True)
    return Decoded(entries(written), records, number[echo] + line, [(n, data[b:e]) for n, b, e in spans])


def _number(written: Written, codes: Int) -> None:
    """Put codes for IPv6 addresses in place of their numbers in the block."""
    for column in (written.client, written.dialled, written.server, written.seen_as):
        wide = column >= FIRST_OTHER
        # Most tables are of one family, for which there is no need to pick.
        which = slice(None) if wide.all() else np.flatnonzero(wide)
        column[which] = codes[column[which] - FIRST_OTHER]
