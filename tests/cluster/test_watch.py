"""Histories: appended by hand and kept by a watch, across a restart of the API server and a compaction."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from netpol_gen.cluster import Access, Api, Snapshot, append, take_snapshot, watch
from netpol_gen.cluster.history import History
from netpol_gen.errors import InputError
from netpol_gen.inventory import Inventory, load_inventory
from tests.cluster.kube import Kube

SECOND = 10**9


@pytest.fixture
def kube(binaries, tmp_path) -> Iterator[Kube]:
    """A server of one's own, to stop and start."""
    folder = tmp_path / "server"
    folder.mkdir()
    own = Kube(folder, binaries["kube-apiserver"], binaries["etcd"])
    try:
        own.start()
        yield own
    finally:
        own.stop()


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.1)


def look(config: str) -> Snapshot:
    with Api(Access(config)) as api:
        return take_snapshot(api)


def pods(file: Path, namespace: str) -> dict[str, object]:
    held: Inventory = load_inventory([file])
    return {pod.name: pod for pod in held.pods if pod.namespace == namespace}


@contextmanager
def watching(config: str, file: Path, **options) -> Iterator[list[str]]:
    told: list[str] = []
    stop = threading.Event()
    failed: list[BaseException] = []

    def run() -> None:
        try:
            with Api(Access(config)) as api:
                watch(api, file, stop, flush_seconds=0.2, tell=told.append, **options)
        except BaseException as error:
            failed.append(error)
            raise

    thread = threading.Thread(target=run)
    thread.start()
    try:
        until(lambda: bool(told) or bool(failed))
        yield told
    finally:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()
        assert not failed


# --- append -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".json", ".json.gz"])
def test_append_writes_what_changed(shared_kube, kubeconfig, tmp_path, ending):
    kube, name = shared_kube, f"append{len(ending)}"
    file = tmp_path / f"history{ending}"
    kube.namespace(name)
    kube.pod(name, "stays", "10.2.0.1", app="a")
    kube.pod(name, "goes", "10.2.0.2", app="b")
    assert append(file, look(kubeconfig)).first
    before = file.stat().st_size
    kube.delete_pod(name, "goes")
    kube.pod(name, "comes", "10.2.0.3", app="c")
    changes = append(file, look(kubeconfig))
    assert (changes.new, changes.gone) == (1, 1)
    again = append(file, look(kubeconfig))
    assert (again.new, again.changed, again.gone) == (0, 0, 0)
    assert file.stat().st_size < 2 * before + 2000
    seen = pods(file, name)
    assert sorted(seen) == ["comes", "goes", "stays"]
    assert seen["stays"].live
    assert seen["comes"].live
    assert not seen["goes"].live
    # Only that it went between the two looks is known.
    assert seen["goes"].unsure_from is not None
    assert seen["goes"].unsure_from <= seen["goes"].ended
    assert not list(tmp_path.glob(".*")), "temporary files are left"


def test_what_is_no_pod_goes_too_and_may_come_again(shared_kube, kubeconfig, tmp_path):
    kube, file = shared_kube, tmp_path / "h.json"
    kube.namespace("policies")
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
              "metadata": {"name": "deny", "namespace": "policies"}, "spec": {"podSelector": {}}}  # fmt: skip
    where = "/apis/networking.k8s.io/v1/namespaces/policies/networkpolicies/deny"

    def in_force() -> bool:
        append(file, look(kubeconfig))
        return "policies/deny" in {p.ref for p in load_inventory([file]).policies}

    kube.create(policy)
    assert in_force()
    kube.call("DELETE", where)
    assert not in_force()
    kube.create(policy)
    assert in_force()
    kube.call("DELETE", where)


def test_a_history_of_another_cluster_is_refused(shared_kube, kube, kubeconfig, tmp_path):
    file = tmp_path / "h.json"
    append(file, look(kubeconfig))
    with pytest.raises(InputError, match="another cluster"):
        append(file, look(kube.kubeconfig(tmp_path)))


def test_what_is_no_history_is_refused_and_left_alone(kubeconfig, tmp_path):
    taken = look(kubeconfig)
    plain = tmp_path / "plain.json"
    plain.write_text('{"apiVersion": "v1", "kind": "List", "items": []}')
    with pytest.raises(InputError, match="no history"):
        append(plain, taken)
    assert plain.read_text() == '{"apiVersion": "v1", "kind": "List", "items": []}'
    with pytest.raises(InputError, match=r"named \*\.json"):
        append(tmp_path / "h.yaml", taken)


