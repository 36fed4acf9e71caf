"""DNS: both protocols, and the resolver that is really in use."""

from __future__ import annotations

from maker.capture import Outside
from maker.case import Case
from maker.cluster import Cluster, Pod


def _resolver(c: Cluster, ports: tuple[str, ...] = ("dns:53/UDP", "dns-tcp:53")) -> Pod:
    c.namespace("kube-system")
    (pod,) = c.deployment("kube-system", "coredns", "10.0.2.53@n2", labels={"k8s-app": "kube-dns"}, ports=ports)
    return pod


def dns_both_protocols(case: Case) -> None:
    """`web` was seen to ask over UDP, `api` over TCP, `quiet` not at all; all three have closed egress."""
    c, h = case.shop(), case.flows
    resolver = _resolver(c)
    for protocol in ("UDP", "TCP"):
        c.service("kube-system", "kube-dns" if protocol == "UDP" else "kube-dns-tcp", "10.96.0.10", 53, 53,
                  (resolver, 53), selector={"k8s-app": "kube-dns"}, protocol=protocol)  # fmt: skip
    (web,) = c.deployment("shop", "web", "10.0.1.10@n1")
    (api,) = c.deployment("shop", "api", "10.0.2.11@n2", ports=("8080",))
    (quiet,) = c.deployment("shop", "quiet", "10.0.1.12@n1")
    h.call(web, resolver, 53, proto="UDP")
    h.call(web, api, 8080)
    h.call(api, resolver, 53)
    h.call(quiet, api, 8080)


def dns_openshift_5353(case: Case) -> None:
    """OpenShift's resolver listens on 5353 behind a Service on 53."""
    c, h = case.shop(), case.flows
    c.namespace("openshift-dns")
    own = {"dns.operator.openshift.io/daemonset-dns": "default"}
    pods = c.daemonset(
        "openshift-dns", "dns-default", "10.0.1.53@n1", "10.0.2.53@n2", labels=own,
        ports=("dns:5353/UDP", "dns-tcp:5353"),
    )  # fmt: skip
    for protocol, target in (("UDP", "dns"), ("TCP", "dns-tcp")):
        c.service("openshift-dns", f"dns-default{'' if protocol == 'UDP' else '-tcp'}", "172.30.0.10", 53, target,
                  *((p, 5353) for p in pods), selector=own, protocol=protocol)  # fmt: skip
    (web,) = c.deployment("shop", "web", "10.0.1.10@n1")
    (api,) = c.deployment("shop", "api", "10.0.2.11@n2", ports=("8080",))
    h.call(web, pods[0], 5353, proto="UDP", times=2)
    h.call(web, api, 8080)


def dns_node_local_cache(case: Case) -> None:
    """NodeLocal DNSCache: pods ask 169.254.20.10, and the cache on each node asks the cluster's resolver."""
    c, h = case.shop(), case.flows
    resolver = _resolver(c)
    c.service("kube-system", "kube-dns", "10.96.0.10", 53, 53, (resolver, 53), selector={"k8s-app": "kube-dns"},
              protocol="UDP")  # fmt: skip
    c.daemonset(
        "kube-system", "node-local-dns", "192.168.40.11@n1", "192.168.40.12@n2", labels={"k8s-app": "node-local-dns"},
        ports=("dns:53/UDP", "dns-tcp:53"), host_network=True,
    )  # fmt: skip
    (web,) = c.deployment("shop", "web", "10.0.1.10@n1")
    (api,) = c.deployment("shop", "api", "10.0.2.11@n2", ports=("8080",))
    cache = Outside("169.254.20.10", ("reserved:host",), 1)
    h.call(web, cache, 53, proto="UDP", times=2)
    h.call(web, api, 8080)


def dns_resolver_unknown(case: Case) -> None:
    """Egress is closed and nothing says who resolves names: said loudly, and nothing is made up."""
    c, h = case.shop(), case.flows
    (web,) = c.deployment("shop", "web", "10.0.1.10@n1")
    (api,) = c.deployment("shop", "api", "10.0.2.11@n2", ports=("8080",))
    h.call(web, api, 8080)


CASES = {
    each.__name__: each for each in (dns_both_protocols, dns_openshift_5353, dns_node_local_cache, dns_resolver_unknown)
}
