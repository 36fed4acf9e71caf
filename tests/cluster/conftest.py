"""The API servers that the tests of this folder share."""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.kube import ADMIN, Kube, find
from tests.conftest import absent

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Servers are killed under their clients here, and what a cut connection leaves is closed by the collector."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("default::ResourceWarning"))
            item.add_marker(pytest.mark.filterwarnings("default::pytest.PytestUnraisableExceptionWarning"))


@pytest.fixture(autouse=True)
def collect_cut_connections() -> Iterator[None]:
    """At the end of the test that cut them, not in the middle of another."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="session")
def binaries() -> dict[str, Path]:
    """kube-apiserver and etcd; without them a developer skips, and CI fails."""
    found = {name: find(name, os.environ) for name in ("kube-apiserver", "etcd")}
    if missing := [name for name, path in found.items() if path is None]:
        absent(f"no {' and no '.join(missing)}; tests/cluster/kube-apiserver.sh builds and installs them", os.environ)
    return {name: path for name, path in found.items() if path is not None}


@pytest.fixture(scope="session")
def shared_kube(binaries: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    """One API server for tests that leave it as they found it, or use namespaces of their own."""
    kube = Kube(tmp_path_factory.mktemp("kube"), binaries["kube-apiserver"], binaries["etcd"])
    try:
        kube.start()
        yield kube
    finally:
        kube.stop()


@pytest.fixture
def kubeconfig(shared_kube: Kube, tmp_path: Path) -> str:
    """A kubeconfig of the shared server, its admin current."""
    return shared_kube.kubeconfig(tmp_path, ADMIN)
