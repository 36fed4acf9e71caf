"""Commands that have an inventory read cloud flow logs with it: two pods that had one address within an hour."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import netpol_gen as ng
from tests.inventory.made import SECOND, at, listed, ns, pod
from tests.readers.test_aws import DB, WEB, record, reply, text


@pytest.fixture
def inputs(tmp_path: Path) -> list[str]:
    """Flow logs of both, and the inventory."""
    done = {"phase": "Succeeded", "containerStatuses": [{"state": {"terminated": {"finishedAt": at(600)}}}]}
    listening = [{"containerPort": 5432}]
    objects = [
        pod("early", WEB, start=0, status=done, labels={"app": "early"}),
        pod("late", WEB, start=700, labels={"app": "late"}),
        pod("db", DB, start=0, labels={"app": "db"}, ports=listening),
    ]
    (tmp_path / "inventory.json").write_text(json.dumps(listed(*objects)))
    calls = []
    for number, second in enumerate((300, 1000)):
        when = {"start": ns(second) // SECOND, "end": ns(second + 30) // SECOND}
        calls += [record(srcport=40000 + number, **when), reply(dstport=40000 + number, **when)]
    (tmp_path / "vpc.log").write_bytes(text(*calls))
    return [str(tmp_path / "vpc.log"), "-i", str(tmp_path / "inventory.json")]


def run(repository: Path, *arguments: str, code: int = 0) -> str:
    command = [sys.executable, "-m", "netpol_gen.cli.main", *arguments]
    ran = subprocess.run(command, cwd=repository, capture_output=True, check=False)
    assert ran.returncode == code, ran.stderr
    return ran.stdout.decode() + ran.stderr.decode()


@pytest.mark.parametrize("command", ["edges", "generate", "report --out -", "ports", "coverage"])
def test_commands_tell_the_holders_of_an_address_apart(repository, inputs, command):
    told = run(repository, *command.split(), *inputs)
    assert "changed hands" not in told
    assert "early" in told
    assert "late" in told


def test_policies_are_verified_and_compared_by_all_of_it(repository, inputs, tmp_path):
    out = str(tmp_path / "policies")
    run(repository, "generate", *inputs, "--out", out)
    assert run(repository, "verify", out, "--flows", *inputs, "-o", "md").startswith("**2 edges: 0 denied")
    assert "rule-never-used" not in run(repository, "lint", out, "--flows", *inputs, "--fail-on", "never")
    closed = run(repository, "diff", "none", out, "--flows", *inputs, code=1)
    assert closed.startswith("0 broken, 0 opened, ")


def test_the_library_takes_the_inventory_along(inputs):
    path, _, dump = inputs
    inventory = ng.read_inventory(dump)
    assert len(ng.edges(ng.read_flows(path, inventory=inventory), inventory).query("status == 'accepted'")) == 2
    assert len(ng.edges(ng.read_flows(path), inventory).query("status == 'accepted'")) == 0
    # A guard as wide as the pause leaves nothing that is sure of either.
    frame = ng.read_flows(path, inventory=inventory, guard_seconds=400.0)
    assert len(ng.edges(frame, inventory, guard_seconds=400.0).query("status == 'accepted'")) == 0
