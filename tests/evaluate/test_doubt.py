"""Where facts are missing: the judge and the connectivity doubt the same connections, and never answer wrongly.

A doubt is right if both answers are possible: whatever the missing facts turn out to be, a certain answer stands.
"""

from __future__ import annotations

import ipaddress
import itertools
import random
from collections import Counter
from dataclasses import replace
from types import MappingProxyType

import pytest

from netpol_gen.connectivity import connections
from netpol_gen.evaluate import Judge
from netpol_gen.model import Decision, Protocol
from tests import oracle
from tests.evaluate import worlds
from tests.evaluate.test_oracle import QUESTIONS, SAYS, lookup, table

SEEDS = range(50)


def forget(inventory, r):
    """The same cluster with less known of it: ports, addresses, namespaces, nodes."""
    pods = []
    for pod in inventory.pods:
        lost = {}
        if r.random() < 0.3:
            lost |= {"observed": True, "ports": ()}
        if r.random() < 0.2 and not pod.host_network:
            lost["addresses"] = ()
        if r.random() < 0.2:
            lost["node"] = ""
        pods.append(replace(pod, **lost))
    kept = {n: v for n, v in inventory.namespaces.items() if r.random() < 0.7}
    return replace(inventory, pods=tuple(pods), namespaces=MappingProxyType(kept))


def asked(manifests, inventory):
    """Pairs of pods, each as its manifest and as it is known, and addresses."""
    known = {p.name: p for p in inventory.pods}
    ends = [(m, known[m["metadata"]["name"]]) for m in manifests if m["kind"] == "Pod"]
    ends += [(text, ipaddress.ip_address(text)) for text in worlds.OUTSIDE]
    for a, b in itertools.permutations(ends, 2):
        if not (isinstance(a[0], str) and isinstance(b[0], str)):
            yield a, b


@pytest.mark.parametrize("blocks", [Decision.UNKNOWN, Decision.DENY, Decision.ALLOW])
def test_the_judge_and_the_connectivity_doubt_the_same(blocks):
    seen = Counter()
    for seed in SEEDS:
        manifests = worlds.world(seed)
        inventory = forget(worlds.as_inventory(manifests), random.Random(seed))
        policies = worlds.as_policies(manifests)
        judge = Judge(policies, inventory, ipblock_matches_pods=blocks)
        cells = table(connections(policies, inventory, ipblock_matches_pods=blocks))
        for (src, a), (dst, b) in asked(manifests, inventory):
            sure, may = lookup(cells, src, dst)
            for protocol, port in QUESTIONS:
                kind = Protocol(protocol)
                verdict = judge.connection(a, b, kind, port)
                certain, possible = port in sure.ports(kind), port in may.ports(kind)
                expected = Decision.ALLOW if certain else Decision.UNKNOWN if possible else Decision.DENY
                assert verdict.decision is expected, (seed, a, b, protocol, port, str(sure), str(may), verdict)
                assert bool(verdict.missing) == (verdict.decision is Decision.UNKNOWN)
                seen[verdict.decision] += 1
    assert min(seen.values()) > 0.005 * seen.total()
    assert len(seen) == 3


@pytest.mark.parametrize("tiers", [0, 3])
def test_a_certain_answer_stands_whatever_the_missing_facts_are(tiers):
    """The full cluster is one of those that the forgetful inventory describes."""
    for seed in SEEDS:
        manifests = worlds.world(seed, tiers=tiers)
        inventory = forget(worlds.as_inventory(manifests), random.Random(seed))
        policies, wide = worlds.as_policies(manifests), worlds.as_tiers(manifests)
        judge = Judge(policies, inventory, tiers=wide)
        cells = table(connections(policies, inventory, tiers=wide))
        for (src, a), (dst, b) in asked(manifests, inventory):
            sure, may = lookup(cells, src, dst)
            for protocol, port in QUESTIONS:
                kind = Protocol(protocol)
                verdict = judge.connection(a, b, kind, port)
                for blocks in (True, False):
                    truth = oracle.allowed(manifests, src, dst, protocol, port, blocks_match_pods=blocks)
                    place = (seed, a, b, protocol, port, verdict)
                    assert verdict.decision in (SAYS[truth], Decision.UNKNOWN), place
                    assert truth or port not in sure.ports(kind), place
                    assert not truth or port in may.ports(kind), place
