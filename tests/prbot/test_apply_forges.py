"""The courses of `apply` once more, over HTTP: Git's own server, and APIs held to what GitHub and GitLab publish.

What the forge in memory lets pass is judged here; and here runs are processes of their own.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from netpol_gen.errors import ReadOnlyError, RemoteError
from netpol_gen.prbot.connect import Kind, open_forge
from netpol_gen.prbot.process import Login
from netpol_gen.prbot.submission import Done
from tests.forge.github import GitHubServer
from tests.forge.gitlab import GitLabServer
from tests.prbot import test_apply
from tests.prbot.repos import FILES, THEN, Place, clone, environment
from tests.prbot.worlds import NEW, OTHER, World

pytestmark = pytest.mark.slow

TALK = {"labels": ("netpol", "bot"), "more": ("second", "third")}


@dataclass
class GitHubWorld(World):
    server: GitHubServer | None = None

    def last(self) -> int:
        return max(self.server.state.pulls, default=0)

    def close(self, number: int) -> None:
        self.server.state.close(number)

    def _merge(self, number: int) -> None:
        self.server.state.merge(number)

    def protect(self, branch: str) -> None:
        self.server.git.protect(branch)

    def changes(self) -> list[str]:
        """The requests so far that ask for a change."""
        api = [f"{each.method} {each.path}" for each in self.server.requests if each.method != "GET"]
        pushes = [each.path for each in self.server.git_requests if each.path.endswith("/git-receive-pack")]
        return api + pushes

    def quiet(self, files, **other):
        before = self.changes()
        outcome = super().quiet(files, **other)
        assert self.changes() == before
        return outcome


@dataclass
class GitLabWorld(GitHubWorld):
    server: GitLabServer | None = None

    def last(self) -> int:
        return max(self.server.merge_requests, default=0)

    def close(self, number: int) -> None:
        self.server.merge_requests[number].state = "closed"

    def _merge(self, number: int) -> None:
        self.server.merge(number)


WORLDS = {Kind.GITHUB: (GitHubServer, GitHubWorld), Kind.GITLAB: (GitLabServer, GitLabWorld)}


def made(kind: Kind, tmp_path: Path):
    env = environment(tmp_path / "home")
    server_of, world_of = WORLDS[kind]
    with server_of(tmp_path / "server") as server:
        server.git.commit("main", FILES, "seed")
        upstream = Place(server.git.path, env)
        person = clone(f"file://{upstream.path}", tmp_path / "person", env)
        person.git("update-index", "--chmod=+x", "k8s/run.sh")
        person.git("commit", "-qm", "mode", **THEN)
        person.git("checkout", "-q", ".")
        person.git("push", "-q", "origin", "main")
        bot = clone(f"file://{upstream.path}", tmp_path / "bot", env)
        bot.git("remote", "set-url", "origin", server.git_url)
        forge = open_forge(kind, server.repository, server.token, url=server.url)
        who = forge.git_login()
        yield world_of(upstream, person, bot, forge, Login(who.token, server.origin, who.user), server)
        forge.close()


@pytest.fixture
def world(tmp_path):
    yield from made(Kind.GITHUB, tmp_path)


@pytest.fixture
def lab(tmp_path):
    yield from made(Kind.GITLAB, tmp_path)


SCENARIOS = [
    test_apply.test_a_first_run_opens_a_request,
    test_apply.test_a_second_run_changes_nothing,
    test_apply.test_new_evidence_updates_the_same_request,
    test_apply.test_evidence_that_comes_back_goes_back,
    test_apply.test_only_what_is_said_may_change,
    test_apply.test_a_mark_inside_the_text_is_none,
    test_apply.test_a_merged_request_is_history,
    test_apply.test_two_scopes_do_not_meet,
    test_apply.test_names_bytes_and_modes_survive,
    test_apply.test_a_base_that_moved_elsewhere_leaves_the_branch,
    test_apply.test_a_branch_that_was_handed_back_is_ours_again,
    test_apply.test_what_people_closed_after_an_update_is_not_opened_again,
    test_apply.test_a_deleted_branch_closes_its_request_and_declines,
    test_apply.test_a_request_that_is_not_needed_is_closed_with_the_reason,
    test_apply.test_what_we_closed_may_be_opened_again,
    test_apply.test_nothing_to_propose_and_nothing_open,
    test_apply.test_a_lost_lease_is_read_again,
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__.removeprefix("test_"))
def test_on_github(world, scenario):
    scenario(world)


# GitLab leaves a request open whose branch is gone, so that nobody has declined anything.
@pytest.mark.parametrize(
    "scenario",
    [
        scenario
        for scenario in SCENARIOS
        if scenario is not test_apply.test_a_deleted_branch_closes_its_request_and_declines
    ],
    ids=lambda scenario: scenario.__name__.removeprefix("test_"),
)
def test_on_gitlab(lab, scenario):
    scenario(lab)


def test_on_gitlab_a_deleted_branch_is_pushed_again(lab):
    first = lab.run(NEW)
    lab.delete(first.branch)
    second = lab.run(NEW)
    assert (second.done, second.number, second.commit) == (Done.UPDATED, first.number, first.commit)
    assert lab.quiet(NEW).done is Done.UNCHANGED


@pytest.mark.parametrize("how", ["a commit on top", "amended"])
def test_a_branch_that_somebody_pushed_to_is_left(world, how):
    test_apply.test_a_branch_that_somebody_pushed_to_is_left(world, how, OTHER)


def test_a_read_only_token_is_an_error_that_changes_nothing(world):
    token = world.server.read_only_token
    world.login = Login(token, world.server.origin)
    with pytest.raises(ReadOnlyError, match="may not be pushed to"):
        world.run(NEW)
    assert world.requests() == []
    assert world.branches() == set()


def test_a_protected_branch_is_not_pushed_to(world):
    # A rule for a branch that is yet to be is seen only by who pushes.
    asked = world.ask(NEW)
    world.protect(asked.branch)
    with pytest.raises(RemoteError, match="GH006: Protected branch update failed"):
        world.run(asked)
    assert world.requests() == []


def test_a_branch_that_was_protected_is_not_pushed_to(world):
    first = world.run(NEW)
    world.protect(first.branch)
    before = world.changes()
    with pytest.raises(RemoteError, match="is protected: nothing is pushed to it"):
        world.run(OTHER)
    assert world.changes() == before


def test_comments_of_others_are_left(world):
    first = world.run(NEW, more=("a",))
    theirs = world.server.state.say(first.number, "<!-- netpol-gen:part 2 -->\nforged")
    world.run(NEW)
    assert [comment.id for comment in world.server.state.comments_of(first.number)] == [theirs.id]


def test_a_request_from_a_fork_is_not_ours(world):
    first = world.run(NEW)
    body = world.only().body
    world.close(first.number)
    world.delete(first.branch)
    world.server.state.open_pull(first.branch, body=body, fork="mallory/infra")
    assert world.quiet(NEW).done is Done.DECLINED
    second = world.run(OTHER)
    assert (second.done, second.number) == (Done.OPENED, 3)


# --- processes --------------------------------------------------------------------------------------------------------

PROGRAM = """
import os, sys
from pathlib import Path
from netpol_gen.errors import RemoteError
from netpol_gen.prbot.github import GitHub
from netpol_gen.prbot.process import Login
from tests.prbot.repos import Place
from tests.prbot.worlds import NEW, OTHER, World
root, name, files, url, git_origin, repository = sys.argv[1:]
token = os.environ.pop("TOKEN")
places = [Place(Path(root, each), dict(os.environ)) for each in ("server/git/acme/infra.git", "person", name)]
world = World(*places, GitHub(repository, token, url), Login(token, git_origin))
asked = world.ask({"NEW": NEW, "OTHER": OTHER}[files], labels=("netpol", "bot"), more=("second", "third"))
print("ready", flush=True)
sys.stdin.readline()
try:
    print(world.run(asked).done)
