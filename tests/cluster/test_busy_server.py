"""Thousands of pods, and a server that takes one request at a time."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from netpol_gen.cluster import Access, Api, Snapshot, live_inventory, take_snapshot
from tests.cluster.kube import ADMIN, READER, TOKENS, Kube, pod

PODS = 5_000


@pytest.fixture(scope="module")
def crowded(binaries, tmp_path_factory, repository: Path) -> Iterator[Kube]:
    """5,000 running pods behind a server that answers 429 to whoever comes second."""
    kube = Kube(tmp_path_factory.mktemp("crowded"), binaries["kube-apiserver"], binaries["etcd"])
    try:
        kube.start()
        kube.namespace("crowd")
        with ThreadPoolExecutor(4) as workers:
            list(workers.map(lambda part: fill(kube, range(part, PODS, 4)), range(4)))
        role = yaml.safe_load((repository / "docs" / "rbac.yaml").read_text(encoding="utf-8"))
        kube.create(role)
        kube.create({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "reader"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                        "name": role["metadata"]["name"]},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": READER}],
        })  # fmt: skip
        kube.stop_server()
        kube.start_server("--max-requests-inflight=1", "--enable-priority-and-fairness=false")
        yield kube
    finally:
        kube.stop()


def fill(kube: Kube, numbers: range) -> None:
    """Pods and their addresses, over one connection that is kept."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", kube.port, context=context, timeout=60)
    headers = {"Authorization": f"Bearer {TOKENS[ADMIN]}"}
    for number in numbers:
        name, ip = f"p{number:05}", f"10.{200 + number // 65536}.{number // 256 % 256}.{number % 256}"
        where = "/api/v1/namespaces/crowd/pods"
        body = json.dumps(pod("crowd", name, app=f"a{number % 50}"))
        connection.request("POST", where, body, {**headers, "Content-Type": "application/json"})
        assert connection.getresponse().read()
        status = {"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "hostIP": "192.168.0.1"}}
        kind = {"Content-Type": "application/merge-patch+json"}
        connection.request("PATCH", f"{where}/{name}/status", json.dumps(status), {**headers, **kind})
        assert connection.getresponse().read()
    connection.close()


@pytest.mark.slow
def test_five_thousand_pods_from_a_server_that_is_too_busy(crowded: Kube, tmp_path):
    config = crowded.kubeconfig(tmp_path, READER)
    tries: list[int] = []
    taken: list[Snapshot] = []
    lock = threading.Lock()

    def look() -> None:
        with Api(Access(config)) as api:
            found = take_snapshot(api)
            with lock:
                taken.append(found)
                tries.append(api.retries)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(240)
    assert len(taken) == 4
    assert sum(tries) > 0, "the server was never too busy: nothing was proved"
    assert all(each.objects == taken[0].objects for each in taken)
    held = live_inventory(taken[0])
    crowd = [p for p in held.pods if p.namespace == "crowd"]
    assert len(crowd) == PODS
    assert len({str(p.addresses[0]) for p in crowd}) == PODS
