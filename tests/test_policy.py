"""NetworkPolicy values: reading what was written gives the same, and what the API server rejects is an error."""

from __future__ import annotations

import random

import pytest

from netpol_gen.errors import InputError, InvariantError, Place
from netpol_gen.model import Direction, Protocol
from netpol_gen.policy import ALL, IPBlock, NetworkPolicy, Peer, PolicyPort, Rule, dump_policy, parse_cidr, parse_policy
from netpol_gen.selectors import LabelSelector
from tests.evaluate import worlds

PLACE = Place("p.yaml", 7, 2)


def parse(spec, **metadata):
    return parse_policy({"metadata": {"name": "p", "namespace": "n", **metadata}, "spec": spec}, PLACE)


@pytest.mark.parametrize("seed", range(20))
def test_reading_what_was_written_gives_the_same(seed):
    r = random.Random(seed)
    for number in range(20):
        policy = parse_policy(worlds.policy(r, f"p{number}", ["n"]), PLACE)
        assert parse_policy(dump_policy(policy), PLACE) == policy
        canonical = policy.canonical()
        assert canonical.canonical() == canonical
        assert parse_policy(dump_policy(canonical), PLACE) == canonical


def test_canonical_order_does_not_depend_on_the_order_written():
    r = random.Random(1)
    for number in range(50):
        manifest = worlds.policy(r, f"p{number}", ["n"])
        policy = parse_policy(manifest, PLACE)
        for key, peers_key in (("ingress", "from"), ("egress", "to")):
            rules = manifest["spec"].get(key) or []
            r.shuffle(rules)
            for rule in rules:
                r.shuffle(rule.get(peers_key) or [])
                r.shuffle(rule.get("ports") or [])
        assert parse_policy(manifest, PLACE).canonical() == policy.canonical()


