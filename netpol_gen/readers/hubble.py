"""Reading Hubble exports: `hubble observe -o jsonpb`, the exporters' files, and what log shippers make of them.

Blocks of lines are decoded at once into typed structs and folded into rows (`hubble_fold`). What the decoder refuses,
and every record that lacks what it needs, goes line by line through `hubble_records.understand`. What a record means is
decided in `hubble_meaning`, once per combination of facts; endpoints are parsed in `hubble_ends`, once per spelling.

Choices where the format leaves one:

- A port of 0 on the server's side (proto-JSON leaves zeros out, so also a missing one) is a field out of range. The
  client's port may be missing where the client is known: aggregating exporters leave it out.
- `aggregate` (one line stands for n flows) is one record and adds n - 1 to the row's connections, n being the largest
  of its counters: each counter counts the same flows as one observation point saw them.
- An end given as `null`, or neither an address nor anything else known of it, is a missing endpoint; an absent `source`
  or `destination` beside an address (an exporter's field mask) is an end known by its address alone.
- A DNS answer names its addresses by the name that was asked for, on rows whose end lies outside the pods and has no
  name from the source.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from netpol_gen.readers import hubble_known
from netpol_gen.readers.documents import Element, Layout, elements, layout
from netpol_gen.readers.files import Stream
from netpol_gen.readers.hubble_fold import Reader
from netpol_gen.readers.rows import Rows

_OTHERS = re.compile(
    rb'\\?"(?:lost_events|lostEvents|node_status|nodeStatus|agent_event|debug_event)\\?"\s*:\s*\{|EVENTS LOST: [A-Z_]+'
)
_WRAPPER = re.compile(rb'\\?"flow\\?"\s*:\s*\{')
_VERDICT = re.compile(rb'\\?"verdict\\?"\s*:')
_FIELD = re.compile(
    rb'\\?"(?:IP|l4|event_type|eventType|Type|is_reply|isReply|traffic_direction|trafficDirection|Summary)\\?"\s*:'
)


# --- telling it from other files --------------------------------------------------------------------------------------


def looks_like(head: bytes, name: str) -> bool:  # noqa: ARG001 - the table of sources passes it
    """Whether a file with this beginning holds Hubble records, among others perhaps."""
    # Most other files have no quotes at all: 2 ms for each of a thousand small files are worth a look.
    if head.startswith(b"PAR1") or not (b'"' in head or b"EVENTS LOST" in head):
        return False
    if _OTHERS.search(head):
        return True
    return bool(_FIELD.search(head) and (_WRAPPER.search(head) or _VERDICT.search(head)))


def splittable(head: bytes) -> bool:
    """Whether each line stands for itself."""
    return layout(head) is Layout.LINES


def cheap() -> bool:
    """Whether most records are counted by the compiled module."""
    return hubble_known.module() is not None


def read(stream: Stream, rows: Rows) -> None:
    """Read one share."""
    reader = rows.memo.get("hubble") or Reader(rows)
    rows.memo["hubble"] = reader
    if layout(stream.head) is Layout.DOCUMENTS:
        for batch in _batches(elements(stream.pieces())):
            reader.batch(batch)
            rows.breathe()
        rows.passed(stream)
        return
    for block in rows.blocks(stream):
        reader.block(block.data, block.line, block.lines, block.excess)


def _batches(found: Iterable[Element], size: int = 64) -> Iterable[list[Element]]:
    batch: list[Element] = []
    for element in found:
        batch.append(element)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
