"""Who held an address when. A wrong owner would open a policy to a stranger, so doubt is an answer."""

from __future__ import annotations

import ipaddress
import math
import random
from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netpol_gen.api import load_flows
from netpol_gen.config import Config
from netpol_gen.errors import InvariantError
from netpol_gen.inventory import Inventory, Owner, Timeline
from netpol_gen.inventory.objects import Pod
from netpol_gen.model import Workload
from netpol_gen.parties import Book, Times
from netpol_gen.resolve import resolve
from netpol_gen.sets import AddressSet
from tests.inventory.made import SECOND, at, held, listed, load, node, ns, pod, service
from tests.readers import test_aws

GUARD = 5 * SECOND
IP = "10.1.0.7"


def timeline(*pods: Pod, inside: str = "10.1.0.0/16") -> Timeline:
    ranges = AddressSet.of(ipaddress.ip_network(inside))
    return Timeline.build(Inventory(pods=pods, pod_ranges=ranges))


def owner(line: Timeline, seconds: float, address: str = IP, guard: int = GUARD) -> str:
    found = line.owner(address, ns(seconds), guard)
    return found.name


# --- one address, one pod ---------------------------------------------------------------------------------------------


def test_a_pod_owns_its_address_within_the_guard_of_its_life():
    line = timeline(held("a", IP, ns(100), ns(200)))
    answers = {t: owner(line, t) for t in (94.9, 95, 100, 150, 200, 205, 205.1)}
    outside = "UNKNOWN_INSIDE"
    assert answers == {94.9: outside, 95: "a", 100: "a", 150: "a", 200: "a", 205: "a", 205.1: outside}


def test_a_pod_without_times_owns_always():
    line = timeline(held("a", IP))
    assert [owner(line, t) for t in (-(10**9), 0, 10**9)] == ["a", "a", "a"]


def test_a_pod_that_came_after_the_flow_is_not_its_end():
    line = timeline(held("a", IP, ns(100)))
    assert [owner(line, t) for t in (0, 96, 10_000)] == ["UNKNOWN_INSIDE", "a", "a"]


def test_the_end_of_time_does_not_overflow():
    line = timeline(held("a", IP, -(2**70), 2**70))
    both = np.array([np.iinfo(np.int64).min, np.iinfo(np.int64).max])
    assert line.owners([IP, IP], both, 2**65).tolist() == [0, 0]


# --- one address, several pods ----------------------------------------------------------------------------------------


def test_an_address_taken_over_three_seconds_later():
    line = timeline(held("a", IP, ns(0), ns(100)), held("b", IP, ns(103), None))
    answers = [owner(line, t) for t in (50, 97.9, 98, 100, 101.5, 103, 105, 105.1, 200)]
    assert answers == ["a", "a", *["AMBIGUOUS"] * 5, "b", "b"]


def test_an_address_taken_over_much_later():
    line = timeline(held("a", IP, ns(0), ns(100)), held("b", IP, ns(200), None))
    answers = [owner(line, t) for t in (100, 105, 110, 190, 195, 200)]
    assert answers == ["a", "a", "UNKNOWN_INSIDE", "UNKNOWN_INSIDE", "b", "b"]


def test_without_a_guard_only_the_shared_instant_is_ambiguous():
    line = timeline(held("a", IP, ns(0), ns(100)), held("b", IP, ns(100), None))
    assert [owner(line, t, guard=0) for t in (99.999, 100, 100.001)] == ["a", "AMBIGUOUS", "b"]


def test_two_owners_at_once_are_refused_and_told():
    line = timeline(held("a", IP, ns(0)), held("b", IP, ns(50)))
    assert [owner(line, t) for t in (10, 60)] == ["a", "AMBIGUOUS"]
    assert [(d.code, d.subject) for d in line.diagnostics] == [("NPG210", IP)]
    assert timeline(held("a", IP, ns(0), ns(60)), held("b", IP, ns(50))).diagnostics == ()


