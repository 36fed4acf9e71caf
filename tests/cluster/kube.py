"""A real API server on loopback for tests: Debian's etcd and a kube-apiserver, started, stopped and spoken to.

The binaries are looked for as envtest does: in KUBEBUILDER_ASSETS, then in the cache that `kube-apiserver.sh` fills,
then on PATH. Nothing runs that this module did not start, and it ends only that.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ADMIN, READER, NOBODY, PARTIAL = "admin", "reader", "nobody", "partial"
TOKENS = {name: f"token-of-{name}" for name in (ADMIN, READER, NOBODY, PARTIAL)}
"""Users by name. The admin may do anything, the others what a test grants them."""


def cache(environment: Mapping[str, str]) -> Path:
    base = environment.get("XDG_CACHE_HOME") or str(Path(environment.get("HOME", "/root")) / ".cache")
    return Path(base) / "netpol-gen" / "kube"


def find(name: str, environment: Mapping[str, str]) -> Path | None:
    """A binary, or nothing."""
    folders = [environment["KUBEBUILDER_ASSETS"]] if environment.get("KUBEBUILDER_ASSETS") else []
    folders.append(str(cache(environment)))
    for folder in folders:
        candidate = Path(folder) / name
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate
    on_path = shutil.which(name)
    return Path(on_path) if on_path else None


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


class Refused(Exception):  # noqa: N818 - it is what the server said, not a defect
    """The server's answer to a call that it refused."""

    def __init__(self, status: int, body: str) -> None:
        self.status = status
        super().__init__(f"{status}: {body[:500]}")


