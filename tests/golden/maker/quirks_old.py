"""Quirks 1 to 9 of Hubble exports, most of them seen in Cilium up to 1.10."""

from __future__ import annotations

from maker.capture import Outside, dns, host, labels_of, remote
from maker.case import Case

NOTHING_SAID = {"direction": None, "reply": None}
"""How Cilium up to 1.10 writes TO_OVERLAY records."""


def to_overlay_without_direction(case: Case) -> None:
    c, h = case.shop(), case.flows
    (web,) = c.deployment("shop", "web", "10.0.1.10@n1")
    (reviews,) = c.deployment("shop", "reviews", "10.0.1.12@n1")
    (collector,) = c.deployment("shop", "collector", "10.0.1.11@n1")
    (ratings,) = c.deployment("shop", "ratings", "10.0.2.20@n2", ports=("9080",))
    (jaeger,) = c.deployment("shop", "jaeger", "10.0.2.21@n2", ports=("14250",))
    over = {"point": "TO_OVERLAY", **NOTHING_SAID}
    h.record(web, ratings, 35128, 9080, "n1", flags="SYN", **over)
    h.record(ratings, web, 9080, 35128, "n2", flags="SYN ACK", **over)
    h.record(web, ratings, 35128, 9080, "n1", flags="PSH ACK", **over)
    # Answers to a call that went through the proxy: the call has the client's identity, the answer has the node's.
    proxied = Outside("10.0.1.77", tuple(labels_of(reviews)), 18688)
    h.record(proxied, ratings, 58950, 9080, "n2", flags="SYN")
    h.record(ratings, remote("10.0.1.77"), 9080, 58950, "n2", flags="SYN ACK", **over)
    h.record(proxied, ratings, 58950, 9080, "n2", flags="ACK")
    h.record(ratings, remote("10.0.1.77"), 9080, 58950, "n2", flags="PSH ACK", **over)
    # The stream of an answer in mid-air; the call is told by another record of the same two.
    h.record(collector, jaeger, 39472, 14250, "n2", flags="ACK", point="TO_ENDPOINT")
    h.record(jaeger, collector, 14250, 39472, "n2", flags="PSH ACK", **over)
    h.record(jaeger, collector, 14250, 39480, "n2", flags="ACK", **over)


def traffic_direction_lies(case: Case) -> None:
    c, h = case.shop(), case.flows
    (web,) = c.deployment("shop", "web", "10.0.1.10@n1")
    (api,) = c.deployment("shop", "api", "10.0.1.11@n1", ports=("http:8080",))
    (probed,) = c.deployment("shop", "probed", "10.0.1.12@n1", ports=("health:8181",))
    kubelet = host("192.168.40.11")
    # A probe from the node: EGRESS on the way in, INGRESS on the way out.
    h.record(kubelet, probed, 44914, 8181, "n1", flags="SYN", direction="EGRESS")
    h.record(probed, kubelet, 8181, 44914, "n1", flags="SYN ACK", reply=True, direction="INGRESS", point="TO_STACK")
    h.record(kubelet, probed, 44914, 8181, "n1", flags="PSH ACK", direction="EGRESS")
    # Delivery on one node is attributed to the sender.
    h.record(web, api, 40112, 8080, "n1", flags="SYN", direction="EGRESS")
    h.record(api, web, 8080, 40112, "n1", flags="SYN ACK", reply=True, direction="EGRESS")
    h.record(web, api, 40112, 8080, "n1", flags="PSH ACK", direction="EGRESS")
    h.record(api, web, 8080, 40112, "n1", flags="PSH ACK", reply=True, direction="INGRESS")


def reply_direction(case: Case) -> None:
    """The export of the client's node alone, and of it only what came back."""
    c, h = case.shop(), case.flows
    (web,) = c.deployment("shop", "web", "10.0.1.10@n1", ports=("http:8000",))
    (api,) = c.deployment("shop", "api", "10.0.2.11@n2", ports=("http:8080",))
    for sport in (40112, 51730):
        h.record(api, web, 8080, sport, "n1", flags="SYN ACK", reply=True, direction="EGRESS")
        h.record(api, web, 8080, sport, "n1", flags="PSH ACK", reply=True, direction="EGRESS")
    # Cilium up to 1.9 had `reply` and left it out where it was false.
    h.record(api, web, 8080, 52001, "n1", flags="FIN ACK", reply=None, once_reply=True, direction="EGRESS")


