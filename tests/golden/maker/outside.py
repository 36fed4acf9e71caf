"""Addresses outside the cluster, and both families of addresses."""

from __future__ import annotations

from maker.capture import Capture, End, Outside, world
from maker.case import Case
from maker.cluster import Cluster, Pod


def external_addresses_rotate(case: Case) -> None:
    """Two hundred addresses of one name: 198.51.100.0 to .199, which is /25, /26 and /29 together and nothing else."""
    c, h = case.shop(), case.flows
    (web,) = c.deployment("shop", "web", "10.0.1.10@n1")
    for last in range(200):
        server = world(f"198.51.100.{last}", "api.payments.example")
        h.record(server, web, 443, h.sport(), "n1", flags="PSH ACK", reply=True, direction="EGRESS")


def external_addresses_within_budget(case: Case) -> None:
    """Eight scattered addresses of a /28; eight more may be admitted for the sake of one rule."""
    c, h = case.shop(), case.flows
    (web,) = c.deployment("shop", "web", "10.0.1.10@n1")
    for last in (1, 3, 4, 6, 9, 11, 12, 14):
        h.call(web, world(f"198.51.100.{last}", "api.payments.example"), 443)


def _with_addresses(h: Capture, client: Pod, server: End, port: int, ips: tuple[str, str]) -> None:
    """A call whose records show other addresses than the first ones of its ends."""
    sport = h.sport()
    h.record(client, server, sport, port, client.node, flags="SYN", point="TO_STACK", direction="EGRESS", ips=ips)
    back = {"reply": True, "direction": "EGRESS", "ips": ips[::-1]}
    h.record(server, client, port, sport, client.node, flags="SYN ACK", **back)
    h.record(client, server, sport, port, client.node, flags="PSH ACK", point="TO_STACK", direction="EGRESS", ips=ips)
    h.record(server, client, port, sport, client.node, flags="PSH ACK", **back)


def _dual(case: Case) -> Cluster:
    c = Cluster()
    c.node("n1", "192.168.40.11", "fd00:40::11", cidrs=("10.0.1.0/24", "fd00:10:1::/64"), router="10.0.1.77")
    c.node("n2", "192.168.40.12", "fd00:40::12", cidrs=("10.0.2.0/24", "fd00:10:2::/64"), router="10.0.2.77")
    case.cluster = c
    return case.shop()


def ipv6_single_addresses(case: Case) -> None:
    """One address is /128; what is left of link-local, multicast and neighbour discovery is no rule at all."""
    c, h = _dual(case), case.flows
    (web,) = c.deployment("shop", "web", "10.0.1.10,fd00:10:1::10@n1")
    h.call(web, world("2001:db8:51::1d"), 443)
    h.call(web, world("fd99::7"), 443)  # a ULA that is not the cluster's
    for address in ("ff02::1", "ff02::fb", "fe80::1"):
        h.knock(web, world(address), 5353, proto="UDP")
    h.record(web, world("ff02::1:ff00:10"), 135, 0, "n1", proto="ICMPv6", point="TO_STACK", direction="EGRESS")


def dual_stack_is_one_edge(case: Case) -> None:
    c, h = _dual(case), case.flows
    (web,) = c.deployment("shop", "web", "10.0.1.10,fd00:10:1::10@n1")
    (api,) = c.deployment("shop", "api", "10.0.2.11,fd00:10:2::11@n2", ports=("8080",))
    h.call(web, api, 8080)
    _with_addresses(h, web, api, 8080, (web.ips[1], api.ips[1]))


def v4_mapped_addresses(case: Case) -> None:
    """`::ffff:203.0.113.7` is 203.0.113.7, and `::ffff:10.0.2.11` is the pod."""
    c, h = _dual(case), case.flows
    (web,) = c.deployment("shop", "web", "10.0.1.10,fd00:10:1::10@n1")
    c.deployment("shop", "api", "10.0.2.11,fd00:10:2::11@n2", ports=("8080",))
    mine = "::ffff:10.0.1.10"
    _with_addresses(h, web, world("::ffff:203.0.113.7"), 443, (mine, "::ffff:203.0.113.7"))
    h.call(web, world("203.0.113.7"), 443)
    _with_addresses(h, web, Outside("::ffff:10.0.2.11", (), 0), 8080, (mine, "::ffff:10.0.2.11"))


def world_without_inventory(case: Case) -> None:
    """No inventory: an address outside is only what the records call the world, and no pod's address becomes one."""
    case.cluster, h = None, case.flows
    web = Pod("shop", "web-6b746f74dc-9rcxx", ("10.0.1.10",), "n1", {"app": "web"}, ("Deployment", "web"))
    h.call(web, world("203.0.113.7", "api.example.com"), 443)
    h.call(web, Outside("10.0.9.9", (), 0), 8443)


CASES = {
    each.__name__: each
    for each in (
        external_addresses_rotate,
        external_addresses_within_budget,
        ipv6_single_addresses,
        dual_stack_is_one_edge,
        v4_mapped_addresses,
        world_without_inventory,
    )
}
