"""From lines to typed structs, a block at a time."""

from __future__ import annotations

from operator import itemgetter

import msgspec
from msgspec import Raw

from netpol_gen.readers.hubble_fields import text_of
from netpol_gen.readers.hubble_records import ABSENT, Addresses, Bare, Flow, Response

MEMO_LIMIT = 1 << 17
"""Entries after which a memo starts afresh, so that hostile input cannot fill memory."""
_WRAPPED = msgspec.json.Decoder(Response)
_BARE = msgspec.json.Decoder(Bare)
_FIRST, _LAST = itemgetter(slice(1)), itemgetter(slice(-1, None))
_ADDRESSES = msgspec.json.Decoder(Addresses)


def are_objects(lines: list[bytes]) -> bool:
    """Whether each begins and ends as an object does.

    The decoder minds no lines, but a line's end between `}` and `{` is within no sound value: where there are as many
    records as lines, each line has one then.
    """
    return set(map(_FIRST, lines)) <= {b"{"} and set(map(_LAST, lines)) <= {b"}"}


def addresses(raw: Raw) -> Addresses | None:
    """The value of `IP`; None for anything else."""
    try:
        return _ADDRESSES.decode(raw) if raw is not ABSENT else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


class Decoder:
    """Decodes wrapped flows, or bare ones once it has met them. What it has met never shows in what is read."""

    def __init__(self) -> None:
        self.is_bare = False
        """Whether the last records were bare, and the next ones may be."""
        self.nodes: dict[bytes, str] = {}
        """Node names by their JSON text."""

    def flows(self, data: bytes) -> list[Flow | None] | None:
        """Flows of complete lines, None for a record that is none; None where the decoder refuses."""
        if self.is_bare and (bare := self.bare(data)) is not None:
            return bare
        self.is_bare = False
        try:
            found = _WRAPPED.decode_lines(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        flows: list[Flow | None] = [each.flow for each in found]
        if flows and not any(flows):
            # Not the wrapped form: bare flows, it may be.
            bare = self.bare(data)
            if bare is not None and any(bare):
                self.is_bare = True
                return bare
        for each in found:
            if each.flow is not None and not each.flow.node_name:
                # A field mask left it out of the flow; the exporter writes it beside the flow as well.
                each.flow.node_name = self._node(bytes(each.node_name))
        return flows

    def bare(self, data: bytes) -> list[Flow | None] | None:
        """As `flows`, of bare ones alone; None also where one is wrapped."""
        try:
            return [None if flow.ip is ABSENT else flow for flow in _BARE.decode_lines(data)]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None

    def _node(self, raw: bytes) -> str:
        name = self.nodes.get(raw)
        if name is None:
            if len(self.nodes) > MEMO_LIMIT:
                self.nodes.clear()
            name = self.nodes[raw] = text_of(raw)
        return name