def test_a_span_of_time_has_an_owner_only_if_it_is_the_same_all_along():
    line = timeline(held("a", IP, ns(0), ns(100)), held("b", IP, ns(200), ns(300)), held("c", "10.1.0.8", ns(0), None))
    first = np.array([ns(t) for t in (10, 90, 90, 210, 10, 120)])
    last = np.array([ns(t) for t in (90, 120, 250, 300, 10_000, 180)])
    addresses = [IP, IP, IP, IP, "10.1.0.8", IP]
    wanted = [0, Owner.AMBIGUOUS, Owner.AMBIGUOUS, 1, 2, Owner.UNKNOWN_INSIDE]
    assert line.owners_between(addresses, first, last, GUARD).tolist() == wanted


# --- ends of every kind, from dumps -----------------------------------------------------------------------------------


def answers(inventory, *times: float, address: str = IP) -> list[str]:
    line = Timeline.build(inventory)
    return [owner(line, t, address) for t in times]


def test_a_completed_pod_frees_its_address():
    done = {"phase": "Succeeded", "containerStatuses": [{"state": {"terminated": {"finishedAt": at(100)}}}]}
    inventory = load(pod("job", IP, start=0, status=done), pod("web", IP, start=150))
    assert answers(inventory, 50, 120, 200) == ["job", "UNKNOWN_INSIDE", "web"]


def test_a_completed_pod_that_does_not_say_when_is_never_an_owner():
    inventory = load(pod("job", IP, start=0, status={"phase": "Succeeded"}))
    assert answers(inventory, 50, 10_000) == ["AMBIGUOUS", "AMBIGUOUS"]


def test_a_pod_deleted_between_two_looks_is_sure_until_the_first():
    inventory = load(listed(pod("a", IP, start=0), taken=100), listed(pod("b", "10.1.0.8", start=0), taken=200))
    assert answers(inventory, 50, 100, 101, 200, 204, 206) == ["a", "a", *["AMBIGUOUS"] * 3, "UNKNOWN_INSIDE"]
    assert Timeline.build(inventory).owner(IP, ns(100) + 1, GUARD) is Owner.AMBIGUOUS


def test_a_pod_gone_before_the_last_look_still_resolves():
    inventory = load(
        listed(pod("a", IP, start=0, metadata={"uid": "a"}), taken=100),
        listed(pod("b", IP, start=130, metadata={"uid": "b"}), taken=200),
    )
    assert answers(inventory, 50, 127, 150, 250) == ["a", "AMBIGUOUS", "AMBIGUOUS", "b"]


def test_the_hosts_network_is_never_a_pod():
    inventory = load(
        node("n1", "192.168.0.1"),
        pod("agent", "192.168.0.1", spec={"hostNetwork": True}, start=0),
        pod("proxy", "192.168.0.2", status={"hostIP": "192.168.0.2"}, node="n2", start=0),
    )
    assert answers(inventory, 50, address="192.168.0.1") == ["NODE"]
    assert answers(inventory, 50, address="192.168.0.2") == ["NODE"]
    line = Timeline.build(inventory)
    found = line.node_of("192.168.0.2")
    assert found is not None
    assert found.name == "n2"


def test_a_host_network_pod_of_an_unknown_node_is_no_owner_either():
    assert owner(timeline(held("agent", "192.168.0.9", host_network=True)), 50, "192.168.0.9") == "OUTSIDE"


def test_both_families_of_a_pod():
    inventory = load(pod("a", [IP, "fd00:1::7"], start=0))
    assert answers(inventory, 50, address="fd00:1::7") == ["a"]
    assert answers(inventory, 50, address="fd00:0001:0:0::0007") == ["a"]
    assert answers(inventory, 50, address=f"::ffff:{IP}") == ["a"]
    line = Timeline.build(inventory)
    forms = [IP, IP.encode(), ipaddress.ip_address(IP), ipaddress.ip_address("fd00:1::7")]
    assert line.owners(forms, np.array([ns(50)] * 4), GUARD).tolist() == [0] * 4


