"""Laws of `generate` over small universes: what is accepted is admitted, nothing else is, and order leaves no trace.

A universe has up to four workloads in two namespaces with one or two pods each, two nodes and a few addresses outside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from itertools import product
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from netpol_gen.config import Config, NamedPorts
from netpol_gen.edges import find_edges
from netpol_gen.emit import render_tree
from netpol_gen.evaluate import Judge
from netpol_gen.inventory import Inventory
from netpol_gen.inventory.objects import ContainerPort, Pod
from netpol_gen.model import Decision, Direction, Edge, External, Protocol, Signal, Workload
from netpol_gen.pipeline import Plan, generate
from netpol_gen.policy import ALL, NetworkPolicy, Rule
from netpol_gen.sets import AddressSet
from tests.flowrows import NOW, flows_of, inventory_of, node, row

NAMES = ("ann", "bob", "cid", "dan")
NAMESPACES = ("red", "blue")
PORTS = ((Protocol.TCP, 80), (Protocol.TCP, 8080), (Protocol.UDP, 80), (Protocol.SCTP, 80))
OUTSIDE = (*(f"203.0.113.{last}" for last in (0, 1, 2, 3, 9, 17, 200)), "2001:db8::1", "2001:db8::3")
NODES = (node("n1", "192.168.0.1", "10.0.1.0/24"), node("n2", "192.168.0.2", "10.0.2.0/24"))
VOLATILE = (
    ("app.kubernetes.io/version", "1.2"),
    ("controller-revision-hash", "5d4f"),
    ("helm.sh/chart", "a-1.0"),
    ("pod-template-hash", "6b74"),
    ("statefulset.kubernetes.io/pod-name", "x-0"),
    ("topology.kubernetes.io/zone", "z1"),
)

EXAMPLES = settings(max_examples=40)
"""A plan takes some 30 ms; the same examples come on every run."""

Call = tuple[str, str, Protocol, int]
"""Client and server, each a pod's name or an address."""


@dataclass(frozen=True)
class Universe:
    pods: tuple[Pod, ...]
    calls: tuple[Call, ...]

    def inventory(self, pods: Sequence[Pod] | None = None) -> Inventory:
        ranges = AddressSet.of(ip_network("10.0.0.0/16"), ip_network("fd00::/32"))
        return inventory_of(*(self.pods if pods is None else pods), *NODES, pod_ranges=ranges)

    def rows(self, calls: Sequence[Call] | None = None) -> list[dict[str, Any]]:
        addresses = {pod.name: str(pod.addresses[0]) for pod in self.pods}
        return [
            row(
                addresses.get(src, src), addresses.get(dst, dst), port, protocol=str(protocol),
                flows=5, records=5, first_seen=NOW + i, last_seen=NOW + i,
            )
            for i, (src, dst, protocol, port) in enumerate(self.calls if calls is None else calls)
        ]  # fmt: skip

    def plan(self, calls: Sequence[Call] | None = None, **settings: Any) -> Plan:
        return generate(flows_of(*self.rows(calls)), self.inventory(), Config(**settings))


@st.composite
def pods(draw, *, distinct=True) -> tuple[Pod, ...]:
    """Pods of two to four workloads; with `distinct` every workload has labels that are its own."""
    out = []
    shared = st.sampled_from([(("team", "x"),), (("team", "y"),), ()])
    for i, name in enumerate(draw(st.lists(st.sampled_from(NAMES), min_size=2, max_size=4, unique=True))):
        namespace = draw(st.sampled_from(NAMESPACES))
        own = (("app", name),) if distinct else draw(st.sampled_from([(("app", name),), (("app", "same"),), ()]))
        labels = (*own, *draw(shared))
        named = draw(st.booleans())
        volatile = draw(st.lists(st.sampled_from(VOLATILE), max_size=2, unique_by=lambda pair: pair[0]))
        for replica in range(draw(st.integers(1, 2))):
            ports = [ContainerPort(80, Protocol.TCP, "web" if named else "")]
            if draw(st.booleans()):
                ports.append(ContainerPort(8080, Protocol.TCP, draw(st.sampled_from(["", "alt"]))))
            at = draw(st.sampled_from([1, 2]))
            out.append(
                Pod(
                    namespace,
                    f"{name}-{replica}",
                    tuple(sorted({*labels, *volatile})),
                    Workload(namespace, "Deployment", name),
                    (ip_address(f"10.0.{at}.{10 * i + replica + 5}"),),
                    tuple(ports),
                    node=f"n{at}",
                )
            )
    return tuple(out)


