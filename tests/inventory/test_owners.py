"""From pods to workloads, one expectation per kind of owner."""

from __future__ import annotations

import pytest

from netpol_gen.model import Workload
from netpol_gen.selectors import LabelSelector
from tests.inventory.made import at, controller, load, obj, pod

WEB = {"app": "web"}
HASHED = {**WEB, "pod-template-hash": "6d4cf56db6"}
RUN = 29_923_080  # minutes since the epoch: 2026-11-22T22:00Z


def workload_of(inventory, name: str) -> str:
    found = inventory.pod("shop", name)
    assert found is not None
    return str(found.workload)


def replica_set(**more):
    return controller("ReplicaSet", "web-6d4cf56db6", HASHED, **more)


def job(name: str, **more):
    return controller("Job", name, {"app": "nightly", "job-name": name}, version="batch/v1", **more)


@pytest.mark.parametrize(
    ("owner", "dumped", "workload"),
    [
        (None, [], "shop/p[Pod]"),
        (("Node", "n1"), [], "shop/p[Pod]"),
        (("StatefulSet", "db"), [], "shop/db[StatefulSet]"),
        (("DaemonSet", "agent"), [], "shop/agent[DaemonSet]"),
        (("ReplicationController", "old"), [], "shop/old[ReplicationController]"),
        (("Workflow", "Build_7"), [], "shop/Build_7[Workflow]"),
        (("ReplicaSet", "web-6d4cf56db6"), [replica_set(owner=("Deployment", "web"))], "shop/web[Deployment]"),
        (("ReplicaSet", "web-6d4cf56db6"), [replica_set(owner=("Rollout", "web"))], "shop/web[Rollout]"),
        (("ReplicaSet", "web-6d4cf56db6"), [replica_set()], "shop/web-6d4cf56db6[ReplicaSet]"),
        (("ReplicaSet", "web-6d4cf56db6"), [], "shop/web[Deployment]"),
        (("ReplicaSet", "web-other"), [], "shop/web-other[ReplicaSet]"),
        (("Job", "nightly-x"), [job("nightly-x", owner=("CronJob", "nightly"))], "shop/nightly[CronJob]"),
        (("Job", f"nightly-{RUN}"), [job(f"nightly-{RUN}")], f"shop/nightly-{RUN}[Job]"),
        (("Job", f"nightly-{RUN}"), [], "shop/nightly[CronJob]"),
        (("Job", "backup-20261122"), [], "shop/backup-20261122[Job]"),
        (("Job", f"nightly-{RUN + 60}"), [], f"shop/nightly-{RUN + 60}[Job]"),
        (("Job", "migrate"), [job("migrate", owner=("ScaledJob", "queue"))], "shop/queue[ScaledJob]"),
        # What an operator's own resource made is still the workload that people see.
        (
            ("StatefulSet", "prometheus"),
            [controller("StatefulSet", "prometheus", WEB, owner=("Prometheus", "main"))],
            "shop/prometheus[StatefulSet]",
        ),
    ],
)
def test_workload(owner, dumped, workload):
    inventory = load(pod("p", labels=HASHED, owner=owner, start=120), *dumped)
    assert workload_of(inventory, "p") == workload


def test_a_job_number_without_any_time_must_look_like_a_minute():
    runs = {"nightly-29923080": "shop/nightly[CronJob]", "nightly-20261122": "shop/nightly-20261122[Job]"}
    for name, workload in runs.items():
        assert workload_of(load(pod("p", owner=("Job", name))), "p") == workload


def test_a_rollout_is_known_by_its_own_hash():
    labels = {**WEB, "rollouts-pod-template-hash": "abc"}
    inventory = load(pod("p", labels=labels, owner=("ReplicaSet", "web-abc")))
    assert workload_of(inventory, "p") == "shop/web[Rollout]"
    assert [(d.code, d.subject) for d in inventory.diagnostics] == [("NPG211", "shop/web[Rollout]")]


def test_an_owner_that_is_no_controller_is_none():
    reference = {"apiVersion": "v1", "kind": "Thing", "name": "t", "uid": "1", "controller": False}
    inventory = load(pod("p", metadata={"ownerReferences": [reference]}))
    assert workload_of(inventory, "p") == "shop/p[Pod]"


def test_owners_that_own_each_other_end():
    one = controller("Job", "one", WEB, version="batch/v1", owner=("Job", "two"))
    two = controller("Job", "two", WEB, version="batch/v1", owner=("Job", "one"))
    assert workload_of(load(pod("p", owner=("Job", "one")), one, two), "p").endswith("[Job]")


