"""Selectors: whose pods they hit, today and after the next rollout."""

from __future__ import annotations

import pytest

from netpol_gen.selectors import LabelSelector, Operator, Requirement
from netpol_gen.synthesize.subjects import choose, within
from netpol_gen.synthesize.universe import Universe
from netpol_gen.synthesize.volatile import per_instance, per_release, volatile
from tests.synthesize.build import Cluster, labels, w

NAME, INSTANCE = "app.kubernetes.io/name", "app.kubernetes.io/instance"


def chosen(cluster, name):
    workload = w(name)
    return choose(Universe(cluster.inventory, {workload}), workload)


def text(cluster, name):
    found = chosen(cluster, name)
    return str(found.selector), found.also


def test_the_controllers_own_selector_comes_first():
    cluster = Cluster().deploy("shop/web", "app=web team=a tier=fe", selector="app=web tier=fe")
    assert text(cluster, "shop/web") == ("app=web,tier=fe", ())


def test_a_version_in_the_controllers_own_selector_is_kept():
    cluster = (
        Cluster()
        .deploy("shop/reviews-v1", "app=reviews version=v1")
        .deploy("shop/reviews-v2", "app=reviews version=v2")
    )
    assert text(cluster, "shop/reviews-v1") == ("app=reviews,version=v1", ())


def test_a_chart_label_in_the_controllers_own_selector_is_left_out_if_it_can():
    cluster = Cluster().deploy("shop/web", f"{NAME}=web helm.sh/chart=web-1.2.3")
    assert text(cluster, "shop/web") == (f"{NAME}=web", ())


def test_match_expressions_are_kept():
    selector = LabelSelector((), (Requirement("app", Operator.IN, ("web", "web2")),))
    cluster = Cluster().deploy("shop/web", "app=web", selector=selector)
    assert chosen(cluster, "shop/web").selector == selector


def test_scale_out_of_a_statefulset():
    per_pod = "statefulset.kubernetes.io/pod-name=db-{i} apps.kubernetes.io/pod-index={i} controller-revision-hash=h"
    cluster = Cluster().deploy("shop/StatefulSet/db", "app=db", selector="-", replicas=3, extra=per_pod)
    found = chosen(cluster, "shop/StatefulSet/db")
    assert str(found.selector) == "app=db"
    assert found.selector.matches({"app": "db", "apps.kubernetes.io/pod-index": "4"})


def test_one_pod_of_a_statefulset_is_not_its_identity():
    """With a single replica every label is common to all pods."""
    cluster = Cluster().deploy(
        "shop/StatefulSet/db", "mark=db", selector="-", extra="statefulset.kubernetes.io/pod-name=db-0 own=db-0x"
    )
    assert text(cluster, "shop/StatefulSet/db") == ("mark=db", ())


def test_the_next_run_of_a_cronjob():
    cluster = Cluster()
    cluster.deploy("shop/CronJob/report", "app=report", selector="-", replicas=0)
    for run in ("a", "b"):
        cluster.pod(
            "shop/CronJob/report",
            f"app=report job-name=report-{run} batch.kubernetes.io/controller-uid={run} controller-uid={run}",
            name=f"report-{run}-x",
        )
    assert text(cluster, "shop/CronJob/report") == ("app=report", ())


def test_a_jobs_own_selector_names_one_run():
    cluster = Cluster().deploy("shop/Job/once", "app=once", selector="batch.kubernetes.io/controller-uid=1")
    assert text(cluster, "shop/Job/once") == ("app=once", ())


def test_labels_added_after_the_template_are_not_used():
    """Injected by admission: another webhook, other labels."""
    cluster = Cluster().deploy("shop/CronJob/job", "x=1", selector="-", extra="app=injected")
    assert text(cluster, "shop/CronJob/job") == ("x=1", ())


def test_a_chart_version_bump():
    cluster = Cluster().deploy(
        "shop/CronJob/web",
        f"{NAME}=web helm.sh/chart=web-1 app.kubernetes.io/version=1 app.kubernetes.io/managed-by=Helm",
        selector="-",
    )
    assert text(cluster, "shop/CronJob/web") == (f"{NAME}=web", ())


