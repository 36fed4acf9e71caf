"""Which forms of an endpoint are one pod, and which undecided packets belong to a connection whose client is known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from netpol_gen.model import UNTYPED, Signal
from netpol_gen.readers import sketch
from netpol_gen.readers.rows import (
    EVIDENCE_SHIFT,
    PORT_BITS,
    REPLY_UNIT,
    SKETCH,
    Endpoint,
    Identity,
    Key,
    Row,
    split_ports,
)

End = tuple[Endpoint, str | None]


def unify(everything: Iterable[Mapping[Identity, set[Endpoint]]]) -> dict[Identity, Endpoint]:
    """One form of each end, with all that any of its forms says.

    A source tells more of a pod on the pod's own node (its workload) than elsewhere, and may call it `world` in one
    record and name it in the next.
    """
    forms: dict[Identity, set[Endpoint]] = {}
    for some in everything:
        for identity, found in some.items():
            forms.setdefault(identity, set()).update(found)
    return {identity: next(iter(found)) if len(found) == 1 else _union(found) for identity, found in forms.items()}


def _union(found: Iterable[Endpoint]) -> Endpoint:
    """The form with the most labels, with what it lacks taken from the others, the richest first.

    One that does not say that it is a pod comes last: where another does, it is one.
    """
    forms = sorted(found, key=_richness)
    best = forms[0]
    return best._replace(
        workload=next((form.workload for form in forms if form.workload), None),
        identity=next((form.identity for form in forms if form.identity is not None), None),
        names=tuple(sorted({name for form in forms for name in form.names})),
    )


def _richness(form: Endpoint) -> tuple[bool, int, bool, bool, str]:
    # Labels are text here; more of it is more labels, near enough, and the last item makes the order total.
    untyped = form.entities == UNTYPED
    return (untyped, -len(form.labels or ""), form.entities is not None, form.workload is None, repr(form))


@dataclass(frozen=True, slots=True)
class _Claim:
    """That `row` is part of `known`: true where the sketch of `known` holds its connections."""

    row: Row
    known: Row
    turned: bool
    same_ends: bool
    connections: np.ndarray
    """40-bit hashes."""
    all_of_them: bool


def same_connection(rows: Mapping[Key, Row], ends: Sequence[End], hashes: np.ndarray, hours: np.ndarray) -> None:
    """Fold rows into the row of the same connections (both addresses, both ports, hour) where there is one.

    Two kinds of row tell of connections that another row tells better:

    - Undecided packets from the middle of a connection. Left alone they would count it twice.
    - Answers to a node whose requests came with a pod's identity: a proxy on that node sent them from the node's
      address with its client's identity, and only the way back shows the node.

    A row emptied here has `count` 0. What a full sketch can no longer prove is left alone.
    """
    claims = [*_undecided(rows, ends, hours), *_answers_to_nodes(rows, ends, hashes)]
    if not claims:
        return
    sizes = [len(claim.connections) for claim in claims]
    wanted = np.concatenate([np.uint64(c.known.index << sketch.HASH_BITS) | c.connections for c in claims])
    held = sketch.holds(hashes, wanted)
    found = np.bincount(np.repeat(np.arange(len(claims)), sizes), held, len(claims))
    proven: dict[int, list[_Claim]] = {}
    for claim, size, count in zip(claims, sizes, found.tolist(), strict=True):
        if count and (count == size or not claim.all_of_them):
            proven.setdefault(claim.row.index, []).append(claim)
    for several in proven.values():
        best = [claim for claim in several if claim.same_ends] or several
        if len(best) == 1:
            _adopt(best[0])


_Place = tuple[str, str, int, int]


def _by_addresses(rows: Mapping[Key, Row], ends: Sequence[End]) -> dict[_Place, list[tuple[Key, Row]]]:
    """Rows whose client is known by both addresses, server port and kind."""
    found: dict[_Place, list[tuple[Key, Row]]] = {}
    for key, row in rows.items():
        src, dst = ends[key.src][1], ends[key.dst][1]
        if src and dst and key.ports and split_ports(key.ports)[2]:
            found.setdefault((src, dst, key.ports, key.kind), []).append((key, row))
    return found


def _undecided(rows: Mapping[Key, Row], ends: Sequence[End], hours: np.ndarray) -> Iterator[_Claim]:
    open_rows = [(key, row) for key, row in rows.items() if not split_ports(key.ports)[2]]
    if not open_rows:
        return
    known = _by_addresses(rows, ends)
    for key, row in open_rows:
        src_port, dst_port, _ = split_ports(key.ports)
        src, dst = ends[key.src][1], ends[key.dst][1]
        if not (src and dst and src_port and dst_port):
            continue
        spans = sketch.of_row(hours, sketch.HOUR_BITS, row.index)
        for turned, place, client_port in (
            (False, (src, dst, dst_port, key.kind), src_port),
            (True, (dst, src, src_port, key.kind), dst_port),
        ):
            same = (key.dst, key.src) if turned else (key.src, key.dst)
            for other, target in known.get(place, ()):
                connections = sketch.mix(spans << np.uint64(PORT_BITS) | np.uint64(client_port))
                yield _Claim(row, target, turned, (other.src, other.dst) == same, connections, all_of_them=False)


def _answers_to_nodes(rows: Mapping[Key, Row], ends: Sequence[End], hashes: np.ndarray) -> Iterator[_Claim]:
    nodes = {number for number, (end, _) in enumerate(ends) if not end.namespace and _NODES & _entities(end)}
    one_way = [(k, r) for k, r in rows.items() if k.src in nodes and r.count // REPLY_UNIT == r.count % REPLY_UNIT]
    if not one_way:
        return
    known = _by_addresses(rows, ends)
    for key, row in one_way:
        connections = sketch.of_row(hashes, sketch.HASH_BITS, row.index)
        place = (ends[key.src][1] or "", ends[key.dst][1] or "", key.ports, key.kind)
        for other, target in known.get(place, ()):
            asks = target.count % REPLY_UNIT > target.count // REPLY_UNIT
            if asks and ends[other.src][0].namespace and other.dst == key.dst and len(connections) <= SKETCH:
                yield _Claim(row, target, turned=False, same_ends=False, connections=connections, all_of_them=True)


_NODES = frozenset({"host", "remote-node"})


def _entities(end: Endpoint) -> frozenset[str]:
    return frozenset((end.entities or "").split(","))


def _adopt(claim: _Claim) -> None:
    row, known = claim.row, claim.known
    if row.bits >> EVIDENCE_SHIFT:
        known.absorb(row)
        row.count = 0
        return
    signals = row.bits & ((1 << EVIDENCE_SHIFT) - 1)
    if claim.turned:
        row.count += row.count * REPLY_UNIT
        row.bits = turn_signals(signals)
        if row.extra:
            row.extra.src_names, row.extra.dst_names = row.extra.dst_names, row.extra.src_names
            row.extra.services = set()
    else:
        row.bits = keep_signals(signals)
    known.absorb(row)
    row.count = 0


def keep_signals(signals: int) -> int:
    """Signals of an undecided row (written as though `src` were the client) once `src` is the client."""
    return signals & ~Signal.RESET


def turn_signals(signals: int) -> int:
    """Signals of an undecided row once `src` turns out to be the server."""
    turned = signals & ~(Signal.CLIENT_DATA | Signal.DELIVERED)
    return turned | (Signal.SERVER_DATA if signals & Signal.CLIENT_DATA else 0)
