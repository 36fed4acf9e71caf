"""Every policy of the golden cases is one that a real API server takes, and means the same after its defaulting."""

from __future__ import annotations

from pathlib import Path

import pytest

from netpol_gen.errors import Place
from netpol_gen.manifests import read_manifests
from netpol_gen.policy import parse_policy
from tests.cluster.kube import Kube, Refused, collection

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
CASES = sorted(path.parent.parent.name for path in GOLDEN.glob("*/expected/policies"))


def dry_run(kube: Kube, policy: dict[str, object]) -> dict[str, object]:
    answer = kube.call("POST", f"{collection(policy)}?dryRun=All", policy)
    answer.pop("status", None)
    return answer


@pytest.mark.parametrize("case", CASES)
def test_a_real_server_takes_every_golden_policy(shared_kube: Kube, case: str):
    written = [m for m in read_manifests([GOLDEN / case / "expected" / "policies"]) if m.kind == "NetworkPolicy"]
    for manifest in written:
        data = manifest.data
        namespace = data["metadata"]["namespace"]
        shared_kube.namespace(namespace)
        ours = parse_policy(data, manifest.place)
        answer = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", **dry_run(shared_kube, data)}
        theirs = parse_policy(answer, Place("the API server's answer"))
        assert theirs.canonical() == ours.canonical()


def test_there_are_golden_policies():
    assert len(CASES) > 20
    assert any(list((GOLDEN / case / "expected" / "policies").rglob("*.yaml")) for case in CASES)


def test_what_the_server_refuses_is_noticed(shared_kube: Kube):
    block = {"cidr": "10.0.0.0/8", "except": ["192.168.0.0/16"]}
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "x", "namespace": "default"},
        "spec": {"podSelector": {}, "ingress": [{"from": [{"ipBlock": block}]}]},
    }
    with pytest.raises(Refused, match="422"):
        dry_run(shared_kube, policy)
    block["except"] = ["10.1.0.0/16"]
    assert dry_run(shared_kube, policy)["spec"]["policyTypes"] == ["Ingress"]
