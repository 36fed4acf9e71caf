"""Loading a large dump, and asking who held an address, and what stood behind a Service, for many flows.

Everything is made from a seed. Ratios: reading objects against `json.loads` on the same bytes; the as-of join against
one `np.searchsorted` of as many 64-bit keys into as many steps.
"""

from __future__ import annotations

import io
import ipaddress
import json
import random
import resource
import time
from dataclasses import replace

import numpy as np
import pyarrow as pa

from netpol_gen.config import Config
from netpol_gen.inventory import Inventory, Owner, Timeline, load_inventory, pod_key
from netpol_gen.inventory.objects import Pod, Service, ServicePort
from netpol_gen.model import Protocol, Workload
from netpol_gen.resolve import resolve
from netpol_gen.sets import AddressSet
from tests.flowrows import flows_of, row

PODS = 20_000
FLOWS = 5_000_000
LIVES = 50_000
ADDRESSES = 10_000
SERVICES = 100
GUARD = 5 * 10**9
SECOND = 10**9
T0 = 1_795_384_800 * SECOND


def dump(count: int) -> bytes:
    """`kubectl get pods,rs,deploy -A -o json` of a cluster with so many pods, about 4 kB each."""
    items: list[dict] = []
    for index in range(count):
        app, namespace = f"app-{index // 10}", f"ns-{index // 500}"
        labels = {"app": app, "pod-template-hash": "6d4cf56db6", "app.kubernetes.io/part-of": namespace}
        if index % 10 == 0:
            for kind, name, owner in (("Deployment", app, None), ("ReplicaSet", f"{app}-6d4cf56db6", app)):
                template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c"}]}}
                references = [{"kind": "Deployment", "name": owner, "uid": "d", "controller": True}] if owner else []
                metadata = {"name": name, "namespace": namespace, "uid": name, "ownerReferences": references}
                spec = {"selector": {"matchLabels": {"app": app}}, "template": template, "replicas": 10}
                items.append({"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": spec})
        items.append(pod(index, app, namespace, labels))
    return json.dumps({"apiVersion": "v1", "items": items, "kind": "List", "metadata": {}}, indent=4).encode()


def pod(index: int, app: str, namespace: str, labels: dict[str, str]) -> dict:
    """A pod as the API server writes it."""
    address = str(ipaddress.ip_address("10.0.0.0") + index)
    when = "2026-11-22T22:00:00Z"
    conditions = [
        {"type": kind, "status": "True", "lastProbeTime": None, "lastTransitionTime": when}
        for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")
    ]
    volume = {"mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "name": "kube-api-access", "readOnly": True}
    containers = [
        {
            "name": f"c{i}",
            "image": f"registry.example/{app}:{i}",
            "env": [{"name": f"SETTING_{k}", "value": f"value-{k}"} for k in range(8)],
            "ports": [{"containerPort": 8080 + i, "name": f"http{i}", "protocol": "TCP"}],
            "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m", "memory": "128Mi"}},
            "volumeMounts": [volume],
        }
        for i in range(2)
    ]
    name = f"{app}-6d4cf56db6-{index:05}"
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"{app}-6d4cf56db6", "uid": "r", "controller": True}
    metadata = {"name": name, "namespace": namespace, "uid": f"{index:032x}", "labels": labels}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**metadata, "creationTimestamp": when, "ownerReferences": [owner]},
        "spec": {"nodeName": f"n{index % 200}", "containers": containers, "tolerations": [{"operator": "Exists"}]},
        "status": {
            "phase": "Running",
            "startTime": when,
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": conditions,
            "containerStatuses": [{"name": f"c{i}", "ready": True, "state": {"running": {}}} for i in range(2)],
        },
    }


