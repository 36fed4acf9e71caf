"""`--live` and `--existing live`, as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.cluster.kube import ADMIN, NOBODY, Kube

SRC, DST = "10.7.0.1", "10.7.0.2"


@pytest.fixture(scope="module")
def world(shared_kube: Kube) -> Kube:
    kube = shared_kube
    kube.namespace("live")
    for name, ip in (("client", SRC), ("server", DST)):
        kube.pod("live", name, ip, app=name)
    return kube


@pytest.fixture
def flows(tmp_path: Path) -> Path:
    file = tmp_path / "flows.jsonl"
    # Round a pod's start nobody knows who held its address: the flows come later.
    later = datetime.now(UTC) + timedelta(minutes=2)
    rows = []
    for number, (flags, reply) in enumerate([({"SYN": True}, False), ({"SYN": True, "ACK": True}, True)]):
        ends = [SRC, DST] if not reply else [DST, SRC]
        ports = (40000, 8080) if not reply else (8080, 40000)
        rows.append({
            "time": f"{later:%Y-%m-%dT%H:%M}:0{number}Z", "verdict": "FORWARDED", "Type": "L3_L4", "is_reply": reply,
            "IP": {"source": ends[0], "destination": ends[1], "ipVersion": "IPv4"},
            "l4": {"TCP": {"source_port": ports[0], "destination_port": ports[1], "flags": flags}},
            "source": {"namespace": "live", "pod_name": "client" if not reply else "server"},
            "destination": {"namespace": "live", "pod_name": "server" if not reply else "client"},
            "trace_observation_point": "TO_ENDPOINT", "node_name": "node-1",
        })  # fmt: skip
    file.write_text("\n".join(json.dumps({"flow": row, "time": row["time"]}) for row in rows) + "\n", encoding="utf-8")
    return file


def run(repository: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "netpol_gen.cli.main", *map(str, arguments)]
    ran = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert "Traceback" not in ran.stderr, ran.stderr
    return ran


def policy(kube: Kube, name: str) -> str:
    kube.create({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name, "namespace": "live"},
        "spec": {"podSelector": {"matchLabels": {"app": "server"}}, "policyTypes": ["Ingress"],
                 "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "client"}}}],
                              "ports": [{"port": 8080}]}]},
    })  # fmt: skip
    return f"/apis/networking.k8s.io/v1/namespaces/live/networkpolicies/{name}"


def test_generate_from_the_live_cluster(world, flows, repository, tmp_path):
    config = world.kubeconfig(tmp_path, ADMIN)
    live = run(repository, "generate", flows, "--live", "--kubeconfig", config)
    assert live.returncode == 0, live.stderr
    assert "app: server" in live.stdout, live.stderr
    snapshot = tmp_path / "s.json"
    assert run(repository, "snapshot", "--kubeconfig", config, "--out", snapshot).returncode == 0
    assert run(repository, "generate", flows, "-i", snapshot).stdout == live.stdout


def test_policies_in_force_in_the_live_cluster(world, flows, repository, tmp_path):
    config = world.kubeconfig(tmp_path, ADMIN)
    snapshot = tmp_path / "s.json"
    assert run(repository, "snapshot", "--kubeconfig", config, "--out", snapshot).returncode == 0
    where = policy(world, "already-there")
    try:
        missing = ("generate", flows, "-i", snapshot, "--mode", "missing-only")
        assert "name: server" in run(repository, *missing).stdout
        # The snapshot is older than the policy; the cluster has it.
        ran = run(repository, *missing, "--existing", "live", "--kubeconfig", config)
        assert ran.returncode == 0, ran.stderr
        assert "name: server" not in ran.stdout
    finally:
        world.call("DELETE", where)


def test_a_cluster_that_may_not_be_read_is_exit_3(world, flows, repository, tmp_path):
    config = world.kubeconfig(tmp_path, ADMIN)
    ran = run(repository, "generate", flows, "--live", "--kubeconfig", config, "--context", NOBODY)
    assert (ran.returncode, ran.stdout) == (3, "")
    assert "no pods may be read" in ran.stderr


def test_a_cluster_named_and_not_asked_for_is_exit_2(world, flows, repository, tmp_path):
    config = world.kubeconfig(tmp_path, ADMIN)
    ran = run(repository, "edges", flows, "--kubeconfig", config)
    assert ran.returncode == 2
    assert "add --live" in ran.stderr


@pytest.mark.parametrize("command", [("edges",), ("coverage",), ("ports",)])
def test_every_command_that_takes_an_inventory_takes_the_live_one(world, flows, repository, tmp_path, command):
    config = world.kubeconfig(tmp_path, ADMIN)
    ran = run(repository, *command, flows, "--live", "--kubeconfig", config)
    assert ran.returncode == 0, ran.stderr
    assert "client" in ran.stdout


def test_judging_commands_too(world, repository, tmp_path):
    config = ("--live", "--kubeconfig", world.kubeconfig(tmp_path, ADMIN))
    rules = tmp_path / "deny.yaml"
    rules.write_text(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: deny, namespace: live}\n"
        "spec: {podSelector: {}, policyTypes: [Ingress]}\n"
    )
    explained = run(repository, "explain", rules, "live/client", "live/server", "8080", *config)
    assert explained.returncode == 1, explained.stderr
    assert "live/deny" in explained.stdout
    assert run(repository, "list", rules, *config).returncode == 0
    compared = run(repository, "diff", "none", rules, *config)
    assert compared.returncode == 1
    assert "live/client" in compared.stdout
    assert run(repository, "lint", rules, *config).returncode in (0, 1)


def test_every_command_with_an_inventory_offers_live():
    from typer.main import get_command

    from netpol_gen.cli.main import app

    commands = get_command(app).commands  # type: ignore[attr-defined]
    options = {name: {p.name for p in command.params} for name, command in commands.items()}
    wanted = {"live", "context", "kubeconfig"}
    assert [name for name, has in options.items() if "inventory" in has and not wanted <= has] == []
