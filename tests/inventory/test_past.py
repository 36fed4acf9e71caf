"""Services and their endpoints as of the time of a flow: what changed, what came later, what is gone."""

from __future__ import annotations

import ipaddress
import itertools
import random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from netpol_gen.config import Config
from netpol_gen.edges import find_edges
from netpol_gen.flowtable import Reason
from netpol_gen.inventory import Inventory, service_targets
from netpol_gen.inventory.dialled import Dialled
from netpol_gen.model import UNKNOWN_TIME, Protocol
from tests.flowrows import flows_of, row
from tests.inventory.made import SECOND, at, endpoint_slice, listed, load, node, ns, obj, pod, service

VIP, OTHER = "10.96.0.20", "10.96.0.21"
GUARD = 5 * SECOND
CLIENT = "10.1.0.9"


def web(name: str, ip: str, **more: Any) -> dict:
    return pod(name, ip, labels={"app": name.partition("-")[0]}, **more)


PODS = (web("a-1", "10.1.0.1"), web("b-1", "10.1.0.2"), pod("client", CLIENT))


def to(name: str, app: str, target: int, ip: str = VIP, made: float | None = None, **spec: Any) -> dict:
    found = service(name, {"app": app}, [{"port": 80, "targetPort": target}, {"port": 81, "name": "x"}], ip=ip, **spec)
    if made is not None:
        found["metadata"]["creationTimestamp"] = at(made)
    return found


def led(
    inventory: Inventory, seconds: float, address: str = VIP, port: int = 80, until: float | None = None, calls: int = 1
) -> str:
    """Where a call at a time goes, as the edges tell; else why nobody can say."""
    times = {"first_seen": ns(seconds), "last_seen": ns(seconds if until is None else until)}
    times |= {"flows": calls, "records": calls}
    found = find_edges(flows_of(row(CLIENT, address, port, **times)), inventory, Config())
    if found.accepted:
        return " ".join(sorted(f"{e.dst.name}:{e.port}" for e in found.accepted))
    ((reason, _),) = found.ledger.set_aside.items()
    return reason.name


def over(inventory: Inventory, *seconds: float, **more: Any) -> list[str]:
    return [led(inventory, each, **more) for each in seconds]


def test_a_target_port_that_changed_between_two_looks():
    inventory = load(listed(*PODS, to("s", "a", 8080), taken=0), listed(*PODS, to("s", "a", 9090), taken=100))
    assert over(inventory, -50, -6, 50, 100, 106, 1000) == [
        "a-1:8080", "a-1:8080", "AMBIGUOUS", "AMBIGUOUS", "a-1:9090", "a-1:9090",
    ]  # fmt: skip
    # The other port is the same in both.
    assert over(inventory, -6, 50, 106, port=81) == ["a-1:81"] * 3


def test_a_row_that_spans_a_change_is_nobodys():
    inventory = load(listed(*PODS, to("s", "a", 8080), taken=0), listed(*PODS, to("s", "a", 9090), taken=100))
    assert led(inventory, -50, until=500, calls=2) == "AMBIGUOUS"
    assert led(inventory, -50, until=500, port=81, calls=2) == "a-1:81"
    back = load(*(listed(*PODS, to("s", "a", p), taken=t) for t, p in ((0, 8080), (100, 9090), (200, 8080))))
    assert led(back, -50, until=500, calls=2) == "AMBIGUOUS"


def test_an_address_that_another_service_got():
    inventory = load(
        listed(*PODS, to("old", "a", 8080), taken=0), listed(*PODS, to("new", "b", 9090, made=60), taken=100)
    )
    # From the last look at the old one until the new one was made it may have been nobody's, or a third one's.
    assert over(inventory, -50, 0, 30, 60, 70, 100, 1000) == [
        "a-1:8080", "a-1:8080", "AMBIGUOUS", "AMBIGUOUS", "b-1:9090", "b-1:9090", "b-1:9090",
    ]  # fmt: skip
    assert [s.name for s in inventory.services] == ["new"]


def test_a_service_is_not_known_before_it_was_made():
    inventory = load(listed(*PODS, to("s", "a", 8080, made=0), taken=100))
    assert over(inventory, -6, -5, 0, 100) == ["UNKNOWN_PARTY", "a-1:8080", "a-1:8080", "a-1:8080"]
    assert over(load(*PODS, to("s", "a", 8080, made=0)), -6, -5) == ["UNKNOWN_PARTY", "a-1:8080"]