@st.composite
def universes(draw, *, distinct=True, outside=True) -> Universe:
    members = draw(pods(distinct=distinct))
    inside = st.sampled_from([pod.name for pod in members])
    others = st.sampled_from([*OUTSIDE, "192.168.0.1", "192.168.0.2"]) if outside else inside
    ends = st.one_of(st.tuples(inside, inside), st.tuples(inside, others), st.tuples(others, inside))
    calls = st.builds(lambda e, p: (*e, *p), ends, st.sampled_from(PORTS))
    return Universe(members, tuple(draw(st.lists(calls, min_size=1, max_size=8, unique=True))))


def judge_of(plan: Plan, policies: Sequence[NetworkPolicy] | None = None) -> Judge:
    return Judge(plan.policies if policies is None else policies, plan.edges.inventory)


def text_of(plan: Plan) -> dict[str, str]:
    frame = plan.edges.to_frame()
    shown = {
        "edges": frame.to_csv(index=False), "ledger": repr(plan.edges.ledger.rows()), "gaps": repr(plan.gaps),
        "diagnostics": repr(plan.diagnostics), "replay": repr([r.verdict.decision for r in plan.replay.rows]),
    }  # fmt: skip
    return {**render_tree(plan.policies, plan.notes), **shown}


# --- what is accepted is admitted ------------------------------------------------------------------------------------


@given(universes(distinct=False))
@EXAMPLES
def test_every_accepted_edge_is_admitted_at_both_ends(universe):
    plan = universe.plan()
    judge = judge_of(plan)
    assert [str(e) for e in plan.edges.accepted if not judge.edge(e).allowed] == []


@given(universes(distinct=False), st.sampled_from(NamedPorts))
@EXAMPLES
def test_a_plan_can_always_be_written(universe, named_ports):
    universe.plan(named_ports=named_ports).check()


@given(universes())
@EXAMPLES
def test_every_call_of_a_universe_is_accepted(universe):
    """Otherwise the laws here would hold of nothing."""
    plan = universe.plan()
    aside = {str(reason) for reason in plan.edges.ledger.set_aside}
    assert aside <= {"a workload's pod to itself"}
    assert plan.edges.accepted or aside


@given(universes(distinct=False), st.data())
@EXAMPLES
def test_one_more_flow_never_denies_an_earlier_edge(universe, data):
    fewer = data.draw(st.lists(st.sampled_from(universe.calls), unique=True), label="earlier calls")
    before = universe.plan(fewer) if fewer else None
    plan = universe.plan()
    judge = judge_of(plan)
    for edge in before.edges.accepted if before else ():
        assert edge in plan.edges.accepted
        assert judge.edge(edge).allowed, str(edge)


# --- and nothing else -------------------------------------------------------------------------------------------------


@given(universes())
@EXAMPLES
def test_nothing_else_is_admitted_between_workloads(universe):
    plan = universe.plan()
    assert not [note for note in plan.notes if note.inferred or note.widened]
    judge = judge_of(plan)
    seen = set(plan.edges.accepted)
    asked = {(e.protocol, e.port) for e in seen} | {(Protocol.TCP, 81)}
    for src, dst in product(universe.pods, repeat=2):
        if src is dst:
            continue
        for protocol, port in asked:
            verdict = judge.connection(src, dst, protocol, port)
            wanted = Edge(src.workload, dst.workload, protocol, port) in seen
            for side in (verdict.egress, verdict.ingress):
                if side.isolated_by:
                    assert side.allowed is wanted, f"{src.name} -> {dst.name} {protocol} {port}: {side.reason}"


@given(universes())
@EXAMPLES
def test_nothing_else_outside_is_admitted(universe):
    plan = universe.plan()
    judge = judge_of(plan)
    seen = {(e.src, e.dst, e.protocol, e.port) for e in plan.edges.accepted}
    world = {e.address for pair in seen for e in pair[:2] if isinstance(e, External) and e.kind == "world"}
    for pod, address in product(universe.pods, {*OUTSIDE, "203.0.113.8", "2001:db8::2"}):
        for protocol, port in PORTS:
            out = judge.connection(pod, ip_address(address), protocol, port).egress
            back = judge.connection(ip_address(address), pod, protocol, port).ingress
            party = External("world", address) if address in world else None
            if out.isolated_by:
                assert out.allowed is ((pod.workload, party, protocol, port) in seen), (pod.name, address, port)
            if back.isolated_by:
                assert back.allowed is ((party, pod.workload, protocol, port) in seen), (address, pod.name, port)


