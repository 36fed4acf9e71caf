"""From a Hubble export to the flow table and to edges: flows/s, MB/s, peak memory, ratio to `json.loads` alone.

    python -m tests.bench hubble                         # 300,000 records of 2 kB in 20,000 pairs
    python -m tests.bench.hubble --records 1000000       # what docs/adr/0001 is measured on

Each measurement runs in a child process of its own, imports and all, after one of `json.loads` on the same file. The
ratio is of the CPU seconds of those two, because elapsed ones say little on a busy machine. Memory is the most that was
resident, pandas included where there are edges.

Two profiles. `uniform`: all pairs alike, the records of a connection in a row: the worst there is for what is kept by
pair. `skewed`: few pairs have most of the connections, and 256 connections are open at a time, as in a cluster.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

import zstandard

PODS = 2000
NAMESPACES = 40
NODES = 50
START = 472_224
"""Hours since the epoch: 2023-11-14T00."""


@dataclass(frozen=True)
class Pod:
    ip: str
    node: str
    near: str
    """The endpoint object as its own node writes it."""
    far: str
    mac: str
    interface: str
    """As its own node names it."""
    node_labels: str


def pods() -> list[Pod]:
    made = []
    for i in range(PODS):
        app, namespace = f"service-{i // 4}", f"team-{i // 4 % NAMESPACES}"
        labels = [
            f"k8s:app.kubernetes.io/instance={app}",
            "k8s:app.kubernetes.io/managed-by=Helm",
            f"k8s:app.kubernetes.io/name={app}",
            "k8s:app.kubernetes.io/part-of=shop",
            "k8s:app.kubernetes.io/version=v1.17.3",
            f"k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name={namespace}",
            "k8s:io.cilium.k8s.policy.cluster=default",
            f"k8s:io.cilium.k8s.policy.serviceaccount={app}",
            f"k8s:io.kubernetes.pod.namespace={namespace}",
        ]
        far: dict[str, Any] = {"identity": 10_000 + i // 4, "cluster_name": "default", "namespace": namespace}
        far |= {"labels": labels, "pod_name": f"{app}-7d9c5b8f6-{i:05d}"}
        near = {"ID": i + 1, **far, "workloads": [{"name": app, "kind": "Deployment"}]}
        text = [json.dumps(each, separators=(",", ":")) for each in (near, far)]
        node = i % NODES
        described = {"arch": "amd64", "hostname": f"node-{node}", "os": "linux"}
        on = [f"kubernetes.io/{name}={value}" for name, value in described.items()]
        on += [f"topology.kubernetes.io/zone=europe-west4-{'abc'[node % 3]}"]
        interface = {"index": 25 + i // NODES, "name": f"lxc{i:013x}"}
        text += [f"46:e5:ea:1f:{i // 256:02x}:{i % 256:02x}"]
        text += [json.dumps(each, separators=(",", ":")) for each in (interface, on)]
        made.append(Pod(f"10.{i // 65536}.{i // 256 % 256}.{i % 256}", f"default/node-{node}", *text))
    return made


_RECORD = (
    '{{"flow":{{"time":"{time}","uuid":"{uuid}","emitter":{{"name":"Hubble","version":"1.18.3+g3f5a1c2d"}},'
    '"verdict":"FORWARDED","ethernet":{{"source":"{a.mac}","destination":"{b.mac}"}},'
    '"IP":{{"source":"{a.ip}","destination":"{b.ip}","ipVersion":"IPv4"}},"l4":{{"TCP":{{"source_port":{sport},'
    '"destination_port":{dport},"flags":{{{flags}}}}}}},"source":{a.far},"destination":{b.near},"Type":"L3_L4",'
    '"node_name":"{b.node}","node_labels":{b.node_labels},"event_type":{{"type":4}},'
    '"traffic_direction":"INGRESS","trace_observation_point":"TO_ENDPOINT","trace_reason":"{reason}",'
    '"is_reply":{reply},"interface":{b.interface},"Summary":"TCP Flags: {summary}"}},'
    '"node_name":"{b.node}","time":"{time}"}}\n'
)


_SHAPES = (("SYN",), ("SYN", "ACK"), ("PSH", "ACK"), ("PSH", "ACK"), ("FIN", "ACK"))
"""Five records to a connection: SYN, SYN-ACK, data both ways, and its end."""
PROFILES = {"uniform": 1, "skewed": 256}
"""Connections open at a time."""


def packets(rng: random.Random, edges: int, profile: str) -> Iterator[tuple[Pod, Pod, int, int, int]]:
    """Client, server, port, client's port, and which of `_SHAPES`, without end."""
    everyone = pods()
    ports = (80, 443, 5432, 6379, 8080, 8443, 9090, 9093)
    pairs = [(rng.choice(everyone), rng.choice(everyone), rng.choice(ports)) for _ in range(edges)]
    shares = [1.0 if profile == "uniform" else 1 / (rank + 10) for rank in range(edges)]
    total = list(accumulate(shares))
    opened: list[Iterator[tuple[Pod, Pod, int, int, int]]] = []
    while True:
        if len(opened) < PROFILES[profile]:
            pair = rng.choice(pairs) if profile == "uniform" else rng.choices(pairs, cum_weights=total)[0]
            client_port = rng.randrange(32768, 61000)
            opened.append(iter([(*pair, client_port, number) for number in range(len(_SHAPES))]))
        at = rng.randrange(len(opened)) if len(opened) > 1 else 0
        packet = next(opened[at], None)
        if packet is None:
            del opened[at]
        else:
            yield packet