except RemoteError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def start(world: GitHubWorld, tmp_path: Path, place: str, files: str) -> subprocess.Popen[str]:
    """A run in a process of its own, ready to go on."""
    env = dict(world.bot.environment) | {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "TOKEN": world.server.token,
    }
    arguments = [str(tmp_path), place, files, world.server.url, world.server.origin, world.server.repository]
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("second", ["NEW", "OTHER"], ids=["same input", "other input"])
def test_two_processes_at_once(tmp_path, world, second):
    other = clone(f"file://{world.upstream.path}", tmp_path / "second", world.bot.environment)
    other.git("remote", "set-url", "origin", world.server.git_url)
    runs = [start(world, tmp_path, "bot", "NEW"), start(world, tmp_path, "second", second)]
    for run in runs:
        run.stdin.write("go\n")
        run.stdin.flush()
    said = [run.communicate(timeout=120)[0] for run in runs]
    assert 0 in [run.returncode for run in runs], said
    assert {run.returncode for run in runs} <= {0, 3}, said
    files = {"NEW": NEW, "OTHER": OTHER}[second]
    world.run(files, **TALK)
    assert world.quiet(files, **TALK).done is Done.UNCHANGED
    assert len(world.requests()) == 1
    assert world.branches() == {world.only().branch}
    assert world.contents(world.only().branch) == {**FILES, "README.md": FILES["README.md"], **files}


@pytest.mark.parametrize("number", range(1, 8))
def test_a_process_killed_after_a_change(tmp_path, world, number):
    """SIGKILL to the process and its `git`, as soon as the server has made so many changes."""
    run = start(world, tmp_path, "bot", "NEW")
    run.stdin.write("go\n")
    run.stdin.flush()
    while len(world.changes()) < number and run.poll() is None:
        time.sleep(0.002)
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate(timeout=60)
    world.run(NEW, **TALK)
    assert world.quiet(NEW, **TALK).done is Done.UNCHANGED
    request = world.only()
    assert (request.number, request.labels) == (1, TALK["labels"])
    assert [re.sub("<.*>\n", "", body).strip() for body in world.comments(1)] == ["second", "third"]
    assert world.branches() == {request.branch}
