"""Against a real kube-apiserver with a real etcd."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from netpol_gen.cluster import Access, Api, Snapshot, append, live_inventory, take_snapshot
from netpol_gen.cluster.kinds import ENDPOINTS, KINDS, NAMESPACES
from netpol_gen.errors import InputError, OptionError, RemoteError
from netpol_gen.inventory import load_inventory
from netpol_gen.model import Workload
from tests.cluster.kube import ADMIN, NOBODY, PARTIAL, READER, Kube

CRD = "apiextensions.k8s.io/v1"


def api(kube: Kube, folder: Path, user: str = ADMIN, **options) -> Api:
    return Api(Access(kube.kubeconfig(folder, user)), **options)


def look(access: Access) -> Snapshot:
    with Api(access) as here:
        return take_snapshot(here)


def owner(kind: str, name: str, version: str = "apps/v1") -> list[dict[str, object]]:
    return [{"apiVersion": version, "kind": kind, "name": name, "uid": f"uid-{name}", "controller": True}]


@pytest.fixture(scope="module")
def shop(shared_kube: Kube) -> Kube:
    """A namespace with a Deployment's chain of owners, a Service with its endpoints, a policy and a webhook."""
    kube = shared_kube
    kube.namespace("shop")
    labels = {"metadata": {"labels": {"team": "shop"}}}
    kube.call("PATCH", "/api/v1/namespaces/shop", labels, "application/merge-patch+json")
    kube.create({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": "node-1",
            "annotations": {"projectcalico.org/IPv4IPIPTunnelAddr": "10.1.0.1", "example.com/x": "hidden-annotation"},
        },
        "spec": {"podCIDR": "10.1.0.0/24", "podCIDRs": ["10.1.0.0/24"]},
    })  # fmt: skip
    kube.call(
        "PATCH", "/api/v1/nodes/node-1/status",
        {"status": {"addresses": [{"type": "InternalIP", "address": "192.168.0.1"}]}}, "application/merge-patch+json",
    )  # fmt: skip
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 8080, "name": "http"}]}]},
    }
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    kube.create({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
                 "spec": spec})  # fmt: skip
    kube.create({"apiVersion": "apps/v1", "kind": "ReplicaSet",
                 "metadata": {"name": "web-abc", "namespace": "shop", "ownerReferences": owner("Deployment", "web")},
                 "spec": spec})  # fmt: skip
    for number in (1, 2):
        made = kube.create({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": f"web-{number}", "namespace": "shop", "labels": {"app": "web"},
                         "annotations": {"example.com/x": "hidden-annotation", "netpol-gen.dev/why": "kept"},
                         "ownerReferences": owner("ReplicaSet", "web-abc")},
            "spec": {"nodeName": "node-1", "containers": [
                {"name": "c", "image": "hidden-image", "env": [{"name": "P", "value": "hidden-environment"}],
                 "ports": [{"containerPort": 8080, "name": "http"}]}]},
        })  # fmt: skip
        assert made
        kube.status("shop", f"web-{number}", {
            "phase": "Running", "podIP": f"10.1.0.1{number}", "podIPs": [{"ip": f"10.1.0.1{number}"}],
            "hostIP": "192.168.0.1", "startTime": "2026-01-01T00:00:00Z",
        })  # fmt: skip
    kube.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
                 "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}})  # fmt: skip
    kube.create({"apiVersion": "discovery.k8s.io/v1beta1", "kind": "EndpointSlice", "addressType": "IPv4",
                 "metadata": {"name": "web-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
                 "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
                 "endpoints": [{"addresses": ["10.1.0.11"], "conditions": {"ready": True},
                                "targetRef": {"kind": "Pod", "name": "web-1", "namespace": "shop"}}]})  # fmt: skip
    kube.create({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
                 "metadata": {"name": "deny", "namespace": "shop"},
                 "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}})  # fmt: skip
    kube.create({"apiVersion": "batch/v1beta1", "kind": "CronJob", "metadata": {"name": "nightly", "namespace": "shop"},
                 "spec": {"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": {
                     "metadata": {"labels": {"app": "nightly"}},
                     "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}}})  # fmt: skip
    kube.create({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
                 "metadata": {"name": "guard"},
                 "webhooks": [{"name": "guard.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                               "failurePolicy": "Ignore", "rules": [],
                               "clientConfig": {"service": {"namespace": "shop", "name": "web", "port": 80}}}],
                 })  # fmt: skip
    return kube


@pytest.fixture(scope="module")
def roles(shop: Kube, repository: Path) -> Kube:
    """READER has the shipped role, PARTIAL may list pods in one namespace and little else, NOBODY nothing."""
    role = yaml.safe_load((repository / "docs" / "rbac.yaml").read_text(encoding="utf-8"))
    shop.create(role)
    shop.create({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
                 "metadata": {"name": "reader"},
                 "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                             "name": role["metadata"]["name"]},
                 "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": READER}]})  # fmt: skip
    shop.create({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
                 "metadata": {"name": "some", "namespace": "shop"},
                 "rules": [{"apiGroups": ["", "apps"], "verbs": ["list"],
                            "resources": ["pods", "services", "deployments"]}]})  # fmt: skip
    shop.create({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
                 "metadata": {"name": "some", "namespace": "shop"},
                 "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "some"},
                 "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": PARTIAL}]})  # fmt: skip
    shop.create({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                 "metadata": {"name": "namespaces"},
                 "rules": [{"apiGroups": [""], "verbs": ["list"], "resources": ["namespaces"]}]})  # fmt: skip
    shop.create({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
                 "metadata": {"name": "namespaces"},
                 "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "namespaces"},
                 "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": PARTIAL}]})  # fmt: skip
    return shop


def test_a_snapshot_is_an_inventory(shop, tmp_path):
    taken = take_snapshot(api(shop, tmp_path))
    file = tmp_path / "snapshot.json"
    file.write_text(taken.to_json(), encoding="utf-8")
    held = load_inventory([file])
    pod = held.pod("shop", "web-1")
    assert pod is not None
    assert pod.workload == Workload("shop", "Deployment", "web")
    assert [str(a) for a in pod.addresses] == ["10.1.0.11"]
    assert [(p.number, p.name) for p in pod.ports] == [(8080, "http")]
    assert pod.uid
    assert held.controllers[Workload("shop", "CronJob", "nightly")].schedule == "0 3 * * *"
    assert [(str(b.address), b.port, b.pod) for b in held.backends if b.service == "shop/web"] == [
        ("10.1.0.11", 8080, "shop/web-1")
    ]
    assert [p.ref for p in held.policies if p.namespace == "shop"] == ["shop/deny"]
    assert dict(held.namespaces["shop"].labels)["team"] == "shop"
    node = held.nodes["node-1"]
    assert [str(a) for a in node.addresses] == ["192.168.0.1"]
    assert [str(a) for a in node.inner_addresses] == ["10.1.0.1"]
    assert [(c.service, c.port, c.why) for c in held.callees] == [
        ("shop/web", 80, "ValidatingWebhookConfiguration/guard")
    ]
    assert taken.not_read == ()


def test_yaml_json_and_the_cluster_itself_mean_the_same(shop, tmp_path):
    taken = take_snapshot(api(shop, tmp_path))
    as_json, as_yaml = tmp_path / "s.json", tmp_path / "s.yaml"
    as_json.write_text(taken.to_json(), encoding="utf-8")
    as_yaml.write_text(taken.to_yaml(), encoding="utf-8")
    assert load_inventory([as_json]) == load_inventory([as_yaml]) == live_inventory(taken)


def test_nothing_private_is_kept(shop, tmp_path):
    text = take_snapshot(api(shop, tmp_path)).to_json()
    for word in ("hidden-", "managedFields", "resourceVersion", "example.com/x", "volumes", "image"):
        assert word not in text, word
    assert "netpol-gen.dev/why" in text


def test_the_same_cluster_gives_the_same_bytes_whatever_the_pages(shop, tmp_path):
    def objects(limit: int) -> list[str]:
        return list(take_snapshot(api(shop, tmp_path), limit=limit).objects.values())

    assert objects(1) == objects(2) == objects(500)
    assert len(objects(1)) == len(set(objects(1)))


def test_namespaces_can_be_chosen(shop, tmp_path):
    taken = take_snapshot(api(shop, tmp_path), ["shop"])
    assert taken.annotations["netpol-gen.dev/namespaces"] == "shop"
    assert {key[2] for key in taken.objects if key[1] == "Service"} == {"shop"}


# --- rights -----------------------------------------------------------------------------------------------------------


def test_the_shipped_role_reads_everything(roles, tmp_path):
    assert take_snapshot(api(roles, tmp_path, READER)).objects == take_snapshot(api(roles, tmp_path)).objects
    assert take_snapshot(api(roles, tmp_path, READER)).not_read == ()


def test_the_shipped_role_holds_exactly_what_is_read(repository):
    role = yaml.safe_load((repository / "docs" / "rbac.yaml").read_text(encoding="utf-8"))
    granted = {(g, r) for rule in role["rules"] for g in rule["apiGroups"] for r in rule["resources"]}
    assert granted == {(k.group, k.resource) for k in (NAMESPACES, *KINDS, ENDPOINTS)}
    assert {verb for rule in role["rules"] for verb in rule["verbs"]} == {"list", "watch"}


def test_less_than_the_role_is_named_and_claims_less(roles, tmp_path):
    taken = take_snapshot(api(roles, tmp_path, PARTIAL))
    missed = {n.kind: n for n in taken.not_read}
    assert missed["nodes"].namespaces == ()
    assert missed["nodes"].reason == "forbidden"
    assert "default" in missed["pods"].namespaces
    assert "shop" not in missed["pods"].namespaces
    assert missed["networkpolicies.networking.k8s.io"].without == "policies in force are not all known"
    assert taken.annotations["netpol-gen.dev/namespaces"] == "shop"
    held = live_inventory(taken)
    assert held.pod("shop", "web-1") is not None
    told = [d.message for d in held.diagnostics if d.code == "NPG112"]
    assert any(m.startswith("could not be read: nodes: forbidden; addresses of nodes") for m in told)
    assert len(told) == len(taken.not_read)


def test_pods_that_could_not_be_read_have_not_gone(roles, tmp_path):
    roles.namespace("other")
    roles.pod("other", "lonely", "10.1.0.77", app="lonely")
    history = tmp_path / "h.json"
    append(history, take_snapshot(api(roles, tmp_path)))
    changes = append(history, take_snapshot(api(roles, tmp_path, PARTIAL)))
    assert changes.gone == 0
    lonely = load_inventory([history]).pod("other", "lonely")
    assert lonely is not None
    assert lonely.live
    roles.delete_pod("other", "lonely")


def test_no_rights_at_all_is_an_error(roles, tmp_path):
    with pytest.raises(RemoteError, match="no pods may be read"):
        take_snapshot(api(roles, tmp_path, NOBODY))


def test_unknown_credentials_are_an_error(shop, tmp_path):
    file = Path(shop.kubeconfig(tmp_path))
    config = json.loads(file.read_text())
    config["users"][0]["user"] = {"token": "stale"}
    file.write_text(json.dumps(config))
    with pytest.raises(RemoteError, match=r"credentials are not accepted \(401\)"):
        look(Access(str(file)))
    config["users"][0]["user"] = {}
    file.write_text(json.dumps(config))
    # Without any credentials the caller is system:anonymous, which may not list pods.
    with pytest.raises(RemoteError, match=r"no pods may be read|no credentials"):
        look(Access(str(file)))


# --- how the cluster is found -----------------------------------------------------------------------------------------


def test_contexts(roles, tmp_path):
    file = roles.kubeconfig(tmp_path, NOBODY)
    assert look(Access(file, ADMIN)).objects
    with pytest.raises(InputError, match="no-such-context"):
        Api(Access(file, "no-such-context"))


def test_an_exec_plugin_gives_the_token(roles, tmp_path):
    plugin = tmp_path / "plugin.sh"
    credential = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
                  "status": {"token": f"token-of-{READER}"}}  # fmt: skip
    plugin.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(credential)}\nEND\n")
    plugin.chmod(0o755)
    file = Path(roles.kubeconfig(tmp_path))
    config = json.loads(file.read_text())
    user = {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin), "interactiveMode": "Never"}
    config["users"][0]["user"] = {"exec": user}
    file.write_text(json.dumps(config))
    assert look(Access(str(file))).objects