def records(count: int, edges: int, seed: int, profile: str = "uniform") -> Iterator[str]:
    """So many lines of an export, over a day."""
    rng = random.Random(seed)
    for made, (client, server, port, client_port, number) in enumerate(islice(packets(rng, edges, profile), count)):
        reply = number in {1, 3}
        a, b = (server, client) if reply else (client, server)
        second, fraction = divmod(made * 86_400_000_000_000 // count, 1_000_000_000)
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(START * 3600 + second))
        yield _RECORD.format(
            time=f"{moment}.{fraction:09d}Z",
            uuid=f"{rng.getrandbits(128):032x}",
            a=a,
            b=b,
            sport=port if reply else client_port,
            dport=client_port if reply else port,
            flags=",".join(f'"{flag}":true' for flag in _SHAPES[number]),
            reason="REPLY" if reply else "ESTABLISHED",
            reply=str(reply).lower(),
            summary=", ".join(_SHAPES[number]),
        )


def write(path: Path, count: int, edges: int, seed: int, profile: str = "uniform") -> None:
    with path.open("w", encoding="ascii", buffering=1 << 20) as out:
        out.writelines(records(count, edges, seed, profile))


def read(path: str, processes: int) -> int:
    from netpol_gen.readers import read_flows

    return read_flows([path], processes=processes).ledger.read


def pure(path: str, processes: int) -> int:
    """As `edges`, without the compiled module."""
    from netpol_gen.readers import hubble_known

    hubble_known.module = lambda: None
    return edges(path, processes)


def edges(path: str, processes: int) -> int:
    """File to edges; the cluster itself is not known, so that what resolving costs does not hang on its size."""
    from netpol_gen.edges import find_edges
    from netpol_gen.inventory import Inventory
    from netpol_gen.readers import read_flows

    return find_edges(read_flows([path], processes=processes), Inventory()).ledger.read


def loads(path: str, _: int) -> int:
    """What the standard library needs for parsing alone."""
    with Path(path).open("rb") as lines:
        return sum(1 for line in lines if json.loads(line))


STEPS = {"read": read, "edges": edges, "pure": pure, "loads": loads}


def child(step: str, path: str, processes: int) -> None:
    """Run one measurement and print it as JSON."""
    start = time.perf_counter()
    count = STEPS[step](path, processes)
    elapsed = time.perf_counter() - start
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
    peak = (own.ru_maxrss / 1024, children.ru_maxrss / 1024)
    print(json.dumps({"count": count, "elapsed": elapsed, "cpu": cpu, "peak": peak}))


def measure(step: str, path: Path, processes: int = 1) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.bench.hubble", "--child", step, str(path), str(processes)]
    # Installed packages have their bytecode, whatever is said about writing it; the variable is as the command has it.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment.setdefault("OPENBLAS_NUM_THREADS", "1")
    ran = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return dict(json.loads(ran.stdout))


def show(name: str, found: dict[str, Any], size: int, base: dict[str, Any]) -> None:
    """Print one measurement and its ratio to that of `json.loads`."""
    rate, cpu_rate = found["count"] / found["elapsed"], found["count"] / found["cpu"]
    ratio = cpu_rate / (base["count"] / base["cpu"])
    own, children = found["peak"]
    peak = f"{own:.0f}" + (f" + {children:.0f} per process" if children else "")
    print(
        f"{name:32} {rate / 1e3:5.0f} k flows/s {size / 1e6 / found['elapsed']:6.0f} MB/s"
        f"  {cpu_rate / 1e3:5.0f} k flows per CPU second  x{ratio:4.2f} json.loads  peak {peak} MiB",
        flush=True,
    )


def pair(name: str, step: str, path: Path, size: int, processes: int = 1, plain: Path | None = None) -> None:
    """`json.loads` on the plain file, then this, so that both have the machine as it is at the moment."""
    base = measure("loads", plain or path)
    if step == "loads":
        show(name, base, size, base)
    else:
        show(name, measure(step, path, processes), size, base)


def packed_copies(plain: Path) -> dict[str, Path]:
    packed = {"gz": plain.with_suffix(".jsonl.gz"), "zst": plain.with_suffix(".jsonl.zst")}
    with plain.open("rb") as source, gzip.open(packed["gz"], "wb", compresslevel=1) as target:
        while piece := source.read(1 << 20):
            target.write(piece)
    with plain.open("rb") as source, packed["zst"].open("wb") as target:
        zstandard.ZstdCompressor(level=3).copy_stream(source, target)
    return packed


def main(arguments: list[str] | None = None) -> None:
    """Generate, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=300_000)
    parser.add_argument("--edges", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args([] if arguments is None else arguments)
    with tempfile.TemporaryDirectory() as directory:
        # For the bytecode of all modules.
        write(Path(directory, "few.jsonl"), 100, 10, options.seed)
        measure("edges", Path(directory, "few.jsonl"))
    for profile in PROFILES:
        with tempfile.TemporaryDirectory() as directory:
            plain = Path(directory, "flows.jsonl")
            write(plain, options.records, options.edges, options.seed, profile)
            size = plain.stat().st_size
            print(
                f"{profile}: {options.records} records of {size // options.records} bytes, {options.edges} pairs of "
                f"client and port, seed {options.seed}, {os.cpu_count()} cores",
                flush=True,
            )
            pair("json.loads alone", "loads", plain, size)
            pair("file to table, 1 process", "read", plain, size)
            pair("file to edges, 1 process", "edges", plain, size)
            pair("the same, pure Python", "pure", plain, size)
            if profile != "uniform":
                continue
            pair("file to table, 2 processes", "read", plain, size, 2)
            for kind, path in packed_copies(plain).items():
                for processes in (1, 2):
                    pair(f"{kind} to table, {processes} process(es)", "read", path, size, processes, plain)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main(sys.argv[1:])
