"""What goes wrong between the bot and GitHub: refusals, limits, overload, silence. Nothing is done twice, or half."""

from __future__ import annotations

import time

import pytest

from netpol_gen.errors import ReadOnlyError, RemoteError
from netpol_gen.prbot.calls import Limits
from netpol_gen.prbot.forge import Annotation, Check, Conclusion, Level
from tests.forge.github import GitHubServer
from tests.forge.test_github import BRANCH, connect


@pytest.fixture
def forge(server):
    """With a token that may do everything."""
    forge = connect(server, server.actions_token)
    yield forge
    forge.close()


def check_of(forge) -> Check:
    remarks = tuple(Annotation("a.yaml", n, Level.NOTICE, "t", "m") for n in range(1, 121))
    return Check("netpol-gen", forge.requests_of(BRANCH)[0].head, Conclusion.SUCCESS, "t", "s", remarks)


WRITES = {
    "open_request": ("POST", r"/pulls$", lambda forge: forge.open_request(BRANCH, "main", "t", "b")),
    "edit_request": ("PATCH", r"/pulls/1$", lambda forge: forge.edit_request(1, "new", "b")),
    "close_request": ("PATCH", r"/pulls/1$", lambda forge: forge.close_request(1)),
    "make_label": ("POST", r"/infra/labels$", lambda forge: forge.add_labels(1, ["new label"])),
    "add_labels": ("POST", r"/issues/1/labels$", lambda forge: forge.add_labels(1, ["bug"])),
    "add_comment": ("POST", r"/comments$", lambda forge: forge.add_comment(1, "x")),
    "edit_comment": ("PATCH", r"/comments/1001$", lambda forge: forge.edit_comment(1, 1001, "new")),
    "delete_comment": ("DELETE", r"/comments/1001$", lambda forge: forge.delete_comment(1, 1001)),
    "make_check": ("POST", r"/check-runs$", lambda forge: forge.report_check(check_of(forge))),
    "edit_check": ("PATCH", r"/check-runs/\d+$", lambda forge: forge.report_check(check_of(forge))),
}
READS = {
    "default_branch": lambda forge: forge.default_branch(),
    "protected": lambda forge: forge.protected("main"),
    "open_requests": lambda forge: forge.open_requests(),
    "requests_of": lambda forge: forge.requests_of(BRANCH),
    "request": lambda forge: forge.request(1),
    "comments": lambda forge: forge.comments(1),
}
SECONDARY = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."


def prepared(server: GitHubServer, name: str) -> None:
    if name != "open_request":
        server.state.open_pull(BRANCH)
        server.state.say(1, "old", login="github-actions[bot]", kind="Bot")


# --- faults that pass ---