@given(universes(distinct=False))
@EXAMPLES
def test_a_direction_without_evidence_is_never_closed(universe):
    plan = universe.plan()
    judge = judge_of(plan)
    evidenced = {(e.src, Direction.EGRESS) for e in plan.edges.accepted}
    evidenced |= {(e.dst, Direction.INGRESS) for e in plan.edges.accepted}
    for pod in universe.pods:
        elsewhere = judge.connection(pod, ip_address("198.51.100.1"), Protocol.TCP, 1)
        hither = judge.connection(ip_address("198.51.100.1"), pod, Protocol.TCP, 1)
        for direction, side in ((Direction.EGRESS, elsewhere.egress), (Direction.INGRESS, hither.ingress)):
            if (pod.workload, direction) not in evidenced:
                assert not side.isolated_by, f"{pod.name} {direction}"
    named = {(g.workload, g.direction) for g in plan.gaps}
    open_ = {(p.workload, d) for p in universe.pods for d in Direction} - evidenced
    assert open_ <= named


def pieces(rule: Rule) -> list[Rule | None]:
    """The rule without one of its peers or ports; without itself where it has one of each."""
    assert rule.peers is not ALL
    assert rule.ports is not ALL
    less: list[Rule | None] = []
    if len(rule.peers) > 1:
        less += [Rule(tuple(p for p in rule.peers if p != gone), rule.ports) for gone in rule.peers]
    if len(rule.ports) > 1:
        less += [Rule(rule.peers, tuple(p for p in rule.ports if p != gone)) for gone in rule.ports]
    return less or [None]


@given(universes(distinct=False))
@EXAMPLES
def test_every_rule_and_every_part_of_it_is_needed(universe):
    plan = universe.plan()
    inferred = {(n.policy, n.direction, n.rule) for n in plan.notes if n.inferred}
    for policy in plan.policies:
        for direction in policy.policy_types:
            rules = policy.rules(direction)
            for i, rule in enumerate(rules):
                # All addresses of the nodes are admitted for the sake of one: more than was seen, and said so.
                nodes = any(isinstance(p, External) and p.kind == "node" for e in noted(plan, policy, direction, i)
                            for p in (e.src, e.dst))  # fmt: skip
                if (policy.ref, direction, i) in inferred or nodes:
                    continue
                for part in pieces(rule):
                    kept = (*rules[:i], *([part] if part else []), *rules[i + 1 :])
                    less = replace(policy, **{direction.rules_key: kept})
                    judge = judge_of(plan, [less if p == policy else p for p in plan.policies])
                    missed = [e for e in plan.edges.accepted if not judge.edge(e).allowed]
                    assert missed, f"{policy.ref} {direction} rule {i} is wider than the edges: {rule}"


def noted(plan, policy, direction, index):
    return next(n.edges for n in plan.notes if (n.policy, n.direction, n.rule) == (policy.ref, direction, index))


@given(universes(distinct=False))
@EXAMPLES
def test_selectors_are_never_empty_and_never_volatile(universe):
    for policy in universe.plan().policies:
        selectors = [policy.pod_selector]
        for rule in (*policy.ingress, *policy.egress):
            assert rule.peers is not ALL
            assert rule.ports is not ALL
            selectors += [s for p in rule.peers for s in (p.pod_selector, p.namespace_selector) if s is not None]
        for selector in selectors:
            assert not selector.is_empty
            assert not selector.keys & {key for key, _ in VOLATILE}


@given(st.sets(st.sampled_from(range(64)), min_size=1, max_size=12), st.integers(0, 40))
@EXAMPLES
def test_addresses_outside_stay_within_the_budget(lasts, budget):
    member = Pod("red", "ann-0", (("app", "ann"),), Workload("red", "Deployment", "ann"), (ip_address("10.0.1.5"),),
                 node="n1")  # fmt: skip
    calls = tuple(("ann-0", f"198.51.100.{last}", Protocol.TCP, 443) for last in sorted(lasts))
    plan = Universe((member,), calls).plan(max_extra_addresses=budget)
    (policy,) = plan.policies
    covered = AddressSet()
    for rule in policy.egress:
        for peer in rule.peers:
            covered |= peer.ip_block.addresses
    assert len(lasts) <= covered.size <= len(lasts) + budget
    assert all(judge_of(plan).edge(e).allowed for e in plan.edges.accepted)


# --- who held an address ----------------------------------------------------------------------------------------------

