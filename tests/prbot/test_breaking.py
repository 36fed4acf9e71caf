"""A proposal that would deny what was observed: refused before anything is sent, unless that was asked for."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace

import pytest

from netpol_gen.cli.publish import AUTHOR, ProposeFormat, Wanted, publish
from netpol_gen.errors import CheckFailedError
from netpol_gen.prbot.ci import surroundings
from netpol_gen.prbot.git import Repository
from netpol_gen.prbot.process import Login
from netpol_gen.propose import Reviewed, read_tree, review
from tests.flowrows import flows_of, inventory_of
from tests.forge.github import GitHubServer
from tests.propose.made import A_TO_B, OURS, PODS, manifest, proposal_of

WIDE = manifest("b", "b", more=OURS)
CLOSED = manifest("b", "b", "policyTypes: [Ingress]", more=OURS)


@pytest.fixture
def server(tmp_path):
    with GitHubServer(tmp_path / "server", files={"b.yaml": WIDE.decode()}) as hub:
        yield hub


def breaking(server):
    """A proposal as a defect of ours would make it: closed where a call was seen."""
    trees = read_tree({"b.yaml": WIDE}), read_tree({"b.yaml": CLOSED})
    difference = review(Reviewed("prod", *trees, inventory_of(*PODS), flows_of(A_TO_B))).difference
    found = proposal_of({"b.yaml": WIDE}, A_TO_B)
    environments = (replace(found.environments[0], difference=difference),)
    return replace(found, base=server.git.head("main"), environments=environments, files={"b.yaml": CLOSED})


def carried_out(server, tmp_path, *, allow):
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", str(server.git.path), str(clone)], check=True)
    subprocess.run(["git", "-C", str(clone), "remote", "set-url", "origin", server.git_url], check=True)
    around = surroundings(
        {
            "GITHUB_REPOSITORY": server.repository,
            "GITHUB_API_URL": server.url,
            "GITHUB_SERVER_URL": server.origin,
            "GITHUB_TOKEN": server.actions_token,
        }
    )
    repository = Repository.open(clone, os.environ, Login(server.actions_token, server.origin))
    wanted = Wanted(True, allow, False, AUTHOR, ProposeFormat.MARKDOWN, None, True)
    return publish(breaking(server), repository, "origin", around, wanted)


def test_it_is_printed_and_nothing_is_sent(server, tmp_path, capsys):
    with pytest.raises(CheckFailedError, match="--allow-breaking"):
        carried_out(server, tmp_path, allow=False)
    assert "## Would break: 1" in capsys.readouterr().out
    assert server.requests == []
    assert server.git_requests == []


def test_it_goes_out_when_asked_for_and_its_check_fails(server, tmp_path):
    assert carried_out(server, tmp_path, allow=True) == 0
    (pull,) = server.state.open_pulls()
    assert "## Would break: 1" in pull.body
    (check,) = server.state.checks.values()
    assert check.conclusion == "failure"
