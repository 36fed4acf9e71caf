"""Columns agree with rows: what is done with codes and whole arrays is what plain Python does one row at a time."""

from __future__ import annotations

import subprocess
import sys
from ipaddress import ip_address, ip_network
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netpol_gen import codes
from netpol_gen.codes import (
    Columns,
    Texts,
    distinct,
    gathered,
    known,
    lists,
    numbered,
    numbers,
    ordering,
    picked,
    ranked,
    sets,
    texts,
    within,
)
from netpol_gen.config import Config
from netpol_gen.edges import find_edges
from netpol_gen.evidence import fold
from netpol_gen.flowtable import Reason
from netpol_gen.model import UNKNOWN_TIME
from netpol_gen.resolve import resolve
from netpol_gen.sets import AddressSet
from netpol_gen.smallest import smallest
from tests import plainfold
from tests.flowrows import HOUR, NOW, flows_of, inventory_of, node, pod, row, service

EXAMPLES = settings(max_examples=150)
SMALL = st.integers(-3, 5)
WIDE = st.integers(-(2**40), 2**40)


@given(st.lists(st.tuples(st.one_of(SMALL, WIDE), SMALL, st.one_of(SMALL, WIDE), SMALL), max_size=40))
def test_numbers_of_combinations_are_their_places_in_order(rows):
    columns = [np.array([r[i] for r in rows], dtype=np.int64) for i in range(4)]
    example, number = numbered(*columns)
    order = sorted(set(rows))
    assert number.tolist() == [order.index(r) for r in rows]
    assert [rows[i] for i in example.tolist()] == order


def test_combinations_of_narrow_numbers_do_not_overflow():
    least, most = -(2**31), 2**31 - 1
    example, number = numbered(np.array([least, 5, most, least], dtype=np.int32), np.array([1, 0, 0, 1], dtype=bool))
    assert (number.tolist(), sorted(example.tolist()[1:])) == ([0, 1, 2, 0], [1, 2])


def test_hours_of_any_number():
    """A flow table that others wrote may have them; a list of all hours in between would not fit into memory."""
    far = row("10.0.1.1", "10.0.1.2", 8080, hours=[-(2**31), 0, 490_000], direction="syn")
    (seen,) = find_edges(flows_of(far), CLUSTER).observations
    assert seen.evidence.hours == (-(2**31), 0, 490_000)


