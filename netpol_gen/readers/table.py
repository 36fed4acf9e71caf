"""From the parts that readers and processes hand over to one flow table with its ledger.

The result does not depend on how the input was shared out: ends, kinds and rows are matched by value, connections by
hash, and places are put back into file order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from netpol_gen.codes import distinct
from netpol_gen.errors import LONGEST_PATH, InputError, InvariantError, printable
from netpol_gen.flowtable import Flows, Ledger, Reason, schema
from netpol_gen.model import DirectionEvidence
from netpol_gen.readers import sketch
from netpol_gen.readers.columns import chosen, column
from netpol_gen.readers.merge import End, same_connection, unify
from netpol_gen.readers.rows import (
    EVIDENCE_SHIFT,
    LINE_BITS,
    MAX_PLACES,
    MAX_ROWS,
    REPLY_UNIT,
    Counts,
    Endpoint,
    Key,
    Kind,
    Partial,
    Row,
    split_ports,
)
from netpol_gen.readers.vpc_table import ordered

if TYPE_CHECKING:
    import pyarrow as pa

LINE_MASK = (1 << LINE_BITS) - 1
_EVIDENCE = tuple(DirectionEvidence)


@dataclass(frozen=True, slots=True)
class Share:
    """What a process is given to read, by number. Numbers follow the order of files and of lines within a file."""

    name: str
    source: str


@dataclass(slots=True)
class Merged:
    """All partials in one numbering. `Row.line` holds `file << LINE_BITS | line`."""

    files: list[str]
    ends: dict[End, int] = field(default_factory=dict)
    kinds: dict[Kind, int] = field(default_factory=dict)
    rows: dict[Key, Row] = field(default_factory=dict)
    hashes: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.uint64))
    hours: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.uint64))


def build(shares: Sequence[Share], partials: Sequence[Partial]) -> Flows:
    """One table from all partials, which are emptied on the way.

    Raises:
        InvariantError: a record was read and is neither in a row nor set aside.

    """
    offsets = _offsets(shares, partials)
    ledger = account(shares, partials, offsets)
    sources: dict[str, int] = {}
    names: dict[str, set[str]] = {}
    for partial in partials:
        for number, count in partial.read.items():
            sources[shares[number].source] = sources.get(shares[number].source, 0) + count
        for address, known in partial.names.items():
            names.setdefault(address, set()).update(known)
    merged = merge(shares, partials, offsets)
    same_connection(merged.rows, list(merged.ends), merged.hashes, merged.hours)
    records = sum(row.count % REPLY_UNIT for row in merged.rows.values())
    if records + sum(ledger.set_aside.values()) != ledger.read:
        raise InvariantError(f"{ledger.read} records read, but {records} in rows and {ledger.set_aside} set aside")
    return Flows(_table(merged, names), ledger, dict(sorted(sources.items())), _notes(ledger))


_MASKABLE = {
    Reason.NO_L4: "no transport layer (l4)",
    Reason.NO_ENDPOINT: "no endpoint (source, destination, IP)",
    Reason.NO_VERDICT: "no known verdict",
}


def _notes(ledger: Ledger) -> tuple[str, ...]:
    """What most records lack was left out on purpose, it may be: an exporter's field mask does that."""
    return tuple(
        f"{ledger.set_aside[reason]} of {ledger.read} records have {what} and say nothing about policies; "
        "if the exporter has a field mask, it must let this through"
        for reason, what in sorted(_MASKABLE.items())
        if ledger.set_aside.get(reason, 0) * 2 > ledger.read
    )


def _offsets(shares: Sequence[Share], partials: Iterable[Partial]) -> list[int]:
    """Lines of the same file before each share."""
    lines = [0] * len(shares)
    for partial in partials:
        for number, count in partial.lines.items():
            lines[number] = max(lines[number], count)
    offsets = [0] * len(shares)
    for number in range(1, len(shares)):
        if shares[number].name == shares[number - 1].name:
            offsets[number] = offsets[number - 1] + lines[number - 1]
    return offsets


