"""A `same` pass changes no verdict; a `wider` one says what it added."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netpol_gen.config import Cni
from netpol_gen.model import Protocol
from netpol_gen.policy import IPBlock, Peer, PolicyPort
from netpol_gen.selectors import LabelSelector
from netpol_gen.synthesize.drafts import Draft
from netpol_gen.synthesize.passes import PASSES, Limits, run
from tests.synthesize.build import edge, world

BASE = int(ipaddress.ip_address("203.0.113.0"))
LIMITS = Limits(extra_addresses=3)


def pod(name):
    return Peer(LabelSelector.of({"app": name}))


def block(number):
    return Peer(ip_block=IPBlock(ipaddress.IPv4Network((BASE + number, 32))))


def cell(peer, port, protocol="TCP"):
    outside = peer.ip_block is not None
    seen = edge("shop/web", world(str(peer.ip_block.cidr.network_address)), 1) if outside else edge("a/b", "c/d", 1)
    return Draft((peer,), (PolicyPort(Protocol(protocol), port),), frozenset({seen}), outside=outside)


def cells(drafts):
    """Everything that rules admit: (pod or address, protocol, port)."""
    out = set()
    for draft in drafts:
        for peer in draft.peers:
            who = [peer.pod_selector] if peer.ip_block is None else list(peer.ip_block.cidr)
            for port in draft.ports:
                numbers = (
                    [port.port] if isinstance(port.port, str) else range(port.port, (port.end_port or port.port) + 1)
                )
                out |= {(each, port.protocol, number) for each in who for number in numbers}
    return out


PEERS = st.one_of(st.sampled_from("abcd").map(pod), st.integers(0, 15).map(block))
PORTS = st.one_of(st.sampled_from(["http", "dns"]), st.integers(8000, 8014))
DRAFTS = st.lists(st.builds(cell, PEERS, PORTS, st.sampled_from(["TCP", "UDP"])), max_size=60)


@pytest.mark.parametrize("each", PASSES, ids=lambda p: p.name)
@given(drafts=DRAFTS)
def test_a_pass_keeps_to_its_effect(each, drafts):
    before = tuple(drafts)
    for earlier in PASSES[: PASSES.index(each)]:
        before = earlier.rewrite(before, LIMITS)
    after = each.rewrite(before, LIMITS)
    if each.effect == "same":
        assert cells(after) == cells(before)
        assert {w for d in after for w in d.widened} == {w for d in before for w in d.widened}
    else:
        assert cells(after) >= cells(before)
        assert (cells(after) == cells(before)) == (not any(d.widened for d in after))


@given(drafts=DRAFTS)
def test_no_edge_is_lost_from_the_notes(drafts):
    assert {e for d in run(drafts, LIMITS) for e in d.edges} == {e for d in drafts for e in d.edges}


@given(drafts=DRAFTS, seed=st.randoms())
def test_the_order_of_edges_does_not_matter(drafts, seed):
    shuffled = list(drafts)
    seed.shuffle(shuffled)
    assert run(shuffled, LIMITS) == run(drafts, LIMITS)


@given(drafts=DRAFTS)
def test_no_two_rules_could_be_one(drafts):
    after = run(drafts, Limits())
    assert len({d.peers for d in after}) == len(after)
    assert len({d.ports for d in after}) == len(after)


def ports_of(drafts):
    return [[(p.port, p.end_port) for p in d.ports] for d in drafts]


def test_eight_ports_are_a_list_and_nine_a_range():
    eight = [cell(pod("a"), p) for p in range(8000, 8008)]
    assert ports_of(run(eight, Limits())) == [[(p, None) for p in range(8000, 8008)]]
    assert ports_of(run([*eight, cell(pod("a"), 8008)], Limits())) == [[(8000, 8008)]]


def test_a_gap_in_the_numbers_is_kept():
    drafts = [cell(pod("a"), p) for p in (*range(8000, 8009), 8010)]
    assert ports_of(run(drafts, Limits())) == [[(8000, 8008), (8010, None)]]


def test_protocols_have_ranges_of_their_own():
    drafts = [cell(pod("a"), p, "TCP" if p % 2 else "UDP") for p in range(8000, 8020)]
    assert all(end is None for rule in ports_of(run(drafts, Limits())) for _, end in rule)


def test_azure_npm_ignores_ranges():
    drafts = [cell(pod("a"), p) for p in range(8000, 8020)]
    assert ports_of(run(drafts, Limits(cni=Cni.AZURE_NPM))) == [[(p, None) for p in range(8000, 8020)]]