@dataclass
class Kube:
    """One etcd and one API server. `flags` are added to the server's own at each start."""

    folder: Path
    apiserver: Path
    etcd: Path
    flags: Sequence[str] = ()
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.port, self.etcd_port, self.peer_port = free_ports(3)
        key, public = self.folder / "sa.key", self.folder / "sa.pub"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        subprocess.run(["openssl", "rsa", "-in", key, "-pubout", "-out", public], check=True, capture_output=True)
        rows = [f'{token},{name},{name}-uid,"{self._group(name)}"' for name, token in TOKENS.items()]
        (self.folder / "tokens.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")

    @staticmethod
    def _group(name: str) -> str:
        return "system:masters" if name == ADMIN else "users"

    # --- processes ---

    def _run(self, name: str, command: Sequence[object]) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log)

    def start(self) -> None:
        self.start_etcd()
        self.start_server()

    def start_etcd(self) -> None:
        here, peers = f"http://127.0.0.1:{self.etcd_port}", f"http://127.0.0.1:{self.peer_port}"
        self._run(
            "etcd",
            [
                self.etcd, "--data-dir", self.folder / "etcd", "--listen-client-urls", here,
                "--advertise-client-urls", here, "--listen-peer-urls", peers,
                "--initial-advertise-peer-urls", peers, "--initial-cluster", f"default={peers}", "--unsafe-no-fsync",
            ],
        )  # fmt: skip

    def start_server(self, *flags: str) -> None:
        where, server = self.folder, f"http://127.0.0.1:{self.etcd_port}"
        self._run(
            "kube-apiserver",
            [
                self.apiserver, f"--etcd-servers={server}", "--bind-address=127.0.0.1",
                "--advertise-address=127.0.0.1", f"--secure-port={self.port}", f"--cert-dir={where / 'certs'}",
                f"--token-auth-file={where / 'tokens.csv'}", "--authorization-mode=RBAC",
                "--service-cluster-ip-range=10.96.0.0/16", "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={where / 'sa.pub'}",
                f"--service-account-signing-key-file={where / 'sa.key'}",
                "--disable-admission-plugins=ServiceAccount", *self.flags, *flags,
            ],
        )  # fmt: skip
        self._wait()

    def _wait(self) -> None:
        until = time.monotonic() + 90
        while time.monotonic() < until:
            process = self.processes["kube-apiserver"]
            if process.poll() is not None:
                break
            try:
                if self.raw("GET", "/readyz")[1] == b"ok":
                    return
            except (OSError, Refused):
                pass
            time.sleep(0.2)
        log = (self.folder / "kube-apiserver.log").read_text(encoding="utf-8", errors="replace")
        raise RuntimeError(f"the API server does not start:\n{log[-3000:]}")

    def stop_server(self) -> None:
        self._stop("kube-apiserver")

    def stop(self) -> None:
        for name in ("kube-apiserver", "etcd"):
            self._stop(name)

    def _stop(self, name: str) -> None:
        process = self.processes.pop(name, None)
        if process is None:
            return
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    # --- calls ---

    def raw(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> tuple[int, bytes]:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        request = urllib.request.Request(
            f"https://127.0.0.1:{self.port}{path}",
            method=method,
            data=None if body is None else (body if isinstance(body, bytes) else json.dumps(body).encode()),
            headers={"Authorization": f"Bearer {TOKENS[ADMIN]}", "Content-Type": kind},
        )
        try:
            with urllib.request.urlopen(request, context=context, timeout=30) as response:  # noqa: S310
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                raise Refused(error.code, error.read().decode(errors="replace")) from None

    def call(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
        return json.loads(self.raw(method, path, body, kind)[1])

    def create(self, obj: Mapping[str, Any]) -> Any:
        """An object of a kind that a test uses; what is there already stays."""
        try:
            return self.call("POST", collection(obj), obj)
        except Refused as error:
            if error.status != 409:
                raise
            return None

    def namespace(self, name: str, **labels: str) -> None:
        self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})

    def pod(self, namespace: str, name: str, ip: str = "", **labels: str) -> Any:
        """A pod that runs, as far as the API tells."""
        made = self.create(pod(namespace, name, **labels))
        if ip:
            self.status(namespace, name, {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]})
        return made

    def status(self, namespace: str, name: str, status: Mapping[str, Any]) -> None:
        path = f"/api/v1/namespaces/{namespace}/pods/{name}/status"
        self.call("PATCH", path, {"status": status}, "application/merge-patch+json")

    def delete_pod(self, namespace: str, name: str) -> None:
        self.call("DELETE", f"/api/v1/namespaces/{namespace}/pods/{name}?gracePeriodSeconds=0")

    def compact(self) -> None:
        """Make etcd forget everything but the present, as it does by itself every five minutes."""
        here = f"http://127.0.0.1:{self.etcd_port}/v3/kv"
        key = base64.b64encode(b"x").decode()
        revision = json.loads(_post(f"{here}/range", {"key": key}))["header"]["revision"]
        _post(f"{here}/compaction", {"revision": revision, "physical": True})

    def kubeconfig(self, folder: Path, user: str = ADMIN, server: str = "") -> str:
        """A kubeconfig with one context per user; the given one is current."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "test",
                    "cluster": {
                        "server": server or f"https://127.0.0.1:{self.port}",
                        "certificate-authority": str(self.folder / "certs" / "apiserver.crt"),
                    },
                }
            ],
            "users": [{"name": name, "user": {"token": token}} for name, token in TOKENS.items()],
            "contexts": [{"name": name, "context": {"cluster": "test", "user": name}} for name in TOKENS],
            "current-context": user,
        }
        path = folder / f"kubeconfig-{user}"
        path.write_text(json.dumps(config), encoding="utf-8")
        return str(path)


def _post(url: str, body: Mapping[str, Any]) -> bytes:
    request = urllib.request.Request(url, data=json.dumps(body).encode())  # noqa: S310
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
        return bytes(response.read())


PLURALS = {
    "Namespace": "namespaces", "Node": "nodes", "Pod": "pods", "Service": "services", "Endpoints": "endpoints",
    "EndpointSlice": "endpointslices", "Deployment": "deployments", "ReplicaSet": "replicasets",
    "StatefulSet": "statefulsets", "DaemonSet": "daemonsets", "Job": "jobs", "CronJob": "cronjobs",
    "ReplicationController": "replicationcontrollers", "NetworkPolicy": "networkpolicies",
    "ClusterRole": "clusterroles", "ClusterRoleBinding": "clusterrolebindings", "Role": "roles",
    "RoleBinding": "rolebindings", "CustomResourceDefinition": "customresourcedefinitions",
    "ValidatingWebhookConfiguration": "validatingwebhookconfigurations", "APIService": "apiservices",
    "CiliumNetworkPolicy": "ciliumnetworkpolicies", "CiliumNode": "ciliumnodes", "ServiceAccount": "serviceaccounts",
}  # fmt: skip
CLUSTER_WIDE = {
    "Namespace", "Node", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition",
    "ValidatingWebhookConfiguration", "APIService", "CiliumNode",
}  # fmt: skip


def collection(obj: Mapping[str, Any]) -> str:
    """Where objects of its kind are created."""
    version, kind = obj["apiVersion"], obj["kind"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    if kind in CLUSTER_WIDE:
        return f"{root}/{PLURALS[kind]}"
    return f"{root}/namespaces/{obj['metadata'].get('namespace', 'default')}/{PLURALS[kind]}"


def pod(namespace: str, name: str, **labels: str) -> dict[str, Any]:
    """A pod with what must not end up in a snapshot: an environment, an annotation, a mounted secret."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": labels,
            "annotations": {"example.com/token": "hidden-annotation"},
        },
        "spec": {
            "nodeName": "node-1",
            "containers": [
                {
                    "name": "main",
                    "image": "registry.example/hidden-image:1",
                    "env": [{"name": "PASSWORD", "value": "hidden-environment"}],
                    "args": ["--password=hidden-argument"],
                    "ports": [{"containerPort": 8080, "name": "http"}],
                }
            ],
            "volumes": [{"name": "v", "secret": {"secretName": "hidden-secret"}}],
        },
    }