def test_impersonation_is_honoured(roles, tmp_path):
    file = Path(roles.kubeconfig(tmp_path))
    config = json.loads(file.read_text())
    config["users"][0]["user"]["as"] = PARTIAL
    file.write_text(json.dumps(config))
    assert {n.kind for n in look(Access(str(file))).not_read} >= {"nodes"}
    config["users"][0]["user"]["as-groups"] = ["system:masters"]
    file.write_text(json.dumps(config))
    with pytest.raises(OptionError, match="as-groups"):
        Api(Access(str(file)))


@pytest.mark.parametrize("text", ["", "[]", "a: [", "clusters: 5", "current-context: x\ncontexts: {}\n"])
def test_a_broken_kubeconfig_is_named(tmp_path, text):
    file = tmp_path / "config"
    file.write_text(text)
    with pytest.raises(InputError, match=str(file)):
        Api(Access(str(file)))


# --- pages that expire, a server that is busy -------------------------------------------------------------------------


def test_a_list_whose_pages_expired_is_complete_and_of_one_moment(shop, tmp_path):
    shop.namespace("expiring")
    for number in range(6):
        shop.pod("expiring", f"p{number}", f"10.1.2.{number + 1}", app="x")
    with_compaction = api(shop, tmp_path)
    plain, done = with_compaction.get, []

    class Compacting(Api):
        """Forgets the past once, after the first page of pods."""

        def get(self, path, query=None):
            reply = plain(path, query)
            if path.endswith("/pods") and not done:
                done.append(path)
                shop.delete_pod("expiring", "p0")
                shop.compact()
            return reply

    taken = take_snapshot(Compacting(Access(shop.kubeconfig(tmp_path))), ["expiring"], limit=2)
    assert done
    names = [key[3] for key in taken.objects if key[1] == "Pod"]
    # p0 was on the first page and is gone: the list was begun again.
    assert names == ["p1", "p2", "p3", "p4", "p5"]


def test_a_compacted_continue_really_is_410(shop, tmp_path):
    here = api(shop, tmp_path)
    token = here.get("/api/v1/pods", {"limit": 1}).data["metadata"]["continue"]
    shop.pod("default", "to-move-the-revision", "10.1.3.1", app="x")
    shop.delete_pod("default", "to-move-the-revision")
    shop.compact()
    assert here.get("/api/v1/pods", {"limit": 1, "continue": token}).status == 410


def test_policies_of_the_live_cluster_are_the_ones_in_force(shop, tmp_path):
    held = live_inventory(take_snapshot(api(shop, tmp_path)))
    assert "shop/deny" in {p.ref for p in held.policies}