def test_a_snapshot_from_before_the_end_is_refused(kubeconfig, tmp_path):
    taken = look(kubeconfig)
    file = tmp_path / "h.json"
    append(file, taken)
    from dataclasses import replace

    with pytest.raises(InputError, match="later than the snapshot"):
        append(file, replace(taken, taken_at=taken.taken_at - timedelta(hours=1)))


# --- watch ------------------------------------------------------------------------------------------------------------


def test_a_watch_sees_lives_that_no_snapshot_would(shared_kube, kubeconfig, tmp_path):
    kube, file = shared_kube, tmp_path / "h.json"
    kube.namespace("brief")
    with watching(kubeconfig, file):
        # What comes soon after the connection may have happened before it.
        time.sleep(6)
        kube.pod("brief", "mayfly", "10.3.0.1", app="m")
        kube.delete_pod("brief", "mayfly")
        until(lambda: "mayfly" in pods(file, "brief"))
    mayfly = pods(file, "brief")["mayfly"]
    assert [str(a) for a in mayfly.addresses] == ["10.3.0.1"]
    assert not mayfly.live
    assert mayfly.unsure_from is None, "a watch saw the very moment"
    assert 0 <= mayfly.ended - mayfly.started <= 5 * SECOND


def test_a_watch_outlives_a_restart_of_the_server(kube, tmp_path):
    file = tmp_path / "h.json"
    kube.pod("default", "before", "10.4.0.1", app="a")
    with watching(kube.kubeconfig(tmp_path), file):
        until(lambda: "before" in pods(file, "default"))
        kube.stop_server()
        time.sleep(1)
        kube.start_server()
        kube.pod("default", "after", "10.4.0.2", app="b")
        kube.delete_pod("default", "before")
        until(lambda: "after" in pods(file, "default") and not pods(file, "default")["before"].live, 60)
    seen = pods(file, "default")
    assert seen["after"].live
    assert History.read(file).taken_at is not None


def test_what_went_while_nobody_looked_is_found_after_a_compaction(kube, tmp_path):
    file = tmp_path / "h.json"
    kube.pod("default", "lost", "10.5.0.1", app="a")
    with watching(kube.kubeconfig(tmp_path), file):
        until(lambda: "lost" in pods(file, "default"))
        kube.stop_server()
        kube.start_server()
        kube.delete_pod("default", "lost")
        kube.pod("default", "new", "10.5.0.2", app="b")
        kube.stop_server()
        kube.compact()
        kube.start_server()
        until(lambda: "new" in pods(file, "default") and not pods(file, "default")["lost"].live, 60)
    lost = pods(file, "default")["lost"]
    assert lost.ended is not None


def command(config: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "netpol_gen.cli.main", "snapshot", "--kubeconfig", config, *arguments]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_watch_that_is_ended_leaves_a_valid_history(shared_kube, kubeconfig, repository, tmp_path, how):
    kube, file, name = shared_kube, tmp_path / "h.json", f"ended{int(how)}"
    kube.namespace(name)
    process = subprocess.Popen(
        command(kubeconfig, "--append", str(file), "--watch", "--flush", "0.1"),
        cwd=repository,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        until(file.exists)
        time.sleep(1)
        for number in range(20):
            kube.pod(name, f"p{number}", f"10.6.0.{number + 1}", app="a")
        until(lambda: len(pods(file, name)) >= 5)
        os.kill(process.pid, how)
        _, err = process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in err
    assert process.returncode == (0 if how is signal.SIGTERM else -signal.SIGKILL)
    assert len(pods(file, name)) >= (20 if how is signal.SIGTERM else 5)
    # The next run goes on where this one ended.
    assert not append(file, look(kubeconfig)).first
    assert len(pods(file, name)) == 20


def test_the_command_writes_what_the_readers_take(kubeconfig, repository, tmp_path):
    out = tmp_path / "s.yaml"
    write = command(kubeconfig, "--out", str(out))
    ran = subprocess.run(write, cwd=repository, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr
    assert "Namespace" in ran.stderr
    assert load_inventory([out]).namespaces
    ran = subprocess.run(
        command(kubeconfig, "--context", "nobody"), cwd=repository, capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (3, "")
    assert "no pods may be read" in ran.stderr
    ran = subprocess.run(command(kubeconfig, "--watch"), cwd=repository, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
