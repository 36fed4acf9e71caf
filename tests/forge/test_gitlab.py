"""What the bot asks of GitLab, each method over a real connection, held to its documentation on both sides."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netpol_gen.errors import OptionError, ReadOnlyError, RemoteError
from netpol_gen.prbot.calls import AppKey, Limits
from netpol_gen.prbot.connect import Kind, open_forge
from netpol_gen.prbot.forge import Check, Conclusion, RequestState
from netpol_gen.prbot.gitlab import requick, unquick
from tests.forge.gitlab import QUICK_ACTION, GitLabServer
from tests.forge.test_github import HOSTILE

BRANCH = "netpol-gen/one"
QUICK = Limits(max_wait=5, timeout=2, pause=0.01)


def connect(server: GitLabServer, token: str = "", **options):
    options = {"url": server.url, "limits": QUICK} | options
    return open_forge(Kind.GITLAB, server.repository, token or server.token, **options)


@pytest.fixture
def lab(tmp_path):
    with GitLabServer(tmp_path) as server:
        server.git.commit(BRANCH, {"policies/a.yaml": "a: 1\n"}, "one", parent=server.git.head("main"))
        yield server


@pytest.fixture
def forge(lab):
    forge = connect(lab)
    yield forge
    forge.close()


def test_the_default_branch(lab, forge):
    lab.default_branch = "trunk"
    assert forge.default_branch() == "trunk"


def test_protected_branches(lab, forge):
    lab.git.protect("main")
    assert forge.protected("main")
    assert not forge.protected(BRANCH)
    assert not forge.protected("no/such-branch")


def test_a_request_is_opened_read_edited_and_closed(lab, forge):
    made = forge.open_request(BRANCH, "main", "Policies", "because")
    assert (made.number, made.state, made.branch, made.base) == (1, RequestState.OPEN, BRANCH, "main")
    assert (made.title, made.body, made.own, made.labels) == ("Policies", "because", True, ())
    assert made.head == lab.git.head(BRANCH)
    assert forge.request(1) == made
    forge.edit_request(1, "Other", "text")
    assert (forge.request(1).title, forge.request(1).body) == ("Other", "text")
    forge.close_request(1)
    assert forge.request(1).state is RequestState.CLOSED
    forge.close_request(1)
    assert forge.open_requests() == []


def test_opening_again_returns_the_open_request(lab, forge):
    first = forge.open_request(BRANCH, "main", "Policies", "because")
    again = forge.open_request(BRANCH, "main", "New title", "new body")
    assert (again.number, again.title, len(lab.merge_requests)) == (first.number, "Policies", 1)


def test_a_merged_request_stays_merged(lab, forge):
    lab.open_merge_request(BRANCH)
    lab.merge(1)
    forge.close_request(1)
    assert forge.request(1).state is RequestState.MERGED


def test_own_and_fork(lab, forge):
    lab.open_merge_request(BRANCH, project=7)
    lab.open_merge_request(BRANCH, project=None)
    lab.open_merge_request(BRANCH)
    assert [each.own for each in forge.open_requests()] == [False, False, True]
    assert [each.number for each in forge.requests_of(BRANCH)] == [3]


def test_more_requests_and_notes_than_a_page_holds_oldest_first(lab, forge):
    for number in range(230):
        lab.open_merge_request(f"b{number}", project=7)
        lab.say(1, f"note {number}")
    assert [each.number for each in forge.open_requests()] == list(range(1, 231))
    assert [each.body for each in forge.comments(1)] == [f"note {number}" for number in range(230)]
    assert (lab.count("GET", r"merge_requests\?"), lab.count("GET", "/notes")) == (3, 3)


def test_labels(lab, forge):
    lab.open_merge_request(BRANCH)
    forge.add_labels(1, ["bug", "größe/xl, alles"])
    forge.add_labels(1, ["bug"])
    forge.add_labels(1, [])
    assert forge.request(1).labels == ("bug", "größe/xl; alles")


def test_comments(lab, forge):
    lab.open_merge_request(BRANCH)
    lab.say(1, "added 1 commit", username="netpol-bot", system=True)
    lab.say(1, "<!-- netpol-gen -->", username="mallory")
    made = forge.add_comment(1, "<!-- netpol-gen -->")
    forge.edit_comment(1, made.id, "second")
    assert [(each.body, each.ours) for each in forge.comments(1)] == [("<!-- netpol-gen -->", False), ("second", True)]
    forge.delete_comment(1, made.id)
    forge.delete_comment(1, made.id)
    assert len(forge.comments(1)) == 1


def test_any_text_survives_the_way_there_and_back(lab, forge):
    assert forge.open_request(BRANCH, "main", "title 😀", HOSTILE).body == HOSTILE
    assert forge.add_comment(1, HOSTILE).body == HOSTILE
    assert forge.comments(1)[0].body == HOSTILE
    forge.edit_request(1, "t", "a\0b")
    assert forge.request(1).body == "a\ufffdb"


ACTIONS = "text\n/merge\n  /close\n\t/assign @mallory\n/ no command\n```\n/approve\n```\n"


def test_no_text_of_ours_is_a_quick_action(lab, forge):
    assert forge.open_request(BRANCH, "main", "t", ACTIONS).body == ACTIONS
    forge.edit_request(1, "t", ACTIONS)
    made = forge.add_comment(1, ACTIONS)
    assert made.body == ACTIONS
    forge.edit_comment(1, made.id, ACTIONS)
    assert (forge.request(1).body, forge.comments(1)[0].body) == (ACTIONS, ACTIONS)
    assert lab.quick_actions == []


@given(st.text(st.sampled_from("/ \t\n\rmergeclose")))
def test_unquick_is_undone_and_leaves_no_action(body):
    assert requick(unquick(body)) == body
    assert not QUICK_ACTION.search(unquick(body))


def test_limits(lab, forge):
    assert forge.open_request(BRANCH, "main", "t", "😀" * forge.body_limit).body == "😀" * forge.body_limit
    assert len(forge.add_comment(1, "é" * forge.comment_limit).body) == forge.comment_limit
    sent = len(lab.requests)
    with pytest.raises(RemoteError, match="the description has 1,048,577 characters"):
        forge.edit_request(1, "t", "x" * forge.body_limit + "x")
    with pytest.raises(RemoteError, match="the comment has 1,000,001 characters"):
        forge.add_comment(1, "x" * forge.comment_limit + "x")
    assert len(lab.requests) == sent


def check_of(lab: GitLabServer, conclusion: Conclusion = Conclusion.NEUTRAL, title: str = "3 findings") -> Check:
    return Check("netpol-gen", lab.git.head(BRANCH), conclusion, title, "summary")


def test_checks_are_commit_statuses(lab, forge):
    forge.report_check(check_of(lab))
    forge.report_check(check_of(lab))
    assert [(each.name, each.state, each.description) for each in lab.statuses] == [
        ("netpol-gen", "success", "3 findings")
    ]
    forge.report_check(check_of(lab, Conclusion.FAILURE, "x" * 300))
    assert [(each.state, len(each.description or "")) for each in lab.statuses] == [("success", 10), ("failed", 255)]
    forge.report_check(check_of(lab, Conclusion.FAILURE, "x" * 300))
    assert len(lab.statuses) == 2


# --- faults ---

WRITES = {
    "open_request": lambda forge: forge.open_request(BRANCH, "main", "t", "b"),
    "edit_request": lambda forge: forge.edit_request(1, "t", "b"),
    "close_request": lambda forge: forge.close_request(1),
    "add_labels": lambda forge: forge.add_labels(1, ["bug"]),
    "add_comment": lambda forge: forge.add_comment(1, "x"),
    "edit_comment": lambda forge: forge.edit_comment(1, 1001, "x"),
    "delete_comment": lambda forge: forge.delete_comment(1, 1001),
    "report_check": lambda forge: forge.report_check(Check("netpol-gen", "a" * 40, Conclusion.SUCCESS, "t", "s")),
}


def prepared(lab: GitLabServer, name: str) -> None:
    if name != "open_request":
        lab.open_merge_request(BRANCH)
        lab.say(1, "x", username="guest")
        lab.say(1, "y", username="netpol-bot")


@pytest.mark.parametrize("name", WRITES)
def test_a_guest_may_not_write(lab, name):
    prepared(lab, name)
    forge = connect(lab, lab.read_only_token)
    with pytest.raises(ReadOnlyError, match=r"GitLab, acme/platform/infra: cannot .*403"):
        WRITES[name](forge)
    assert [each.body for each in lab.notes.values() if each.username == "netpol-bot"] in ([], ["y"])
    forge.close()


@pytest.mark.parametrize("name", WRITES)
def test_a_job_may_not_write(lab, name):
    prepared(lab, name)
    forge = connect(lab, lab.job_token, job_token=True)
    with pytest.raises(ReadOnlyError, match="use a project access token"):
        WRITES[name](forge)
    assert forge.git_login().user == "gitlab-ci-token"
    forge.close()


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429, "headers": {"Retry-After": "0"}},
        {"status": 502},
        {"status": 503, "html": "<html>down</html>"},
        {"status": 500, "after": True},
        {"cut": True},
        {"cut": True, "after": True},
    ],
    ids=str,
)
def test_a_fault_is_survived_and_nothing_is_done_twice(lab, forge, name, fault):
    prepared(lab, name)
    if name in {"edit_comment", "delete_comment"}:
        lab.notes[1001].username = "netpol-bot"
    before = len(lab.notes)
    method = {"open": "POST", "add_comment": "POST", "report": "POST", "delete": "DELETE"}
    verb = next((verb for start, verb in method.items() if name.startswith(start)), "PUT")
    lab.fail_next(**fault, method=verb)
    WRITES[name](forge)
    assert len(lab.merge_requests) == 1
    assert len(lab.notes) == before + {"add_comment": 1, "delete_comment": -1}.get(name, 0)
    assert len(lab.statuses) == (name == "report_check")


def test_a_limit_that_ends_in_time_is_waited_for(lab, forge):
    lab.fail_next(429, headers={"Retry-After": "1"})
    assert forge.default_branch() == "main"


@pytest.mark.parametrize(
    "headers",
    [{"Retry-After": "3600"}, {"RateLimit-Remaining": "0", "RateLimit-Reset": "33333333333"}],
    ids=str,
)
def test_a_limit_that_ends_too_late_says_when(lab, forge, headers):
    lab.fail_next(429, headers=headers)
    with pytest.raises(
        RemoteError, match=r"cannot read the project: .*try again after \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
    ):
        forge.default_branch()
    assert len(lab.requests) == 1


def test_no_answer_in_time(lab):
    forge = connect(lab, limits=Limits(max_wait=5, timeout=1, pause=0.01))
    lab.fail_next(delay=3)
    assert forge.default_branch() == "main"
    lab.fail_next(delay=3, times=9)
    with pytest.raises(RemoteError, match="no answer in time"):
        forge.default_branch()
    forge.close()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"status": 401}, r"401 Unauthorized \(401\): the token is not accepted"),
        ({"status": 403}, r"403 Forbidden \(403\)"),
        ({"status": 404}, r"404 Not Found \(404\): there is no such thing"),
        ({"status": 409, "message": "Conflict"}, r"Conflict \(409\)"),
        ({"status": 422, "message": "x\x1b[31m\ny"}, r"x\\x1b\[31m\\ny \(422\)"),
        ({"status": 200, "html": "<html>Sign in</html>"}, "the answer is not what GitLab's API gives"),
        ({"status": 302, "html": " ", "headers": {"Location": "http://localhost:1/x"}}, "the server leads elsewhere"),
    ],
    ids=str,
)
def test_what_is_final_is_said_at_once(lab, forge, fault, said):
    lab.fail_next(**fault)
    with pytest.raises(RemoteError, match=said) as told:
        forge.default_branch()
    assert not isinstance(told.value, ReadOnlyError)
    assert "acme/platform/infra" in str(told.value)
    assert len(lab.requests) == 1


def test_the_token_is_in_no_message_and_no_log(lab, forge, caplog):
    caplog.set_level("DEBUG")
    for fault in ({"status": 500, "times": 9}, {"cut": True, "times": 9}, {"status": 422}):
        lab.fail_next(**fault, message=f"your token {lab.token} is bad", path="^/projects/[^/]+$")
        with pytest.raises(RemoteError) as told:
            forge.default_branch()
        assert lab.token not in str(told.value)
        assert told.value.__context__ is None
    # What a server says may be logged by a library; what we sent may not.
    assert not [r for r in caplog.records if lab.token in r.getMessage()]
    assert lab.token not in repr(forge)
    assert lab.token not in repr(forge._call)


def test_what_cannot_be_right():
    with pytest.raises(OptionError, match="no apps with private keys"):
        open_forge(Kind.GITLAB, "a/b", AppKey(1, "x"))
    with pytest.raises(OptionError, match="is not the full name of a repository"):
        open_forge(Kind.GITLAB, "b", "t")


def test_git_reads_and_pushes_with_the_token(lab, forge):
    login = forge.git_login()
    url = lab.git_url.replace("://", f"://{login.user}:{login.token}@")
    environment = {"PATH": "/usr/bin:/bin", "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_GLOBAL": "/dev/null"}
    command = ["git", "push", "--quiet", url, f"{BRANCH}:refs/heads/two"]
    subprocess.run(command, env=environment, cwd=lab.git.path, check=True, capture_output=True)
    assert lab.git.head("two") == lab.git.head(BRANCH)