def test_a_service_made_after_a_look_that_lacks_it():
    first = listed(*PODS, to("other", "b", 1, ip=OTHER), taken=0)
    both = (to("other", "b", 1, ip=OTHER), to("s", "a", 8080))
    inventory = load(first, listed(*PODS, *both, taken=100))
    assert over(inventory, -10, 50, 106) == ["UNKNOWN_PARTY", "AMBIGUOUS", "a-1:8080"]


def test_one_that_was_deleted_and_made_again():
    inventory = load(
        listed(*PODS, to("s", "a", 8080, made=-100), taken=0), listed(*PODS, to("s", "b", 9090, made=60), taken=100)
    )
    assert over(inventory, 0, 30, 66) == ["a-1:8080", "AMBIGUOUS", "b-1:9090"]


def test_a_service_that_is_gone_keeps_its_address_inside():
    inventory = load(listed(*PODS, to("s", "a", 8080), to("other", "b", 1, ip=OTHER), taken=0),
                     listed(*PODS, to("other", "b", 1, ip=OTHER), taken=100))  # fmt: skip
    assert over(inventory, 0, 50, 106) == ["a-1:8080", "AMBIGUOUS", "UNKNOWN_PARTY"]
    assert [s.name for s in inventory.services] == ["other"]


@pytest.mark.parametrize("kind", ["PodList", "List"])
def test_a_list_without_services_says_nothing_of_them(kind):
    inventory = load(listed(*PODS, to("s", "a", 8080), taken=0), listed(*PODS, taken=100, kind=kind))
    assert over(inventory, 0, 50, 1000) == ["a-1:8080"] * 3


def test_an_empty_list_of_services_says_that_there_is_none():
    inventory = load(listed(*PODS, to("s", "a", 8080), taken=0), listed(taken=100, kind="ServiceList"))
    assert over(inventory, 0, 1000) == ["a-1:8080", "UNKNOWN_PARTY"]


@pytest.mark.parametrize("empty", [False, True])
def test_a_list_of_other_things_called_services_says_nothing_of_them(empty):
    knative = obj("Service", "k", version="serving.knative.dev/v1", spec={})
    others = {
        **listed(*[] if empty else [knative], taken=100, kind="ServiceList"),
        "apiVersion": "serving.knative.dev/v1",
    }
    inventory = load(listed(*PODS, to("s", "a", 8080), taken=0), others)
    assert over(inventory, 0, 50, 1000) == ["a-1:8080"] * 3
    assert [s.name for s in inventory.services] == ["s"]


def test_a_list_of_some_namespaces_says_nothing_of_others():
    elsewhere = service("s", {"app": "a"}, [{"port": 1}], ip=OTHER, namespace="bank")
    some = listed(elsewhere, taken=100, annotations={"netpol-gen.dev/namespaces": "bank"})
    assert led(load(listed(*PODS, to("s", "a", 8080), taken=0), some), 1000) == "a-1:8080"


@pytest.mark.parametrize("taken", [None, 100])
def test_times_of_making_and_of_changes_do_not_depend_on_the_order_of_files(taken):
    """Two dumps of one time agree in all but when the Service was made, or since when it has been so."""
    looks = [listed(*PODS, to("s", "a", 8080, made=made), taken=taken) for made in (None, 0, 50)]
    for several in itertools.permutations(looks):
        assert over(load(*several), -6, 10, 60) == ["UNKNOWN_PARTY", "a-1:8080", "a-1:8080"]
    first, full = (listed(*PODS, to("s", "a", p), taken=t) for t, p in ((0, 9090), (100, 8080)))
    since = [
        listed(to("s", "a", 8080), taken=100, annotations={"netpol-gen.dev/changes-since": at(t)}) for t in (60, 80)
    ]
    for several in itertools.permutations([full, *since]):
        assert over(load(first, *several), 50, 70, 106) == ["a-1:9090", "AMBIGUOUS", "a-1:8080"]


