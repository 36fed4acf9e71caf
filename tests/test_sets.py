"""The laws of the exact sets, one test per law, named after it; and agreement with `frozenset` on small universes."""

from __future__ import annotations

import ipaddress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netpol_gen.model import Protocol
from netpol_gen.sets import (
    AddressSet,
    ConnectionSet,
    PortSet,
    intersect_intervals,
    merge_intervals,
    parse_address,
    subtract_intervals,
)

# Small, so that sets touch, overlap and coincide; both ends of the real range are in it.
PORTS = [1, 2, 3, 4, 5, 65533, 65534, 65535]
ports = st.sets(st.sampled_from(PORTS)).map(lambda s: PortSet.of(*s))
connection_sets = st.builds(ConnectionSet, ports, ports, ports)
V4 = [ipaddress.ip_network(t) for t in ("0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/9", "10.128.0.0/9", "255.255.255.255/32")]
V6 = [ipaddress.ip_network(t) for t in ("::/0", "fd00::/8", "2001:db8::/32", "2001:db8::/33", "::1/128")]
addresses = st.sets(st.sampled_from([*V4, *V6])).map(lambda s: AddressSet.of(*s))
any_set = st.one_of(
    st.tuples(ports, ports, ports),
    st.tuples(connection_sets, connection_sets, connection_sets),
    st.tuples(addresses, addresses, addresses),
)


@given(any_set)
def test_union_is_commutative_associative_and_idempotent(sets):
    a, b, c = sets
    assert a | b == b | a
    assert (a | b) | c == a | (b | c)
    assert a | a == a


@given(any_set)
def test_intersection_is_commutative_associative_and_idempotent(sets):
    a, b, c = sets
    assert a & b == b & a
    assert (a & b) & c == a & (b & c)
    assert a & a == a


@given(any_set)
def test_intersection_distributes_over_union(sets):
    a, b, c = sets
    assert a & (b | c) == (a & b) | (a & c)


@given(any_set)
def test_absorption(sets):
    a, b, _ = sets
    assert a & (a | b) == a == a | (a & b)


@given(any_set)
def test_difference_and_intersection_are_a_partition(sets):
    a, b, _ = sets
    assert (a - b) | (a & b) == a
    assert not (a - b) & b


@given(any_set)
def test_de_morgan_for_differences(sets):
    a, b, c = sets
    assert a - (b | c) == (a - b) & (a - c)
    assert a - (b & c) == (a - b) | (a - c)


@given(any_set)
def test_subset_is_an_empty_difference(sets):
    a, b, _ = sets
    assert (a <= b) == (not a - b) == (a | b == b)


@given(any_set)
def test_equal_sets_are_equal_values(sets):
    a, b, _ = sets
    if a <= b <= a:
        assert a == b
        assert hash(a) == hash(b)


@given(st.sets(st.sampled_from(PORTS)), st.sets(st.sampled_from(PORTS)))
def test_ports_agree_with_frozenset(a, b):
    x, y = PortSet.of(*a), PortSet.of(*b)
    assert set(x | y) == a | b
    assert set(x & y) == a & b
    assert set(x - y) == a - b
    assert (len(x), bool(x), list(x)) == (len(a), bool(a), sorted(a))
    assert all((p in x) == (p in a) for p in PORTS)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 10)).map(lambda t: (t[0], t[0] + t[1]))))
def test_merged_intervals_neither_overlap_nor_touch(intervals):
    merged = merge_intervals(intervals)
    assert all(a[1] + 1 < b[0] for a, b in pairwise(merged))
    assert members(merged) == members(intervals)


interval_lists = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 10)).map(lambda t: (t[0], t[0] + t[1])))


@given(interval_lists, interval_lists)
def test_intervals_agree_with_sets_of_integers(a, b):
    x, y = merge_intervals(a), merge_intervals(b)
    assert members(intersect_intervals(x, y)) == members(x) & members(y)
    assert members(subtract_intervals(x, y)) == members(x) - members(y)


def members(intervals):
    return {n for low, high in intervals for n in range(low, high + 1)}


@given(addresses)
def test_networks_cover_exactly_the_set(found):
    assert AddressSet.of(*found.networks()) == found
    assert list(found.networks()) == sorted(found.networks(), key=lambda n: (n.version, n))


@given(addresses, addresses)
def test_addresses_agree_with_membership(a, b):
    probes = [n.network_address for n in (*V4, *V6)] + [n.broadcast_address for n in (*V4, *V6)]
    for probe in probes:
        assert (probe in a | b) == (probe in a or probe in b)
        assert (probe in a & b) == (probe in a and probe in b)
        assert (probe in a - b) == (probe in a and probe not in b)


def test_families_do_not_mix():
    assert ipaddress.ip_address("::10.0.0.1") not in AddressSet.of(ipaddress.ip_network("10.0.0.0/8"))
    assert not AddressSet.of(V4[0]) & AddressSet.of(V6[0])


def test_size_of_the_whole_space():
    assert AddressSet.everything().size == 2**32 + 2**128
    assert AddressSet.everything() == AddressSet.of(V4[0], V6[0])


@pytest.mark.parametrize(
    ("connections", "shown"),
    [
        (ConnectionSet.NONE, "none"),
        (ConnectionSet.ALL, "all"),
        (ConnectionSet(PortSet.of(8443, 8080), PortSet.of(53)), "TCP 8080,8443; UDP 53"),
        (ConnectionSet(sctp=PortSet.of((1, 65535))), "SCTP 1-65535"),
        (ConnectionSet(PortSet.of((80, 90), 91)), "TCP 80-91"),
    ],
)
def test_connection_sets_as_text(connections, shown):
    assert str(connections) == shown


@given(connection_sets, connection_sets)
def test_connection_sets_work_protocol_by_protocol(a, b):
    for protocol in Protocol:
        assert (a | b).ports(protocol) == a.ports(protocol) | b.ports(protocol)
        assert (a & b).ports(protocol) == a.ports(protocol) & b.ports(protocol)
        assert (a - b).ports(protocol) == a.ports(protocol) - b.ports(protocol)
        assert ConnectionSet.of(protocol, a.ports(protocol)) <= a


SPELLINGS = (
    "10.0.0.1",
    "::ffff:10.0.0.1",
    "::a00:1",
    "::A00:1",
    "fe80::1",
    "fe80::1%a",
    "fe80::1%b",
    "10.0.0.01",
    "",
    "1",
)


@given(st.lists(st.sampled_from(SPELLINGS), max_size=12))
def test_an_address_that_was_parsed_before_is_told_from_others(texts):
    for text in texts:
        try:
            wanted = ipaddress.ip_address(text)
        except ValueError:
            with pytest.raises(ValueError, match="does not appear to be an IPv4 or IPv6 address"):
                parse_address(text)
        else:
            found = parse_address(text)
            assert (found, str(found)) == (wanted, str(wanted))
