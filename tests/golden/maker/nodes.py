"""Directions that stay open, policies in force, and everything that is a node or the API server."""

from __future__ import annotations

from maker.capture import Outside, host, remote, world
from maker.case import Case


def ingress_only_leaves_egress_open(case: Case) -> None:
    c, h = case.shop(), case.flows
    (api,) = c.deployment("shop", "api", "10.0.2.11@n2", ports=("8080",))
    c.namespace("lab")
    (tester,) = c.deployment("lab", "tester", "10.0.1.10@n1")
    h.call(tester, api, 8080)


def idle_workload_gets_no_policy(case: Case) -> None:
    c, h = case.shop(), case.flows
    (web,) = c.deployment("shop", "web", "10.0.1.10@n1")
    (api,) = c.deployment("shop", "api", "10.0.2.11@n2", ports=("8080",))
    c.deployment("shop", "idle", "10.0.1.12@n1", ports=("8080",))
    c.cronjob("shop", "yearly")
    h.call(web, api, 8080)


def default_deny_is_opt_in(case: Case) -> None:
    idle_workload_gets_no_policy(case)


def existing_policy_stays_in_force(case: Case) -> None:
    """`api` is closed to all but the admin today; what the others were seen to do is added, not put in its place."""
    c, h = case.shop(), case.flows
    (web,) = c.deployment("shop", "web", "10.0.1.10@n1")
    c.deployment("shop", "admin", "10.0.1.11@n1")
    (api,) = c.deployment("shop", "api", "10.0.2.11@n2", ports=("8080",))
    h.call(web, api, 8080)


def missing_only_adds_what_is_missing(case: Case) -> None:
    """The server's side is admitted by a policy in force; the client's side is what is missing."""
    existing_policy_stays_in_force(case)


def kubelet_probe_needs_no_rule(case: Case) -> None:
    """Probes come from the node's address, from the router address and from a control plane node's identity."""
    c, h = case.shop(), case.flows
    (web,) = c.deployment("shop", "web", "10.0.1.10@n1")
    (api,) = c.deployment("shop", "api", "10.0.1.11@n1", ports=("http:8080", "health:8181"))
    (lone,) = c.deployment("shop", "lone", "10.0.2.12@n2", ports=("health:8181",))
    h.call(web, api, 8080)
    for kubelet in (
        host("192.168.40.11"),
        host("10.0.1.77"),
        Outside("10.0.1.77", ("reserved:host", "reserved:kube-apiserver"), 1),
    ):
        h.call(kubelet, api, 8181, times=2)
    h.call(host("192.168.40.12"), lone, 8181, times=2)


def hostnetwork_scrape_is_the_node(case: Case) -> None:
    """Prometheus scrapes node-exporter on every node, its own included; nobody can select those pods."""
    c, h = case.shop(), case.flows
    c.namespace("mon")
    (prometheus,) = c.statefulset("mon", "prometheus", "10.0.1.30@n1")
    c.daemonset(
        "mon", "node-exporter", "192.168.40.11@n1", "192.168.40.12@n2", ports=("metrics:9100@9100",), host_network=True
    )
    h.call(prometheus, host("192.168.40.11"), 9100, times=2)
    h.call(prometheus, remote("192.168.40.12"), 9100, times=2)


def ingress_controller_on_host_network(case: Case) -> None:
    """An ingress controller on the host network: its pods' server sees node addresses, its own among them."""
    c, h = case.shop(), case.flows
    c.namespace("ingress")
    c.daemonset("ingress", "nginx", "192.168.40.11@n1", "192.168.40.12@n2", ports=("http:80@80",), host_network=True)
    (web,) = c.deployment("shop", "web", "10.0.1.10@n1", ports=("8080",))
    h.call(host("192.168.40.11"), web, 8080, times=2)
    h.call(remote("192.168.40.12"), web, 8080, times=2)
    h.call(remote("10.0.2.77"), web, 8080, times=2)