PASSING = [
    {"status": 429, "headers": {"Retry-After": "0"}},
    {"status": 403, "headers": {"Retry-After": "0"}, "message": SECONDARY},
    {"status": 403, "headers": {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"}, "message": "API rate limit …"},
    {"status": 500},
    {"status": 502, "html": "<html>Bad gateway</html>"},
    {"status": 503, "html": "<html>Unicorn!</html>", "after": True},
    {"status": 500, "after": True, "times": 2},
    {"cut": True},
    {"cut": True, "after": True},
    {"cut": True, "after": True, "times": 2},
]


@pytest.mark.parametrize("fault", PASSING, ids=str)
@pytest.mark.parametrize("name", WRITES)
def test_a_write_survives_a_fault_and_is_done_once(server, forge, name, fault):
    prepared(server, name)
    method, path, write = WRITES[name]
    server.fail_next(**fault, method=method, path=path)
    write(forge)
    state = server.state
    (pull,) = state.pulls.values()
    texts = [each.body for each in state.comments_of(1)]
    # What has taken effect already is found, and not asked for again.
    found = fault.get("after") and name in {"add_comment", "make_check"}
    assert server.count(method, path) == 1 if found else server.count(method, path) > 1
    assert (pull.title == "new") == (name == "edit_request")
    assert (pull.state == "closed") == (name == "close_request")
    assert pull.labels == {"make_label": ["new label"], "add_labels": ["bug"]}.get(name, [])
    assert texts == {
        "open_request": [],
        "add_comment": ["old", "x"],
        "edit_comment": ["new"],
        "delete_comment": [],
    }.get(name, ["old"])
    runs = [[each["start_line"] for each in run.annotations] for run in state.checks.values()]
    assert runs == ([list(range(1, 121))] if "check" in name else [])


@pytest.mark.parametrize("fault", PASSING, ids=str)
@pytest.mark.parametrize("name", READS)
def test_a_read_survives_a_fault(server, forge, name, fault):
    prepared(server, name)
    READS[name](forge)
    server.fail_next(**fault, method="GET", path="/repos/")
    again = READS[name](forge)
    assert again == READS[name](forge)


def test_a_fault_on_a_later_page_starts_over_and_gives_each_once(server, forge):
    for number in range(250):
        server.state.open_pull(f"b{number}", fork="mallory/infra")
    server.fail_next(502, path=r"/pulls$", method="GET")
    server.fail_next(cut=True, path=r"/pulls$", method="GET")
    assert [each.number for each in forge.open_requests()] == list(range(1, 251))


def test_an_earlier_comment_of_the_same_text_by_another_is_not_taken_for_ours(server, forge):
    prepared(server, "add_comment")
    server.state.say(1, "x", login="mallory")
    server.fail_next(cut=True, method="POST")
    made = forge.add_comment(1, "x")
    assert server.state.comments[made.id].login == "github-actions[bot]"
    assert len(server.state.comments_of(1)) == 3


# --- limits ---


def test_retry_after_is_waited_for(server, forge):
    server.fail_next(429, headers={"Retry-After": "1"})
    started = time.monotonic()
    forge.default_branch()
    assert time.monotonic() - started >= 1


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 429, "headers": {"Retry-After": "3600"}},
        {"status": 403, "headers": {"Retry-After": "3600"}, "message": SECONDARY},
        # Without a header GitHub wants a minute.
        {"status": 403, "message": SECONDARY},
        {"status": 403, "message": "You have triggered an abuse detection mechanism."},
        {"status": 403, "headers": {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "33333333333"}},
        {"status": 429, "headers": {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "33333333333"}},
        {"status": 429, "headers": {"Retry-After": "Fri, 31 Dec 2100 23:59:59 GMT"}},
    ],
    ids=str,
)
@pytest.mark.parametrize("write", [True, False])
def test_a_limit_that_ends_too_late_says_when(server, forge, fault, write):
    prepared(server, "edit_request")
    server.fail_next(**fault)
    said = r"GitHub, acme/infra: cannot .*; try again after \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, in \d+ s"
    with pytest.raises(RemoteError, match=said) as told:
        forge.close_request(1) if write else forge.default_branch()
    # A limit is no lack of rights.
    assert not isinstance(told.value, ReadOnlyError)
    assert len(server.requests) == 1


def test_all_waiting_together_is_bounded(server):
    forge = connect(server, limits=Limits(max_wait=2.5, timeout=2, pause=0.01))
    server.fail_next(429, headers={"Retry-After": "1"}, times=3)
    with pytest.raises(RemoteError, match="try again after"):
        forge.default_branch()
    assert len(server.requests) == 3
    forge.close()


def test_without_time_nothing_is_repeated(server):
    forge = connect(server, limits=Limits(max_wait=0, timeout=2))
    server.fail_next(500)
    with pytest.raises(RemoteError, match=r"Server Error \(500\) \(attempts: 1\)"):
        forge.default_branch()
    forge.close()


def test_overload_that_stays_is_given_up(server, forge):
    server.fail_next(503, html="<html>down</html>", times=99)
    with pytest.raises(RemoteError, match=r"cannot read the repository: <html>down</html> \(503\) \(attempts: 6\)"):
        forge.default_branch()
    assert len(server.requests) == 6


def test_no_answer_in_time(server):
    forge = connect(server, limits=Limits(max_wait=5, timeout=1, pause=0.01))
    server.state.open_pull(BRANCH)
    server.fail_next(delay=2.5)
    assert forge.default_branch() == "main"
    server.fail_next(delay=2.5, method="POST", path="comments")
    forge.add_comment(1, "once")
    assert [each.body for each in server.state.comments_of(1)] == ["once"]
    forge.close()


def test_a_server_that_is_not_there(server):
    forge = connect(server, url="http://127.0.0.1:1")
    with pytest.raises(RemoteError, match="cannot read the repository: no connection, or it broke"):
        forge.default_branch()
    forge.close()


# --- refusals ---


