"""The forges that the tests of this folder speak to. Other folders make their own: `with GitHubServer(tmp_path)`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.forge.github import GitHubServer


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitHubServer]:
    """GitHub, with two branches: `main`, and `netpol-gen/one`, which has one commit more."""
    with GitHubServer(tmp_path) as github:
        github.git.commit("netpol-gen/one", {"policies/a.yaml": "a: 1\n"}, "one", parent=github.git.head("main"))
        yield github