def test_an_undated_dump_plays_no_part_beside_dated_ones():
    dated = listed(*PODS, to("s", "a", 8080), taken=0)
    assert led(load(dated, to("s", "a", 9090)), 50) == led(load(to("s", "a", 9090), dated), 50) == "a-1:8080"


def test_a_history_of_changes_says_when_to_the_second():
    def gone(name: str, last: float, by: float) -> dict:
        spec = {"kind": "Service", "namespace": "shop", "name": name, "lastSeen": at(last), "goneBy": at(by)}
        return {"apiVersion": "netpol-gen.dev/v1", "kind": "Gone", "spec": spec}

    def changes(taken: float, since: float, *objects: dict) -> dict:
        return listed(*objects, taken=taken, annotations={"netpol-gen.dev/changes-since": at(since)})

    inventory = load(
        listed(*PODS, to("s", "a", 8080), to("t", "b", 1, ip=OTHER), taken=0),
        changes(1000, 990, to("s", "a", 9090)),
        changes(2000, 1990, gone("t", 1500, 1500)),
        changes(3000, 2990, to("u", "a", 2, ip=OTHER)),
    )
    assert over(inventory, 980, 995, 1006) == ["a-1:8080", "AMBIGUOUS", "a-1:9090"]
    assert over(inventory, 1494, 1506, 2980, 2993, 3006, address=OTHER) == [
        "b-1:1", "UNKNOWN_PARTY", "UNKNOWN_PARTY", "AMBIGUOUS", "a-1:2",
    ]  # fmt: skip


def test_a_node_port_that_moved():
    ports = [{"port": 80, "targetPort": 8080, "nodePort": 30080}]
    moved = [{"port": 80, "targetPort": 8080, "nodePort": 30081}]
    host = node("n1", "192.168.0.1", "10.1.0.0/24")
    looks = [listed(*PODS, host, service("s", {"app": "a"}, p, ip=VIP, type="NodePort"), taken=t)
             for t, p in ((0, ports), (100, moved))]  # fmt: skip
    inventory = load(*looks)

    def called(seconds: float, port: int) -> str:
        facts = {"first_seen": ns(seconds), "last_seen": ns(seconds)}
        found = find_edges(flows_of(row("203.0.113.7", "192.168.0.1", port, **facts)), inventory, Config())
        return " ".join(f"{e.dst}:{e.port}" for e in found.accepted) or next(iter(found.ledger.set_aside)).name

    assert [called(t, 30080) for t in (-6, 50)] == ["shop/a-1[Pod]:8080", "AMBIGUOUS"]
    assert [called(t, 30081) for t in (50, 106)] == ["AMBIGUOUS", "shop/a-1[Pod]:8080"]


def test_a_host_port_is_of_one_pod_at_a_time():
    def hosting(name: str, ip: str, start: float) -> dict:
        return pod(name, ip, start=start, ports=[{"containerPort": 8080, "hostPort": 80}])

    def called(inventory: Inventory, seconds: float) -> str:
        facts = {"first_seen": ns(seconds), "last_seen": ns(seconds)}
        found = find_edges(flows_of(row("203.0.113.7", "192.168.0.1", 80, **facts)), inventory, Config())
        return " ".join(e.dst.name for e in found.accepted) or next(iter(found.ledger.set_aside)).name

    host, first, second = node("n1", "192.168.0.1"), hosting("a", "10.1.0.1", -90), hosting("b", "10.1.0.2", 60)
    inventory = load(listed(first, host, taken=0), listed(second, host, taken=100))
    # Nobody knows when the first one went, but it had when the second one came.
    assert [called(inventory, t) for t in (0, 30, 59, 60, 80, 120)] == ["a", "a", "a", "b", "b", "b"]
    other = hosting("c", "10.1.0.3", -50)
    inventory = load(listed(first, host, taken=-60), listed(other, host, taken=0), listed(host, second, taken=100))
    assert [called(inventory, t) for t in (-70, -20, 30, 80)] == ["a", "c", "c", "b"]