def proxied_source_router_ip(case: Case) -> None:
    c, h = case.shop(), case.flows
    (page,) = c.deployment("shop", "page", "10.0.1.10@n1", labels={"app": "page", "version": "v1"})
    (details,) = c.deployment("shop", "details", "10.0.2.20@n2", ports=("9080",))
    c.deployment("shop", "other", "10.0.1.11@n1")
    # After the proxy: the address is the node's router, the identity is the client's, the pod's name is gone.
    proxied = Outside("10.0.1.77", tuple(labels_of(page)), 14210)
    h.record(page, details, 41300, 9080, "n1", flags="SYN", verdict="REDIRECTED", point=None, direction="EGRESS")
    h.record(page, details, 41300, 9080, "n1", flags="SYN", point="TO_PROXY", direction="EGRESS")
    h.record(proxied, details, 41300, 9080, "n1", flags="SYN", point="TO_OVERLAY", **NOTHING_SAID)
    h.record(proxied, details, 41300, 9080, "n2", flags="SYN", point="TO_ENDPOINT")
    h.record(details, proxied, 9080, 41300, "n2", flags="SYN ACK", reply=True, point="TO_OVERLAY", direction="INGRESS")
    h.record(proxied, details, 41300, 9080, "n2", flags="PSH ACK", point="TO_ENDPOINT")
    h.record(details, page, 9080, 41300, "n1", flags="PSH ACK", reply=True, direction="EGRESS")


def pod_name_wins_over_world(case: Case) -> None:
    """Layer 7 records whose server is labelled as the world although its pod is named."""
    c, h = case.shop(), case.flows
    c.namespace("mon")
    (prometheus,) = c.statefulset("mon", "prometheus", "10.0.1.30@n1")
    (cache,) = c.deployment("shop", "cache", "10.0.2.20@n2", ports=("metrics:10054",))
    wrong = Outside(cache.ip, ("reserved:world",), 2, said=(("namespace", cache.namespace), ("pod_name", cache.name)))
    url = {"method": "GET", "url": f"http://{cache.ip}:10054/metrics", "protocol": "HTTP/1.1"}
    common = {"event": 129, "point": None, "direction": "EGRESS", "Type": "L7"}
    for sport in (53888, 53912):
        ask = {"type": "REQUEST", "http": url}
        tell = {"type": "RESPONSE", "latency_ns": "4113204", "http": {"code": 200, **url}}
        h.record(prometheus, wrong, sport, 10054, "n1", l7=ask, **common)
        h.record(wrong, prometheus, 10054, sport, "n1", l7=tell, reply=True, **common)


def world_label_on_pod_ip(case: Case) -> None:
    """The world by its label; by its address a pod, a node and nobody."""
    c, h = case.shop(), case.flows
    (web,) = c.deployment("shop", "web", "10.0.1.10@n1")
    (api,) = c.deployment("shop", "api", "10.0.2.11@n2", ports=("8080",))
    for address, port in ((api.ip, 8080), ("192.168.40.12", 9100), ("10.0.2.240", 8443)):
        h.call(web, Outside(address), port)


def socket_translation_clusterip(case: Case) -> None:
    c, h = case.shop(), case.flows
    (web,) = c.deployment("shop", "web", "10.0.1.10@n1")
    (api,) = c.deployment("shop", "api", "10.0.2.11@n2", ports=("8080",))
    c.service("shop", "api", "10.96.7.7", 80, 8080, (api, 8080), selector={"app": "api"})
    vip = Outside("10.96.7.7")
    sock = {"event": 7, "point": None, "reply": None, "direction": "EGRESS", "Type": "SOCK", "socket_cookie": "48211"}
    named = {"destination_service": {"name": "api", "namespace": "shop"}}
    h.record(web, vip, 0, 80, "n1", verdict="TRACED", sock_xlate_point="SOCK_XLATE_POINT_PRE_DIRECTION_FWD",
             **sock, **named)  # fmt: skip
    h.record(web, api, 0, 8080, "n1", verdict="TRANSLATED", sock_xlate_point="SOCK_XLATE_POINT_POST_DIRECTION_FWD",
             **sock)  # fmt: skip
    h.call(web, api, 8080)
    # Without socket load balancing an answer carries the ClusterIP beside the backend.
    seen = {"source": api.ip, "source_xlated": "10.96.7.7", "destination": web.ip, "ipVersion": "IPv4"}
    h.record(api, web, 8080, 40950, "n1", flags="PSH ACK", reply=True, direction="EGRESS", IP=seen,
             source_service={"name": "api", "namespace": "shop"})  # fmt: skip
    # And some agents write the ClusterIP as the address of the pod.
    h.record(web, api, 40990, 80, "n1", flags="SYN", point="TO_STACK", direction="EGRESS", ips=(web.ip, "10.96.7.7"))


