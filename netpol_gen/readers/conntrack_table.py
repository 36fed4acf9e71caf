"""From folded conversations to the rows of the flow table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from netpol_gen.codes import distinct, within
from netpol_gen.flowtable import schema
from netpol_gen.model import DirectionEvidence, ObservedVerdict
from netpol_gen.readers.columns import array, chosen, column
from netpol_gen.readers.conntrack_addresses import Addresses
from netpol_gen.readers.conntrack_meaning import L4
from netpol_gen.readers.conntrack_rows import HASH_BITS, NO_HOUR, Conversations
from netpol_gen.readers.conntrack_words import Int, Mask
from netpol_gen.readers.rows import SKETCH
from netpol_gen.readers.vpc_table import lists, ordered, samples

if TYPE_CHECKING:
    import pyarrow as pa

SOURCE = "conntrack"
_LOW = np.uint64((1 << HASH_BITS) - 1)


def build(shares: Iterable[Conversations], addresses: Addresses, names: Sequence[str]) -> pa.Table:
    """The table; `names` are the files by number."""
    import pyarrow as pa  # noqa: PLC0415 - half a second that `--help` must not pay

    texts = _Texts(addresses)
    tables = [_share(each, addresses, texts, names) for each in shares]
    return ordered(pa.concat_tables(tables)) if tables else schema().empty_table()


def _share(c: Conversations, addresses: Addresses, texts: _Texts, names: Sequence[str]) -> pa.Table:
    import pyarrow as pa  # noqa: PLC0415

    rows = len(c.client)
    when = pa.timestamp("ns", tz="UTC")
    decided = c.decided
    translated = (c.server != c.dialled) | (c.server_port != c.dialled_port)
    flows, octets, packets = _counts(c, addresses)
    counted = octets >= 0
    columns: dict[str, Any] = {
        "first_seen": array(c.first, when),
        "last_seen": array(c.last, when),
        "hours": _hours(c.hour),
        "src_ip": texts.of(c.client),
        "dst_ip": texts.of(c.dialled),
        "src_port": array(c.client_port, pa.int32(), decided),
        "dst_port": array(c.dialled_port, pa.int32()),
        "protocol": chosen([each.name for each in L4], c.protocol),
        "observed_verdict": _constant(str(ObservedVerdict.FORWARDED), np.ones(rows, dtype=bool)),
        "direction": _constant(str(DirectionEvidence.CONNTRACK), decided),
        "signals": array(c.signals, pa.int32()),
        "flows": array(flows, pa.int64()),
        "records": array(c.records, pa.int64()),
        "replies": array(np.zeros(rows), pa.int64()),
        "bytes": array(octets, pa.int64(), ~counted),
        "packets": array(packets, pa.int64(), ~counted),
        "backend_ip": texts.of(c.server, ~translated),
        "backend_port": array(c.server_port, pa.int32(), ~translated),
        "source": _constant(SOURCE, np.ones(rows, dtype=bool)),
        "sample": samples(c.place, names),
    }
    for each in schema():
        if each.name not in columns:
            columns[each.name] = (
                lists(np.zeros(rows + 1), column([], pa.string()))
                if pa.types.is_list(each.type)
                else pa.nulls(rows, each.type)
            )
    return pa.Table.from_arrays([columns[each.name] for each in schema()], schema=schema())


def _constant(value: str, where: Mask) -> pa.Array:
    return chosen([None, value], where)


class _Texts:
    """Addresses as texts: those of all shares and columns are much the same, and each is written once."""

    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses
        self._known = np.empty(0, dtype=np.int64)
        self._texts: dict[int, str] = {}
        self._array: pa.Array = None

    def of(self, codes: Int, missing: Mask | None = None) -> pa.Array:
        """A column of them."""
        import pyarrow as pa  # noqa: PLC0415

        met = distinct(codes)
        new = met[~within(met, self._known)]
        if len(new) or self._array is None:
            self._known = np.sort(np.concatenate([self._known, new]))
            self._texts.update((code, self._addresses.text(code)) for code in new.tolist())
            self._array = column([*map(self._texts.__getitem__, self._known.tolist()), None], pa.string())
        at = np.searchsorted(self._known, codes)
        return self._array.take(array(at if missing is None else np.where(missing, len(self._known), at), pa.int32()))


def _hours(hours: Int) -> pa.Array:
    """Lists of one hour, or of none."""
    import pyarrow as pa  # noqa: PLC0415

    told = hours != NO_HOUR
    return lists(np.concatenate([[0], np.cumsum(told)]), array(hours[told], pa.int32()))


def _counts(c: Conversations, addresses: Addresses) -> tuple[Int, Int, Int]:
    """Connections, bytes and packets of each row (-1 where not counted).

    Exact up to `SKETCH` connections, then estimated from those kept. A connection that another row has already (as
    dialled at the client's node, translated at the server's; in the hour before; in a dump without times) counts there.
    """
    rows = len(c.client)
    row = (c.word >> np.uint64(HASH_BITS)).astype(np.int64)
    kept = np.bincount(row, minlength=rows)
    estimate = kept.astype(np.float64)
    many = np.flatnonzero(kept > SKETCH)
    if len(many):
        # Ascending, so that the last of each row is its largest; the one beyond the sketch tells how dense they lie.
        largest = np.zeros(rows, dtype=np.uint64)
        largest[row] = c.word & _LOW
        estimate[many] = np.maximum(SKETCH + 1, SKETCH * float(1 << HASH_BITS) / largest[many].astype(np.float64))
    new = ~_again(c, row, addresses)
    fresh = np.bincount(row, weights=new, minlength=rows)
    flows = np.rint(estimate * fresh / np.maximum(kept, 1)).astype(np.int64)
    out = []
    for values in (c.octets, c.packets):
        told = values >= 0
        known = np.bincount(row, weights=told & new, minlength=rows)
        total = np.zeros(rows, dtype=np.int64)
        np.add.at(total, row, np.where(told & new, values, 0))
        scaled = np.where(kept > SKETCH, np.rint(total * (estimate / np.maximum(kept, 1))), total).astype(np.int64)
        any_told = np.bincount(row, weights=told, minlength=rows) > 0
        out.append(np.where(any_told, np.where(known > 0, scaled, 0), -1))
    return flows, out[0], out[1]


def _again(c: Conversations, row: Int, addresses: Addresses) -> Mask:
    """Which connections an earlier row to the same server has. The row as dialled comes before the translated one."""
    group = _groups(c)
    direct = (c.server == c.dialled) & (c.server_port == c.dialled_port)
    # Of one hour, what is told in time comes before what is told at its end.
    hour = c.hour << 1 | c.late
    rank = np.empty(len(c.client), dtype=np.int64)
    rank[np.lexsort((addresses.values(c.dialled), c.ports, c.when, direct, hour))] = np.arange(len(rank))
    again = np.zeros(len(row), dtype=bool)
    shared = np.flatnonzero(np.bincount(group)[group[row]] > 1)
    of_group, of_hash = group[row[shared]], c.word[shared] & _LOW
    order = np.lexsort((rank[row[shared]], of_hash, of_group))
    of_group, of_hash, shared = of_group[order], of_hash[order], shared[order]
    again[shared[1:]] = (of_group[1:] == of_group[:-1]) & (of_hash[1:] == of_hash[:-1])
    return again


def _groups(c: Conversations) -> Int:
    """A number for each (client, server, server port, protocol)."""
    low = (c.ports >> 16) & ((1 << 18) - 1)
    order = np.lexsort((low, c.server, c.client))
    differs = np.zeros(len(order), dtype=np.int64)
    for key in (low, c.server, c.client):
        sorted_ = key[order]
        differs[1:] |= sorted_[1:] != sorted_[:-1]
    out = np.empty(len(order), dtype=np.int64)
    out[order] = np.cumsum(differs)
    return out