def test_endpoints_of_a_service_without_selector_changed():
    db = service("db", None, [{"port": 5432, "name": "sql"}], ip=VIP)
    sql = [{"name": "sql", "port": 5432}]
    looks = [
        listed(*PODS, db, endpoint_slice("db-x", "db", {ip: name}, sql), taken=taken)
        for taken, ip, name in ((0, "10.1.0.1", "a-1"), (100, "10.1.0.2", "b-1"))
    ]
    assert over(load(*looks), -6, 50, 106, port=5432) == ["a-1:5432", "AMBIGUOUS", "b-1:5432"]
    # Another look changed nothing: where it was the same before and after, it was so in between.
    same = [listed(*PODS, db, endpoint_slice("db-x", "db", {"10.1.0.1": "a-1"}, sql), taken=t) for t in (0, 100)]
    assert led(load(*same), 50, port=5432) == "a-1:5432"


def test_a_name_in_a_slice_means_the_pod_of_that_time():
    # An operator took over: other owners, the same names.
    pods = [pod("db-0", ip, owner=(kind, "db"), start=start, metadata={"uid": ip})
            for ip, kind, start in (("10.1.0.1", "StatefulSet", -90), ("10.1.0.2", "Cluster", 60))]  # fmt: skip
    db, sql = service("db", None, [{"port": 80}], ip=VIP), [{"port": 5432}]
    looks = [listed(pods[i], pod("client", CLIENT), db, endpoint_slice("x", "db", {ip: "db-0"}, sql), taken=taken)
             for taken, i, ip in ((0, 0, "10.1.0.1"), (40, 0, "10.1.0.1"), (100, 1, "10.1.0.2"))]  # fmt: skip
    rows = [row(CLIENT, VIP, 80, first_seen=ns(t), last_seen=ns(t), src_port=40000 + t) for t in (-80, 20, 106)]
    kinds = ["StatefulSet", "StatefulSet", "Cluster"]
    for each, kind in zip(rows, kinds, strict=True):
        assert [e.dst.kind for e in find_edges(flows_of(each), load(*looks), Config()).accepted] == [kind]
    both = find_edges(flows_of(*rows), load(*looks), Config())
    assert {e.dst.kind: v.flows for e, v in both.accepted.items()} == {"StatefulSet": 2, "Cluster": 1}


def test_an_endpoint_that_names_no_pod_is_whoever_has_the_address():
    old = web("a-1", "10.1.0.1", start=-90, metadata={"deletionTimestamp": at(100)})
    new = web("b-1", "10.1.0.1", start=200)
    slices = endpoint_slice("x", "db", {"10.1.0.1": None}, [{"port": 5432}])
    inventory = load(old, new, pod("client", CLIENT), service("db", None, [{"port": 80}], ip=VIP), slices)
    rows = [row(CLIENT, VIP, 80, first_seen=ns(t), last_seen=ns(t), src_port=40000 + t) for t in (50, 150, 250)]
    for order in itertools.permutations(rows):
        found = find_edges(flows_of(*order), inventory, Config())
        assert {e.dst.name: v.flows for e, v in found.accepted.items()} == {"a-1": 1, "b-1": 1}
        assert found.ledger.set_aside == {Reason.UNKNOWN_PARTY: 1}


def _slice(ready: dict[str, bool]) -> dict:
    found = endpoint_slice("s-x", "s", {"10.1.0.1": "a-1", "10.1.0.2": "b-1"}, [{"port": 8080}])
    for endpoint in found["endpoints"]:
        endpoint["conditions"] = {"ready": ready[endpoint["targetRef"]["name"]]}
    return found


def test_a_pod_that_was_never_ready_is_no_backend():
    both = {"app": "s"}
    pods = (pod("a-1", "10.1.0.1", labels=both), pod("b-1", "10.1.0.2", labels=both), pod("client", CLIENT))
    svc = service("s", both, [{"port": 80, "targetPort": 8080}], ip=VIP)

    def inventory(*looks: tuple[float, bool, bool]) -> Inventory:
        return load(*(listed(*pods, svc, _slice({"a-1": a, "b-1": b}), taken=t) for t, a, b in looks))

    unready = inventory((0, True, False), (100, True, False))
    assert over(unready, 6, 50, 94) == ["a-1:8080"] * 3
    # Before the first look and after the last one nobody knows.
    assert over(unready, -50, 150) == ["a-1:8080 b-1:8080"] * 2
    became = inventory((0, True, False), (100, True, False), (200, True, True), (300, True, True))
    assert over(became, 50, 150, 250) == ["a-1:8080", "a-1:8080 b-1:8080", "a-1:8080 b-1:8080"]
    nobody = inventory((0, False, False), (100, False, False))
    assert led(nobody, 50) == "a-1:8080 b-1:8080"


