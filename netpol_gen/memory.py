"""How the interpreter and the C library treat memory while whole tables are worked on."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

_OFTEN = 8
"""A run of a command has fewer occasions."""
_times = itertools.count()
_KEPT = 24 << 20
"""Bytes. glibc learns from pieces of at most 32 MiB."""


@contextmanager
def no_collection() -> Iterator[None]:
    """Without the garbage collector, which looks through all rows again and again for cycles that there are not."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            # What was made here stays for longer. Frozen and released it is old without having been looked through,
            # which would come next otherwise. In a process that does this again and again the collector would never
            # come to its own garbage; and what others froze has to stay so.
            if next(_times) < _OFTEN and not gc.get_freeze_count():
                gc.freeze()
                gc.unfreeze()
            gc.enable()


def keep_freed() -> None:
    """Have the C library keep the memory of arrays for the next ones, up to some ten megabytes.

    glibc maps what is larger than the largest piece that was mapped and freed so far, and gives it back when it is
    freed: every intermediate column of a table would be made of fresh pages, which the kernel clears, a fifth of the
    time that resolving takes. It learns from one piece of this size; elsewhere this does nothing.
    """
    np.empty(_KEPT, dtype=np.uint8)
