"""Ends that are easily taken for somebody else: nodes, proxies, Service addresses, private addresses nobody knows."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any, ClassVar

import pytest

from netpol_gen.edges import find_edges
from netpol_gen.flowtable import Reason
from netpol_gen.inventory import Inventory
from netpol_gen.model import Signal
from netpol_gen.sets import AddressSet
from tests.flowrows import COMPLETE, flows_of, inventory_of, node, pod, row, service

WEB, API, DB = "10.0.1.10", "10.0.1.11", "10.0.2.12"
CLUSTER = inventory_of(
    pod("web-1", "web", WEB),
    pod("api-1", "api", API, 8080),
    pod("api-2", "api", "10.0.1.13", 9090),
    pod("db-1", "db", DB, 5432, node="n2"),
    service("api", "api", "10.96.0.20", 80, 8080),
    service("db", "db", "10.96.0.21", 80, 5432, node_port=32001, type="NodePort"),
    node("n1", "192.168.0.1", "10.0.1.0/24"),
    node("n2", "192.168.0.2", "10.0.2.0/24"),
    pod_ranges=AddressSet.of(ip_network("10.0.0.0/16")),
    service_ranges=AddressSet.of(ip_network("10.96.0.0/16")),
)


def accepted(*rows: dict[str, Any], inventory: Inventory = CLUSTER) -> list[str]:
    return [str(e) for e in sorted(find_edges(flows_of(*rows), inventory).accepted)]


def reasons(*rows: dict[str, Any], inventory: Inventory = CLUSTER) -> dict[Reason, int]:
    return find_edges(flows_of(*rows), inventory).ledger.set_aside


class TestNodes:
    def test_host_at_the_address_of_another_node_is_that_node(self):
        said = {"src_entities": "host", "nodes": ["c/n1"]}
        assert accepted(row("192.168.0.2", API, 8080, **said)) == ["node 192.168.0.2 -> shop/api[Deployment] TCP 8080"]
        assert accepted(row("192.168.0.1", API, 8080, **said)) == ["own-node -> shop/api[Deployment] TCP 8080"]

    @pytest.mark.parametrize(("address", "client"), [("192.168.0.1", "own-node"), ("192.168.0.2", "node 192.168.0.2")])
    def test_host_and_remote_node_at_once_is_told_by_the_address(self, address, client):
        said = {"src_entities": "host,remote-node", "nodes": ["c/n1"]}
        assert accepted(row(address, API, 8080, **said)) == [f"{client} -> shop/api[Deployment] TCP 8080"]

    def test_host_and_remote_node_at_once_is_some_node_where_no_address_helps(self):
        said = {"src_entities": "host,remote-node", "dst_namespace": "x", "dst_pod": "a", "dst_labels": {"app": "a"}}
        found = accepted(row("172.16.0.9", "10.9.0.1", 8080, **said), inventory=Inventory())
        assert found == ["node 172.16.0.9 -> x/a[Pod] TCP 8080"]

    def test_what_listens_on_a_link_local_address_of_every_node_keeps_that_address(self):
        said = {"dst_entities": "host", "protocol": "UDP", "signals": int(Signal.CLIENT_DATA | Signal.SERVER_DATA)}
        found = accepted(row(WEB, "169.254.20.10", 53, **said))
        assert found == ["shop/web[Deployment] -> node 169.254.20.10 UDP 53"]

    def test_a_pod_that_dials_a_node_port_needs_the_node_and_that_port(self):
        # Nothing has translated it yet where the client's egress is judged.
        assert accepted(row(WEB, "192.168.0.2", 32001)) == ["shop/web[Deployment] -> node 192.168.0.2 TCP 32001"]

    def test_the_outside_that_dials_a_node_port_reaches_what_is_behind_it(self):
        found = accepted(row("203.0.113.7", "192.168.0.2", 32001))
        assert found == ["world 203.0.113.7 -> shop/db[Deployment] TCP 5432"]

    def test_answers_alone_to_a_node_are_answers_to_its_proxy(self):
        answers = int(Signal.SYN_ACK | Signal.SERVER_DATA | Signal.TRACE)
        to_node = row("192.168.0.2", API, 8080, src_entities="remote-node", signals=answers)
        assert accepted(to_node, row(WEB, API, 8080)) == ["shop/web[Deployment] -> shop/api[Deployment] TCP 8080"]
        assert reasons(to_node) == {Reason.UNKNOWN_PARTY: 1}

    def test_a_node_that_was_seen_to_call_is_a_client(self):
        call = row("192.168.0.2", API, 8080, src_entities="remote-node", signals=int(COMPLETE))
        assert accepted(call) == ["node 192.168.0.2 -> shop/api[Deployment] TCP 8080"]

    def test_signals_turn_round_with_the_row(self):
        stream = int(Signal.CLIENT_DATA | Signal.TRACE)
        answer = row(API, "192.168.0.2", 58634, src_port=8080, direction=None, signals=stream)
        proof = row("192.168.0.2", API, 8080, signals=int(Signal.SYN_ACK | Signal.TRACE), src_entities="remote-node")
        assert accepted({**answer, "dst_entities": "remote-node"}, proof) == []


class TestServiceAddresses:
    def test_a_named_pod_at_a_service_address_has_its_own_port(self):
        said = {"dst_namespace": "shop", "dst_pod": "api-1"}
        assert accepted(row(WEB, "10.96.0.20", 80, **said)) == ["shop/web[Deployment] -> shop/api[Deployment] TCP 8080"]

    def test_a_named_pod_that_is_not_behind_the_service_keeps_the_port(self):
        said = {"dst_namespace": "shop", "dst_pod": "db-1"}
        assert accepted(row(WEB, "10.96.0.20", 80, **said)) == ["shop/web[Deployment] -> shop/db[Deployment] TCP 80"]

    def test_a_backend_that_the_source_shows_is_not_translated_again(self):
        said = {"dst_namespace": "shop", "dst_pod": "api-1", "backend_ip": "10.0.1.11", "backend_port": 80}
        assert accepted(row(WEB, "10.96.0.20", 80, **said)) == ["shop/web[Deployment] -> shop/api[Deployment] TCP 80"]


class TestPrivateAddressesWithoutAnInventory:
    said: ClassVar = {"src_namespace": "x", "src_pod": "a", "src_labels": {"app": "a"}}

    @pytest.mark.parametrize("address", ["10.0.9.9", "172.20.1.1", "192.168.3.3", "100.64.0.9", "fd00:10::9"])
    def test_nobody_is_never_the_world(self, address):
        quiet = row("10.0.0.1", address, 443, **self.said)
        assert reasons(quiet, inventory=Inventory()) == {Reason.UNKNOWN_PARTY: 1}

    @pytest.mark.parametrize("address", ["10.0.9.9", "fd00:10::9"])
    def test_what_the_source_calls_the_world_is(self, address):
        outside = row("10.0.0.1", address, 443, dst_entities="world", **self.said)
        assert accepted(outside, inventory=Inventory()) == [f"x/a[Pod] -> world {address} TCP 443"]

    def test_where_the_ranges_are_known_what_is_not_in_them_is_outside(self):
        assert accepted(row(WEB, "172.20.1.1", 443)) == ["shop/web[Deployment] -> world 172.20.1.1 TCP 443"]

    def test_a_public_address_is_outside(self):
        assert accepted(row("10.0.0.1", "203.0.113.7", 443, **self.said), inventory=Inventory()) == [
            "x/a[Pod] -> world 203.0.113.7 TCP 443"
        ]


def test_an_endpoint_that_the_dump_lacks_is_unknown_not_the_world():
    from netpol_gen.inventory.objects import Backend, Service, ServicePort
    from netpol_gen.model import Protocol

    service = Service("shop", "ext", None, (ServicePort(80, Protocol.TCP, 8080),), (ip_address("10.96.0.99"),))
    for address, wanted in (("10.0.7.7", []), ("203.0.113.5", ["shop/web[Deployment] -> world 203.0.113.5 TCP 8080"])):
        backend = Backend("shop/ext", "", Protocol.TCP, 8080, ip_address(address))
        inventory = inventory_of(
            pod("web-1", "web", "10.0.1.1"),
            service,
            backends=(backend,),
            sliced=frozenset({"shop/ext"}),
            pod_ranges=AddressSet.of(ip_network("10.0.0.0/16")),
        )
        assert [str(e) for e in find_edges(flows_of(row("10.0.1.1", "10.96.0.99", 80)), inventory).accepted] == wanted
