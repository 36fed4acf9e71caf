"""The fewest CIDRs, against every way there is on a small address space."""

from __future__ import annotations

import ipaddress
from functools import cache
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netpol_gen.sets import AddressSet
from netpol_gen.synthesize.cover import cover, touches

BASE = int(ipaddress.ip_address("203.0.113.0"))


def addresses(*numbers):
    return AddressSet.of(*(ipaddress.IPv4Address(BASE + n) for n in numbers))


def blocks(found):
    return [str(n) for n in found.networks]


def by_trying(wanted, budget, forbidden, bits=4):
    """(CIDRs, extra) of the best cover out of every set of disjoint prefixes of a space of `2**bits` addresses."""

    @cache
    def best(low, size):
        """All (count, extra) that can be had for this prefix, as a set."""
        inside = frozenset(range(low, low + size))
        here = wanted & inside
        found = {(0, 0)} if not here else set()
        # A prefix with a forbidden address in it is right only if nothing but wanted addresses is in it.
        if here and (here == inside or not forbidden & inside):
            found.add((1, size - len(here)))
        if size > 1:
            half = size // 2
            for a in best(low, half):
                found |= {(a[0] + b[0], a[1] + b[1]) for b in best(low + half, half)}
        return found

    return min(pair for pair in best(0, 1 << bits) if pair[1] <= budget)


@given(
    st.frozensets(st.integers(0, 15), min_size=1),
    st.integers(0, 16),
    st.frozensets(st.integers(0, 15), max_size=3),
)
def test_as_few_as_possible_then_as_tight_as_possible(wanted, budget, forbidden):
    found = cover(addresses(*wanted), budget, addresses(*forbidden))
    assert (len(found.networks), found.extra) == by_trying(wanted, budget, forbidden)


@given(st.frozensets(st.integers(0, 255), min_size=1, max_size=40), st.integers(0, 300))
def test_covers_all_and_no_more_than_it_says(wanted, budget):
    found = cover(addresses(*wanted), budget)
    covered = AddressSet.of(*found.networks)
    assert addresses(*wanted) <= covered
    assert covered.size == len(wanted) + found.extra
    assert found.extra <= budget
    assert sum(n.num_addresses for n in found.networks) == covered.size, "CIDRs overlap"


@given(st.frozensets(st.integers(0, 255), min_size=1, max_size=40))
def test_a_larger_budget_never_needs_more(wanted):
    counts = [len(cover(addresses(*wanted), budget).networks) for budget in (0, 1, 5, 20, 100, 300)]
    assert counts == sorted(counts, reverse=True)


def test_no_budget_is_exact():
    assert blocks(cover(addresses(1, 2, 3))) == ["203.0.113.1/32", "203.0.113.2/31"]


def test_hand_written():
    # .8 and .11 meet in a /30 (2 extra); .0 and .1 are a /31 anyway.
    found = cover(addresses(0, 1, 8, 11), 2)
    assert (blocks(found), found.wanted, found.extra) == (["203.0.113.0/31", "203.0.113.8/30"], 4, 2)
    assert blocks(cover(addresses(0, 1, 8, 11), 1)) == ["203.0.113.0/31", "203.0.113.8/32", "203.0.113.11/32"]
    assert blocks(cover(addresses(0, 1, 8, 11), 12)) == ["203.0.113.0/28"]


def test_forbidden_addresses_are_gone_round():
    assert blocks(cover(addresses(8, 11), 2, addresses(10))) == ["203.0.113.8/32", "203.0.113.11/32"]


def test_a_forbidden_address_that_was_observed_stands_alone():
    assert blocks(cover(addresses(8, 11), 2, addresses(8))) == ["203.0.113.8/32", "203.0.113.11/32"]


def test_families_are_never_mixed():
    both = addresses(8, 9) | AddressSet.of(ipaddress.ip_address("2001:db8::1"), ipaddress.ip_address("2001:db8::2"))
    assert blocks(cover(both, 0)) == ["203.0.113.8/31", "2001:db8::1/128", "2001:db8::2/128"]
    # ::/126 has ::0 and ::3 besides.
    assert blocks(cover(both, 2)) == ["203.0.113.8/31", "2001:db8::/126"]
    assert blocks(cover(both, 1 << 200)) == ["203.0.113.8/31", "2001:db8::/126"]


def test_the_budget_is_for_both_families_together():
    both = addresses(8, 11) | AddressSet.of(ipaddress.ip_address("2001:db8::1"), ipaddress.ip_address("2001:db8::2"))
    assert len(cover(both, 2).networks) == 3
    assert len(cover(both, 4).networks) == 2


def test_whole_address_space_fits():
    ends = AddressSet.of(ipaddress.ip_address("::1"), ipaddress.ip_address("ffff::1"))
    assert blocks(cover(ends, 1 << 61)) == ["::1/128", "ffff::1/128"]


def test_nothing_to_cover():
    assert cover(AddressSet(), 10).networks == ()


@pytest.mark.parametrize(("network", "want"), [("10.0.0.0/31", True), ("10.0.0.2/31", False), ("::a00:0/127", False)])
def test_touches(network, want):
    held = AddressSet.of(ipaddress.ip_network("10.0.0.1/32"), ipaddress.ip_network("10.0.0.8/30"))
    assert touches(held, ipaddress.ip_network(network)) is want


def test_order_of_input_does_not_matter():
    wanted = [3, 9, 12, 13, 200, 77]
    first = cover(addresses(*wanted), 40)
    assert all(cover(addresses(*pair, *wanted), 40) == first for pair in combinations(wanted, 2))