def test_what_is_no_pod():
    inventory = load(
        node("n1", "192.168.0.1", "10.1.0.0/24"),
        pod("a", "10.1.0.9", start=0),
        pod("first", "10.1.0.1", start=0),
        service(
            "web",
            {"app": "web"},
            [{"port": 80}],
            ip="10.96.0.20",
            externalIPs=["203.0.113.5"],
            status={"loadBalancer": {"ingress": [{"ip": "203.0.113.6"}, {"hostname": "x.example"}]}},
        ),
    )
    line = Timeline.build(inventory)
    wanted = {
        "192.168.0.1": "NODE",
        "10.1.0.0": "NODE",  # a VXLAN device
        "10.1.0.1": "first",  # the bridge's address, were it not a pod's
        "10.1.0.77": "UNKNOWN_INSIDE",
        "10.96.0.20": "VIP",
        "203.0.113.5": "VIP",
        "203.0.113.6": "VIP",
        "203.0.113.7": "OUTSIDE",
        "2001:db8::1": "OUTSIDE",
        "": "UNKNOWN_INSIDE",
        "not an address": "UNKNOWN_INSIDE",
    }
    assert {address: owner(line, 50, address) for address in wanted} == wanted
    assert line.owners([None, float("nan")], np.array([ns(50)] * 2), GUARD).tolist() == [-1, -1]
    assert [s.name for s in line.services_of("203.0.113.6")] == ["web"]
    assert line.services_of("203.0.113.7") == ()


def test_an_address_that_is_a_pods_and_a_services_has_no_owner():
    inventory = load(pod("a", IP, start=0), service("web", None, [{"port": 80}], externalIPs=[IP]))
    assert answers(inventory, 50) == ["AMBIGUOUS"]


# --- the law ----------------------------------------------------------------------------------------------------------

ADDRESSES = ("10.1.0.1", "10.1.0.2", "fd00::1")


@st.composite
def lives(draw):
    """Pods of few addresses and near times, so that they meet."""
    count = draw(st.integers(0, 6))
    pods = []
    for index in range(count):
        start = draw(st.none() | st.integers(0, 40))
        end = draw(st.none() | st.integers(start or 0, 50))
        unsure = draw(st.none() | st.integers(start or 0, end)) if end is not None else None
        address = draw(st.sampled_from(ADDRESSES))
        times = [None if t is None else ns(t) for t in (start, end, unsure)]
        pods.append(held(f"p{index}", address, times[0], times[1], unsure_from=times[2]))
    return pods


def claimants(pods: list[Pod], address: str, time: int, guard: int) -> list[tuple[Pod, bool]]:
    """Pods that may hold an address, and whether each surely does: the definition, one pod at a time."""
    out = []
    for each in pods:
        if address not in map(str, each.addresses):
            continue
        after_start = each.started is None or time >= each.started - guard
        before_end = each.ended is None or time <= each.ended + guard
        if after_start and before_end:
            out.append((each, each.unsure_from is None or time <= each.unsure_from))
    return out


def by_definition(pods: list[Pod], address: str, time: int, guard: int) -> str:
    found = claimants(pods, address, time, guard)
    if not found:
        return "UNKNOWN_INSIDE"
    (first, sure), *others = found
    return first.name if sure and not others else "AMBIGUOUS"


@given(
    lives(),
    st.integers(0, 8),
    st.lists(
        st.tuples(st.sampled_from(ADDRESSES), st.integers(-10, 70), st.sampled_from((-1, 0, 1))),
        min_size=20,
        max_size=40,
    ),
)
def test_answers_are_those_of_the_definition(pods, guard, questions):
    inside = AddressSet.of(ipaddress.ip_network("10.1.0.0/24"), ipaddress.ip_network("fd00::/64"))
    line = Timeline.build(Inventory(pods=tuple(pods), pod_ranges=inside))
    addresses = [address for address, _, _ in questions]
    times = np.array([ns(t) + nanosecond for _, t, nanosecond in questions], dtype=np.int64)
    found = line.owners(np.array(addresses, dtype=object), times, guard * SECOND)
    names = [pods[i].name if i >= 0 else Owner(i).name for i in found.tolist()]
    wanted = [by_definition(pods, a, t, guard * SECOND) for a, t in zip(addresses, times.tolist(), strict=True)]
    assert names == wanted