def test_two_releases_of_one_chart_stay_apart():
    cluster = Cluster()
    for release in ("a", "b"):
        cluster.deploy(f"shop/CronJob/{release}", f"{NAME}=redis {INSTANCE}={release}", selector="-")
    assert text(cluster, "shop/CronJob/a") == (f"{INSTANCE}=a,{NAME}=redis", ())
    assert text(cluster, "shop/CronJob/b") == (f"{INSTANCE}=b,{NAME}=redis", ())


def test_instance_only_when_needed():
    cluster = Cluster().deploy("shop/CronJob/a", f"{NAME}=redis {INSTANCE}=a", selector="-")
    assert text(cluster, "shop/CronJob/a") == (f"{NAME}=redis", ())


def test_component_before_instance():
    cluster = Cluster()
    for part in ("api", "worker"):
        cluster.deploy(
            f"shop/CronJob/{part}",
            f"{NAME}=x {INSTANCE}=x-{part} app.kubernetes.io/component={part}",
            selector="-",
        )
    assert text(cluster, "shop/CronJob/api") == (f"app.kubernetes.io/component=api,{NAME}=x", ())


def test_a_template_without_pods_counts():
    """Scaled to nothing today, selected by mistake tomorrow."""
    cluster = (
        Cluster()
        .deploy("shop/CronJob/a", "app=x part=a", selector="-")
        .deploy("shop/sleeping", "app=x part=b", replicas=0)
    )
    assert text(cluster, "shop/CronJob/a") == ("app=x,part=a", ())


def test_other_namespaces_do_not_count():
    cluster = Cluster().deploy("shop/CronJob/a", "app=x part=a", selector="-").deploy("other/b", "app=x")
    assert text(cluster, "shop/CronJob/a") == ("app=x", ())


def test_a_too_broad_controller_selector_is_narrowed():
    cluster = Cluster().deploy("shop/web", "app=x part=web", selector="app=x").deploy("shop/db", "app=x part=db")
    assert text(cluster, "shop/web") == ("app=x,part=web", ())


def test_a_key_that_only_the_others_carry():
    cluster = Cluster().deploy("shop/web", "app=x").deploy("shop/CronJob/migrate", "app=x part=migrate", selector="-")
    assert text(cluster, "shop/web") == ("app=x,!part", ())
    assert text(cluster, "shop/CronJob/migrate") == ("app=x,part=migrate", ())


def test_a_volatile_key_does_not_tell_apart():
    cluster = Cluster().deploy("shop/web", "app=x").deploy("shop/Job/a", "app=x job-name=a", selector="-")
    assert text(cluster, "shop/web") == ("app=x", (w("shop/Job/a"),))


def test_labels_that_cannot_tell_apart():
    cluster = Cluster().deploy("shop/a", "app=x").deploy("shop/b", "app=x")
    assert text(cluster, "shop/a") == ("app=x", (w("shop/b"),))


@pytest.mark.parametrize("held", ["", "pod-template-hash=1", "controller-uid=1 job-name=a helm.sh/chart=c-1"])
def test_never_an_empty_selector(held):
    cluster = Cluster().pod("shop/Pod/lonely", held)
    found = chosen(cluster, "shop/Pod/lonely")
    assert found.selector is None
    assert "no label" in found.problem


def test_an_empty_controller_selector_is_no_selector():
    cluster = Cluster().deploy("shop/odd", "app=x", selector=LabelSelector())
    assert text(cluster, "shop/odd") == ("app=x", ())


def test_bare_pod():
    cluster = Cluster().pod("shop/Pod/shopper", "app=shopper run=shopper")
    assert text(cluster, "shop/Pod/shopper") == ("app=shopper", ())


