"""Which forms of an endpoint are one pod, and which undecided packets belong to a connection whose client is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from netpol_gen.model import Signal
from netpol_gen.readers import sketch
from netpol_gen.readers.rows import EVIDENCE_SHIFT, REPLY_UNIT, Endpoint, Key, Row, decided, split_ports


def unify(endpoints: Iterable[Endpoint]) -> dict[Endpoint, Endpoint]:
    """Map each form of a pod to one form with all that any of them says.

    A source tells more of a pod on the pod's own node (its workload) than elsewhere, and may call it `world` in one
    record and name it in the next. Forms are the same pod when namespace, name and UID are.
    """
    groups: dict[tuple[str | None, str, str | None], list[Endpoint]] = {}
    unified = {}
    for endpoint in endpoints:
        if endpoint.pod is None:
            unified[endpoint] = endpoint
        else:
            groups.setdefault((endpoint.namespace, endpoint.pod, endpoint.uid), []).append(endpoint)
    for forms in groups.values():
        best = _union(forms) if len(forms) > 1 else forms[0]
        unified.update(dict.fromkeys(forms, best))
    return unified


def _union(forms: list[Endpoint]) -> Endpoint:
    """The form with the most labels, with what it lacks taken from the others, the richest first."""
    forms = sorted(forms, key=_richness)
    best = forms[0]
    return best._replace(
        workload=next((form.workload for form in forms if form.workload), None),
        identity=next((form.identity for form in forms if form.identity is not None), None),
        names=tuple(sorted({name for form in forms for name in form.names})),
    )


def _richness(form: Endpoint) -> tuple[int, bool, bool, str]:
    # Labels are text here; more of it is more labels, near enough, and the last item makes the order total.
    return (-len(form.labels or ""), form.entities is not None, form.workload is None, repr(form))


@dataclass(frozen=True, slots=True)
class _Candidate:
    undecided: Row
    known: Row
    client_port: int
    turned: bool


def same_connection(rows: Mapping[Key, Row], hashes: np.ndarray, hours: np.ndarray) -> None:
    """Fold undecided rows into the row of the same connection (both addresses, both ports, hour) where there is one.

    Mid-stream packets without a direction would otherwise count a connection twice. A row emptied here has `count` 0.
    Only where the sketch of the known row still holds that very connection; the rest is left to `netpol_gen.direction`.
    """
    candidates = list(_candidates(rows))
    if not candidates:
        return
    spans = sketch.slices(hours, sketch.HOUR_BITS, len(rows))
    words = [
        [candidate.known.index, hour, candidate.client_port, number]
        for number, candidate in enumerate(candidates)
        for hour in spans[candidate.undecided.index]
    ]
    table = np.array(words, dtype=np.uint64).reshape(-1, 4)
    wanted = table[:, 0] << np.uint64(sketch.HASH_BITS) | sketch.mix(table[:, 1] << np.uint64(16) | table[:, 2])
    found = np.isin(wanted, hashes)
    for number in np.unique(table[found, 3]).tolist():
        candidate = candidates[number]
        if candidate.undecided.count:
            _adopt(candidate)


def _candidates(rows: Mapping[Key, Row]) -> Iterable[_Candidate]:
    for (src, dst, ports, kind), row in rows.items():
        src_port, dst_port, known = split_ports(ports)
        if known or not src_port or not dst_port:
            continue
        forward = rows.get(Key(src, dst, decided(dst_port), kind))
        if forward is not None:
            yield _Candidate(row, forward, src_port, turned=False)
        backward = rows.get(Key(dst, src, decided(src_port), kind))
        if backward is not None:
            yield _Candidate(row, backward, dst_port, turned=True)


def _adopt(candidate: _Candidate) -> None:
    row, known = candidate.undecided, candidate.known
    signals = row.bits & ((1 << EVIDENCE_SHIFT) - 1)
    if candidate.turned:
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