SECOND = 1_000_000_000


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 20)), min_size=1, max_size=5), st.data())
@EXAMPLES
def test_a_reused_address_is_never_taken_for_the_wrong_pod(spans, data):
    """Pods hold one address in turn, for some seconds each, with some seconds between them."""
    at, holders = 0, []
    for i, (held, gap) in enumerate(spans):
        at += gap
        start, end = NOW + at * SECOND, NOW + (at + held) * SECOND
        last = i == len(spans) - 1
        holders.append((f"p{i}", start, None if last else end))
        at += held
    members = [
        Pod("red", name, (("app", name),), Workload("red", "Pod", name), (ip_address("10.0.1.5"),), node="n1",
            phase="Running" if end is None else "Succeeded", started=start, ended=end)
        for name, start, end in holders
    ]  # fmt: skip
    server = Pod("red", "api", (("app", "api"),), Workload("red", "Pod", "api"), (ip_address("10.0.2.5"),), node="n2")
    inventory = Universe((*members, server), ()).inventory()
    for when in data.draw(st.lists(st.integers(-5, at + 30), max_size=4), label="seconds"):
        time = NOW + when * SECOND
        call = row("10.0.1.5", "10.0.2.5", 80, first_seen=time, last_seen=time)
        truth = {name for name, start, end in holders if start <= time and (end is None or time < end)}
        found = {e.src.name for e in find_edges(flows_of(call), inventory).accepted if isinstance(e.src, Workload)}
        near = {
            name
            for name, start, end in holders
            if abs(start - time) <= 5 * SECOND or abs((end or time) - time) <= 5 * SECOND
        }
        assert found <= truth | near, "a pod that did not hold it then"
        if len(near) < 2 and truth and not (near - truth):
            assert found == truth


# --- order leaves no trace --------------------------------------------------------------------------------------------


@given(universes(distinct=False), st.data())
@EXAMPLES
def test_bytes_do_not_depend_on_the_order_of_rows_and_pods(universe, data):
    rows = data.draw(st.permutations(universe.rows()), label="rows")
    members = data.draw(st.permutations(universe.pods), label="pods")
    again = generate(flows_of(*rows), universe.inventory(members), Config())
    assert text_of(again) == text_of(universe.plan())


@given(universes(distinct=False))
@EXAMPLES
def test_bytes_do_not_depend_on_how_often_the_same_is_read(universe):
    once, twice = universe.plan(), universe.plan([*universe.calls, *universe.calls])
    assert render_tree(once.policies, once.notes) == render_tree(twice.policies, twice.notes)


# --- the ledger closes, whatever comes --------------------------------------------------------------------------------

ENDS = ("10.0.1.5", "10.0.1.15", "10.0.9.9", "203.0.113.1", "192.168.0.1", "192.168.0.2", "fd00::9", "")
ENTITIES = (None, "host", "remote-node", "world", "kube-apiserver,world", "host,remote-node", "ingress")


@st.composite
def junk(draw) -> dict[str, Any]:
    """A row as no sensible source would write it, within the columns' own rules."""
    undecided = draw(st.booleans())
    records = draw(st.integers(1, 9))
    port = st.one_of(st.none(), st.sampled_from([0, 53, 80, 8080, 32768, 45000, 65535]))
    return row(
        draw(st.sampled_from(ENDS)),
        draw(st.sampled_from(ENDS)),
        draw(port),
        src_port=draw(port) if undecided else None,
        direction=None if undecided else draw(st.sampled_from(["syn", "is-reply", "policy-verdict", "l7"])),
        protocol=draw(st.sampled_from(["TCP", "UDP", "SCTP", "ICMP", "47"])),
        observed_verdict=draw(st.sampled_from(["forwarded", "dropped", "audit", "unknown"])),
        signals=draw(st.integers(0, 2047)),
        flows=draw(st.integers(1, records)),
        records=records,
        replies=draw(st.integers(0, records)),
        src_entities=draw(st.sampled_from(ENTITIES)),
        dst_entities=draw(st.sampled_from(ENTITIES)),
        dst_namespace=draw(st.sampled_from([None, "red"])),
        dst_pod=draw(st.sampled_from([None, "ann-0", "gone-7d9c5f6b8-x2x4z"])),
        nodes=draw(st.sampled_from([[], ["demo/n1"], ["demo/n2", "demo/n1"]])),
    )


@given(pods(), st.lists(junk(), max_size=8))
@EXAMPLES
def test_the_ledger_closes(members, rows):
    flows = flows_of(*rows)
    edges = find_edges(flows, Universe(members, ()).inventory())
    edges.ledger.close()
    assert edges.ledger.accounted == sum(r["records"] for r in rows)
    assert sum(e.records for e in edges.accepted.values()) <= edges.ledger.accounted


@given(pods(), st.lists(junk(), max_size=8))
@EXAMPLES
def test_no_ephemeral_port_without_proof(members, rows):
    edges = find_edges(flows_of(*rows), Universe(members, ()).inventory())
    for edge, evidence in edges.accepted.items():
        if edge.protocol is Protocol.TCP and edge.port >= 32768:
            assert evidence.signals & Signal.SYN or evidence.direction in ("syn", "policy-verdict"), str(edge)


@given(pods(), st.lists(junk(), max_size=8))
@EXAMPLES
def test_whatever_comes_the_plan_holds(members, rows):
    plan = generate(flows_of(*rows), Universe(members, ()).inventory(), Config())
    plan.check()
    assert all(isinstance(r.verdict.decision, Decision) for r in plan.replay.rows)