@given(lives(), st.integers(0, 5), st.sampled_from(ADDRESSES), st.integers(-10, 70), st.integers(0, 40))
def test_a_span_agrees_with_all_its_instants(pods, guard, address, first, length):
    inside = AddressSet.of(ipaddress.ip_network("10.1.0.0/24"), ipaddress.ip_network("fd00::/64"))
    line = Timeline.build(Inventory(pods=tuple(pods), pod_ranges=inside))
    span = range(ns(first), ns(first + length) + 1, SECOND // 2)
    instants = set(line.owners([address] * len(span), np.array(span), guard * SECOND).tolist())
    # Owners change a nanosecond after a border, so the grid has to hold these too.
    borders = {
        b + d
        for p in pods
        for b in (p.started, p.ended, p.unsure_from)
        if b is not None
        for d in (-guard * SECOND, guard * SECOND, 0)
    }
    more = [t for b in sorted(borders) for t in (b - 1, b, b + 1) if span[0] <= t <= span[-1]]
    instants |= set(line.owners([address] * len(more), np.array(more, dtype=np.int64), guard * SECOND).tolist())
    (found,) = line.owners_between([address], np.array([span[0]]), np.array([span[-1]]), guard * SECOND).tolist()
    assert found == (instants.pop() if len(instants) == 1 else Owner.AMBIGUOUS)


def test_no_wrong_owner_among_random_lives_with_reuse():
    """Clocks of logs are wrong by up to the guard; the true owner is known from the simulation."""
    rng = random.Random(20261122)
    guard, pods, truth = 2.0, [], []
    for number in range(60):
        time = rng.uniform(0, 30)
        for turn in range(12):
            end = time + rng.expovariate(1 / 60)
            name = f"p{number}-{turn}"
            pods.append(held(name, f"10.1.0.{number}", ns(time), ns(end)))
            truth += [(f"10.1.0.{number}", rng.uniform(time, end), name) for _ in range(20)]
            time = end + rng.choice((0, 0.5, 3, 30))
    line = timeline(*pods)
    shown = [ns(t + rng.uniform(-guard, guard)) for _, t, _ in truth]
    found = line.owners([a for a, _, _ in truth], np.array(shown), int(guard * SECOND)).tolist()
    wrong = [i for i, index in enumerate(found) if index >= 0 and pods[index].name != truth[i][2]]
    unknown = found.count(int(Owner.UNKNOWN_INSIDE))
    ambiguous = found.count(int(Owner.AMBIGUOUS)) / len(found)
    lives_of: dict[str, list[Pod]] = {}
    for each in pods:
        lives_of.setdefault(str(each.addresses[0]), []).append(each)
    doubts = [
        by_definition(lives_of[address], address, time, int(guard * SECOND)) == "AMBIGUOUS"
        for (address, _, _), time in zip(truth, shown, strict=True)
    ]
    assert (wrong, unknown) == ([], 0)
    assert ambiguous == sum(doubts) / len(found)
    assert 0.05 < ambiguous < 0.15


# --- times for readers ------------------------------------------------------------------------------------------------


def times_of(line: Timeline, guard: int) -> dict[str, list[int]]:
    found = line.handovers(guard)
    spans = zip(found.offsets[:-1].tolist(), found.offsets[1:].tolist(), strict=True)
    return {address: found.times[a:b].tolist() for address, (a, b) in zip(found.addresses, spans, strict=True)}


def test_an_address_changes_hands_where_doubt_begins_and_ends():
    line = timeline(held("a", IP, None, ns(100)), held("b", IP, ns(103)), held("c", "10.1.0.8"))
    assert times_of(line, GUARD) == {IP: [ns(98), ns(105) + 1]}
    assert times_of(line, 0) == {IP: [ns(100) + 1, ns(103)]}
    assert not Timeline.build(Inventory()).handovers(GUARD)


def test_the_first_known_holder_may_not_be_the_first():
    assert times_of(timeline(held("a", "fd00::7", ns(50))), GUARD) == {"fd00::7": [ns(45)]}


def test_a_node_s_address_changes_hands_where_a_pod_has_it_too():
    inventory = load(node("n1", IP), node("n2", "10.1.0.9"), pod("a", IP, start=0, node="n2"))
    assert times_of(Timeline.build(inventory), GUARD) == {IP: [ns(-5)]}


@given(lives(), st.integers(0, 8))
def test_between_two_of_these_times_the_owner_is_the_same(pods, guard):
    line = timeline(*pods, inside="10.1.0.0/24")
    found = times_of(line, guard * SECOND)
    assert list(found) == sorted(found)
    for address in ADDRESSES:
        moments = found.get(address, [])
        assert moments == sorted(set(moments))
        edges = [-(2**61), *moments, 2**61]
        first, last = np.array(edges[:-1]), np.array(edges[1:]) - 1
        both = [line.owners([address] * len(times), times, guard * SECOND).tolist() for times in (first, last)]
        assert both[0] == both[1] == line.owners_between([address] * len(first), first, last, guard * SECOND).tolist()
        assert all(a != b for a, b in pairwise(both[0]))


def test_one_inventory_has_one_timeline():
    inventory = Inventory(pods=(held("a", IP, ns(0)),))
    one, other = Timeline.of(inventory), Timeline.of(inventory)
    assert one._claims is other._claims
    one.owner("8.8.8.8", ns(0), GUARD)
    assert not other._known, "what was asked of one is not kept for the other"
    assert Timeline.of(replace(inventory, pods=()))._claims == ()


# --- pods of one workload ---------------------------------------------------------------------------------------------


def group(line: Timeline, groups: list[int], first: float, last: float, guard: int = GUARD) -> int:
    times = np.array([ns(first)]), np.array([ns(last)])
    (found,) = line.groups_of([IP], np.array([0]), *times, guard, np.array(groups)).tolist()
    return int(found)


def test_an_address_passed_on_within_a_workload_is_the_workload_s():
    line = timeline(held("a", IP, ns(0), ns(100)), held("b", IP, ns(103), ns(200)), held("c", IP, ns(206)))
    assert [group(line, [7, 7, 8], *span) for span in ((10, 10), (98, 105), (10, 190), (101, 101))] == [7, 7, 7, 7]
    assert [group(line, [7, 7, 8], *span) for span in ((190, 202), (10, 300))] == [Owner.AMBIGUOUS] * 2
    assert group(line, [7, 7, 7], 10, 300) == 7
    # Three seconds that nobody is known to have had it.
    assert group(line, [7, 7, 7], 10, 190, guard=SECOND) == Owner.AMBIGUOUS
    assert group(line, [7, 7, 7], 110, 190, guard=SECOND) == 7


def test_doubt_within_a_workload_stays_doubt():
    unsure = held("b", IP, ns(103), ns(200), unsure_from=ns(150))
    line = timeline(held("a", IP, ns(0), ns(100)), unsure, held("c", IP, ns(198)))
    assert group(line, [7, 7, 7], 120, 150) == 7
    assert [group(line, [7, 7, 7], *span) for span in ((120, 151), (160, 160), (10, 300))] == [Owner.AMBIGUOUS] * 3
    assert group(line, [7, 7, 7], 206, 300) == 7
    assert group(timeline(held("a", IP), inside="10.0.0.0/8"), [3], 0, 0) == 3
    assert (
        line.groups_of(["8.8.8.8", "no"], np.array([0, 1]), *[np.zeros(2, int)] * 2, 0, np.array([7] * 3)).tolist()
        == [Owner.AMBIGUOUS] * 2
    )


@given(
    lives(), st.integers(0, 5), st.sampled_from(ADDRESSES), st.integers(-10, 70), st.integers(0, 40), st.integers(1, 3)
)
def test_a_group_has_what_its_pods_alone_have_all_along(pods, guard, address, first, length, size):
    line = timeline(*pods)
    groups = [number % size for number in range(len(pods))]
    span = np.array([ns(first)]), np.array([ns(first + length)])
    (found,) = line.groups_of(
        [address], np.array([0]), *span, guard * SECOND, np.array(groups, dtype=np.int64)
    ).tolist()
    borders = {b for p in pods for b in (p.started, p.ended, p.unsure_from) if b is not None}
    moments = {b + side * guard * SECOND + d for b in borders for side in (-1, 0, 1) for d in (-1, 0, 1)}
    holders = [
        [(groups[int(pod.name[1:])], sure) for pod, sure in claimants(pods, address, time, guard * SECOND)]
        for time in sorted({ns(first), ns(first + length), *(m for m in moments if span[0][0] <= m <= span[1][0])})
    ]
    if found >= 0:
        assert all(each and all(one == (found, True) for one in each) for each in holders)
    elif all(pod.unsure_from is None for pod in pods):
        # Nothing but doubt about single pods keeps a workload from being told.
        assert not all(holders) or len({who for each in holders for who, _ in each}) != 1


# --- from the records -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Simulated:
    """Calls of pods and to pods that take over addresses from one another within an hour, and the truth about them."""

    pods: list[Pod]
    calls: list[tuple[str, str, int, int]]
    """Address, true holder, first and last second as a clock that is wrong has it."""
    weight: dict[str, int]
    """Bytes of each call, by its holder: no sum of those of others is a multiple."""


def simulated(guard: int) -> Simulated:
    rng = random.Random(20261123)
    pods, calls, weight = [], [], {}
    for number in range(40):
        time = rng.uniform(0, 60)
        while time < 3300:
            end, name, address = time + 20 + rng.expovariate(1 / 400), f"p{len(pods)}", f"10.1.0.{number}"
            pods.append(held(name, address, ns(time), ns(end)))
            weight[name] = rng.randrange(1 << 30, 1 << 40)
            for _ in range(8):
                first = rng.uniform(time, end)
                last, wrong = min(end, first + rng.choice((0, 10, 50))), rng.uniform(-guard, guard)
                calls.append((address, name, math.floor(first + wrong), math.floor(last + wrong)))
            time = end + rng.choice((0, 0.5, 3, 30))
    return Simulated(pods, calls, weight)


def attributed(simulation: Simulated, guard: int, path: Path, *, apart: bool) -> tuple[Counter[str], int]:
    """Calls by the holder that they are taken for, and how many are taken for another's; read and resolved."""
    fixed = [held("server", "10.2.0.1"), held("client", "10.2.0.2")]
    inventory = Inventory(pods=(*simulation.pods, *fixed))
    config = Config(guard_seconds=guard)
    flows = load_flows(path, config=config, inventory=inventory if apart else None)
    resolved = resolve(flows, inventory, config)
    table, lines, seen, wrong = flows.table, resolved.lines, Counter[str](), 0
    octets, flow_counts = table.column("bytes").to_pylist(), table.column("flows").to_pylist()
    for index in np.flatnonzero(lines.reason < 0).tolist():
        ends = [resolved.parties[int(code)] for code in (lines.src[index], lines.dst[index])]
        (holder,) = [end.name for end in ends if isinstance(end, Workload) and end.name.startswith("p")]
        row = int(lines.row[index])
        # Both directions of a call are counted.
        wrong += octets[row] != 2 * flow_counts[row] * simulation.weight[holder]
        seen[holder] += flow_counts[row]
    return seen, wrong


def test_no_call_is_another_pod_s_and_those_far_from_a_handover_are_all_told(tmp_path):
    """Through the reader: calls of all holders of an address at one server port, and to them, within an hour."""
    guard = 2
    simulation = simulated(guard)
    made = []
    for number, (address, name, first, last) in enumerate(simulation.calls):
        client, server = (address, "10.2.0.1") if number % 2 else ("10.2.0.2", address)
        ends = {"pkt_srcaddr": client, "pkt_dstaddr": server, "srcport": 32768 + number, "dstport": 8080}
        back = {"pkt_srcaddr": server, "pkt_dstaddr": client, "srcport": 8080, "dstport": 32768 + number}
        times = {"start": ns(first) // SECOND, "end": ns(last) // SECOND, "bytes": simulation.weight[name]}
        made += [test_aws.record(**ends, **times), test_aws.reply(**back, **times)]
    path = tmp_path / "vpc.log"
    path.write_bytes(test_aws.text(*made))
    line = timeline(*simulation.pods)
    shown = [np.array([ns(call[at]) for call in simulation.calls]) for at in (2, 3)]
    owners = line.owners_between([call[0] for call in simulation.calls], *shown, guard * SECOND).tolist()
    certain = Counter(simulation.pods[owner].name for owner in owners if owner >= 0)
    before, wrong_before = attributed(simulation, guard, path, apart=False)
    after, wrong_after = attributed(simulation, guard, path, apart=True)
    assert (wrong_before, wrong_after) == (0, 0)
    assert after == certain
    borders: dict[str, list[int]] = {}
    for each in simulation.pods:
        borders.setdefault(str(each.addresses[0]), []).extend(t for t in (each.started, each.ended) if t is not None)
    for (address, _, first, last), owner in zip(simulation.calls, owners, strict=True):
        clear = guard * SECOND
        if not any(ns(first) - clear <= border <= ns(last) + clear for border in borders[address]):
            assert owner >= 0
    told = [each.total() / len(simulation.calls) for each in (before, after)]
    assert told[0] < 0.1
    assert told[1] > 0.7


def test_questions_that_do_not_fit_together_are_bugs():
    line = timeline(held("a", IP))
    with pytest.raises(InvariantError):
        line.owners([IP, IP], np.array([1]), GUARD)
    with pytest.raises(InvariantError):
        line.owners([IP], np.array([1]), -1)


@given(st.lists(st.tuples(st.sampled_from([IP, "10.1.0.8", "10.1.0.9", "8.8.8.8", "no"]), *[st.integers(0, 12)] * 2)))
def test_many_looked_up_at_once_are_what_each_is_alone(asked):
    """Whether or not an address changes hands in the time that is asked for."""
    line = timeline(held("a", IP, ns(3), ns(5)), held("b", IP, ns(9)), held("c", "10.1.0.8", ns(1)))
    distinct = sorted({address for address, _, _ in asked})
    which = np.array([distinct.index(address) for address, _, _ in asked], dtype=np.int64)
    first, last = (np.array([ns(each[i]) for each in asked], dtype=np.int64) for i in (1, 2))
    alone = [
        int(line.owners_between([address], first[i : i + 1], last[i : i + 1], SECOND)[0])
        for i, (address, _, _) in enumerate(asked)
    ]
    assert line.owners_of(distinct, which, first, last, SECOND).tolist() == alone


@given(
    lives(),
    st.integers(0, 5),
    st.lists(
        st.tuples(st.sampled_from(range(len(ADDRESSES))), st.integers(-10, 70), st.integers(0, 40)),
        min_size=len(ADDRESSES) + 1,
        max_size=40,
    ),
)
def test_many_rows_of_few_addresses_are_held_as_each_row_alone(pods, guard, rows):
    inside = AddressSet.of(ipaddress.ip_network("10.1.0.0/24"), ipaddress.ip_network("fd00::/64"))
    inventory = Inventory(pods=tuple(pods), pod_ranges=inside)
    book = Book(inventory, Timeline.build(inventory))
    which = np.array([address for address, _, _ in rows], dtype=np.int64)
    first = np.array([ns(start) for _, start, _ in rows], dtype=np.int64)
    last = np.array([ns(start + length) for _, start, length in rows], dtype=np.int64)
    times = Times(first, last, guard * SECOND)
    each = [book.by_address(ADDRESSES, which[[i]], times.of(np.array([i]))) for i in range(len(rows))]
    parties, holders = book.by_address(ADDRESSES, which, times)
    assert parties.tolist() == [int(party[0]) for party, _ in each]
    assert holders.tolist() == [int(pod[0]) for _, pod in each]


def test_an_address_that_a_node_had_and_a_pod_has_now():
    def host(**more):
        return node("n1", IP, **more)

    made = {"creationTimestamp": at(0)}
    both = [
        listed(host(**made), taken=50),
        listed(node("n2", "10.1.0.9"), pod("a", IP, start=200, node="n2"), taken=300),
    ]
    line = Timeline.build(load(*both))
    assert [line.owner(IP, ns(t), GUARD).name for t in (-10, 0, 40, 100, 150, 206, 900)] == [
        "UNKNOWN_INSIDE", "NODE", "NODE", "AMBIGUOUS", "AMBIGUOUS", "AMBIGUOUS", "a",
    ]  # fmt: skip
    # A node whose times nobody tells may be there all the time; a pod that is gone left the address to it.
    plain = load(host(), pod("a", IP, start=200, node="n2", metadata={"deletionTimestamp": at(400)}))
    assert [Timeline.build(plain).owner(IP, ns(t), GUARD).name for t in (0, 300, 900)] == ["NODE", "AMBIGUOUS", "NODE"]


def test_a_node_that_is_gone_is_no_outside_address():
    gone = [
        listed(node("n1", "192.0.2.7"), pod("a", IP, node="n2"), taken=0),
        listed(node("n2", "192.0.2.8"), pod("a", IP, node="n2"), taken=9),
    ]
    inventory = load(*gone)
    assert list(inventory.nodes) == ["n2"]
    assert Timeline.build(inventory).owner("192.0.2.7", ns(0), GUARD).name == "NODE"