def ack_only_capture(case: Case) -> None:
    """Monitor aggregation: the captures begin after the connections did."""
    c, h = case.shop(), case.flows
    (web,) = c.deployment("shop", "web", "10.0.1.10@n1")
    (api,) = c.deployment("shop", "api", "10.0.2.11@n2", ports=("8080",))
    (db,) = c.statefulset("shop", "db", "10.0.2.12@n2", ports=("5432",))
    h.record(web, api, 46022, 8080, "n1", flags="ACK", point="TO_NETWORK", direction="EGRESS")
    h.record(web, api, 46022, 8080, "n2", flags="FIN ACK", point="TO_ENDPOINT")
    # Neither is_reply nor a SYN: the port that the database declares decides.
    h.record(api, db, 47110, 5432, "n2", flags="ACK", **NOTHING_SAID)
    h.record(db, api, 5432, 47110, "n2", flags="ACK", **NOTHING_SAID)


def one_connection_many_records(case: Case) -> None:
    """Policy verdicts at both nodes, traces at four points, the proxy's own records: one call."""
    c, h = case.shop(), case.flows
    (web,) = c.deployment("shop", "web", "10.0.1.10@n1")
    (api,) = c.deployment("shop", "api", "10.0.2.11@n2", ports=("8080",))
    url = {"method": "GET", "url": "http://api:8080/", "protocol": "HTTP/1.1"}
    verdict = {"point": None, "policy_match_type": 2}
    h.record(web, api, 42001, 8080, "n1", flags="SYN", direction="EGRESS", **verdict)
    h.record(web, api, 42001, 8080, "n1", flags="SYN", direction="EGRESS", point="TO_OVERLAY")
    h.record(web, api, 42001, 8080, "n2", flags="SYN", verdict="REDIRECTED", **verdict)
    h.record(web, api, 42001, 8080, "n2", flags="SYN", point="TO_PROXY")
    h.record(web, api, 42001, 8080, "n2", flags="SYN", point="TO_ENDPOINT")
    layer7 = {"event": 129, "point": None, "Type": "L7"}
    h.record(web, api, 42001, 8080, "n2", l7={"type": "REQUEST", "http": url}, **layer7)
    answer = {"type": "RESPONSE", "latency_ns": "812", "http": {"code": 200, **url}}
    h.record(api, web, 8080, 42001, "n2", l7=answer, reply=True, **layer7)
    h.record(api, web, 8080, 42001, "n2", flags="SYN ACK", reply=True, point="TO_OVERLAY")
    h.record(api, web, 8080, 42001, "n1", flags="SYN ACK", reply=True, direction="EGRESS")
    h.record(web, api, 42001, 8080, "n2", flags="PSH ACK", point="TO_ENDPOINT")


def dns_proxy_second_hop(case: Case) -> None:
    """The pod asks, the proxy asks for it: the second hop comes from a node and is no need of a pod."""
    c, h = case.shop(), case.flows
    c.namespace("kube-system")
    (web,) = c.deployment("shop", "web", "10.0.1.10@n1")
    (coredns,) = c.deployment(
        "kube-system", "coredns", "10.0.2.53@n2", labels={"k8s-app": "kube-dns"}, ports=("dns:53/UDP", "dns-tcp:53")
    )
    for sport in (54314, 54320):
        udp = {"proto": "UDP", "direction": "EGRESS"}
        layer7 = {"event": 129, "point": None, "Type": "L7"}
        h.record(web, coredns, sport, 53, "n1", verdict="REDIRECTED", point=None, policy_match_type=2, **udp)
        h.record(web, coredns, sport, 53, "n1", point="TO_PROXY", **udp)
        h.record(web, coredns, sport, 53, "n1", l7=dns("api.shop.svc.cluster.local."), **layer7, **udp)
        h.record(remote("10.0.1.77"), coredns, sport, 53, "n1", proto="UDP", point="TO_OVERLAY", **NOTHING_SAID)
        tell = dns("api.shop.svc.cluster.local.", answer=["10.96.7.7"])
        h.record(coredns, web, 53, sport, "n1", l7=tell, reply=True, **layer7, **udp)
        h.record(coredns, web, 53, sport, "n1", reply=True, **udp)


CASES = {
    each.__name__: each
    for each in (
        to_overlay_without_direction,
        traffic_direction_lies,
        reply_direction,
        proxied_source_router_ip,
        pod_name_wins_over_world,
        world_label_on_pod_ip,
        socket_translation_clusterip,
        ack_only_capture,
        one_connection_many_records,
        dns_proxy_second_hop,
    )
}
