"""Equivalence classes: as many as something in play can tell apart, and no more."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

from netpol_gen.connectivity import connections
from netpol_gen.evaluate.matrix import classify
from netpol_gen.evaluate.population import InPlay
from netpol_gen.evaluate.table import ConnectionTable
from netpol_gen.model import Decision, Workload
from netpol_gen.sets import ConnectionSet, PortSet
from tests.evaluate import worlds
from tests.evaluate.cluster import inventory, pod, policies

FEW = "{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress]}"


def classes(text, *pods):
    return len(classify(inventory(*pods), InPlay.of(policies(text))).views)


def test_labels_that_no_selector_names_tell_nobody_apart():
    pods = [pod(f"p{i}", {"app": "web", "pod-name": f"p{i}"}) for i in range(5)]
    assert classes(FEW, *pods) == 1


def test_values_that_no_selector_names_are_all_alike():
    pods = [pod(f"p{i}", {"app": f"v{i}"}) for i in range(5)]
    assert classes(FEW, *pods) == 1
    # With the label web, with another, without.
    assert classes(FEW, *pods, pod("web"), pod("none", {})) == 3
    exists = FEW.replace("matchLabels: {app: web}", "matchExpressions: [{key: app, operator: Exists}]")
    assert classes(exists, *pods, pod("web"), pod("none", {})) == 2


def test_namespaces_tell_apart():
    assert classes(FEW, pod("a", {}), pod("a", {}, namespace="other")) == 2


def test_ports_tell_apart_only_by_names_in_play():
    pods = [pod(f"p{i}", {}, ports={"http": 8080 + i, "other": 1 + i}) for i in range(3)]
    assert classes(FEW, *pods) == 1
    named = "{podSelector: {}, policyTypes: [Ingress], ingress: [{ports: [{port: http}]}]}"
    assert classes(named, *pods) == 3


def test_addresses_tell_apart_only_by_the_cidrs_in_play():
    pods = [pod(f"p{i}", {}, ip=f"10.0.0.{i}") for i in range(8)]
    assert classes(FEW, *pods) == 1
    rule = "{to: [{ipBlock: {cidr: 10.0.0.4/30, except: [10.0.0.7/32]}}]}"
    block = f"{{podSelector: {{}}, policyTypes: [Egress], egress: [{rule}]}}"
    assert classes(block, *pods) == 3


def test_the_table_numbers_each_set_once_and_computes_by_number():
    table = ConnectionTable()
    a, b = ConnectionSet(PortSet.of((1, 10))), ConnectionSet(PortSet.of((5, 20)))
    x, y = table.id(a), table.id(b)
    assert table.id(ConnectionSet(PortSet.of((1, 10)))) == x
    assert table.sets[table.common(x, y)] == a & b
    assert table.sets[table.union(x, y)] == a | b


def test_a_workload_has_what_all_pairs_of_its_pods_have_and_perhaps_what_any_has():
    """Two pods of a workload that nothing else has in common, against each pod as a workload of its own."""
    several = 0
    for seed in range(80):
        manifests = worlds.world(seed, pods=6)
        apart = worlds.as_inventory(manifests)
        merged = [
            replace(p, workload=Workload(p.namespace, "Deployment", "abc"[i % 2]), host_network=False)
            for i, p in enumerate(apart.pods)
        ]
        apart = replace(apart, pods=tuple(replace(p, host_network=False) for p in apart.pods))
        policies_ = worlds.as_policies(manifests)
        single = connections(policies_, apart, ipblock_matches_pods=Decision.DENY)
        whole = connections(policies_, replace(apart, pods=tuple(merged)), ipblock_matches_pods=Decision.DENY)
        pods_of = {
            w: [p.workload for p, q in zip(apart.pods, merged, strict=True) if q.workload == w] for w in whole.workloads
        }
        several += any(len(v) > 1 for v in pods_of.values())
        for src in whole.workloads:
            for dst in whole.workloads:
                pairs = [single.between(a, b) for a in pods_of[src] for b in pods_of[dst] if a != b]
                if src != dst:
                    assert whole.between(src, dst) == (common(p[0] for p in pairs), union(p[1] for p in pairs)), seed
            for outward in (True, False):
                for text in worlds.OUTSIDE:
                    address = ipaddress.ip_address(text)
                    parts = [outside(single, pod_, address, outward=outward) for pod_ in pods_of[src]]
                    expected = (common(p[0] for p in parts), union(p[1] for p in parts))
                    assert outside(whole, src, address, outward=outward) == expected, (seed, text)
    assert several > 30


def common(sets):
    out = ConnectionSet.ALL
    for each in sets:
        out &= each
    return out


def union(sets):
    out = ConnectionSet.NONE
    for each in sets:
        out |= each
    return out


def outside(found, workload, address, *, outward):
    ranges = (found.outward if outward else found.inward)[found.index[workload]]
    for part, sure, may in ranges:
        if address in part:
            return found.table.sets[sure], found.table.sets[may]
    return ConnectionSet.NONE, ConnectionSet.NONE
