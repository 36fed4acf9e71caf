"""From flow rows to edges: identity, direction, Services, and what is not accepted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from netpol_gen.config import Config, Exclusion, MinEvidence
from netpol_gen.edges import Edges, find_edges
from netpol_gen.flowtable import Reason
from netpol_gen.inventory import Inventory
from netpol_gen.inventory.objects import ContainerPort
from netpol_gen.model import UNKNOWN_TIME, ObservedVerdict, Protocol, Signal
from netpol_gen.sets import AddressSet
from tests.flowrows import COMPLETE, HOUR, NOW, flows_of, inventory_of, node, pod, row, service

WEB, API, DB = "10.0.1.1", "10.0.1.2", "10.0.1.3"
CLUSTER = inventory_of(
    pod("web-1", "web", WEB),
    pod("api-1", "api", API, 8080),
    pod("db-1", "db", DB, 5432, node="n2"),
    service("api", "api", "10.96.0.20", 80, 8080),
    node("n1", "192.168.0.1", "10.0.1.0/24"),
    node("n2", "192.168.0.2"),
    pod_ranges=AddressSet.of(ip_network("10.0.0.0/16")),
    service_ranges=AddressSet.of(ip_network("10.96.0.0/16")),
)


def found(*rows: dict[str, Any], inventory: Inventory = CLUSTER, **settings: Any) -> Edges:
    return find_edges(flows_of(*rows), inventory, Config(**settings))


def accepted(edges: Edges) -> list[str]:
    return [str(e) for e in sorted(edges.accepted)]


def reasons(edges: Edges) -> dict[str, int]:
    return {str(reason): count for reason, count in edges.ledger.set_aside.items()}


WEB_API = "shop/web[Deployment] -> shop/api[Deployment] TCP 8080"


class TestIdentity:
    def test_an_address_is_the_pod_that_holds_it(self):
        assert accepted(found(row(WEB, API, 8080))) == [WEB_API]

    def test_a_vip_is_what_stands_behind_it_on_the_backend_port(self):
        edges = found(row(WEB, "10.96.0.20", 80))
        assert accepted(edges) == [WEB_API]
        assert next(iter(edges.accepted.values())).vips == ("10.96.0.20:80",)

    def test_a_row_that_has_the_server_first_says_the_same_of_how_it_was_dialled(self):
        turned = found(row(API, WEB, 40000, src_port=8080, direction=None, dst_service="shop/web"))
        assert accepted(turned) == [WEB_API]
        assert next(iter(turned.accepted.values())).vips == ()
        answered = found(row("10.96.0.20", WEB, 40000, src_port=80, direction=None))
        assert accepted(answered) == [WEB_API]
        assert next(iter(answered.accepted.values())).vips == ("10.96.0.20:80",)

    def test_a_backend_that_the_source_shows_wins_over_the_vip(self):
        edges = found(row(WEB, "10.96.0.20", 80, backend_ip=API, backend_port=8080))
        assert accepted(edges) == [WEB_API]

    def test_a_vip_without_a_backend_is_set_aside(self):
        edges = found(row(WEB, "10.96.0.20", 81))
        assert accepted(edges) == []
        assert reasons(edges) == {Reason.NO_BACKEND: 1}

    def test_named_target_ports_resolve_per_pod(self):
        inventory = inventory_of(
            pod("web-1", "web", WEB),
            pod("api-1", "api", "10.0.1.5", (8080, "http")),
            pod("api-2", "api", "10.0.1.6", (9090, "http")),
            service("api", "api", "10.96.0.20", 80, "http"),
        )
        edges = found(row(WEB, "10.96.0.20", 80), inventory=inventory)
        assert {e.port for e in edges.accepted} == {8080, 9090}
        assert edges.ledger.used == 1

    def test_an_unheld_address_inside_the_cluster_is_unknown_never_the_world(self):
        edges = found(row(WEB, "10.0.9.9", 443))
        assert accepted(edges) == []
        assert reasons(edges) == {Reason.UNKNOWN_PARTY: 1}

    def test_an_address_outside_is_the_world(self):
        assert accepted(found(row(WEB, "203.0.113.7", 443))) == ["shop/web[Deployment] -> world 203.0.113.7 TCP 443"]

    def test_a_flow_close_to_a_hand_over_is_ambiguous(self):
        inventory = inventory_of(
            pod("old-1", "old", WEB, started=0, ended=NOW - HOUR // 3600),
            pod("new-1", "new", WEB, started=NOW + HOUR // 3600),
            pod("api-1", "api", API, 8080),
        )
        edges = found(row(WEB, API, 8080), inventory=inventory)
        assert reasons(edges) == {Reason.AMBIGUOUS: 1}
        later = found(row(WEB, API, 8080, first_seen=NOW + HOUR, last_seen=NOW + HOUR), inventory=inventory)
        assert accepted(later) == ["shop/new[Deployment] -> shop/api[Deployment] TCP 8080"]

    def test_a_name_in_the_record_wins_over_its_address(self):
        edges = found(row("10.0.1.99", API, 8080, src_namespace="shop", src_pod="web-1", src_labels={"app": "web"}))
        assert accepted(edges) == [WEB_API]

    def test_a_pod_name_wins_over_reserved_world(self):
        said = {"dst_namespace": "shop", "dst_pod": "api-1", "dst_entities": "world"}
        assert accepted(found(row(WEB, "10.9.9.9", 8080, **said))) == [WEB_API]

    def test_a_world_label_on_a_pod_address_is_the_pod(self):
        assert accepted(found(row(WEB, API, 8080, dst_entities="world"))) == [WEB_API]

    def test_proxied_traffic_is_known_by_its_labels_never_by_the_proxy_address(self):
        said = {"src_labels": {"app": "web", "io.kubernetes.pod.namespace": "shop"}}
        assert accepted(found(row(API, DB, 5432, **said))) == ["shop/web[Deployment] -> shop/db[Deployment] TCP 5432"]

    def test_a_pod_without_objects_is_known_by_its_name(self):
        ends = {
            "src_namespace": "x", "src_pod": "front-6b746f74dc-9rcxx", "src_labels": {"app": "front"},
            "dst_namespace": "x", "dst_pod": "db-0", "dst_labels": {"app": "db", "apps.kubernetes.io/pod-index": "0"},
        }  # fmt: skip
        edges = found(row("10.1.0.1", "10.1.0.2", 5432, **ends), inventory=Inventory())
        assert accepted(edges) == ["x/front[Deployment] -> x/db[StatefulSet] TCP 5432"]
        assert {p.name for p in edges.inventory.pods} == {"front-6b746f74dc-9rcxx", "db-0"}

    def test_runs_of_a_cron_job_are_one_workload(self):
        ends = [
            {"src_namespace": "x", "src_pod": f"report-2900000{i}-abcde", "src_workload": f"Job/report-2900000{i}"}
            for i in range(3)
        ]
        rows = [row(f"10.1.0.{i}", API, 8080, **end) for i, end in enumerate(ends)]
        assert accepted(found(*rows)) == ["x/report[CronJob] -> shop/api[Deployment] TCP 8080"]

    def test_a_pod_on_the_host_network_is_its_node(self):
        inventory = inventory_of(
            pod("agent-1", "agent", "192.168.0.2", host_network=True, node="n2"),
            pod("api-1", "api", API, 8080),
            node("n2", "192.168.0.2"),
        )
        said = {"src_namespace": "shop", "src_pod": "agent-1"}
        edges = found(row("192.168.0.2", API, 8080, **said), inventory=inventory)
        assert accepted(edges) == ["node 192.168.0.2 -> shop/api[Deployment] TCP 8080"]

    def test_namespace_labels_in_the_record_are_kept(self):
        labels = {"app": "a", "io.cilium.k8s.namespace.labels.team": "red"}
        said = {"src_namespace": "x", "src_pod": "a", "src_labels": labels}
        edges = found(row("10.1.0.1", API, 8080, **said))
        assert edges.inventory.namespace_labels("x")["team"] == "red"
        assert dict(edges.inventory.pod("x", "a").labels) == {"app": "a"}


class TestNodes:
    def test_the_own_node_is_told_from_others_by_objects(self):
        edges = found(row("192.168.0.1", API, 8080), row("192.168.0.1", DB, 5432))
        assert accepted(edges) == [
            "node 192.168.0.1 -> shop/db[Deployment] TCP 5432",
            "own-node -> shop/api[Deployment] TCP 8080",
        ]

    def test_identity_host_is_the_own_node_unless_objects_say_otherwise(self):
        edges = found(
            row("10.0.1.254", API, 8080, src_entities="host,kube-apiserver", nodes=["c/n1"]),
            row("192.168.0.1", DB, 5432, src_entities="host", nodes=["c/n1"]),
        )
        assert accepted(edges) == [
            "node 192.168.0.1 -> shop/db[Deployment] TCP 5432",
            "own-node -> shop/api[Deployment] TCP 8080",
        ]

    def test_the_api_server_is_its_port_and_the_rest_of_its_address_a_node(self):
        inventory = replace(CLUSTER, api_server=frozenset({(ip_address("192.168.0.2"), 6443)}))
        rows = [row(WEB, "192.168.0.2", port, dst_entities="kube-apiserver,remote-node") for port in (6443, 9100)]
        assert accepted(found(*rows, inventory=inventory)) == [
            "shop/web[Deployment] -> kube-apiserver 192.168.0.2 TCP 6443",
            "shop/web[Deployment] -> node 192.168.0.2 TCP 9100",
        ]

    def test_no_pod_at_either_end(self):
        assert reasons(found(row("192.168.0.1", "192.168.0.2", 6443))) == {Reason.NODE_TO_NODE: 1}

    def test_a_pod_to_itself(self):
        assert reasons(found(row(API, API, 8080))) == {Reason.SELF: 1}


class TestDirection:
    def undecided(self, src: str, src_port: int, dst: str, dst_port: int, **facts: Any) -> dict[str, Any]:
        return row(src, dst, dst_port, src_port=src_port, direction=None, **facts)

    def test_a_declared_port_is_the_servers(self):
        edges = found(self.undecided(API, 8080, WEB, 41000), self.undecided(WEB, 41000, API, 8080))
        assert accepted(edges) == [WEB_API]
        assert next(iter(edges.accepted.values())).direction == "listening-port"

    def test_a_decided_row_of_the_same_two_decides(self):
        edges = found(row(WEB, DB, 7000), self.undecided(DB, 7000, WEB, 7001))
        assert accepted(edges) == ["shop/web[Deployment] -> shop/db[Deployment] TCP 7000"]

    def test_many_clients_of_one_port(self):
        rows = [self.undecided(DB, 20000, WEB, 21000 + i) for i in range(4)]
        edges = found(*rows)
        assert accepted(edges) == ["shop/web[Deployment] -> shop/db[Deployment] TCP 20000"]
        assert not next(iter(edges.accepted.values())).strong

    def test_port_order_is_last_and_weak(self):
        edges = found(self.undecided("203.0.113.7", 443, WEB, 50000))
        assert accepted(edges) == ["shop/web[Deployment] -> world 203.0.113.7 TCP 443"]
        strong = found(self.undecided("203.0.113.7", 443, WEB, 50000), min_evidence=MinEvidence.STRONG)
        assert reasons(strong) == {Reason.WEAK: 1}

    def test_nothing_decides_between_two_high_ports(self):
        assert reasons(found(self.undecided(WEB, 41000, DB, 42000))) == {Reason.UNDECIDED: 1}

    def test_no_ephemeral_port_without_proof(self):
        signals = Signal.SERVER_DATA | Signal.CLIENT_DATA | Signal.TRACE
        edges = found(row(API, WEB, 58950, direction="is-reply", signals=int(signals)))
        assert reasons(edges) == {Reason.UNDECIDED: 1}
        assert accepted(found(row(API, WEB, 58950))) == ["shop/api[Deployment] -> shop/web[Deployment] TCP 58950"]


class TestLeftOut:
    """Rows that came to no edge between known parties are listed where they are asked for."""

    def listed(self, *rows, inventory=CLUSTER):
        edges = find_edges(flows_of(*rows), inventory, left_out=True)
        assert len(edges.observations) + len(edges.left_out) == len(edges.to_frame())
        return [(str(o.edge), o.reason, o.evidence.records) for o in edges.left_out]

    def test_only_when_asked_for(self):
        assert found(row(WEB, "10.0.9.9", 443)).left_out == ()

    def test_an_end_that_is_nobodys(self):
        rows = [row(WEB, "10.0.9.9", 443, records=2), row(WEB, "10.0.9.9", 443), row(WEB, API, 8080)]
        web = "shop/web[Deployment]"
        assert self.listed(*rows) == [(f"{web} -> unknown 10.0.9.9 TCP 443", Reason.UNKNOWN_PARTY, 3)]

    def test_an_address_that_two_pods_hold_is_shown_as_the_source_has_it(self):
        inventory = inventory_of(pod("a", "a", WEB), pod("b", "b", WEB), pod("api-1", "api", API, 8080))
        rows = [
            row(WEB, API, 8080),
            row(API, WEB, 40000, src_port=8080, direction=None),
            row(API, "10.96.0.99", 80, backend_ip=WEB, backend_port=9000),
        ]
        assert self.listed(*rows, inventory=inventory) == [
            (f"shop/api[Deployment] -> unknown {WEB} TCP 9000", Reason.AMBIGUOUS, 1),
            (f"unknown {WEB} -> shop/api[Deployment] TCP 8080", Reason.AMBIGUOUS, 2),
        ]

    def test_other_reasons_of_a_row(self):
        rows = [
            row(WEB, "10.96.0.20", 81),
            row(WEB, DB, 42000, src_port=41000, direction=None),
            row("203.0.113.7", "198.51.100.1", 443),
        ]
        assert [reason for _, reason, _ in self.listed(*rows)] == [
            Reason.UNDECIDED,
            Reason.NO_BACKEND,
            Reason.NODE_TO_NODE,
        ]

    def test_what_has_no_port_or_protocol_is_no_edge(self):
        assert self.listed(row(WEB, DB, None), row(WEB, DB, 1, protocol="47")) == []


class TestAcceptance:
    def test_dropped_is_reported_and_never_accepted(self):
        edges = found(row(WEB, DB, 5432, observed_verdict="dropped", drop_reason="POLICY_DENIED"))
        assert not edges.accepted
        assert [str(e) for e in edges.denied] == ["shop/web[Deployment] -> shop/db[Deployment] TCP 5432"]

    @pytest.mark.parametrize("source", ["aws-vpc", "gcp-vpc", "azure-vnet"])
    def test_a_firewalls_drop_is_no_policys(self, source):
        drop = row(WEB, DB, 5432, observed_verdict="dropped", source=source)
        edges = found(drop)
        assert not edges.accepted
        assert not edges.denied
        assert reasons(edges) == {Reason.FIREWALL: 1}
        assert [str(o.verdict) for o in edges.observations] == ["dropped"]
        assert not found(drop, accept=frozenset(ObservedVerdict)).accepted

    def test_of_several_sources_each_drop_is_its_own(self):
        drops = [
            row(WEB, DB, 5432, observed_verdict="dropped", source=source, records=records)
            for source, records in (("calico", 1), ("aws-vpc", 2), ("azure-vnet", 4), ("flows", 8))
        ]
        edges = found(*drops)
        assert reasons(edges) == {Reason.DENIED: 9, Reason.FIREWALL: 6}
        assert [(o.reason, o.evidence.sources) for o in edges.observations] == [
            (Reason.DENIED, ("calico", "flows")),
            (Reason.FIREWALL, ("aws-vpc", "azure-vnet")),
        ]

    def test_what_a_firewall_stopped_elsewhere_is_not_accepted_where_it_was_forwarded(self):
        edges = found(
            row(WEB, DB, 5432, signals=int(Signal.SYN), source="aws-vpc"),
            row(WEB, DB, 5432, observed_verdict="dropped", signals=int(Signal.SYN), source="aws-vpc"),
        )
        assert not edges.accepted
        assert reasons(edges) == {Reason.DENIED_ELSEWHERE: 1, Reason.FIREWALL: 1}

    def test_audit_only_when_asked_for(self):
        audit = row(WEB, DB, 5432, observed_verdict="audit")
        assert reasons(found(audit)) == {Reason.AUDIT: 1}
        both = frozenset({ObservedVerdict.FORWARDED, ObservedVerdict.AUDIT})
        assert accepted(found(audit, accept=both)) == ["shop/web[Deployment] -> shop/db[Deployment] TCP 5432"]

    def test_what_is_forwarded_of_an_audited_connection_is_no_second_opinion(self):
        audit = row(WEB, DB, 5432, observed_verdict="audit", signals=int(Signal.SYN | Signal.POLICY_VERDICT))
        assert reasons(found(audit, row(WEB, DB, 5432))) == {Reason.AUDIT: 2}
        # The client's node has a verdict of its own, on egress.
        forwarded = row(WEB, DB, 5432, signals=int(COMPLETE | Signal.POLICY_VERDICT))
        assert reasons(found(audit, forwarded)) == {Reason.AUDIT: 2}

    def test_forwarded_at_the_client_and_denied_at_the_server_is_denied(self):
        edges = found(
            row(WEB, DB, 5432, signals=int(Signal.SYN | Signal.TRACE | Signal.POLICY_VERDICT)),
            row(WEB, DB, 5432, observed_verdict="dropped", signals=int(Signal.SYN | Signal.POLICY_VERDICT)),
        )
        assert not edges.accepted
        assert reasons(edges) == {Reason.DENIED_ELSEWHERE: 1, Reason.DENIED: 1}

    def test_one_lost_packet_does_not_deny_a_call_that_was_answered(self):
        edges = found(row(WEB, DB, 5432), row(WEB, DB, 5432, observed_verdict="dropped", signals=int(Signal.SYN)))
        assert accepted(edges) == ["shop/web[Deployment] -> shop/db[Deployment] TCP 5432"]

    def test_unanswered_where_answers_would_be_seen(self):
        knock = row(WEB, DB, 5432, signals=int(Signal.SYN | Signal.TRACE))
        assert reasons(found(knock, row(WEB, API, 8080))) == {Reason.UNANSWERED: 1}
        assert len(found(knock, row(WEB, API, 8080), accept_unanswered=True).accepted) == 2

    def test_policy_verdicts_alone_show_no_answers(self):
        verdict = row(WEB, DB, 5432, signals=int(Signal.SYN | Signal.POLICY_VERDICT), direction="policy-verdict")
        assert len(found(verdict, row(WEB, API, 8080)).accepted) == 2

    def test_a_handshake_that_is_never_completed(self):
        half = row(WEB, DB, 5432, signals=int(Signal.SYN | Signal.SYN_ACK | Signal.TRACE | Signal.RESET))
        assert reasons(found(half, row(WEB, API, 8080))) == {Reason.UNANSWERED: 1}

    def test_refused(self):
        refused = row(WEB, DB, 5432, signals=int(Signal.SYN | Signal.RESET | Signal.TRACE))
        assert reasons(found(refused)) == {Reason.REFUSED: 1}

    def test_one_way_udp_needs_a_declared_port(self):
        facts = {"protocol": "UDP", "signals": int(Signal.CLIENT_DATA | Signal.TRACE), "direction": "policy-verdict"}
        rows = [row(WEB, DB, port, **facts) for port in (8125, 9125)]
        inventory = inventory_of(
            pod("web-1", "web", WEB),
            pod("api-1", "api", API, 8080),
            pod("db-1", "db", DB, ports=(ContainerPort(8125, Protocol.UDP),)),
        )
        edges = found(*rows, row(WEB, API, 8080), inventory=inventory)
        assert [e.port for e in sorted(edges.accepted)] == [8080, 8125]

    @pytest.mark.parametrize("answered", [True, False])
    def test_a_sweep_adds_nothing_and_real_calls_of_the_same_client_stay(self, answered):
        signals = COMPLETE if answered else Signal.SYN | Signal.TRACE
        sweep = [row(WEB, DB, port, signals=int(signals)) for port in range(1, 40)]
        edges = found(*sweep, row(WEB, API, 8080, flows=50, records=50))
        assert accepted(edges) == [WEB_API]

    def test_a_monitor_that_reaches_many_servers_is_no_scan(self):
        pods = [pod(f"s{i}-1", f"s{i}", f"10.0.2.{i}", 9000) for i in range(1, 40)]
        inventory = inventory_of(pod("web-1", "web", WEB), *pods)
        edges = found(*(row(WEB, f"10.0.2.{i}", 9000) for i in range(1, 40)), inventory=inventory)
        assert len(edges.accepted) == 39

    def test_the_exclusion_list_counts_what_it_leaves_out(self):
        rule = Exclusion("load test", src="shop/w*", dst="shop/api", port=8080)
        assert reasons(found(row(WEB, API, 8080), exclude=(rule,))) == {Reason.EXCLUDED: 1}
        assert len(found(row(WEB, DB, 5432), exclude=(rule,)).accepted) == 1


class TestTimes:
    def test_a_record_without_a_time_says_nothing_of_the_last_one(self):
        untimed = {"first_seen": UNKNOWN_TIME, "last_seen": UNKNOWN_TIME, "hours": [UNKNOWN_TIME // HOUR]}
        both = next(iter(found(row(WEB, API, 8080), row(WEB, API, 8080, **untimed)).accepted.values()))
        assert (both.first_seen, both.last_seen, both.hours) == (NOW, NOW, (NOW // HOUR,))
        alone = found(row(WEB, API, 8080, **untimed))
        evidence = next(iter(alone.accepted.values()))
        assert not evidence.timed
        assert evidence.hours == ()
        assert alone.to_frame()["last_seen"].isna().all()


class TestLedger:
    def test_duplicates_and_replies(self):
        edges = found(row(WEB, API, 8080, flows=2, records=9, replies=4))
        assert (edges.ledger.used, edges.ledger.duplicate, edges.ledger.reply) == (2, 3, 4)

    def test_rows_of_one_edge_from_two_replicas_are_one_edge(self):
        inventory = inventory_of(
            pod("web-1", "web", WEB), pod("web-2", "web", "10.0.1.9"), pod("api-1", "api", API, 8080)
        )
        edges = found(row(WEB, API, 8080), row("10.0.1.9", API, 8080), inventory=inventory)
        assert accepted(edges) == [WEB_API]
        assert next(iter(edges.accepted.values())).flows == 2

    def test_frame_has_every_observation_with_its_status(self):
        frame = found(row(WEB, API, 8080), row(WEB, DB, 5432, observed_verdict="dropped")).to_frame()
        assert frame["status"].to_list() == ["accepted", str(Reason.DENIED)]
        assert frame["last_seen"].dtype.pyarrow_dtype.tz == "UTC"


def test_order_of_rows_leaves_no_trace():
    rows = [row(WEB, API, 8080), row(WEB, DB, 5432), row("192.168.0.1", API, 8080), row(WEB, "203.0.113.7", 443)]

    def shown(some: Iterable[dict[str, Any]]) -> Any:
        return found(*some).observations

    assert shown(rows) == shown(reversed(rows))
