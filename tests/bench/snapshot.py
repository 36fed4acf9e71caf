"""A snapshot of 20,000 pods from a server on loopback that has its pages ready: time, memory, size.

The server speaks plain HTTP and holds its answers as bytes, so that what is measured is this side: requests, decoding,
stripping, ordering, writing, and what it costs to append the same again and to read it back. Run in a process of its
own, so that the peak of its memory is its own.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

PODS = 20_000
PAGE = 500


def pod(number: int, rng: random.Random) -> dict[str, Any]:
    """A pod as clusters have them: some 6 kB, most of which is not kept."""
    app = f"app-{number % 1000}"
    ip = f"10.{number // 65536 + 1}.{number // 256 % 256}.{number % 256}"
    env = [{"name": f"SETTING_{i}", "value": f"{rng.getrandbits(128):032x}"} for i in range(20)]
    managed = [{"manager": "kubelet", "fieldsV1": {f"f:{rng.getrandbits(64):016x}": {} for _ in range(60)}}]
    return {
        "metadata": {
            "name": f"{app}-{rng.getrandbits(40):010x}-{number:05}",
            "namespace": f"team-{number % 40}",
            "uid": f"{rng.getrandbits(128):032x}",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {"app": app, "pod-template-hash": f"{rng.getrandbits(32):08x}"},
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"{app}-x", "uid": "u", "controller": True}
            ],
            "managedFields": managed,
        },
        "spec": {
            "nodeName": f"node-{number % 200}",
            "containers": [{"name": "main", "image": "i", "env": env, "ports": [{"containerPort": 8080}]}],
        },
        "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "hostIP": "192.168.0.1"},
    }


def pages() -> list[bytes]:
    rng = random.Random(20)
    objects = [pod(i, rng) for i in range(PODS)]
    parts = [objects[i : i + PAGE] for i in range(0, PODS, PAGE)]
    out = []
    for i, part in enumerate(parts):
        more = {"continue": str(i + 1)} if i + 1 < len(parts) else {}
        whole = {"kind": "PodList", "metadata": {"resourceVersion": "1", **more}, "items": part}
        out.append(json.dumps(whole).encode())
    return out


def serve(ready: Any) -> None:
    """Answers until its process is ended."""
    held = pages()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path == "/api/v1/pods":
                body = held[int(parse_qs(parts.query).get("continue", ["0"])[0])]
            elif parts.path == "/apis":
                groups = ("apps", "batch", "networking.k8s.io", "discovery.k8s.io")
                body = json.dumps({"groups": [{"name": g, "versions": [{"version": "v1"}]} for g in groups]}).encode()
            else:
                body = b'{"metadata": {"resourceVersion": "1"}, "items": []}'
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    ready.send((server.server_port, sum(map(len, held))))
    server.serve_forever()


def measured(port: str, folder: str) -> None:
    """What a user does, timed; prints one JSON object."""
    from netpol_gen.cluster import Access, Api, append, take_snapshot
    from netpol_gen.inventory import load_inventory

    config = Path(folder) / "kubeconfig"
    config.write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": ""}}],
    }))  # fmt: skip
    figures: dict[str, float] = {}
    clock = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal clock
        figures[name] = round(time.perf_counter() - clock, 2)
        clock = time.perf_counter()

    with Api(Access(str(config))) as api:
        taken = take_snapshot(api)
    lap("snapshot s")
    text = taken.to_json()
    (Path(folder) / "s.json").write_text(text, encoding="utf-8")
    lap("write JSON s")
    figures["peak of snapshot and JSON MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    history = Path(folder) / "h.json.gz"
    append(history, taken)
    lap("begin history s")
    append(history, taken)
    lap("append nothing new s")
    held = load_inventory([Path(folder) / "s.json"])
    lap("read back s")
    figures |= {"pods": len(held.pods), "JSON MB": round(len(text) / 1e6, 1)}
    figures["history MB"] = round(history.stat().st_size / 1e6, 1)
    print(json.dumps(figures))


def lines(port: int) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        call = f"from tests.bench.snapshot import measured; measured({str(port)!r}, {folder!r})"
        ran = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, check=True)
        for name, value in json.loads(ran.stdout).items():
            yield f"  {name:32} {value}"


def main() -> None:
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(there,))
    server.start()
    try:
        port, size = here.recv()
        print(f"{PODS:,} pods, {size / 1e6:.0f} MB from the API server in pages of {PAGE}")
        for line in lines(port):
            print(line)
    finally:
        server.terminate()
        server.join()


if __name__ == "__main__":
    main()