def test_what_a_policy_needs_now_is_what_the_last_look_shows():
    inventory = load(listed(*PODS, to("s", "a", 8080), taken=0), listed(*PODS, to("s", "b", 9090), taken=100))
    (now,) = inventory.services
    assert [(t.pod and t.pod.name, t.port) for t in service_targets(inventory, now, now.ports[0])] == [("b-1", 9090)]


def test_pods_that_came_later_in_the_hour_were_not_called_earlier():
    first = web("a-1", "10.1.0.1", start=-1000, metadata={"deletionTimestamp": at(600)})
    later = pod("z-1", "10.1.0.3", labels={"app": "a"}, start=700)
    inventory = load(first, later, pod("client", CLIENT), to("s", "a", 8080))
    rows = [row(CLIENT, VIP, 80, first_seen=ns(t), last_seen=ns(t), src_port=t) for t in (100, 900)]
    found = find_edges(flows_of(rows[1]), inventory, Config())
    assert [e.dst.name for e in found.accepted] == ["z-1"]
    both = find_edges(flows_of(*rows), inventory, Config())
    assert {(e.dst.name, v.flows) for e, v in both.accepted.items()} == {("a-1", 1), ("z-1", 1)}


LOOK = st.tuples(st.integers(1, 400), st.integers(0, 3))


@example(changed=[(1, 0), (2, 1), (9, 0)], looks={1, 9}, seed=0)
@given(
    changed=st.lists(LOOK, max_size=6), looks=st.sets(st.integers(0, 500), min_size=1, max_size=8), seed=st.integers()
)
def test_never_a_wrong_answer(changed: list[tuple[int, int]], looks: set[int], seed: int):
    """A Service that changes, goes and comes back, seen now and then: who calls it is told right or not at all."""
    forms = [None, to("s", "a", 8080), to("s", "a", 9090), to("s", "b", 8080)]
    truth = dict(sorted(changed))

    def form(second: float) -> dict | None:
        past = [f for t, f in truth.items() if t <= second]
        return forms[past[-1]] if past else forms[1]

    shown = sorted(looks)
    made = [listed(*PODS, *([found] if (found := form(t)) else []), to("t", "b", 1, ip=OTHER), taken=t) for t in shown]
    random.Random(seed).shuffle(made)
    inventory = load(*made)
    there = Dialled(inventory, ipaddress.ip_address(VIP), 80, Protocol.TCP, 0)
    for second in range(shown[0], 520, 7):
        if second > shown[-1] and any(t > shown[-1] for t in truth):
            continue
        now = form(second)
        right = () if now is None else ((f"{now['spec']['selector']['app']}-1", now["spec"]["ports"][0]["targetPort"]),)
        answers = there.at(ns(second)).answers
        assert len(answers) <= 1
        options = [tuple((t.pod.name, t.port) for t in option if t.pod) for each in answers for option in each] or [()]
        # A change and the change back from one look to the next leave no trace: then the right answer may be missing.
        unseen = any(sum(a < t <= b for t in truth) > 1 for a, b in itertools.pairwise(shown) if a < second < b)
        assert right in options or unseen
        if second in looks:
            assert options == [right]


def test_where_a_backend_is_shown_nothing_of_this_is_asked():
    inventory = load(listed(*PODS, to("s", "a", 8080), taken=0), listed(*PODS, to("s", "a", 9090), taken=100))
    shown = row(CLIENT, VIP, 80, first_seen=ns(50), last_seen=ns(50), backend_ip="10.1.0.1", backend_port=8080)
    found = find_edges(flows_of(shown), inventory, Config())
    assert [str(e) for e in found.accepted] == ["shop/client[Pod] -> shop/a-1[Pod] TCP 8080"]
    assert found.ledger.set_aside == {}