def test_policy_types_are_always_written():
    assert dump_policy(parse({"podSelector": {}}))["spec"]["policyTypes"] == ["Ingress"]
    assert dump_policy(parse({"egress": [{}]}))["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert parse({"policyTypes": []}).policy_types == {Direction.INGRESS}


def test_absent_and_empty_lists_are_all_and_nothing_else_is():
    for empty in (None, []):
        rule = parse({"ingress": [{"from": empty, "ports": empty}]}).ingress[0]
        assert (rule.peers, rule.ports) == (ALL, ALL)
    assert parse({"ingress": [{}]}).ingress == (Rule(ALL, ALL),)
    for broken in ({"peers": (), "ports": ALL}, {"peers": ALL, "ports": ()}):
        with pytest.raises(InvariantError):
            Rule(**broken)


def test_a_peer_is_a_block_or_selectors():
    with pytest.raises(InvariantError):
        Peer()
    with pytest.raises(InvariantError):
        Peer(pod_selector=LabelSelector(), ip_block=IPBlock(parse_cidr("10.0.0.0/8", PLACE)))


def test_rules_of_an_unlisted_direction_are_kept_and_not_in_force():
    policy = parse({"policyTypes": ["Egress"], "ingress": [{}]})
    assert policy.ingress == (Rule(ALL, ALL),)
    assert policy.rules(Direction.INGRESS) == ()
    assert policy.ref == "n/p"


def test_an_absent_namespace_is_the_default_one():
    policy = parse_policy({"metadata": {"name": "p"}}, PLACE, "elsewhere")
    assert policy.namespace == "elsewhere"
    assert parse_policy({"metadata": {"name": "p", "namespace": ""}}, PLACE).namespace == "default"


def test_the_place_is_no_part_of_the_value():
    other = NetworkPolicy("n", "p", LabelSelector(), frozenset({Direction.INGRESS}))
    assert parse({}) == other
    assert parse({}).place == PLACE


@pytest.mark.parametrize(
    ("cidr", "normal"),
    [("10.0.0.77/8", "10.0.0.0/8"), ("2001:DB8::1/32", "2001:db8::/32"), ("0.0.0.0/0", "0.0.0.0/0")],
)
def test_host_bits_are_normalised(cidr, normal):
    assert str(parse_cidr(cidr, PLACE)) == normal


@pytest.mark.parametrize(
    "cidr",
    [
        "10.0.0.0",
        "10.0.0.0/33",
        "10.0.0.0/255.0.0.0",
        "10.0.0.0/0.0.0.255",
        "fe80::1%eth0/64",
        "x/8",
        "10.0.0/8",
        "",
        10,
        None,
    ],
)
def test_what_is_no_cidr(cidr):
    with pytest.raises(InputError, match="is not a CIDR"):
        parse_cidr(cidr, PLACE)


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        ([], "spec", "expected a mapping"),
        ({"podSelectors": {}}, "spec", "unknown field podSelectors"),
        ({"policyTypes": "Ingress"}, "spec.policyTypes", "policyTypes is a list"),
        ({"policyTypes": ["ingress"]}, "spec.policyTypes[0]", "is not Ingress or Egress"),
        ({"ingress": {}}, "spec.ingress", "ingress is a list"),
        ({"ingress": [[]]}, "spec.ingress[0]", "expected a mapping"),
        ({"ingress": [{"to": []}]}, "spec.ingress[0]", "unknown field to"),
        ({"egress": [{"from": []}]}, "spec.egress[0]", "unknown field from"),
        ({"ingress": [{"from": {}}]}, "spec.ingress[0].from", "from is a list"),
        ({"ingress": [{"from": [{}]}]}, "spec.ingress[0].from[0]", "a peer needs"),
        ({"ingress": [{"from": [{"podselector": {}}]}]}, "spec.ingress[0].from[0]", "unknown field podselector"),
        ({"ingress": [{"ports": [80]}]}, "spec.ingress[0].ports[0]", "expected a mapping"),
        ({"ingress": [{"ports": [{"port": "80"}]}]}, "spec.ingress[0].ports[0].port", "is not a port name"),
        ({"ingress": [{"ports": [{"port": 80.0}]}]}, "spec.ingress[0].ports[0].port", "is not a port"),
        ({"ingress": [{"ports": [{"port": True}]}]}, "spec.ingress[0].ports[0].port", "is not a port"),
        ({"ingress": [{"ports": [{"protocol": "tcp"}]}]}, "spec.ingress[0].ports[0].protocol", "is not TCP"),
        ({"ingress": [{"ports": [{"endPort": 80}]}]}, "spec.ingress[0].ports[0].endPort", "endPort needs"),
        ({"ingress": [{"ports": [{"port": "a", "endPort": 80}]}]}, "spec.ingress[0].ports[0].endPort", "endPort needs"),
        ({"ingress": [{"ports": [{"prot": "TCP"}]}]}, "spec.ingress[0].ports[0]", "unknown field prot"),
    ],
)
def test_malformed_policies_are_errors_with_file_document_and_field(spec, field, message):
    with pytest.raises(InputError, match=message) as caught:
        parse(spec)
    assert str(caught.value).startswith(f"p.yaml:7: document 2: {field}: ")


@pytest.mark.parametrize(
    "metadata",
    [
        {"name": ""},
        {"name": None},
        {"name": "Up"},
        {"name": "../x"},
        {"name": "x" * 254},
        {"namespace": "a/b"},
        {"name": 7},
    ],
)
def test_names_that_are_none(metadata):
    with pytest.raises(InputError, match=r"metadata\.name"):
        parse({}, **metadata)


def test_labels_and_annotations_are_strings():
    assert parse({}, labels={"b": "2", "a": "1"}).labels == (("a", "1"), ("b", "2"))
    with pytest.raises(InputError, match="quote it"):
        parse({}, annotations={"a": True})


def test_port_order_is_total():
    entries = [
        PolicyPort(Protocol.UDP, 53),
        PolicyPort(Protocol.TCP, "http"),
        PolicyPort(Protocol.TCP, 80, 90),
        PolicyPort(Protocol.TCP, 80),
        PolicyPort(Protocol.TCP),
    ]
    assert sorted(entries, key=lambda p: p.key) == [entries[4], entries[3], entries[2], entries[1], entries[0]]
