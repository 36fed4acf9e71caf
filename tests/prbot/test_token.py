"""The token over HTTP: it arrives where it is for, once, and is found nowhere else."""

from __future__ import annotations

import base64
import http.server
import os
import shutil
import threading

import pytest

from netpol_gen.errors import OptionError, ReadOnlyError, RemoteError
from netpol_gen.prbot.process import Login, origin_of
from netpol_gen.prbot.remote import Pushed, Refusal, Rejected, Remote
from tests.forge.github import GitHubServer
from tests.prbot.repos import BOT, Place, clone, environment, remote_of

BRANCH = "netpol-gen/0123abcd-456789abcdef"


class Watched(GitHubServer):
    """Keeps what Git sent to identify itself."""

    def __init__(self, root):
        root.mkdir()
        super().__init__(root)
        self.sent: list[list[str]] = []

    def _git(self, handler, *arguments):
        self.sent.append(handler.headers.get_all("Authorization") or [])
        return super()._git(handler, *arguments)


@pytest.fixture
def server(tmp_path):
    with Watched(tmp_path / "server") as found:
        yield found


@pytest.fixture
def user(tmp_path, server):
    """A clone as people have it: made from the disk, since they have no token."""
    place = clone(f"file://{server.git.path}", tmp_path / "user", environment(tmp_path / "home"))
    place.git("remote", "set-url", "origin", server.git_url)
    return place


def login(server: GitHubServer, token: str = "") -> Login:
    return Login(token or server.token, server.origin)


def forms(token: str) -> list[bytes]:
    return [token.encode(), base64.b64encode(f"x-access-token:{token}".encode())]


def push(remote: Remote, content: bytes = b"x") -> Pushed | Rejected:
    base = remote.fetch("main")
    made = remote.repository.commit(base, {"a": content}, "m", BOT)
    return remote.push(made, BRANCH, remote.head(BRANCH))


def test_with_the_token_one_may_read_and_push(server, user):
    remote = remote_of(user, login(server))
    server.git.commit("main", {"b": "1"}, "moved")
    assert remote.default_branch() == "main"
    assert push(remote) == Pushed()
    assert push(remote, b"y") == Pushed()
    assert server.git.head(BRANCH) == remote.head(BRANCH)
    assert remote.delete(BRANCH, server.git.head(BRANCH)) == Pushed()
    assert all(sent == [login(server).header.partition(": ")[2]] for sent in server.sent)


def test_the_token_is_in_no_argument_and_no_file(tmp_path, server, user):
    real = shutil.which("git")
    wrapper = tmp_path / "bin" / "git"
    wrapper.parent.mkdir()
    # Git's own trace names the arguments of the helpers that it starts.
    wrapper.write_text(f'#!/bin/sh\nGIT_TRACE={tmp_path}/trace GIT_TRACE_SETUP=1 exec {real} "$@"\n')
    wrapper.chmod(0o755)
    (tmp_path / "home/gitconfig").write_text(
        f"[trace2]\n normalTarget={tmp_path}/t1\n eventTarget={tmp_path}/t2\n perfTarget={tmp_path}/t3\n"
        " configParams=http.*\n envVars=GIT_CONFIG_VALUE_1,GITHUB_TOKEN\n"
    )
    env = environment(
        tmp_path / "home",
        PATH=f"{wrapper.parent}:{os.environ['PATH']}",
        GITHUB_TOKEN=server.token,
        GIT_TRACE_CURL=str(tmp_path / "curl"),
        GIT_TRACE_REDACT="0",
    )
    remote = remote_of(Place(user.path, env), login(server))
    assert push(remote) == Pushed()
    trace = (tmp_path / "trace").read_bytes()
    assert b"remote-http" in trace
    assert b"push --porcelain" in trace
    seen = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(seen) > 50
    for path in seen:
        for form in forms(server.token):
            assert form not in path.read_bytes(), path
    assert not any((tmp_path / name).exists() for name in ("curl", "t1", "t2", "t3"))


def test_the_token_variable_does_not_reach_git(tmp_path, server, user):
    wrapper = tmp_path / "bin" / "git"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nenv >> {tmp_path}/seen\nexec {shutil.which("git")} "$@"\n')
    wrapper.chmod(0o755)
    env = environment(tmp_path / "home", PATH=f"{wrapper.parent}:{os.environ['PATH']}", GITHUB_TOKEN=server.token)
    remote = remote_of(Place(user.path, env), login(server))
    remote.repository.dirty()
    seen = (tmp_path / "seen").read_text()
    assert server.token not in seen
    assert "GITHUB_TOKEN" not in seen
    (tmp_path / "seen").unlink()
    (user.path / ".gitattributes").write_text("* filter=f\n")
    remote.repository.dirty()
    assert forms(server.token)[1] not in (tmp_path / "seen").read_bytes(), "a filter may run"


@pytest.mark.parametrize("scope", ["/", "/acme/", "/acme/infra.git", "/acme/infra.git/"])
def test_another_token_in_the_configuration_is_not_sent(server, user, scope):
    # As CI systems leave it when they check out.
    other = base64.b64encode(f"x-access-token:{server.read_only_token}".encode()).decode()
    user.git("config", f"http.{server.origin}{scope}.extraheader", f"AUTHORIZATION: basic {other}")
    assert push(remote_of(user, login(server))) == Pushed()
    assert all(sent == [login(server).header.partition(": ")[2]] for sent in server.sent)