def lives(rng: random.Random) -> Inventory:
    """So many pods one after another on so many addresses."""
    pods = []
    for number in range(ADDRESSES):
        address = ipaddress.ip_address("10.0.0.0") + number
        start = T0 + rng.randrange(3600 * SECOND)
        for turn in range(LIVES // ADDRESSES):
            end = start + int(rng.expovariate(1 / 3600) * SECOND)
            name = f"p{number:05}-{turn}"
            workload = Workload("shop", "Deployment", f"app-{number % 500}")
            pods.append(Pod("shop", name, (), workload, (address,), started=start, ended=end, uid=name))
            start = end + rng.randrange(60) * SECOND
    return Inventory(pods=tuple(pods), pod_ranges=AddressSet.of(ipaddress.ip_network("10.0.0.0/16")))


def main() -> None:
    """Print both figures."""
    content = dump(PODS)
    megabytes = len(content) / 1e6
    begun = time.perf_counter()
    json.loads(content)
    plain = time.perf_counter() - begun
    begun = time.perf_counter()
    inventory = load_inventory(["-"], stdin=io.BytesIO(content))
    took = time.perf_counter() - begun
    print(f"load {len(inventory.pods):,} pods, {len(inventory.controllers):,} controllers, {megabytes:.0f} MB of JSON")
    print(f"  {took:.2f} s, {megabytes / took:.0f} MB/s, {took / plain:.2f} x json.loads alone ({plain:.2f} s)")
    del content, inventory

    rng = random.Random(20261122)
    begun = time.perf_counter()
    timeline = Timeline.build(lives(rng))
    print(f"build the timeline of {LIVES:,} lives: {time.perf_counter() - begun:.2f} s")
    draw = np.random.default_rng(20261122)
    texts = [str(ipaddress.ip_address("10.0.0.0") + i) for i in range(ADDRESSES)]
    addresses = np.array(texts, dtype=object)[draw.integers(0, ADDRESSES, FLOWS)]
    times = T0 + draw.integers(0, 6 * 3600 * SECOND, FLOWS)
    begun = time.perf_counter()
    owners = timeline.owners(addresses, times, GUARD)
    took = time.perf_counter() - begun
    keys = np.sort(draw.integers(0, 2**62, 2 * LIVES))
    wanted = draw.integers(0, 2**62, FLOWS)
    begun = time.perf_counter()
    np.searchsorted(keys, wanted)
    bare = time.perf_counter() - begun
    share = {o.name: f"{(owners == int(o)).mean():.2%}" for o in (Owner.AMBIGUOUS, Owner.UNKNOWN_INSIDE)}
    rate = f"{FLOWS / took / 1e6:.1f} M/s, {took / bare:.1f} x one searchsorted"
    print(f"as-of join of {FLOWS:,} flows: {took:.2f} s, {rate}")
    print(f"  {share}, peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    _services()


def _services() -> None:
    """Calls of Services whose pods come and go, against the same calls with their backends shown."""
    rng = random.Random(20261129)
    pods, services, calls = [], [], []
    for number in range(SERVICES):
        app, selector = f"app-{number:03}", (("app", f"app-{number:03}"),)
        dialled = ipaddress.ip_address("10.96.0.0") + number
        services.append(
            Service("shop", app, selector, (ServicePort(80, Protocol.TCP, 8080),), (dialled,), created=T0 - 1)
        )
        backend = ipaddress.ip_address("10.192.0.0") + number
        pods.append(Pod("shop", f"{app}-always", selector, Workload("shop", "Deployment", app), (backend,)))
        for replica in range(10):
            start = T0
            for life in range(5):
                end = start + rng.randrange(2 * 3600, 6 * 3600) * SECOND
                address = ipaddress.ip_address("10.128.0.0") + len(pods)
                pods.append(
                    Pod(
                        "shop",
                        f"{app}-{replica}-{life}",
                        selector,
                        Workload("shop", "Deployment", app),
                        (address,),
                        started=start,
                        ended=end if life < 4 else None,
                    )
                )
                start = end + SECOND
        for client in range(100):
            for hour in range(24):
                first = T0 + (hour * 3600 + rng.randrange(3599)) * SECOND
                times = {"first_seen": first, "last_seen": first + SECOND, "hours": [first // (3600 * SECOND)]}
                calls.append(row(f"10.200.0.{client}", str(dialled), 80, **times, backend_ip=str(backend)))
    for client in range(100):
        address = ipaddress.ip_address(f"10.200.0.{client}")
        pods.append(Pod("shop", f"client-{client}", (), Workload("shop", "Pod", f"client-{client}"), (address,)))
    inventory = Inventory(pods=tuple(sorted(pods, key=pod_key)), services=tuple(services))
    shown = flows_of(*calls)
    hidden = replace(
        shown,
        table=shown.table.set_column(
            shown.table.schema.get_field_index("backend_ip"), "backend_ip", pa.nulls(len(calls), pa.string())
        ),
    )
    took = {}
    for name, flows in (("shown", shown), ("hidden", hidden)):
        begun = time.perf_counter()
        found = resolve(flows, inventory, Config())
        took[name] = time.perf_counter() - begun
        assert (found.lines.reason < 0).all(), name
    text = f"{took['hidden']:.2f} s, {took['hidden'] / took['shown']:.2f} x the same with backends shown"
    print(f"{len(calls):,} rows to {SERVICES} Services of {len(pods):,} pods: {text}")


if __name__ == "__main__":
    main()
