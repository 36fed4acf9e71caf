"""Every source says what it cannot show."""

from __future__ import annotations

import pytest

from netpol_gen.edges import Edges
from netpol_gen.flowtable import FIREWALLS, Ledger
from netpol_gen.inventory import Inventory
from netpol_gen.readers.cards import CARDS, blind_spots, card
from netpol_gen.readers.sniff import SOURCES
from netpol_gen.report.summary import input_text


def test_every_source_has_one_card():
    assert sorted(each.source for each in CARDS) == sorted(source.name for source in SOURCES)


@pytest.mark.parametrize("each", CARDS, ids=lambda each: each.source)
def test_sentences(each):
    every = (each.sampling, *each.sees, *each.unseen, *each.notes)
    assert each.sees
    assert each.unseen
    assert all(text and text == text.strip() and not text.endswith(".") and "\n" not in text for text in every)
    assert len(set(every)) == len(every)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("aws-vpc", ["same node", "Amazon resolver", "pkt-srcaddr", "SKIPDATA", "169.254.169.254"]),
        ("azure-vnet", ["same node", "overlay"]),
        ("gcp-vpc", ["same node", "ingress that a firewall rule denied", "sampled"]),
        ("conntrack", ["kube-proxy replacement", "two dumps"]),
        ("hubble", ["lost_events", "4095"]),
        ("calico", ["aggregation level"]),
    ],
)
def test_what_a_source_cannot_see(source, words):
    said = " ".join(blind_spots([source])[source])
    assert [word for word in words if word not in said] == []


def test_denials_of_a_source_that_sees_no_policies_are_its_firewalls():
    """A capability and what is made of it cannot drift apart."""
    sees_none = {each.source for each in CARDS if any("verdicts of NetworkPolicies" in t for t in each.never_shows)}
    assert sees_none == FIREWALLS


def test_gcp_says_how_little_it_samples():
    assert "1 in 30" in card("gcp-vpc").sampling
    edges = Edges((), Ledger(), Inventory(), {"gcp-vpc": 0, "flows": 0})
    assert f"gcp-vpc looks at {card('gcp-vpc').sampling}\n" in input_text(edges)
    assert "coverage shows all" in input_text(edges)
    assert "shows all" not in input_text(edges, verbose=True)


def test_blind_spots_are_in_order_and_only_for_known_sources():
    assert list(blind_spots(["hubble", "aws-vpc", "hubble", "nothing"])) == ["aws-vpc", "hubble"]
    with pytest.raises(KeyError):
        card("nothing")
