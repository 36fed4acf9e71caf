"""The server itself: it is held to GitHub's description, and so is whoever asks it."""

from __future__ import annotations

import gc
import json
import subprocess
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.forge.github import GitHubServer
from tests.forge.web import Server


def ask(server: GitHubServer, method: str, path: str, body: Any = None, token: str = "") -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token or server.token}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(server.url + path, data=data, method=method, headers=headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
            return response.status, json.loads(response.read() or b"null")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


HOME = "/repos/acme/infra"


def test_a_server_that_was_not_entered_leaves_nothing_open(tmp_path):
    """Such as one whose subclass skips the test. What it left would be a ResourceWarning here, which is an error."""
    Server(tmp_path)
    gc.collect()


@pytest.mark.parametrize(
    ("method", "path", "body", "wrong"),
    [
        ("GET", f"{HOME}/pulls?states=open", None, "query parameter 'states' is not in the description"),
        ("GET", f"{HOME}/pulls?state=opened", None, "'opened' is not one of"),
        ("GET", f"{HOME}/pulls?per_page=many", None, "'many' is not of type 'integer'"),
        ("GET", f"{HOME}/pulls?per_page=1", {}, "a body is not in the description"),
        ("PATCH", f"{HOME}/pulls/1", {"titel": "x"}, "'titel' is not in the description"),
        ("PATCH", f"{HOME}/pulls/1", {"title": None}, "None is not of type 'string'"),
        ("POST", f"{HOME}/issues/1/comments", {"body": 7}, "7 is not of type 'string'"),
        ("GET", f"{HOME}/merge_requests", None, "is not in the description"),
    ],
)
def test_a_wrong_request_is_a_violation(tmp_path, method, path, body, wrong):
    server = GitHubServer(tmp_path)
    server.git.commit("topic", {"a": "1"}, "x")
    server.state.open_pull("topic")
    with pytest.raises(AssertionError, match="not as published") as told, server:
        assert ask(server, method, path, body)[0] == 400
    assert wrong in str(told.value)


def test_a_wrong_answer_is_a_violation(tmp_path):
    server = GitHubServer(tmp_path)
    server.fail_next(418)
    with pytest.raises(AssertionError, match="not as published") as told, server:
        assert ask(server, "GET", HOME)[0] == 418
    assert "status 418 is not in the description" in str(told.value)


def test_an_answer_with_a_property_of_our_own_is_a_violation(server):
    reply = server.shapes.full_repo()
    operation = server.contract.operation("GET", HOME)
    assert operation.response(200, reply, has_body=True) == []
    assert operation.response(200, reply | {"nickname": "x"}, has_body=True) != []
    assert operation.response(200, reply | {"id": "x"}, has_body=True) != []
    assert operation.response(200, {k: v for k, v in reply.items() if k != "id"}, has_body=True) != []
    assert operation.response(200, None, has_body=False) != []


def test_heads_follow_git_and_a_request_without_a_branch_is_closed(server):
    server.state.open_pull("netpol-gen/one")
    second = server.git.commit("netpol-gen/one", {"b": "2"}, "two")
    assert ask(server, "GET", f"{HOME}/pulls/1")[1]["head"]["sha"] == second
    server.git.delete("netpol-gen/one")
    closed = ask(server, "GET", f"{HOME}/pulls/1")[1]
    assert (closed["state"], closed["merged"], closed["head"]["sha"]) == ("closed", False, second)


def test_a_merge_is_a_merge_in_git(server):
    server.state.open_pull("netpol-gen/one")
    server.state.merge(1)
    assert ask(server, "GET", f"{HOME}/pulls/1")[1]["merged"] is True
    assert server.git.files("main")["policies/a.yaml"] == "a: 1"


def git(server: GitHubServer, token: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    url = server.git_url.replace("://", f"://x-access-token:{token}@") if token else server.git_url
    environment = {"PATH": "/usr/bin:/bin", "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_GLOBAL": "/dev/null"}
    command = ["git", *(url if each == "URL" else each for each in arguments)]
    return subprocess.run(command, env=environment, cwd=server.git.path, capture_output=True, text=True, check=False)


def test_git_reads_and_pushes_with_the_token(server):
    assert "netpol-gen/one" in git(server, server.token, "ls-remote", "URL").stdout
    pushed = git(server, server.token, "push", "URL", "netpol-gen/one:refs/heads/netpol-gen/two")
    assert pushed.returncode == 0, pushed.stderr
    assert server.git.head("netpol-gen/two") == server.git.head("netpol-gen/one")


@pytest.mark.parametrize("token", ["", "ghp_wrong"])
def test_git_without_a_good_token_gets_nothing(server, token):
    assert git(server, token, "ls-remote", "URL").returncode != 0


def test_a_read_only_token_reads_and_does_not_push(server):
    assert git(server, server.read_only_token, "ls-remote", "URL").returncode == 0
    refused = git(server, server.read_only_token, "push", "URL", "netpol-gen/one:refs/heads/x")
    assert refused.returncode != 0
    assert "403" in refused.stderr
    assert not server.git.head("x")


def test_a_protected_branch_takes_no_push(server):
    server.git.protect("main")
    refused = git(server, server.token, "push", "URL", "netpol-gen/one:main")
    assert refused.returncode != 0
    assert "GH006" in refused.stderr


def test_a_large_push_comes_in_chunks(server, tmp_path):
    big = tmp_path / "big"
    git(server, server.token, "clone", "--quiet", "URL", str(big))
    noise = "".join(f"{n * 2654435761 % 2**32:08x}" for n in range(400_000))
    (big / "noise").write_text(noise, encoding="utf-8")
    who = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    git(server, "", "-C", str(big), "add", ".")
    git(server, "", "-C", str(big), *who, "commit", "--quiet", "-m", "noise")
    pushed = git(server, server.token, "-C", str(big), "push", "URL", "HEAD:noise")
    assert pushed.returncode == 0, pushed.stderr
    assert len(server.git.files("noise")["noise"]) == len(noise)