def test_observed_only_pods_use_the_ladder():
    cluster = Cluster()
    for version in ("v1", "v2"):
        workload = w(f"default/reviews-{version}")
        cluster.pod(workload, f"app=reviews version={version} pod-template-hash=1", observed=True)
    cluster.pod("default/details-v1", "app=details version=v1", observed=True)
    assert text(cluster, "default/reviews-v1") == ("app=reviews,version=v1", ())
    assert text(cluster, "default/details-v1") == ("app=details", ())


def test_filtered_labels_in_flows_do_not_spoil_what_the_controller_says():
    """The source may be told to leave labels out."""
    cluster = Cluster().deploy("shop/web", "app=x tier=fe", replicas=0)
    cluster.pod("shop/web", "app=x", name="web-old", observed=True)
    assert text(cluster, "shop/web") == ("app=x,tier=fe", ())


def test_ended_pods_of_others_do_not_count():
    cluster = Cluster().deploy("shop/web", "app=x")
    cluster.pod("shop/Job/gone", "app=x", phase="Succeeded")
    assert text(cluster, "shop/web") == ("app=x", ())


def test_host_network_pods_are_neither_selected_nor_in_the_way():
    cluster = Cluster().deploy("shop/web", "app=x").deploy("shop/DaemonSet/agent", "app=x", host_network=True)
    assert text(cluster, "shop/web") == ("app=x", ())
    assert "network" in chosen(cluster, "shop/DaemonSet/agent").problem


def test_hostile_labels_are_not_copied():
    cluster = Cluster()
    cluster.pod("shop/Pod/p", "app=ok", observed=True)
    cluster.pods[0] = type(cluster.pods[0])(
        "shop", "p", (("app", "a\nb"), ("bad key", "x"), ("fine", "yes")), w("shop/Pod/p"), observed=True
    )
    assert text(cluster, "shop/Pod/p") == ("fine=yes", ())


def test_many_labels_end_soon():
    """2**40 sets of labels are not all tried."""
    noise = " ".join(f"k{i:02}=v" for i in range(40))
    cluster = Cluster().deploy("shop/CronJob/a", f"{noise} z=a", selector="-").deploy("shop/b", f"{noise} z=b")
    for i in range(30):
        cluster.pod(f"shop/Pod/p{i}", " ".join(f"k{j:02}={'v' if j != i else 'other'}" for j in range(40)) + " z=a")
    found = chosen(cluster, "shop/CronJob/a")
    assert found.exact
    assert ("z", "a") in found.selector.match_labels


def test_within_the_services_selector():
    cluster = Cluster().deploy("shop/web", "app=web tier=fe", selector="app=web tier=fe")
    universe = Universe(cluster.inventory, ())
    assert str(within(universe, w("shop/web"), dict(labels("app=web")))) == "app=web"
    assert within(universe, w("shop/web"), dict(labels("other=1"))) is None


@pytest.mark.parametrize(
    "key",
    [
        "pod-template-hash",
        "controller-revision-hash",
        "pod-template-generation",
        "statefulset.kubernetes.io/pod-name",
        "apps.kubernetes.io/pod-index",
        "batch.kubernetes.io/job-completion-index",
        "batch.kubernetes.io/job-name",
        "batch.kubernetes.io/controller-uid",
        "controller-uid",
        "job-name",
        "topology.kubernetes.io/zone",
        "io.cilium.k8s.policy.cluster",
        "io.kubernetes.pod.namespace",
        "gen:io.cilium.k8s.named-ports",
    ],
)
def test_per_instance_keys(key):
    assert per_instance(key)
    assert volatile(key)


@pytest.mark.parametrize(
    "key",
    [
        "helm.sh/chart",
        "app.kubernetes.io/version",
        "app.kubernetes.io/managed-by",
        "app.kubernetes.io/created-by",
        "security.istio.io/tlsMode",
        "example.com/git_sha",
        "commit",
        "checksum-config",
    ],
)
def test_per_release_keys(key):
    assert per_release(key)
    assert volatile(key)


@pytest.mark.parametrize(
    "key", ["app", "app.kubernetes.io/name", INSTANCE, "release", "tier", "version", "image-proxy"]
)
def test_stable_keys(key):
    assert not volatile(key)
