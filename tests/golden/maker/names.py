"""Who is who and how it is selected: Services, address reuse, rollouts, releases, labels, namespaces."""

from __future__ import annotations

from maker.capture import Outside
from maker.case import Case
from maker.cluster import Cluster, Pod, suffix, two_nodes


def _two_revisions(case: Case) -> tuple[Cluster, Pod, Pod, Pod]:
    c = case.shop()
    (web,) = c.deployment("shop", "web", "10.0.1.10@n1")
    (old,) = c.deployment("shop", "api", "10.0.2.11@n2", ports=("http:8080",))
    (new,) = c.deployment("shop", "api", "10.0.2.12@n2", ports=("http:9090",), revision="2", again=True)
    c.service("shop", "api", "10.96.7.7", 80, "http", (old, 8080), (new, 9090), selector={"app": "api"})
    return c, web, old, new


def service_dialled_named_target_port(case: Case) -> None:
    """Service 80 means `http`, 8080 in one revision and 9090 in the next; the capture has the ClusterIP."""
    _, web, _, _ = _two_revisions(case)
    case.flows.call(web, Outside("10.96.7.7"), 80, times=2, view="client")


def service_backends_named_target_port(case: Case) -> None:
    """The same calls as the backends saw them."""
    _, web, old, new = _two_revisions(case)
    case.flows.call(web, old, 8080)
    case.flows.call(web, new, 9090)


def named_port_where_all_agree(case: Case) -> None:
    c, h = case.shop(), case.flows
    (web,) = c.deployment("shop", "web", "10.0.1.10@n1")
    pods = c.deployment("shop", "api", "10.0.2.11@n2", "10.0.1.11@n1", ports=("http:8080", "9090"))
    for pod in pods:
        h.call(web, pod, 8080)
        h.call(web, pod, 9090)


def named_ports_never(case: Case) -> None:
    named_port_where_all_agree(case)


def pod_ip_reused(case: Case) -> None:
    """`old` gave the address up at 10:05:00, `new` had it three seconds later; the middle of it is nobody's guess."""
    c, h = case.shop(), case.flows
    c.pod("shop", "old", "10.0.1.10@n1", labels={"app": "old"}, phase="Succeeded", ended="2026-03-02T10:05:00Z")
    c.pod("shop", "new", "10.0.1.10@n1", labels={"app": "new"}, born="2026-03-02T10:05:03Z")
    (api,) = c.deployment("shop", "api", "10.0.2.11@n2", ports=("8080", "8081", "8082"))
    unnamed = Outside("10.0.1.10", (), 0)
    for when, port in (("10:02:00", 8080), ("10:05:01", 8081), ("10:09:00", 8082)):
        h.at(f"2026-03-02T{when}+00:00")
        h.call(unnamed, api, port, view="server")


def deleted_pods_only_in_flows(case: Case) -> None:
    """The inventory was dumped after a rollout: the pods that made the calls are gone, their names are not."""
    c, h = case.shop(), case.flows
    (web,) = c.deployment("shop", "web", "10.0.1.50@n1", revision="2")
    (api,) = c.deployment("shop", "api", "10.0.2.11@n2", ports=("http:8080",))
    labels = {"app": "web", "pod-template-hash": "6b746f74dc"}
    gone = Pod(
        "shop", "web-6b746f74dc-9rcxx", ("10.0.1.10",), "n1", labels, ("Deployment", "web"), web.namespace_labels
    )
    once = Pod("shop", "batch-import", ("10.0.1.11",), "n1", {"app": "batch-import"}, None, web.namespace_labels)
    h.call(gone, api, 8080)
    h.call(once, api, 8080)
    # A server that is gone declared nothing that anybody could look up; those that are there speak for it.
    before = Pod("shop", "api-6b746f74dc-x2x4z", ("10.0.2.30",), "n2", {"app": "api"}, ("Deployment", "api"))
    h.call(gone, before, 8080)