def account(shares: Sequence[Share], partials: Iterable[Partial], offsets: Sequence[int]) -> Ledger:
    """The ledger of what was read and set aside; rows are still pending."""
    ledger = Ledger(files={share.name: 0 for share in shares})
    places: dict[Reason, list[tuple[str, int, str]]] = {}
    for partial in partials:
        for number, count in partial.read.items():
            ledger.read += count
            ledger.files[shares[number].name] += count
        for reason, count in partial.set_aside.items():
            ledger.aside(reason, count)
        for (node, hour, stage), events in partial.losses.items():
            ledger.lose(node, hour, stage, events)
        for reason, spots in partial.places.items():
            found = [(shares[spot.share].name, spot.line + offsets[spot.share], spot.detail) for spot in spots]
            places.setdefault(reason, []).extend(found)
    for reason, everywhere in places.items():
        for name, line, what in sorted(everywhere)[:MAX_PLACES]:
            ledger.aside(
                reason, 0, f"{printable(name, LONGEST_PATH)}:{line}" + (f": {printable(what)}" if what else "")
            )
    return ledger


def merge(shares: Sequence[Share], partials: Sequence[Partial], offsets: Sequence[int]) -> Merged:
    """Match ends, kinds and rows by value and put the sketches together."""
    merged = Merged(list(dict.fromkeys(share.name for share in shares)))
    file_of = {name: number for number, name in enumerate(merged.files)}
    bases = [(file_of[share.name] << LINE_BITS) + offset for share, offset in zip(shares, offsets, strict=True)]
    unified = unify(partial.forms for partial in partials)
    hashes, hours = [merged.hashes], [merged.hours]
    for partial in partials:
        ends = [merged.ends.setdefault((unified[end], ip), len(merged.ends)) for end, ip in partial.ends]
        kinds = [merged.kinds.setdefault(kind, len(merged.kinds)) for kind in partial.kinds]
        numbers = np.empty(len(partial.rows), dtype=np.uint64)
        for key, row in zip(partial.keys, partial.rows, strict=True):
            row.line = bases[row.line >> LINE_BITS] + (row.line & LINE_MASK)
            index = row.index
            numbers[index] = _add(merged.rows, Key(ends[key[0]], ends[key[1]], key[2], kinds[key[3]]), row)
        hashes.append(sketch.renumber(partial.hashes, sketch.HASH_BITS, numbers))
        hours.append(sketch.renumber(partial.hours, sketch.HOUR_BITS, numbers))
        partial.keys, partial.rows, partial.ends, partial.forms = [], [], [], {}
    if len(merged.rows) >= MAX_ROWS - 1:
        raise InputError(f"more than {MAX_ROWS} distinct conversations; split the input by time")
    merged.hashes = sketch.smallest(np.concatenate(hashes))
    merged.hours = distinct(np.concatenate(hours))
    return merged


def _add(rows: dict[Key, Row], key: Key, row: Row) -> int:
    """Put a row where its identity belongs; its number there."""
    there = rows.get(key)
    if there is None:
        row.index = len(rows)
        rows[key] = row
        return row.index
    there.absorb(row)
    return there.index


# --- columns ----------------------------------------------------------------------------------------------------------


def _table(merged: Merged, names: Mapping[str, set[str]]) -> pa.Table:
    import pyarrow as pa  # noqa: PLC0415 - half a second that `--help` must not pay

    keys = list(merged.rows)
    rows = list(merged.rows.values())
    hours = sketch.slices(merged.hours, sketch.HOUR_BITS, len(rows))
    kept = [i for i in range(len(rows)) if rows[i].count]
    order = sorted(kept, key=_order(keys, rows, hours, merged))
    ends, kinds = list(merged.ends), list(merged.kinds)
    flows = sketch.estimates(merged.hashes, len(rows))
    columns: dict[str, Any] = {}
    columns |= _seen(order, rows, hours, flows, merged.files)
    columns |= _connection([keys[i][2] for i in order], np.array([keys[i][3] for i in order], dtype=np.int64), kinds)
    for side, name in enumerate(("src", "dst")):
        codes = [keys[i][side] for i in order]
        columns |= _end(name, ends, np.array(codes, dtype=np.int64))
        told = [_names(*end, (), names) for end in ends]
        columns[f"{name}_names"] = [
            told[code] if rows[i].extra is None else _names(*ends[code], getattr(rows[i].extra, f"{name}_names"), names)
            for i, code in zip(order, codes, strict=True)
        ]
    wanted = schema()
    made = [(columns.pop(each.name), each.type) for each in wanted]
    arrays = [column(values, kind) if isinstance(values, list) else values for values, kind in made]
    # As a table that is read from a file: what it says in one order must not come back in another.
    return ordered(pa.Table.from_arrays(arrays, schema=wanted))


