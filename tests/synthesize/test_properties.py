"""What holds for every small cluster, checked here by a reader of policies that shares nothing with the writer."""

from __future__ import annotations

import ipaddress
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from netpol_gen.config import Config, NamedPorts
from netpol_gen.emit import render_policy
from netpol_gen.emit.yamltext import load
from netpol_gen.errors import Place
from netpol_gen.model import Direction, External, Workload
from netpol_gen.policy import parse_policy
from netpol_gen.synthesize import synthesize
from netpol_gen.synthesize.subjects import choose
from netpol_gen.synthesize.universe import Universe
from netpol_gen.synthesize.volatile import volatile
from tests.synthesize.build import Cluster, edge, evidence, w, world

KEYS = (
    "app",
    "app.kubernetes.io/name",
    "app.kubernetes.io/instance",
    "tier",
    "version",
    "x",
    "helm.sh/chart",
    "job-name",
)
LABELS = st.dictionaries(st.sampled_from(KEYS), st.sampled_from("pq"), max_size=4)
NAMES = ("one", "two", "three", "four", "five")
NAMESPACES = ("shop", "backend")


@st.composite
def clusters(draw):
    """Up to five workloads in two namespaces, often alike; some only observed, some without pods or labels."""
    cluster = Cluster()
    workloads = []
    for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=5, unique=True)):
        namespace = draw(st.sampled_from(NAMESPACES))
        held = draw(LABELS)
        text = " ".join(f"{k}={v}" for k, v in held.items())
        declared = draw(st.sampled_from(["", "http:8080", "http:8080 admin:9090", "http:9090"]))
        kind = draw(st.sampled_from(["Deployment", "CronJob", "Pod", "Observed"]))
        workload = w(f"{namespace}/{'Deployment' if kind == 'Observed' else kind}/{name}")
        workloads.append(workload)
        if kind == "Pod":
            cluster.pod(workload, text, declared)
        elif kind == "Observed":
            cluster.pod(workload, text, observed=True)
        else:
            own = {k: v for k, v in held.items() if k == draw(st.sampled_from(KEYS))} or held
            selector = "-" if kind == "CronJob" or not held else " ".join(f"{k}={v}" for k, v in own.items())
            where = f"{namespace}/{kind}/{name}"
            cluster.deploy(
                where, text, selector, declared, replicas=draw(st.integers(0, 2)), extra="pod-template-hash=h"
            )
    return cluster, workloads


@st.composite
def worlds(draw):
    cluster, workloads = draw(clusters())
    parties = st.one_of(
        st.sampled_from(workloads), st.sampled_from(["203.0.113.1", "203.0.113.2", "2001:db8::1"]).map(world)
    )
    edges = draw(
        st.lists(
            st.builds(edge, parties, parties, st.sampled_from([53, 8080, 9090]), st.sampled_from(["TCP", "UDP"])),
            max_size=8,
        )
    )
    return cluster, [e for e in edges if isinstance(e.src, Workload) or isinstance(e.dst, Workload)]


def pods_of(cluster, workload):
    """Pods that are there, and one that the template would make."""
    pods = [(p.namespace, p.workload, dict(p.labels), p.ports) for p in cluster.pods]
    pods += [(c.workload.namespace, c.workload, dict(c.template_labels), c.ports) for c in cluster.controllers.values()]
    return [p for p in pods if workload in (None, p[1])]


def admits(rule, policy, other, server_pods, asked, cluster):
    """Whether one rule lets `asked` (protocol, port) pass between its subject and all pods of `other`."""
    ok = any(
        p.protocol is asked[0]
        and (
            p.port == asked[1]
            or (
                server_pods
                and all(any((c.name, c.number) == (p.port, asked[1]) for c in pod[3]) for pod in server_pods)
            )
        )
        for p in rule.ports
    )
    return ok and any(matches(peer, policy, other, cluster) for peer in rule.peers)


def matches(peer, policy, other, cluster):
    if isinstance(other, External):
        return peer.ip_block is not None and ipaddress.ip_address(other.address) in peer.ip_block.cidr
    if peer.ip_block is not None:
        return False
    there = policy.namespace
    if peer.namespace_selector is not None:
        there = dict(peer.namespace_selector.match_labels)["kubernetes.io/metadata.name"]
    return there == other.namespace and all(peer.pod_selector.matches(p[2]) for p in pods_of(cluster, other))


def admitted(found, cluster, given_edge, direction):
    """Isolated and admitted, for the policies that select all pods of the edge's own end."""
    own, other = (
        (given_edge.dst, given_edge.src) if direction is Direction.INGRESS else (given_edge.src, given_edge.dst)
    )
    server = pods_of(cluster, given_edge.dst) if isinstance(given_edge.dst, Workload) else []
    policies = [
        p
        for p in found.policies
        if p.namespace == own.namespace
        and direction in p.policy_types
        and all(p.pod_selector.matches(pod[2]) for pod in pods_of(cluster, own))
    ]
    asked = (given_edge.protocol, given_edge.port)
    return bool(policies), any(
        admits(rule, p, other, server, asked, cluster) for p in policies for rule in p.rules(direction)
    )