def statefulset_scales(case: Case) -> None:
    ports = ("redis:6379",)
    case.later = two_nodes()
    for c, places in (
        (case.shop(), ("10.0.2.20@n2", "10.0.1.20@n1", "10.0.2.21@n2")),
        (case.later, ("10.0.2.30@n2", "10.0.1.30@n1", "10.0.2.31@n2", "10.0.1.31@n1", "10.0.2.32@n2")),
    ):
        if c is case.later:
            c.namespace("shop")
        (web,) = c.deployment("shop", "web", "10.0.1.10@n1")
        redis = c.statefulset("shop", "redis", *places, ports=ports)
        c.deployment("shop", "other", "10.0.1.99@n1")
        if c is case.cluster:
            case.flows.call(web, redis[0], 6379)
            case.flows.call(redis[1], redis[0], 6379)


def helm_two_releases_one_chart(case: Case) -> None:
    """Two releases differ in `instance` alone, and have different clients."""
    c, h = case.shop(), case.flows
    chart = {"app.kubernetes.io/name": "redis", "app.kubernetes.io/managed-by": "Helm", "helm.sh/chart": "redis-18.1.2"}
    servers = {}
    for i, release in enumerate(("cart", "session")):
        own = {**chart, "app.kubernetes.io/instance": release}
        selector = {k: own[k] for k in ("app.kubernetes.io/name", "app.kubernetes.io/instance")}
        (servers[release],) = c.deployment(
            "shop", f"{release}-redis", f"10.0.2.{20 + i}@n2", labels=own, selector=selector, ports=("6379",)
        )
        (client,) = c.deployment("shop", release, f"10.0.1.{20 + i}@n1")
        h.call(client, servers[release], 6379)


def helm_chart_version_bump(case: Case) -> None:
    """Chart, version and template hash change with the upgrade; what the controller selects by does not."""

    def objects(c: Cluster, chart: str, version: str, revision: str, octet: int) -> tuple[Pod, Pod]:
        if "shop" not in c.namespaces:
            c.namespace("shop")
        found = []
        for i, name in enumerate(("web", "api")):
            own = {"app.kubernetes.io/name": name, "app.kubernetes.io/instance": "prod"}
            labels = {**own, "helm.sh/chart": f"{name}-{chart}", "app.kubernetes.io/version": version}
            found += c.deployment(
                "shop", name, f"10.0.{1 + i}.{octet}@n{1 + i}", labels=labels, selector=own, ports=("8080",),
                revision=revision,
            )  # fmt: skip
        return found[0], found[1]

    case.later = two_nodes()
    web, api = objects(case.shop(), "1.0.0", "4.1", "1", 10)
    objects(case.later, "2.0.0", "5.0", "2", 40)
    case.flows.call(web, api, 8080)


def pod_without_labels(case: Case) -> None:
    c, h = case.shop(), case.flows
    (web,) = c.deployment("shop", "web", "10.0.1.10@n1", ports=("8080",))
    (api,) = c.deployment("shop", "api", "10.0.2.11@n2", ports=("8080",))
    naked = c.pod("shop", "naked", "10.0.1.66@n1", ports=("7000",))
    hashed = c.pod(
        "shop", "hashed", "10.0.1.67@n1", labels={"pod-template-hash": "6b746f74dc", "helm.sh/chart": "x-1.0"}
    )
    h.call(naked, api, 8080)
    h.call(hashed, api, 8080)
    h.call(web, naked, 7000)
    h.call(api, web, 8080)


