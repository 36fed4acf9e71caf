"""From lines to typed structs, a block at a time."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from netpol_gen.readers.hubble_fields import text_of
from netpol_gen.readers.hubble_records import ABSENT, Addresses, Flow, Response

MEMO_LIMIT = 1 << 17
"""Entries after which a memo starts afresh, so that hostile input cannot fill memory."""
_WRAPPED = msgspec.json.Decoder(Response)
_BARE = msgspec.json.Decoder(Flow)
_ADDRESSES = msgspec.json.Decoder(Addresses)


def addresses(raw: Raw) -> Addresses | None:
    """The value of `IP`; None for anything else."""
    try:
        return _ADDRESSES.decode(raw) if raw is not ABSENT else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


class Decoder:
    """Decodes wrapped flows, or bare ones once it has met them."""

    def __init__(self) -> None:
        self.decoder: msgspec.json.Decoder[Any] = _WRAPPED
        self.nodes: dict[bytes, str] = {}
        """Node names by their JSON text."""

    def flows(self, data: bytes) -> list[Flow | None] | None:
        """Flows of complete lines, None for a record that is none; None where the decoder refuses."""
        try:
            found: list[Any] = self.decoder.decode_lines(data)
            if self.decoder is _BARE:
                if found and all(flow.ip is ABSENT for flow in found):
                    self.decoder = _WRAPPED
                return found
            if found and all(each.flow is None for each in found):
                # Not the wrapped form: bare flows, it may be.
                bare = _BARE.decode_lines(data)
                if any(flow.ip is not ABSENT for flow in bare):
                    self.decoder = _BARE
                    return list(bare)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        flows: list[Flow | None] = [each.flow for each in found]
        if flows and flows[0] is not None and not flows[0].node_name:
            # A field mask left it out of the flow; the exporter writes it beside the flow as well.
            for each in found:
                if each.flow is not None and not each.flow.node_name:
                    each.flow.node_name = self._node(bytes(each.node_name))
        return flows

    def _node(self, raw: bytes) -> str:
        name = self.nodes.get(raw)
        if name is None:
            if len(self.nodes) > MEMO_LIMIT:
                self.nodes.clear()
            name = self.nodes[raw] = text_of(raw)
        return name