def test_thirty_runs_are_one_workload():
    runs = []
    for day in range(30):
        name = f"nightly-{RUN + 1440 * day}"
        started = 86_400 * day + 1
        status = {
            "phase": "Succeeded",
            "containerStatuses": [{"state": {"terminated": {"finishedAt": at(started + 60)}}}],
        }
        runs.append(
            pod(
                f"{name}-abcde",
                owner=("Job", name),
                start=started,
                labels={"app": "nightly", "job-name": name},
                status=status,
            )
        )
        runs.append(job(name, owner=("CronJob", "nightly"), creationTimestamp=at(started)))
    inventory = load(*runs)
    nightly = Workload("shop", "CronJob", "nightly")
    assert {p.workload for p in inventory.pods} == {nightly} == set(inventory.controllers)
    # None is alive, so one more stands for the next run, with the labels that every run has.
    (stand_in,) = [p for p in inventory.pods_of(nightly) if p.template]
    assert len(inventory.pods) == 31
    assert stand_in.labels == (("app", "nightly"),)


# --- controllers ------------------------------------------------------------------------------------------------------


def test_controllers_are_those_that_nobody_else_controls():
    inventory = load(
        controller("Deployment", "web", WEB, spec={"replicas": 3}),
        replica_set(owner=("Deployment", "web")),
        controller("CronJob", "nightly", {"app": "nightly"}, version="batch/v1"),
        job("nightly-1", owner=("CronJob", "nightly")),
        controller("DaemonSet", "agent", {"app": "agent"}),
    )
    assert [str(w) for w in inventory.controllers] == [
        "shop/nightly[CronJob]",
        "shop/agent[DaemonSet]",
        "shop/web[Deployment]",
    ]
    web = inventory.workload(Workload("shop", "Deployment", "web"))
    assert web is not None
    assert (web.selector, web.replicas) == (LabelSelector((("app", "web"),)), 3)
    nightly = inventory.workload(Workload("shop", "CronJob", "nightly"))
    assert nightly is not None
    assert (nightly.selector, nightly.replicas, nightly.schedule) == (None, None, "0 3 * * *")


def test_a_deployment_is_known_from_its_newest_replica_set():
    old = controller(
        "ReplicaSet",
        "web-1",
        {**WEB, "pod-template-hash": "1", "v": "1"},
        owner=("Deployment", "web"),
        creationTimestamp=at(9),
        spec={"replicas": 0},
    )
    new = controller(
        "ReplicaSet",
        "web-2",
        {**WEB, "pod-template-hash": "2", "v": "2"},
        owner=("Deployment", "web"),
        creationTimestamp=at(5),
        spec={"replicas": 1},
    )
    inventory = load(old, new)
    (found,) = inventory.controllers.values()
    assert found.workload == Workload("shop", "Deployment", "web")
    assert found.selector == LabelSelector((("app", "web"), ("v", "2")))
    assert found.template_labels == (("app", "web"), ("v", "2"))


def test_a_job_without_manual_selector_has_none():
    made = {"selector": {"matchLabels": {"controller-uid": "7"}}}
    assert load(job("a", spec=made)).controllers[Workload("shop", "Job", "a")].selector is None
    kept = load(job("a", spec={"manualSelector": True})).controllers[Workload("shop", "Job", "a")].selector
    assert kept is not None


def test_old_kinds_select_by_a_plain_map():
    config = obj("DeploymentConfig", "dc", version="apps.openshift.io/v1", spec={"selector": WEB, "template": {}})
    plain = obj("ReplicationController", "rc", spec={"template": {"metadata": {"labels": WEB}}})
    assert [c.selector for c in load(config, plain).controllers.values()] == [LabelSelector((("app", "web"),))] * 2


# --- stand-ins --------------------------------------------------------------------------------------------------------


def test_plain_manifests_stand_for_their_pods():
    ports = [{"containerPort": 8080, "name": "http"}]
    inventory = load(
        controller("Deployment", "web", WEB, ports=ports),
        controller("Deployment", "idle", {"a": "b"}, spec={"replicas": 0}),
    )
    idle, web = inventory.pods
    assert (web.name, web.labels, web.template, web.addresses, web.node, web.uid) == (
        "web",
        (("app", "web"),),
        True,
        (),
        "",
        "",
    )
    assert [(p.number, p.name) for p in web.ports] == [(8080, "http")]
    assert idle.template
    assert idle.live


def test_a_living_pod_makes_the_stand_in_needless_and_a_completed_one_does_not():
    deployment = controller("Deployment", "web", WEB)
    alive = pod("web-1-a", labels=HASHED, owner=("ReplicaSet", "web-6d4cf56db6"))
    assert [p.template for p in load(deployment, alive).pods] == [False]
    done = {**alive, "status": {"phase": "Succeeded"}}
    assert sorted(p.template for p in load(deployment, done).pods) == [False, True]