def cronjob_next_run(case: Case) -> None:
    case.later = two_nodes()
    minutes = 29540760  # 2026-03-02T10:00Z
    for c, runs in ((case.shop(), (0, 10, 20)), (case.later, (30,))):
        if c is case.later:
            c.namespace("shop")
        (api,) = c.deployment("shop", "api", "10.0.2.11@n2", ports=("8080",))
        c.cronjob("shop", "report")
        c.deployment("shop", "other", "10.0.1.99@n1")
        for run in runs:
            born, ended = f"2026-03-02T10:{run:02}:00Z", f"2026-03-02T10:{run + 5:02}:00Z"
            over = c is case.cluster
            pod = c.job_run("shop", "report", minutes + run, f"10.0.1.{30 + run}@n1", born=born,
                            ended=ended if over else "")  # fmt: skip
            if over:
                case.flows.at(f"2026-03-02T10:{run + 1:02}:00+00:00")
                case.flows.call(pod, api, 8080)


def cronjob_thirty_runs_are_one(case: Case) -> None:
    """No inventory: thirty runs of a CronJob, each with a name, an address and labels of its own."""
    case.cluster, h = None, case.flows
    api = Pod("shop", "api-7d9c5f6b8-x2x4z", ("10.0.2.11",), "n2", {"app": "api"}, ("Deployment", "api"))
    for run in range(30):
        job = f"report-{29540760 + 10 * run}"
        labels = {"app": "report", "batch.kubernetes.io/job-name": job, "controller-uid": f"c0ffee{run:02}"}
        h.call(Pod("shop", f"{job}-{suffix(job, 5)}", (f"10.0.1.{30 + run}",), "n1", labels, ("Job", job)), api, 8080)
        h.wait(minutes=10)


def statefulset_without_inventory(case: Case) -> None:
    """No inventory: replicas carry labels with their own names, and what selects them has to fit the next one too."""
    case.cluster, h = None, case.flows
    web = Pod("shop", "web-7d9c5f6b8-x2x4z", ("10.0.1.10",), "n1", {"app": "web"}, ("Deployment", "web"))
    for i in range(2):
        name = f"redis-{i}"
        labels = {"app": "redis", "apps.kubernetes.io/pod-index": str(i), "statefulset.kubernetes.io/pod-name": name}
        h.call(web, Pod("shop", name, (f"10.0.2.{20 + i}",), "n2", labels, None), 6379)
    case.later = two_nodes()
    case.later.namespace("shop")
    case.later.deployment("shop", "web", "10.0.1.11@n1")
    case.later.statefulset("shop", "redis", "10.0.2.20@n2", "10.0.2.21@n2", "10.0.1.22@n1", ports=("6379",))


def cross_namespace_peers(case: Case) -> None:
    """The same labels in three namespaces: only the one that called is let in."""
    c, h = case.shop(), case.flows
    for name in ("mon", "lab"):
        c.namespace(name, team=name)
    (api,) = c.deployment("shop", "api", "10.0.2.11@n2", ports=("8080",))
    found = {ns: c.deployment(ns, "agent", f"10.0.1.{i}@n1")[0] for i, ns in enumerate(("shop", "mon", "lab"), 10)}
    h.call(found["mon"], api, 8080)


def labels_shared_by_two_workloads(case: Case) -> None:
    """Two Deployments whose selectors cannot tell their pods apart, one of them busier than the other."""
    c, h = case.shop(), case.flows
    same = {"app": "worker"}
    (a,) = c.deployment("shop", "worker-a", "10.0.1.10@n1", labels=same)
    (b,) = c.deployment("shop", "worker-b", "10.0.1.11@n1", labels=same)
    (api,) = c.deployment("shop", "api", "10.0.2.11@n2", ports=("8080", "9090"))
    h.call(a, api, 8080)
    h.call(b, api, 8080)
    h.call(a, api, 9090)


CASES = {
    each.__name__: each
    for each in (
        service_dialled_named_target_port,
        service_backends_named_target_port,
        named_port_where_all_agree,
        named_ports_never,
        pod_ip_reused,
        deleted_pods_only_in_flows,
        statefulset_scales,
        helm_two_releases_one_chart,
        helm_chart_version_bump,
        pod_without_labels,
        cronjob_next_run,
        cronjob_thirty_runs_are_one,
        statefulset_without_inventory,
        cross_namespace_peers,
        labels_shared_by_two_workloads,
    )
}
