"""Which traffic counts: audit, drops, sweeps, knocks on closed doors, protocols."""

from __future__ import annotations

from maker.capture import Outside, host, world
from maker.case import Case


def audit_learning_set(case: Case) -> None:
    """Policy audit mode: every record of the learning set says AUDIT."""
    c, h = case.shop(), case.flows
    (web,) = c.deployment("shop", "web", "10.0.1.10@n1")
    (api,) = c.deployment("shop", "api", "10.0.2.11@n2", ports=("8080",))
    (db,) = c.statefulset("shop", "db", "10.0.2.12@n2", ports=("5432",))
    for client, server, port in ((web, api, 8080), (api, db, 5432), (web, api, 8080)):
        h.record(client, server, h.sport(), port, server.node, flags="SYN", point=None, verdict="AUDIT")


def audit_learning_set_accepted(case: Case) -> None:
    audit_learning_set(case)


def dropped_with_and_without_denied_by(case: Case) -> None:
    c, h = case.shop(), case.flows
    (web,) = c.deployment("shop", "web", "10.0.1.10@n1")
    (api,) = c.deployment("shop", "api", "10.0.2.11@n2", ports=("8080", "8443", "9000", "9001"))
    h.call(web, api, 8080)
    drop = {"flags": "SYN", "verdict": "DROPPED", "reply": None, "point": None}
    by_default = {"event": 1, "drop_reason": 133, "drop_reason_desc": "POLICY_DENIED"}
    h.record(web, api, h.sport(), 8443, "n2", **drop, **by_default)
    by = [{"name": "no-admin", "namespace": "shop", "kind": "CiliumNetworkPolicy", "labels": ["k8s:x=y"]}]
    explicit = {"drop_reason": 181, "drop_reason_desc": "POLICY_DENY", "direction": "EGRESS", "egress_denied_by": by}
    h.record(web, api, h.sport(), 9000, "n1", **drop, event=1, **explicit)
    # Some versions write the drop as a policy verdict, without a trace point.
    h.record(web, api, h.sport(), 9000, "n1", **drop, event=5, **explicit)
    other = {"event": 1, "drop_reason": 151, "drop_reason_desc": "STALE_OR_UNROUTABLE_IP"}
    h.record(web, api, h.sport(), 9001, "n2", **drop, **other)


def forwarded_here_denied_there(case: Case) -> None:
    """The client's node lets the packet out, the server's policy drops it: no call."""
    c, h = case.shop(), case.flows
    (web,) = c.deployment("shop", "web", "10.0.1.10@n1")
    (db,) = c.statefulset("shop", "db", "10.0.2.12@n2", ports=("5432",))
    (api,) = c.deployment("shop", "api", "10.0.2.11@n2", ports=("8080",))
    h.call(api, db, 5432)
    sport = h.sport()
    h.record(web, db, sport, 5432, "n1", flags="SYN", point="TO_OVERLAY", direction="EGRESS")
    h.record(web, db, sport, 5432, "n2", flags="SYN", event=1, point=None, reply=None, verdict="DROPPED",
             drop_reason=133, drop_reason_desc="POLICY_DENIED")  # fmt: skip


def nmap_sweep_adds_nothing(case: Case) -> None:
    c, h = case.shop(), case.flows
    (web,) = c.deployment("shop", "web", "10.0.1.10@n1")
    (api,) = c.deployment("shop", "api", "10.0.2.11@n2", ports=("8080",))
    toolbox = c.pod("shop", "toolbox", "10.0.1.66@n1", labels={"run": "toolbox"})
    h.call(web, api, 8080, times=3)
    for port in (21, 22, 23, 25, 53, 80, 110, 111, 135, 139, 143, 443, 445, 3306):
        h.knock(toolbox, api, port, answer="" if port % 2 else "RST ACK")
    h.call(toolbox, api, 8080)  # the one door that opens belongs to the sweep as well


def unanswered_syn(case: Case) -> None:
    c, h = case.shop(), case.flows
    (web,) = c.deployment("shop", "web", "10.0.1.10@n1")
    (api,) = c.deployment("shop", "api", "10.0.2.11@n2", ports=("8080", "9999"))
    h.call(web, api, 8080)
    h.knock(web, api, 9999)
    h.knock(web, world("203.0.113.5"), 25)


def refused_connection(case: Case) -> None:
    c, h = case.shop(), case.flows
    (web,) = c.deployment("shop", "web", "10.0.1.10@n1")
    (api,) = c.deployment("shop", "api", "10.0.2.11@n2", ports=("8080",))
    h.call(web, api, 8080)
    for _ in range(3):
        h.knock(web, api, 9999, answer="RST ACK")


def udp_one_way_declared(case: Case) -> None:
    """Statistics are sent and never answered; a stray datagram to a port that nobody declares is no need."""
    c, h = case.shop(), case.flows
    (web,) = c.deployment("shop", "web", "10.0.1.10@n1")
    (stats,) = c.deployment("shop", "stats", "10.0.2.11@n2", ports=("statsd:8125/UDP", "http:8080"))
    h.call(web, stats, 8080)
    for port in (8125, 8125, 9125):
        h.knock(web, stats, port, proto="UDP")


def unknown_protocols_are_counted(case: Case) -> None:
    """SCTP can be named; ICMP, VRRP and IGMP cannot, and never become TCP."""
    c, h = case.shop(), case.flows
    (web,) = c.deployment("shop", "web", "10.0.1.10@n1")
    (sig,) = c.deployment("shop", "sig", "10.0.2.11@n2", ports=("s1ap:36412/SCTP",))
    for _ in range(2):
        sport = h.sport()
        h.record(web, sig, sport, 36412, "n2", proto="SCTP")
        h.record(sig, web, 36412, sport, "n2", proto="SCTP", reply=True, point="TO_OVERLAY")
    h.record(web, sig, 8, 0, "n2", proto="ICMPv4")
    h.record(sig, web, 0, 0, "n1", proto="ICMPv4", reply=True)
    h.record(web, sig, 135, 0, "n2", proto="ICMPv6")
    for name in ("VRRP", "IGMP"):
        h.record(web, sig, 0, 0, "n2", proto=name, l4={name: {"type": 1}})
    h.record(web, sig, 0, 0, "n2", l4={})


def sensitive_destinations_are_flagged(case: Case) -> None:
    """They answered, so they are edges; every one of them asks for a second look."""
    c, h = case.shop(), case.flows
    (web,) = c.deployment("shop", "web", "10.0.1.10@n1")
    h.call(web, Outside("169.254.169.254"), 80, times=3)
    h.call(web, world("203.0.113.22"), 22, times=3)
    h.call(web, Outside("192.168.40.12", ("reserved:remote-node",), 6), 10250, times=3)
    h.call(host("192.168.40.11"), web, 8080)


CASES = {
    each.__name__: each
    for each in (
        audit_learning_set,
        audit_learning_set_accepted,
        dropped_with_and_without_denied_by,
        forwarded_here_denied_there,
        nmap_sweep_adds_nothing,
        unanswered_syn,
        refused_connection,
        udp_one_way_declared,
        unknown_protocols_are_counted,
        sensitive_destinations_are_flagged,
    )
}