def test_what_nobody_needs_is_collected_in_the_end():
    # In a process of its own: this one may have frozen objects, which have to stay so.
    program = """
import gc, weakref
from netpol_gen.memory import no_collection

class Ring:
    def __init__(self):
        self.me = self

left = []
for _ in range(200):
    with no_collection():
        left += [weakref.ref(Ring()) for _ in range(50)]
        kept = [[i] for i in range(2000)]
print(gc.isenabled(), sum(ref() is not None for ref in left) < 2000)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "True True\n"


def test_combinations_of_many_values_do_not_overflow():
    values = np.arange(0, 70_000, dtype=np.int64) * 2**30
    example, number = numbered(values, values[::-1], values, values)
    assert example.tolist() == number.tolist() == list(range(70_000))


@pytest.mark.parametrize("slots", [codes._MOST_SLOTS, 1])
@given(values=st.lists(st.one_of(SMALL, WIDE)), others=st.lists(st.one_of(SMALL, WIDE)), data=st.data())
def test_within_is_membership(slots, values, others, data):
    values += data.draw(st.lists(st.sampled_from(others))) if others else []
    ascending = np.unique(np.array(others, dtype=np.int64))
    # With two slots nearly all of them are shared.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codes, "_MOST_SLOTS", slots)
        found = within(np.array(values, dtype=np.int64), ascending)
    assert found.tolist() == [value in others for value in values]


@given(
    st.lists(st.integers(-(2**63), 2**63 - 1) | SMALL, max_size=30),
    st.sampled_from([np.int64, np.int32, np.int8, bool, np.uint64]),
)
def test_the_order_of_numbers_of_any_kind(values, kind):
    given_ = np.array(values, dtype=np.int64).astype(kind)
    order, ascending = ordering(given_)
    assert sorted(order.tolist()) == list(range(len(values)))
    assert ascending.tolist() == given_[order].tolist() == sorted(given_.tolist())
    if len(values) and int(given_.max()) - int(given_.min()) < 2**50:
        assert order.tolist() == np.argsort(given_, kind="stable").tolist()


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 80)), max_size=40), st.integers(0, 80), st.integers(1, 90))
def test_sets_of_groups(entries, extra, limit):
    values = [f"value {i:02}" for i in range(max([extra, *(item for _, item in entries)]) + 1)]
    group, items = (np.array([e[i] for e in entries], dtype=np.int64) for i in (0, 1))
    found = sets(group, items, 5, values, limit)
    assert found == [tuple(values[i] for i in sorted({i for g, i in entries if g == n})[:limit]) for n in range(5)]


@given(st.lists(st.sampled_from(["a", "b", None])), st.lists(st.sampled_from(["b", "c", None])))
def test_what_a_reader_had_as_numbers_is_what_the_table_says(first, second):
    other = (second * len(first))[: len(first)] if second else first
    table = pa.table({"x": pa.array(first, pa.string()), "y": pa.array(other, pa.string())})
    made = {"x": Texts(np.array(["b.a".find(v) if v else -1 for v in first], dtype=np.int64), ["b", "", "a"])}
    said = table.column("x").to_pylist()
    for columns in (Columns(table, {}), Columns(table, made), Columns(table, {**made, "y": made["x"]})):
        one, both = columns.texts("x"), columns.texts("x", "y")
        assert [one.values[c] if c >= 0 else None for c in one.codes.tolist()] == said
        behind = said if "y" in columns.made else other
        assert [both.values[c] if c >= 0 else None for c in both.codes.tolist()] == [*said, *behind]


@given(values=st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 3), max_size=30))
def test_distinct_values_are_those_of_a_set(values):
    assert distinct(np.array(values, dtype=np.uint64)).tolist() == sorted(set(values))
    ascending, number = ranked(np.array(values, dtype=np.uint64))
    assert ascending.tolist() == sorted(set(values))
    assert ascending[number].tolist() == values


def cut(values: list[Any], kind: pa.DataType, at: int) -> pa.ChunkedArray:
    """A column in two chunks, both slices of something longer."""
    whole, at = pa.array([values[0] if values else None, *values, None], kind), at % (len(values) + 1)
    return pa.chunked_array([whole.slice(1, at), whole.slice(1 + at, len(values) - at)], kind)


WORDS = st.one_of(st.none(), st.text("aé:1\0", max_size=3), st.text("abcdefgh/", min_size=7, max_size=18))


@given(st.lists(st.one_of(st.none(), st.integers(-(2**31), 2**31 - 1))), st.integers(0, 9))
def test_numeric_columns_are_read_whatever_their_chunks(values, at):
    for kind in (pa.int32(), pa.int64(), pa.timestamp("ns", tz="UTC")):
        column = cut(values, kind, at)
        assert numbers(column, -7).tolist() == [-7 if v is None else v for v in values]
        assert known(column).tolist() == [v is not None for v in values]


@given(st.lists(WORDS), st.lists(WORDS), st.integers(0, 9))
def test_texts_of_several_columns_have_one_set_of_codes(first, second, at):
    found = texts(cut(first, pa.string(), at), cut(second, pa.string(), at + 1))
    assert [found.values[c] if c >= 0 else None for c in found.codes.tolist()] == [*first, *second]
    assert found.there().tolist() == [bool(v) for v in (*first, *second)]
    assert found.mapped({"a": 5}, 9).tolist() == [5 if v == "a" else 9 for v in (*first, *second)]
    assert picked(cut(first, pa.string(), at), np.arange(len(first))[::-1]) == first[::-1]


def test_codes_of_a_long_column_are_numbered_by_first_occurrence():
    # Long enough for two halves, which share some texts and each have some of their own.
    said = [None if i % 7 == 0 else f"text {i // 9}" if i % 3 else f"often {i % 5}" for i in range(100_003)]
    found = texts(cut(said[:60_000], pa.string(), 11), cut(said[60_000:], pa.string(), 5))
    assert [found.values[c] if c >= 0 else None for c in found.codes.tolist()] == said
    assert found.values == list(dict.fromkeys(text for text in said if text is not None))


@given(st.lists(st.one_of(st.none(), st.lists(SMALL, max_size=3)), min_size=1), st.integers(0, 9), st.data())
def test_items_of_lists_are_found_by_row(values, at, data):
    column = lists(cut(values, pa.list_(pa.int64()), at))
    rows = data.draw(st.lists(st.integers(0, len(values) - 1)))
    owner, place = column.of(np.array(rows, dtype=np.int64))
    flat = [v for chunk in column.items for v in chunk.to_pylist()]
    items = [[flat[p] for o, p in zip(owner, place, strict=True) if o == i] for i in range(len(rows))]
    assert items == [values[r] or [] for r in rows]


@given(st.lists(st.tuples(WORDS, st.integers(0, 3)), max_size=30), st.integers(0, 9), st.integers(1, 4))
@EXAMPLES
def test_the_smallest_texts_of_each_group(entries, at, limit):
    column = cut([word for word, _ in entries], pa.string(), at)
    rows, group = np.arange(len(entries)), np.array([g for _, g in entries], dtype=np.int64)
    wanted = [tuple(sorted({w for w, g in entries if g == n and w})[:limit]) for n in range(4)]
    assert smallest(column, rows, group, 4, limit) == wanted
    values = texts(column)
    some = np.flatnonzero(values.there())
    assert gathered(group[some], values.codes[some], values.values, 4, limit) == wanted


# --- the fold ---------------------------------------------------------------------------------------------------------

WEB, API, DB = "10.0.1.1", "10.0.1.2", "10.0.1.3"
CLUSTER = inventory_of(
    pod("web-1", "web", WEB),
    pod("api-1", "api", API, 8080),
    pod("api-2", "api", "10.0.1.4", 9090),
    pod("db-1", "db", DB, 5432, node="n2"),
    pod("db-0", "db", "10.0.1.5", started=0, ended=NOW - HOUR),
    pod("web-2", "web", "10.0.1.5", started=NOW),
    service("api", "api", "10.96.0.20", 80, 8080),
    service("db", "db", "10.96.0.21", 80, 5432, node_port=32001, type="NodePort"),
    node("n1", "192.168.0.1", "10.0.1.0/24"),
    node("n2", "192.168.0.2"),
    pod_ranges=AddressSet.of(ip_network("10.0.0.0/16")),
    service_ranges=AddressSet.of(ip_network("10.96.0.0/16")),
    api_server=frozenset({(ip_address("192.168.0.1"), 6443)}),
)
IPS = [WEB, API, DB, "10.0.1.4", "10.0.1.5", "10.0.9.9", "10.96.0.20", "10.96.0.21", "192.168.0.1", "192.168.0.2"]
IPS += ["203.0.113.7", "2001:db8::1", "169.254.20.10", ""]
PORTS = [None, 53, 80, 5432, 6443, 8080, 32001, 40_000, 40_001]
TIMES = [NOW, NOW + HOUR, NOW - HOUR // 2, UNKNOWN_TIME]


@st.composite
def conversations(draw: st.DrawFn) -> dict[str, Any]:
    records, first = draw(st.integers(1, 9)), draw(st.sampled_from(TIMES))
    undecided, pick = draw(st.booleans()), lambda *values: draw(st.sampled_from(values))
    return row(
        pick(*IPS),
        pick(*IPS),
        pick(*PORTS),
        src_port=pick(*PORTS) if undecided else None,
        direction=None if undecided else pick("syn", "is-reply", "policy-verdict", "conntrack"),
        protocol=pick("TCP", "TCP", "UDP", "ICMP"),
        observed_verdict=pick("forwarded", "forwarded", "dropped", "audit", "unknown"),
        signals=draw(st.integers(0, 2047)),
        flows=draw(st.integers(1, records)),
        records=records,
        replies=draw(st.integers(0, records)),
        first_seen=first,
        last_seen=max(first, pick(*TIMES)),
        hours=sorted({first // HOUR, pick(NOW // HOUR, NOW // HOUR + 30)}),
        bytes=pick(None, 7, 2**40),
        packets=pick(None, 3),
        nodes=pick(None, [], ["n1"], ["n1", "n2"]),
        src_names=pick(None, ["a.example"], ["b.example", "a.example"]),
        dst_names=pick(None, ["c.example"]),
        dst_service=pick(None, None, "shop/api", ""),
        backend_ip=pick(None, None, None, API, DB),
        backend_port=pick(None, 8080),
        source=pick("hubble", "aws-vpc", None),
        sample=pick(None, "a:1", "a:10", "a:9", "b:1", ""),
        src_entities=pick(None, None, None, "host", "world"),
    )


@given(st.lists(conversations(), max_size=12))
@EXAMPLES
def test_the_fold_agrees_with_rows_one_by_one(rows):
    flows, config = flows_of(*rows), Config()
    resolved = resolve(flows, CLUSTER, config)
    folded = fold(resolved, flows.columns)
    found = {(g.edge, g.verdict, g.firewall): (g.evidence, g.clients) for g in folded.groups}
    assert found == plainfold.fold(resolved, rows)
    assert len(found) == len(folded.groups)
    assert list(found) == sorted(found, key=lambda key: (key[0].key, *key[1:]))
    edges = sorted({edge for edge, *_ in found})
    assert folded.edge_of == [edges.index(group.edge) for group in folded.groups]


@given(st.lists(conversations(), max_size=12))
@EXAMPLES
def test_every_record_goes_where_its_best_line_goes(rows):
    flows, config = flows_of(*rows), Config()
    edges = find_edges(flows, CLUSTER, config)
    reasons = {(o.edge, o.verdict, o.reason is Reason.FIREWALL): o.reason for o in edges.observations}
    ledger = edges.ledger
    wanted = plainfold.buckets(resolve(flows, CLUSTER, config), rows, reasons)
    assert (ledger.used, ledger.reply, ledger.duplicate, ledger.set_aside) == wanted