@pytest.mark.parametrize("name", [name for name in WRITES if name != "edit_check"])
@pytest.mark.parametrize(
    "message", ["", "Resource not accessible by personal access token", "Repository was archived so is read-only."]
)
def test_a_token_that_may_only_read(server, name, message):
    prepared(server, name)
    if name.endswith("check"):
        server.state.open_pull(BRANCH)
    method, path, write = WRITES[name]
    forge = connect(server, server.read_only_token)
    if message:
        server.fail_next(403, message=message, method=method, path=path)
    with pytest.raises(ReadOnlyError, match=message or "Resource not accessible by integration"):
        write(forge)
    for read in READS.values():
        if server.state.pulls:
            read(forge)
    forge.close()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"status": 401}, r"Bad credentials \(401\): the token is not accepted"),
        (
            {"status": 403, "message": "Resource protected by organization SAML enforcement."},
            r"SAML enforcement\. \(403\)",
        ),
        ({"status": 404}, r"Not Found \(404\): there is no such thing, or the token may not see it"),
        ({"status": 409}, r"Conflict \(409\)"),
        ({"status": 404, "message": "x\x1b[31m\ny"}, r"x\\x1b\[31m\\ny \(404\)"),
        ({"status": 200, "html": "<html>Sign in</html>"}, "the answer is not what GitHub's API gives"),
        ({"status": 200, "html": '{"half": '}, "the answer is not what GitHub's API gives"),
        (
            {"status": 301, "html": " ", "headers": {"Location": "http://localhost:1/x"}},
            "redirected from host 127.0.0.1",
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", READS)
def test_what_is_final_is_said_at_once(server, forge, name, fault, said):
    prepared(server, name)
    forge._login = "github-actions[bot]"
    if name == "protected" and fault["status"] in {403, 404}:
        return
    server.fail_next(**fault)
    with pytest.raises(RemoteError, match=said) as told:
        READS[name](forge)
    assert not isinstance(told.value, ReadOnlyError)
    assert "GitHub, acme/infra: cannot " in str(told.value)
    assert len(server.requests) == 1


@pytest.mark.parametrize("name", WRITES)
def test_a_page_of_a_proxy_is_no_success(server, forge, name):
    prepared(server, name)
    if "check" in name:
        server.state.open_pull(BRANCH)
    method, path, write = WRITES[name]
    server.fail_next(200, html="<html>Sign in</html>", method=method, path=path)
    with pytest.raises(RemoteError, match="the answer is not what GitHub's API gives"):
        write(forge)


@pytest.mark.parametrize("name", [name for name in WRITES if "check" not in name])
def test_a_refusal_of_a_write_is_said(server, forge, name):
    prepared(server, name)
    method, path, write = WRITES[name]
    for status in {409, 422} - ({422} if name == "delete_comment" else set()):
        server.fail_next(status, message="no, because", method=method, path=path)
        with pytest.raises(RemoteError, match=rf"no, because \({status}\)"):
            write(forge)


# --- the token ---


def everything_of(error: BaseException) -> str:
    """All that a reporter could print of an error: messages, arguments and attributes, down the chain."""
    seen, todo, texts = set(), [error], []
    while todo:
        each = todo.pop()
        if id(each) in seen or len(seen) > 2000:
            continue
        seen.add(id(each))
        texts.append(repr(each))
        todo += list(vars(each).values()) if hasattr(each, "__dict__") else []
        if isinstance(each, BaseException):
            todo += [*each.args, *(e for e in (each.__context__, each.__cause__) if e)]
        elif isinstance(each, dict):
            todo += [*each, *each.values()]
        elif isinstance(each, list | tuple):
            todo += each
    return "\n".join(texts)


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 500, "times": 9},
        {"status": 401},
        {"status": 403},
        {"status": 404},
        {"status": 422},
        {"status": 200, "html": "<html>{token}</html>"},
        {"status": 502, "html": "<html>{token}</html>", "times": 9},
        {"cut": True, "times": 9},
        {"delay": 9.0, "times": 9},
    ],
    ids=str,
)
def test_the_token_is_in_no_error_no_log_and_no_repr(server, caplog, fault):
    caplog.set_level("DEBUG")
    forge = connect(server, limits=Limits(max_wait=2, timeout=1, pause=0.01))
    if "html" in fault:
        fault = fault | {"html": fault["html"].format(token=server.token)}
    quoted = {"message": f"the token {server.token} is bad"} if "html" not in fault else {}
    server.fail_next(**fault, **quoted, method="POST", path="/pulls$")
    with pytest.raises(RemoteError) as told:
        forge.open_request(BRANCH, "main", "t", "b")
    assert server.token not in everything_of(told.value)
    assert told.value.__context__ is None
    sent = [record.getMessage() for record in caplog.records if "the token" not in record.getMessage()]
    assert not [line for line in sent if server.token in line and "<html>" not in line]
    assert server.token not in repr(forge) + repr(vars(forge)["_call"])
    forge.close()


def test_what_people_are_told_has_no_escapes(server, forge):
    server.fail_next(404, message="\x1b]8;;http://evil\x07 \u202e")
    with pytest.raises(RemoteError) as told:
        forge.default_branch()
    assert str(told.value).isprintable()