@given(clusters())
def test_selectors_are_exact_never_empty_never_volatile(made):
    cluster, workloads = made
    universe = Universe(cluster.inventory, set(workloads))
    for workload in workloads:
        found = choose(universe, workload)
        if found.selector is None:
            assert found.problem
            continue
        assert not found.selector.is_empty
        keys = found.selector.keys
        own = cluster.controllers.get(workload)
        chosen = own.selector.keys if own and own.selector else frozenset()
        assert not any(volatile(k) for k in keys - chosen)
        assert "job-name" not in keys
        hit = {p[1] for p in pods_of(cluster, None) if p[0] == workload.namespace and found.selector.matches(p[2])}
        assert hit == {workload, *found.also}
        assert all(found.selector.matches(p[2]) for p in pods_of(cluster, workload))


@given(worlds())
def test_every_edge_is_admitted_at_both_ends_or_listed(made):
    cluster, edges = made
    found = synthesize(evidence(*edges), cluster.inventory, Config())
    listed = {(u.edge, u.direction) for u in found.unwritten}
    for each in edges:
        for own, direction in ((each.dst, Direction.INGRESS), (each.src, Direction.EGRESS)):
            if isinstance(own, Workload):
                isolated, admitted_there = admitted(found, cluster, each, direction)
                assert not isolated or admitted_there or (each, direction) in listed


@given(worlds())
def test_nothing_else_is_admitted(made):
    """Every pair, every port: what a rule admits was seen, or is marked as inferred, or comes of a shared policy."""
    cluster, edges = made
    found = synthesize(evidence(*edges), cluster.inventory, Config(named_ports=NamedPorts.NEVER))
    inferred = {e for n in found.notes for e in n.inferred_edges}
    universe = Universe(cluster.inventory, {p for e in edges for p in (e.src, e.dst) if isinstance(p, Workload)})
    subjects = {w_: choose(universe, w_) for w_ in universe.workloads}
    if any(s.also for s in subjects.values()):
        return
    parties = [*universe.workloads, world("203.0.113.1"), world("203.0.113.2"), world("203.0.113.3")]
    for src in parties:
        for dst in parties:
            for port in (53, 8080, 9090):
                for protocol in ("TCP", "UDP"):
                    asked = edge(src, dst, port, protocol)
                    for own, direction in ((dst, Direction.INGRESS), (src, Direction.EGRESS)):
                        if (
                            isinstance(own, Workload)
                            and pods_of(cluster, own)
                            and admitted(found, cluster, asked, direction)[1]
                        ):
                            assert asked in edges or asked in inferred


@given(worlds(), st.integers())
def test_order_does_not_matter(made, seed):
    cluster, edges = made
    first = synthesize(evidence(*edges), cluster.inventory, Config(default_deny=True))
    shuffled = random.Random(seed)
    for each in (edges, cluster.pods, cluster.services):
        shuffled.shuffle(each)
    cluster.controllers = dict(shuffled.sample(sorted(cluster.controllers.items()), len(cluster.controllers)))
    assert synthesize(evidence(*edges), cluster.inventory, Config(default_deny=True)) == first


@given(worlds())
@settings(max_examples=40)
def test_what_is_rendered_means_the_policy(made):
    cluster, edges = made
    found = synthesize(evidence(*edges), cluster.inventory, Config(default_deny=True))
    for policy in found.policies:
        (document,) = load(render_policy(policy, found.notes))
        assert parse_policy(document, Place()) == policy


@given(worlds())
def test_every_policy_is_canonical_and_named_once(made):
    cluster, edges = made
    found = synthesize(evidence(*edges), cluster.inventory, Config(default_deny=True))
    assert all(p == p.canonical() for p in found.policies)
    assert len({p.ref for p in found.policies}) == len(found.policies)
    assert all(p.policy_types for p in found.policies)


@given(worlds(), st.integers(0, 7))
def test_one_more_edge_never_denies_an_earlier_one(made, index):
    cluster, edges = made
    if not edges:
        return
    late = edges[index % len(edges)]
    before = synthesize(evidence(*(e for e in edges if e != late)), cluster.inventory, Config())
    after = synthesize(evidence(*edges), cluster.inventory, Config())
    listed = {(u.edge, u.direction) for u in before.unwritten}
    for each in edges:
        for own, direction in ((each.dst, Direction.INGRESS), (each.src, Direction.EGRESS)):
            if each != late and isinstance(own, Workload) and (each, direction) not in listed:
                isolated, there = admitted(after, cluster, each, direction)
                assert there or not isolated