def api_server_by_its_endpoints(case: Case) -> None:
    """The Service `kubernetes` listens on 443, its endpoints on 6443; they are no pods, and no node's either."""
    c, h = case.shop(), case.flows
    c.namespace("default")
    (operator,) = c.deployment("shop", "operator", "10.0.1.10@n1", ports=("webhook:9443",))
    c.service("default", "kubernetes", "10.96.0.1", 443, 6443)
    c.slice("default", "kubernetes", [("172.31.0.2", None), ("172.31.0.3", None)], 6443)
    server = Outside("172.31.0.2", ("reserved:kube-apiserver", "reserved:world"), 7)
    h.call(operator, server, 6443, times=3)
    h.call(operator, Outside("10.96.0.1"), 443, view="client")
    h.call(server, operator, 9443)


def webhook_is_called_by_the_api_server(case: Case) -> None:
    """Objects say that the API server calls `hook` on 9443 and `metrics` on 10250; no flow shows it."""
    c, h = case.shop(), case.flows
    c.namespace("default")
    (web,) = c.deployment("shop", "web", "10.0.1.10@n1")
    (hook,) = c.deployment("shop", "hook", "10.0.1.11@n1", ports=("webhook:9443", "http:8080"))
    (metrics,) = c.deployment("shop", "metrics", "10.0.2.12@n2", ports=("https:10250",))
    c.deployment("shop", "idle-hook", "10.0.2.13@n2", ports=("9443",))
    c.service("default", "kubernetes", "10.96.0.1", 443, 6443)
    c.slice("default", "kubernetes", [("172.31.0.2", None)], 6443)
    c.service("shop", "hook", "10.96.7.20", 443, "webhook", (hook, 9443), selector={"app": "hook"})
    c.service("shop", "metrics", "10.96.7.21", 443, "https", (metrics, 10250), selector={"app": "metrics"})
    client = {"service": {"namespace": "shop", "name": "hook", "port": 443, "path": "/validate"}}
    c.add("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "hook",
          webhooks=[{"name": "v.hook.example", "clientConfig": client}])  # fmt: skip
    spec = {"group": "metrics.k8s.io", "version": "v1beta1", "service": {"namespace": "shop", "name": "metrics"}}
    c.add("apiregistration.k8s.io/v1", "APIService", "v1beta1.metrics.k8s.io", spec=spec)
    h.call(web, hook, 8080)
    h.call(web, metrics, 10250)


def snat_nodeport_cluster_policy(case: Case) -> None:
    """Clients from outside come in by a NodePort and look like the node that translated them."""
    c, h = case.shop(), case.flows
    (web,) = c.deployment("shop", "web", "10.0.1.10@n1", ports=("8080",))
    c.service("shop", "web", "10.96.7.8", 80, 8080, (web, 8080), selector={"app": "web"}, node_port=30080)
    h.call(remote("192.168.40.12"), web, 8080, times=4, view="server")


def snat_clients_as_the_world(case: Case) -> None:
    snat_nodeport_cluster_policy(case)


def nodeport_local_keeps_the_client(case: Case) -> None:
    c, h = case.shop(), case.flows
    (web,) = c.deployment("shop", "web", "10.0.1.10@n1", ports=("8080",))
    c.service("shop", "web", "10.96.7.8", 80, 8080, (web, 8080), selector={"app": "web"}, node_port=30080,
              traffic="Local")  # fmt: skip
    for last in (4, 5, 130):
        h.call(world(f"198.51.100.{last}"), web, 8080, view="server")


CASES = {
    each.__name__: each
    for each in (
        ingress_only_leaves_egress_open,
        idle_workload_gets_no_policy,
        default_deny_is_opt_in,
        existing_policy_stays_in_force,
        missing_only_adds_what_is_missing,
        kubelet_probe_needs_no_rule,
        hostnetwork_scrape_is_the_node,
        ingress_controller_on_host_network,
        api_server_by_its_endpoints,
        webhook_is_called_by_the_api_server,
        snat_nodeport_cluster_policy,
        snat_clients_as_the_world,
        nodeport_local_keeps_the_client,
    )
}