def _order(keys: list[Key], rows: list[Row], hours: list[tuple[int, ...]], merged: Merged) -> Any:
    """Total order by value, for rows that `ordered` does not tell apart."""

    def ranks(values: Iterable[Any]) -> list[int]:
        texts = [repr(value) for value in values]
        rank = {text: i for i, text in enumerate(sorted(texts))}
        return [rank[text] for text in texts]

    ends, kinds = list(merged.ends), list(merged.kinds)
    end_rank, kind_rank = ranks(ends), ranks(kinds)

    def order(i: int) -> tuple[Any, ...]:
        src, dst, ports, kind = keys[i]
        row = rows[i]
        addresses = (ends[src][1] or "", ends[dst][1] or "")
        return (row.first, row.last, hours[i], *addresses, ports, kind_rank[kind], end_rank[src], end_rank[dst])

    return order


def _seen(
    order: list[int], rows: list[Row], hours: list[tuple[int, ...]], flows: list[int], files: list[str]
) -> dict[str, list[Any]]:
    chosen = [rows[i] for i in order]
    extras = [row.extra for row in chosen]
    counts = [extra.counted() if extra else Counts() for extra in extras]
    return {
        "first_seen": [row.first for row in chosen],
        "last_seen": [row.last for row in chosen],
        "hours": [hours[i] for i in order],
        "signals": [row.bits & ((1 << EVIDENCE_SHIFT) - 1) for row in chosen],
        "direction": _each(_evidence, [row.bits >> EVIDENCE_SHIFT for row in chosen]),
        "flows": [max(1, flows[row.index] + each.flows) for row, each in zip(chosen, counts, strict=True)],
        "records": [row.count % REPLY_UNIT for row in chosen],
        "replies": [row.count // REPLY_UNIT for row in chosen],
        "bytes": [each.bytes for each in counts],
        "packets": [each.packets for each in counts],
        "dst_service": [min(extra.services) if extra and extra.services else None for extra in extras],
        "nodes": _each(_nodes, [tuple(row.nodes) for row in chosen]),
        "sample": [f"{files[row.line >> LINE_BITS]}:{row.line & LINE_MASK}" for row in chosen],
    }


def _each(function: Callable[[Any], Any], values: Sequence[Any]) -> list[Any]:
    """The function of each value, worked out once for equal ones."""
    found = {value: function(value) for value in set(values)}
    return [found[value] for value in values]


def _nodes(names: tuple[str, ...]) -> list[str]:
    """`kind-worker` of `default/kind-worker`: the cluster's name is no part of a node's."""
    if len(names) == 1:
        return [names[0].rpartition("/")[2]]
    return sorted({name.rpartition("/")[2] for name in names} - {""})


def _evidence(ranks: int) -> str | None:
    return str(_EVIDENCE[(ranks & -ranks).bit_length() - 1]) if ranks else None


def _connection(ports: list[int], codes: np.ndarray, kinds: list[Kind]) -> dict[str, Any]:
    split = [split_ports(port) for port in ports]
    texts = {"protocol": "protocol", "observed_verdict": "verdict"}
    texts |= {name: name for name in ("drop_reason", "backend_ip", "source")}
    return {
        "src_port": [src for src, _, _ in split],
        "dst_port": [dst for _, dst, _ in split],
        "backend_port": [kinds[code].backend_port for code in codes.tolist()],
        **{name: chosen([getattr(kind, part) for kind in kinds], codes) for name, part in texts.items()},
    }


def _end(name: str, ends: list[End], codes: np.ndarray) -> dict[str, Any]:
    """What is said of an end, made once for each distinct one."""
    texts = ("namespace", "pod", "labels", "workload", "entities", "uid")
    identities = [endpoint.identity for endpoint, _ in ends]
    return {
        f"{name}_ip": chosen([ip for _, ip in ends], codes),
        f"{name}_identity": [identities[code] for code in codes.tolist()],
        **{f"{name}_{part}": chosen([getattr(endpoint, part) for endpoint, _ in ends], codes) for part in texts},
    }


def _names(endpoint: Endpoint, address: str | None, seen: Iterable[str], answered: Mapping[str, set[str]]) -> list[str]:
    """Names of an end: the source's own, else, for ends outside the pods, what a resolver answered with its address."""
    names = {*endpoint.names, *seen}
    if not names and address and not endpoint.namespace and not endpoint.pod:
        names = answered.get(address, set())
    return sorted(names)