def test_a_pod_that_completed_nobody_knows_when_serves_nothing_at_the_end():
    done = web("a-1", "10.1.0.1", status={"phase": "Succeeded"})
    inventory = load(done, pod("client", CLIENT), to("s", "a", 8080))
    untimed = {"first_seen": UNKNOWN_TIME, "last_seen": UNKNOWN_TIME}
    found = find_edges(flows_of(row(CLIENT, VIP, 80, **untimed), row(CLIENT, VIP, 80)), inventory, Config())
    assert [(str(e), v.flows) for e, v in found.accepted.items()] == [("shop/client[Pod] -> shop/a-1[Pod] TCP 8080", 1)]
    assert found.ledger.set_aside == {Reason.NO_BACKEND: 1}


def test_many_pods_are_told_by_workload():
    both = {"app": "s"}
    old = [pod(f"old-{i}", f"10.1.1.{i}", labels=both, owner=("StatefulSet", "old"), start=i,
               metadata={"deletionTimestamp": at(400 + i)}) for i in range(20)]  # fmt: skip
    new = [pod(f"new-{i}", f"10.1.2.{i}", labels=both, owner=("StatefulSet", "new"), start=500 + i) for i in range(20)]
    svc = service("s", both, [{"port": 80, "targetPort": 8080}], ip=VIP)
    for pods in (old, [*old, *new]):
        inventory = load(*pods, pod("client", CLIENT), svc)
        assert over(inventory, 10, 200, 415) == ["old:8080"] * 3
        assert over(inventory, 450) == ["NO_BACKEND"]
    assert over(inventory, 505, 10_000) == ["new:8080"] * 2


@pytest.mark.parametrize("count", [3, 300])
def test_pods_of_two_workloads_and_one_of_them_not_ready(count):
    both = {"app": "s"}
    names = {f"{app}-{i}": f"10.1.{n}{i // 200}.{i % 200 + 1}" for n, app in enumerate("ab", 1) for i in range(count)}
    pods = [pod(n, ip, labels=both, owner=("StatefulSet", n.partition("-")[0])) for n, ip in names.items()]
    svc = service("s", both, [{"port": 80, "targetPort": 8080}], ip=VIP)
    slices = endpoint_slice("s-x", "s", {ip: n for n, ip in names.items()}, [{"port": 8080}])
    for endpoint in slices["endpoints"]:
        endpoint["conditions"] = {"ready": endpoint["targetRef"]["name"].startswith("a")}
    inventory = load(*(listed(*pods, pod("client", CLIENT), svc, slices, taken=t) for t in (0, 100)))
    # Of very many pods nobody asks which is ready: then all that the selector means are backends.
    assert led(inventory, 50) == ("a:8080" if count == 3 else "a:8080 b:8080")


def test_a_sweep_of_ports_looks_at_no_pods(monkeypatch):
    looks = [listed(*PODS, to("s", "a", p), taken=t) for t, p in ((0, 8080), (100, 9090))]
    inventory, asked = load(*looks), []
    found = type(inventory.index).pods_with
    monkeypatch.setattr(type(inventory.index), "pods_with", lambda *a: asked.append(a) or found(*a))
    for port in range(1, 200):
        answer = Dialled(inventory, ipaddress.ip_address(VIP), port, Protocol.TCP, 0).at(ns(50))
        assert answer.owned
        assert (answer.answers != (((),),)) == (port in (80, 81))
    # Forms of one selector share what it selects.
    assert len(asked) == 2


def test_host_ports_of_other_nodes_are_no_moments():
    web_port = [{"containerPort": 8080, "hostPort": 80}]
    pods = [pod(f"p{i}", f"10.1.0.{i}", node=f"n{i}", start=i, ports=web_port) for i in range(1, 9)]
    inventory = load(*pods, *(node(f"n{i}", f"192.168.0.{i}") for i in range(1, 9)))
    assert Dialled(inventory, ipaddress.ip_address("192.168.0.3"), 80, Protocol.TCP, 0).moments == [ns(3)]


def test_of_many_pods_one_of_each_kind_is_told():
    both = {"app": "s"}
    pods = [pod(f"p-{i}", f"10.1.0.{i}", labels=both, owner=("StatefulSet", f"w{i % 2}"), start=i)
            for i in range(250)]  # fmt: skip
    pods += [pod(f"q-{i}", f"10.1.1.{i}", labels=both, owner=("StatefulSet", f"w{i % 2}"), start=i) for i in range(50)]
    there = Dialled(load(*pods, to("s", "s", 8080)), ipaddress.ip_address(VIP), 80, Protocol.TCP, GUARD)
    assert there.moments == [ns(0), ns(1)]
    ((targets,),) = there.at(ns(1000)).answers
    assert [(t.pod.workload.name, t.port) for t in targets if t.pod] == [("w0", 8080), ("w1", 8080)]


