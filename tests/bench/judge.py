"""`list` and `diff` on generated clusters: against network-config-analyzer, at scale, and as policies grow.

Input: namespaces of ten workloads each; a workload has its own policies, with peers in its own and other namespaces,
ipBlocks, port names and ranges, and every namespace a default-deny. All from one seed.
"""

from __future__ import annotations

import ipaddress
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import MappingProxyType

from netpol_gen.connectivity import connections
from netpol_gen.diff import compare
from netpol_gen.errors import Place
from netpol_gen.inventory import Inventory, load_inventory
from netpol_gen.inventory.objects import ContainerPort, Namespace, Pod
from netpol_gen.model import Decision, Protocol, Workload
from netpol_gen.policy import NetworkPolicy, parse_policy
from netpol_gen.report.connectivity import list_text
from netpol_gen.report.difference import diff_text

SEED = 20260101
ROOT = Path(__file__).resolve().parents[2]
PER_NAMESPACE = 10


def main() -> None:
    against_nca(300)
    at_scale(2000, 2000, 20000)
    growth(1000, (500, 1000, 2000, 4000, 8000))
    growth(10, (500, 1000, 2000, 4000, 8000))
    dense(2000)


# --- the input --------------------------------------------------------------------------------------------------------


def policies(workloads: int, count: int, seed: int = SEED) -> list[dict]:
    """Manifests: one default-deny per namespace, then one policy after another, workload by workload."""
    r = random.Random(seed)
    namespaces = max(1, workloads // PER_NAMESPACE)
    out = [manifest(f"ns{n}", "default-deny", {}, {}) for n in range(min(namespaces, count // 2))]
    for number in range(count - len(out)):
        w = number % workloads
        out.append(manifest(f"ns{w // PER_NAMESPACE}", f"p{number}", {"app": f"w{w}"}, rules(r, workloads)))
    return out


def manifest(namespace: str, name: str, labels: dict, spec: dict) -> dict:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"podSelector": {"matchLabels": labels}, "policyTypes": ["Ingress", "Egress"], **spec},
    }


def rules(r: random.Random, workloads: int) -> dict:
    other = r.randrange(workloads)
    namespace = {"matchLabels": {"kubernetes.io/metadata.name": f"ns{other // PER_NAMESPACE}"}}
    cross = {"namespaceSelector": namespace, "podSelector": {"matchLabels": {"app": f"w{other}"}}}
    near = {"podSelector": {"matchExpressions": [{"key": "tier", "operator": "In", "values": [r.choice("abc")]}]}}
    third = r.randrange(256)
    block = {"ipBlock": {"cidr": f"10.{third}.0.0/16", "except": [f"10.{third}.7.0/24"]}}
    dns = {"port": 53, "protocol": "UDP"}
    port = r.choice([{"port": 8080}, {"port": "http"}, {"port": 9000, "endPort": 9010}, dns])
    return {
        "ingress": [{"from": [cross, near], "ports": [port]}, {"from": [block], "ports": [{"port": 443}]}],
        "egress": [{"to": [cross, near]}, {"to": [{"namespaceSelector": {}}], "ports": [dns]}],
    }


def inventory(workloads: int, pods: int) -> Inventory:
    """`pods` over `workloads`, with a label of their own each, as StatefulSets have."""
    namespaces = {f"ns{n}" for n in range(max(1, workloads // PER_NAMESPACE) + 1)}
    made = []
    for number in range(pods):
        w = number % workloads
        namespace = f"ns{w // PER_NAMESPACE}"
        name = f"w{w}-{number // workloads}"
        labels = {"app": f"w{w}", "tier": "abc"[w % 3], "statefulset.kubernetes.io/pod-name": name}
        made.append(
            Pod(
                namespace,
                name,
                tuple(sorted(labels.items())),
                Workload(namespace, "StatefulSet", f"w{w}"),
                (ipaddress.ip_address("100.64.0.0") + number + 1,),
                (ContainerPort(8080 + w % 2, Protocol.TCP, "http"),),
                f"node{number % 50}",
            )
        )
    known = [Namespace(n, (("kubernetes.io/metadata.name", n),)) for n in sorted(namespaces)]
    ordered = tuple(sorted(made, key=lambda p: (p.namespace, p.name)))
    return Inventory(namespaces=MappingProxyType({n.name: n for n in known}), pods=ordered)


def parsed(manifests: list[dict]) -> list[NetworkPolicy]:
    return [parse_policy(m, Place("bench")) for m in manifests]


def mutated(manifests: list[dict]) -> list[dict]:
    """Every hundredth policy loses its first ingress rule."""
    out = json.loads(json.dumps(manifests))
    for each in out[::100]:
        each["spec"]["ingress"] = each["spec"].get("ingress", [])[1:]
    return out


# --- the measures -----------------------------------------------------------------------------------------------------


def timed(call):
    started = time.perf_counter()
    result = call()
    return time.perf_counter() - started, result


def against_nca(workloads: int) -> None:
    """Both on the same files, each from reading them to the last line."""
    named = os.environ.get("NETPOL_GEN_NCA") or shutil.which("nca") or str(ROOT / ".venv-nca" / "bin" / "nca")
    old = policies(workloads, workloads)
    with tempfile.TemporaryDirectory() as directory:
        a, b = Path(directory) / "old", Path(directory) / "new"
        for folder, chosen in ((a, old), (b, mutated(old))):
            folder.mkdir()
            write(folder, chosen, workloads)
        print(f"{workloads} workloads, {len(old)} policies, one pod each; from files to text, processes included")
        ours = {"list": timed(lambda: run_ours("list", a))[0], "diff": timed(lambda: run_ours("diff", a, b))[0]}
        for verb, seconds in ours.items():
            print(f"  {verb}: {seconds:6.2f} s")
        inside = timed(lambda: text_of_list(a))[0], timed(lambda: text_of_diff(a, b))[0]
        print(f"  without starting Python: list {inside[0]:.2f} s, diff {inside[1]:.2f} s")
        if not Path(named).exists():
            print("  network-config-analyzer is not installed (`make nca`): no comparison")
            return
        theirs = {
            "list": timed(lambda: run([named, "--connectivity", "-r", a, "-o", "txt_no_fw_rules"]))[0],
            "diff": timed(lambda: run([named, "--semantic_diff", "-r", b, "--base_resource_list", a, "-o", "txt"]))[0],
        }
        for i, verb in enumerate(ours):
            ratio, inner = theirs[verb] / ours[verb], theirs[verb] / inside[i]
            print(
                f"  network-config-analyzer {verb}: {theirs[verb]:6.1f} s, {ratio:.0f} times ours, {inner:.0f} inside"
            )


def run(command) -> None:
    subprocess.run(command, check=False, capture_output=True)


def run_ours(verb: str, *folders: Path) -> None:
    names = [str(f) for f in folders]
    call = f"from pathlib import Path; from tests.bench import judge; judge.text_of_{verb}(*map(Path, {names!r}))"
    subprocess.run([sys.executable, "-c", call], check=True, cwd=ROOT, capture_output=True)


def text_of_list(folder: Path) -> str:
    inventory_, chosen = read(folder)
    return list_text(connections(chosen, inventory_, ipblock_matches_pods=Decision.DENY))


def text_of_diff(old: Path, new: Path) -> str:
    (inventory_a, a), (inventory_b, b) = read(old), read(new)
    return diff_text(compare(a, b, inventory_a, inventory_b, ipblock_matches_pods=Decision.DENY))


def read(folder: Path):
    found = load_inventory([folder])
    return found, found.policies


def write(folder: Path, chosen: list[dict], workloads: int) -> None:
    items: list[dict] = list(chosen)
    for name in sorted({f"ns{w // PER_NAMESPACE}" for w in range(workloads)}):
        labels = {"kubernetes.io/metadata.name": name}
        items.append({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    for w in range(workloads):
        labels = {"app": f"w{w}", "tier": "abc"[w % 3]}
        container = {"name": "c", "image": "x", "ports": [{"name": "http", "containerPort": 8080 + w % 2}]}
        items.append(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": f"w{w}", "namespace": f"ns{w // PER_NAMESPACE}", "labels": labels},
                "spec": {"containers": [container]},
            }
        )
    (folder / "all.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))


def at_scale(workloads: int, count: int, pods: int) -> None:
    chosen = policies(workloads, count)
    known = inventory(workloads, pods)
    old, new = parsed(chosen), parsed(mutated(chosen))
    print(f"{workloads} workloads, {count} policies, {pods} pods; values to rows")
    seconds, found = timed(lambda: connections(old, known))
    rows, lines = timed(lambda: sum(1 for _ in found.rows()))
    print(
        f"  list: {seconds:.2f} s, and {rows:.2f} s to give out {lines:,} rows; {len(found.table.sets):,} distinct sets"
    )
    seconds, difference = timed(lambda: compare(old, new, known, known))
    print(f"  diff: {seconds:.2f} s, {len(difference.rows):,} rows")
    print(f"  peak memory of this process so far: {peak():.0f} MiB")


def growth(workloads: int, counts: tuple[int, ...]) -> None:
    known = inventory(workloads, workloads * 2)
    print(f"{workloads} workloads, growing policies")
    for count in counts:
        chosen = parsed(policies(workloads, count))
        seconds, _ = timed(lambda chosen=chosen: connections(chosen, known))
        print(f"  {count:6,} policies: {seconds:6.2f} s, {seconds / count * 1e3:.3f} ms per policy")


def dense(workloads: int) -> None:
    """No policies: everybody reaches everybody."""
    known = inventory(workloads, workloads)
    seconds, found = timed(lambda: connections([], known))
    rows, lines = timed(lambda: sum(1 for _ in found.rows()))
    print(f"{workloads} workloads without policies: list {seconds:.2f} s, and {rows:.1f} s for {lines:,} rows")
    print(f"  peak memory of this process so far: {peak():.0f} MiB")


def peak() -> float:
    """Resident, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