def test_no_token_is_sent_to_another_host(tmp_path, server, user):
    with Watched(tmp_path / "other") as other:
        mine = login(server)
        user.git("remote", "set-url", "origin", other.git_url)
        with pytest.raises(RemoteError, match="asks who this is"):
            remote_of(user, mine).fetch("main")
        user.git("remote", "set-url", "origin", server.git_url)
        user.git("config", f"url.{other.origin}/.insteadOf", f"{server.origin}/")
        with pytest.raises(RemoteError, match="asks who this is"):
            remote_of(user, mine).fetch("main")
        user.git("config", "--remove-section", f"url.{other.origin}/")
        user.git("remote", "set-url", "--push", "origin", other.git_url)
        remote = remote_of(user, mine)
        with pytest.raises(RemoteError, match="asks who this is"):
            remote.push(remote.fetch("main"), BRANCH, None)
        assert len(other.sent) >= 3
        assert not any(other.sent)


def test_a_redirect_is_not_followed(server, user):
    class Elsewhere(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(301)
            self.send_header("Location", server.origin + self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as old:
        thread = threading.Thread(target=old.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            origin = f"http://127.0.0.1:{old.server_port}"
            user.git("remote", "set-url", "origin", f"{origin}/acme/infra.git")
            for key in ("http.followRedirects", f"http.{origin}/acme/infra.git.followRedirects"):
                user.git("config", key, "true")
            with pytest.raises(RemoteError, match="has moved"):
                remote_of(user, Login(server.token, origin)).fetch("main")
        finally:
            old.shutdown()
            thread.join()
    assert server.sent == []


def test_a_wrong_token_is_an_error_without_it(tmp_path, server, user):
    asked = tmp_path / "asked"
    user.git("config", "credential.helper", f"!touch {asked}; echo username=x; echo password=")
    user.git("config", "core.askPass", f"touch {asked}")
    user.environment["GIT_ASKPASS"] = f"touch {asked}"
    wrong = "ghp_" + "z9" * 18
    with pytest.raises(RemoteError, match="the token was not enough") as told:
        remote_of(user, login(server, wrong)).fetch("main")
    assert not asked.exists(), "nobody else is asked"
    assert not any(form.decode() in str(told.value) for form in forms(wrong))


def test_no_token_is_an_error_that_says_so(server, user):
    with pytest.raises(RemoteError, match="no token was not enough"):
        remote_of(user).fetch("main")


def test_a_read_only_token_reads_and_says_that_it_may_not_push(server, user):
    remote = remote_of(user, login(server, server.read_only_token))
    with pytest.raises(ReadOnlyError, match=r"may not be pushed to.*403"):
        push(remote)
    assert server.git.head(BRANCH) == ""


def test_a_protected_branch_is_a_rule_that_is_named(server, user):
    server.git.protect(BRANCH)
    found = push(remote_of(user, login(server)))
    assert isinstance(found, Rejected)
    assert found.reason is Refusal.DECLINED
    assert "GH006: Protected branch update failed" in found.said


def test_a_password_in_an_address_is_not_shown(server, user):
    secret = "hunter2hunter2"  # noqa: S105 - a bad password is what the test is about
    user.git("remote", "set-url", "origin", server.git_url.replace("://", f"://me:{secret}@"))
    for name in ("origin", server.git_url.replace("://", f"://me:{secret}@")):
        with pytest.raises(RemoteError) as told:
            remote_of(user, name=name).fetch("main")
        assert secret not in str(told.value)


def test_shallow_over_http(tmp_path, server, user):
    for number in range(3):
        server.git.commit("main", {"n": str(number)}, "more")
    shallow = clone(f"file://{server.git.path}", tmp_path / "shallow", user.environment, "--depth=1")
    shallow.git("remote", "set-url", "origin", server.git_url)
    remote = remote_of(shallow, login(server))
    assert push(remote) == Pushed()
    assert remote.is_ancestor(server.git.git("rev-parse", "main~3"), remote.fetch("main"))


def test_representations_do_not_show_it(server, user):
    remote = remote_of(Place(user.path, {**user.environment, "GITHUB_TOKEN": server.token}), login(server))
    for form in forms(server.token):
        assert form.decode() not in repr(remote)


@pytest.mark.parametrize("token", ["", "a b", "a\nb", "a\rX-Evil: 1", "\x00"])
def test_a_token_that_would_break_a_header_is_refused(token):
    with pytest.raises(OptionError, match="the token is empty, or has") as told:
        Login(token, "https://forge.example")
    assert not token or token not in str(told.value)


@pytest.mark.parametrize("origin", ["", "forge.example", "ssh://git@forge.example", "https://", "https://a:x/"])
def test_a_token_is_for_a_web_address(origin):
    with pytest.raises(OptionError, match="is not a web address"):
        Login("t", origin)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://GitHub.com/o/r.git", "https://github.com"),
        ("https://github.com:443/o/r", "https://github.com"),
        ("https://me:pw@github.com/o/r", "https://github.com"),
        ("http://127.0.0.1:8080/x", "http://127.0.0.1:8080"),
        ("https://[::1]:8443/x", "https://[::1]:8443"),
        ("https://github.com@evil.example/o/r", "https://evil.example"),
        ("https://evil.example\\@github.com/", ""),
        ("git@github.com:o/r.git", ""),
        ("ssh://git@github.com/o/r", ""),
        ("/srv/git/x", ""),
        ("file:///srv/git/x", ""),
        ("https://a b/", ""),
        ("https://a/\nhttps://b/", ""),
    ],
)
def test_the_origin_of_an_address(url, origin):
    assert origin_of(url) == origin