def test_pods_that_have_another_address_family_are_of_another_kind():
    both, six = {"app": "s"}, "fd00:96::20"
    old = [pod(f"old-{i}", f"10.1.1.{i}", labels=both, owner=("StatefulSet", "w"), start=0) for i in range(10)]
    new = [pod(f"new-{i}", (f"10.1.2.{i}", f"fd00::{i + 1}"), labels=both, owner=("StatefulSet", "w"), start=500)
           for i in range(10)]  # fmt: skip
    svc = service("s", both, [{"port": 80, "targetPort": 8080}], ip=VIP, clusterIPs=[VIP, six])
    client = pod("client", (CLIENT, "fd00::99"))
    rows = [row("fd00::99", six, 80, first_seen=ns(t), last_seen=ns(t), src_port=40000 + t) for t in (100, 900)]
    found = find_edges(flows_of(*rows), load(*old, *new, client, svc), Config())
    assert {(str(e.dst), v.flows) for e, v in found.accepted.items()} == {("shop/w[StatefulSet]", 1)}
    assert found.ledger.set_aside == {Reason.NO_BACKEND: 1}


@pytest.mark.parametrize("count", [3, 150])
@pytest.mark.parametrize("named", [True, False])
def test_of_many_endpoints_one_of_each_kind_is_told(count, named):
    owners = {f"{app}-{i}": f"10.1.{n}.{i + 1}" for n, app in enumerate("ab", 1) for i in range(count)}
    pods = [pod(n, ip, owner=("StatefulSet", n.partition("-")[0])) for n, ip in owners.items()]
    slices = endpoint_slice("s-x", "s", {ip: n if named else None for n, ip in owners.items()}, [{"port": 8080}])
    inventory = load(*pods, pod("client", CLIENT), service("s", None, [{"port": 80}], ip=VIP), slices)
    there = Dialled(inventory, ipaddress.ip_address(VIP), 80, Protocol.TCP, GUARD)
    ((targets,),) = there.at(ns(0)).answers
    assert (len(targets), there.singly) == ((6, True) if count == 3 else (2, False))
    assert led(inventory, 0) == "a:8080 b:8080"


def test_a_pod_that_may_have_gone_serves_only_where_there_is_no_other():
    both = {"app": "s"}
    svc = service("s", both, [{"port": 80, "targetPort": 8080}], ip=VIP)
    old, new = pod("old", "10.1.0.1", labels=both), pod("new", "10.1.0.2", labels=both, start=60)
    for many in (1, 20):
        olds = [pod(f"old{i}", f"10.1.1.{i}", labels=both, owner=("StatefulSet", "old")) for i in range(many)]
        news = [pod(f"new{i}", f"10.1.2.{i}", labels=both, owner=("StatefulSet", "new"), start=60) for i in range(many)]
        looks = [listed(*pods, pod("client", CLIENT), svc, taken=t) for t, pods in ((0, olds), (100, news))]
        assert over(load(*looks), -50, 50, 80, 150) == ["old:8080", "old:8080", "new:8080", "new:8080"]
    done = pod("old", "10.1.0.1", labels=both, start=-100, status={"phase": "Succeeded"})
    assert over(load(done, new, pod("client", CLIENT), svc), 0, 80) == ["old:8080", "new:8080"]
    assert led(load(old, new, pod("client", CLIENT), svc), 80) == "new:8080 old:8080"


def test_one_long_connection_stays_with_the_pod_that_it_began_with():
    later = pod("z-1", "10.1.0.3", labels={"app": "a"}, start=700)
    inventory = load(*PODS, later, to("s", "a", 8080))
    assert led(inventory, 100, until=900) == "a-1:8080"
    several = row(CLIENT, VIP, 80, first_seen=ns(100), last_seen=ns(900), flows=2, records=2)
    found = find_edges(flows_of(several), inventory, Config())
    assert {e.dst.name for e in found.accepted} == {"a-1", "z-1"}
