"""What the bot asks of GitHub, each method over a real connection, held to GitHub's description on both sides."""

from __future__ import annotations

import pytest

from netpol_gen.errors import OptionError, ReadOnlyError, RemoteError
from netpol_gen.prbot.calls import AppKey, Limits
from netpol_gen.prbot.connect import Kind, open_forge
from netpol_gen.prbot.forge import Annotation, Check, Conclusion, Level, RequestState
from tests.forge.github import GitHubServer

BRANCH = "netpol-gen/one"
QUICK = Limits(max_wait=5, timeout=2, pause=0.01)


def connect(server: GitHubServer, token: str | AppKey = "", **options):
    options = {"url": server.url, "limits": QUICK} | options
    return open_forge(Kind.GITHUB, server.repository, token or server.token, **options)


@pytest.fixture
def forge(server):
    forge = connect(server)
    yield forge
    forge.close()


# --- the repository ---


def test_the_default_branch(server, forge):
    server.state.default_branch = "trunk"
    assert forge.default_branch() == "trunk"


def test_a_branch_is_protected_by_a_rule_or_by_a_ruleset(server, forge):
    server.git.protect("main")
    server.state.rules[BRANCH] = ["pull_request", "deletion"]
    assert forge.protected("main")
    assert forge.protected(BRANCH)


def test_a_branch_without_rules_or_that_does_not_exist_is_not_protected(server, forge):
    assert not forge.protected(BRANCH)
    assert not forge.protected("no/such-branch")


def test_an_old_enterprise_server_has_no_rulesets(server, forge):
    server.fail_next(404, path="/rules/")
    assert not forge.protected("main")


# --- requests ---


def test_a_request_is_opened_read_edited_and_closed(server, forge):
    made = forge.open_request(BRANCH, "main", "Policies", "because")
    assert (made.number, made.state, made.branch, made.base) == (1, RequestState.OPEN, BRANCH, "main")
    assert (made.title, made.body, made.own, made.labels) == ("Policies", "because", True, ())
    assert made.head == server.git.head(BRANCH)
    assert forge.request(1) == made
    forge.edit_request(1, "Other", "text")
    assert (forge.request(1).title, forge.request(1).body) == ("Other", "text")
    forge.close_request(1)
    assert forge.request(1).state is RequestState.CLOSED
    forge.close_request(1)
    assert forge.open_requests() == []


def test_opening_again_returns_the_open_request(server, forge):
    first = forge.open_request(BRANCH, "main", "Policies", "because")
    server.git.commit(BRANCH, {"b": "2"}, "two")
    again = forge.open_request(BRANCH, "main", "New title", "new body")
    assert (again.number, again.title, len(server.state.pulls)) == (first.number, "Policies", 1)
    assert again.head == server.git.head(BRANCH)


def test_a_closed_request_of_the_branch_is_not_returned_for_an_open_one(server, forge):
    forge.open_request(BRANCH, "main", "Policies", "")
    forge.close_request(1)
    assert forge.open_request(BRANCH, "main", "Policies", "").number == 2


def test_a_request_without_commits_or_to_no_branch_is_an_error(server, forge):
    server.git.git("branch", "netpol-gen/same", "main")
    with pytest.raises(RemoteError, match="No commits between main and netpol-gen/same"):
        forge.open_request("netpol-gen/same", "main", "t", "b")
    with pytest.raises(RemoteError, match=r"PullRequest\.base invalid"):
        forge.open_request(BRANCH, "nowhere", "t", "b")


def test_a_merged_request(server, forge):
    server.state.open_pull(BRANCH)
    server.state.merge(1)
    assert forge.request(1).state is RequestState.MERGED


def test_a_request_from_a_fork_is_not_our_own_even_after_the_fork_is_gone(server, forge):
    server.state.open_pull(BRANCH, fork="mallory/infra")
    assert not forge.request(1).own
    server.state.pulls[1].fork_deleted = True
    assert not forge.request(1).own
    assert [each.own for each in forge.open_requests()] == [False]


def test_requests_of_a_branch_are_those_of_the_repository_in_any_state(server, forge):
    server.state.open_pull(BRANCH, fork="mallory/infra")
    # A fork in the same organisation: the filter of the API alone takes it in.
    server.state.open_pull(BRANCH, fork="acme/infra-fork")
    server.state.open_pull(BRANCH)
    server.state.close(3)
    server.state.open_pull(BRANCH)
    server.git.commit("netpol-gen/other", {"c": "3"}, "x", parent=server.git.head("main"))
    server.state.open_pull("netpol-gen/other")
    found = forge.requests_of(BRANCH)
    assert [(each.number, each.state) for each in found] == [(3, RequestState.CLOSED), (4, RequestState.OPEN)]


def test_more_requests_than_a_page_holds_oldest_first(server, forge):
    for number in range(230):
        server.state.open_pull(f"b{number}", fork="mallory/infra")
    found = forge.open_requests()
    assert [each.number for each in found] == list(range(1, 231))
    assert server.count("GET", r"/pulls\?") == 3


def test_a_request_that_is_not_there_names_the_repository(server, forge):
    with pytest.raises(RemoteError, match=r"GitHub, acme/infra: cannot read pull request 9: Not Found \(404\)"):
        forge.request(9)


def test_the_label_that_exists_in_another_spelling_is_not_made(server, forge):
    server.state.open_pull(BRANCH)
    forge.add_labels(1, ["Bug", "network policy", "größe/xl"])
    assert forge.request(1).labels == ("bug", "network policy", "größe/xl")
    forge.add_labels(1, ["bug"])
    forge.add_labels(1, [])
    assert forge.request(1).labels == ("bug", "network policy", "größe/xl")
    assert server.count("POST", r"/repos/acme/infra/labels$") == 2


def test_a_label_that_another_run_makes_meanwhile_is_fine(server, forge):
    server.state.open_pull(BRANCH)
    server.fail_next(404, path=r"/labels/bug$")
    forge.add_labels(1, ["bug"])
    assert forge.request(1).labels == ("bug",)


# --- comments ---


def test_comments_are_written_edited_and_deleted(server, forge):
    server.state.open_pull(BRANCH)
    made = forge.add_comment(1, "first")
    assert made.ours
    forge.edit_comment(1, made.id, "second")
    assert [(each.body, each.ours) for each in forge.comments(1)] == [("second", True)]
    forge.delete_comment(1, made.id)
    forge.delete_comment(1, made.id)
    assert forge.comments(1) == []


def test_only_what_our_account_wrote_is_ours(server, forge):
    server.state.open_pull(BRANCH)
    server.state.say(1, "<!-- netpol-gen -->\nsame marker", login="mallory")
    server.state.say(1, "<!-- netpol-gen -->", login="netpol-bot", kind="Bot")
    server.state.say(1, "<!-- netpol-gen -->", login="netpol-bot")
    assert [each.ours for each in forge.comments(1)] == [False, False, True]


def test_more_comments_than_a_page_holds_oldest_first(server, forge):
    server.state.open_pull(BRANCH)
    for number in range(205):
        server.state.say(1, f"comment {number}")
    assert [each.body for each in forge.comments(1)] == [f"comment {number}" for number in range(205)]
    assert server.count("GET", "/comments") == 3


def test_a_workflow_is_github_actions(server):
    forge = connect(server, server.actions_token)
    server.state.open_pull(BRANCH)
    server.state.say(1, "marker", login="github-actions", kind="User")
    forge.add_comment(1, "marker")
    assert [each.ours for each in forge.comments(1)] == [False, True]
    assert server.count("GET", "^/user$") == 1
    forge.close()


def test_a_login_that_is_given_is_not_asked_for(server):
    token = server.grant("ghs_" + "e5" * 18, "release-bot[bot]", app="release-bot")
    forge = connect(server, token, login="release-bot[bot]")
    server.state.open_pull(BRANCH)
    assert forge.add_comment(1, "x").ours
    assert server.count("GET", "^/user$") == 0
    forge.close()


# --- texts ---

HOSTILE = (
    "emoji 😀🏳️‍🌈 right-to-left \u202eabc, `code` ``` <!-- not closed, @everyone [x](javascript:alert(1)) "
    "\\u0000 \x1b[31m \x7f \u2028 ﷽ trailing\n\n| a | b |\n"
)


def test_any_text_survives_the_way_there_and_back(server, forge):
    made = forge.open_request(BRANCH, "main", "title 😀 \u202e", HOSTILE)
    assert made.body == HOSTILE
    forge.edit_request(1, "t", HOSTILE * 2)
    assert forge.request(1).body == HOSTILE * 2
    comment = forge.add_comment(1, HOSTILE)
    assert [each.body for each in forge.comments(1)] == [HOSTILE]
    forge.edit_comment(1, comment.id, "x")
    assert server.state.comments[comment.id].body == "x"


def test_what_no_forge_stores_is_marked(server, forge):
    assert forge.open_request(BRANCH, "main", "a\0b", "c\0d \ud800 e").body == "c\ufffdd \ufffd e"
    assert forge.request(1).title == "a\ufffdb"


def test_line_ends_of_a_browser_are_ours(server, forge):
    server.state.open_pull(BRANCH, body="a\r\nb\r\n")
    server.state.say(1, "c\r\nd")
    assert forge.request(1).body == "a\nb\n"
    assert forge.comments(1)[0].body == "c\nd"


def test_an_empty_body_is_an_empty_text(server, forge):
    server.state.open_pull(BRANCH, body=None)
    assert forge.request(1).body == ""


@pytest.mark.parametrize("character", ["x", "é", "😀"])
def test_the_limit_counts_characters(server, forge, character):
    most = character * forge.body_limit
    assert forge.open_request(BRANCH, "main", "t", most).body == most
    assert forge.add_comment(1, character * forge.comment_limit).body == most
    sent = len(server.requests)
    with pytest.raises(RemoteError, match="the body of the pull request has 65,537 characters"):
        forge.edit_request(1, "t", most + "x")
    with pytest.raises(RemoteError, match="the comment has 65,537 characters"):
        forge.add_comment(1, most + "x")
    assert len(server.requests) == sent


# --- checks ---


@pytest.fixture
def workflow(server):
    forge = connect(server, server.actions_token)
    yield forge
    forge.close()


def remark(number: int) -> Annotation:
    return Annotation(f"policies/{number}.yaml", number, Level.WARNING, f"title {number}", f"message {number}")


def check_of(server: GitHubServer, count: int = 0, **values) -> Check:
    remarks = tuple(remark(number) for number in range(1, count + 1))
    told = {
        "conclusion": Conclusion.NEUTRAL,
        "title": "3 findings",
        "summary": "**3** findings",
        "annotations": remarks,
    }
    return Check("netpol-gen", server.git.head(BRANCH), **told | values)


def test_a_check_is_reported(server, workflow):
    workflow.report_check(check_of(server, 2))
    (run,) = server.state.checks.values()
    assert (run.name, run.head, run.status, run.conclusion) == (
        "netpol-gen",
        server.git.head(BRANCH),
        "completed",
        "neutral",
    )
    assert (run.title, run.summary) == ("3 findings", "**3** findings")
    assert [each["start_line"] for each in run.annotations] == [1, 2]


def test_the_same_check_again_changes_nothing(server, workflow):
    workflow.report_check(check_of(server, 120))
    before = vars(next(iter(server.state.checks.values()))).copy()
    workflow.report_check(check_of(server, 120))
    (run,) = server.state.checks.values()
    assert vars(run) == before
    assert len(run.annotations) == 120


def test_fifty_annotations_at_a_time(server, workflow):
    workflow.report_check(check_of(server, 120))
    (run,) = server.state.checks.values()
    assert [each["start_line"] for each in run.annotations] == list(range(1, 121))
    assert (server.count("POST", "check-runs"), server.count("PATCH", "check-runs")) == (1, 2)


def test_a_check_that_says_more_updates_the_earlier_one(server, workflow):
    workflow.report_check(check_of(server, 2))
    workflow.report_check(check_of(server, 4, conclusion=Conclusion.FAILURE))
    (run,) = server.state.checks.values()
    assert (run.conclusion, len(run.annotations)) == ("failure", 4)


def test_a_check_that_takes_something_back_replaces_the_earlier_one(server, workflow):
    workflow.report_check(check_of(server, 3))
    workflow.report_check(check_of(server, 1, conclusion=Conclusion.SUCCESS))
    first, second = server.state.checks.values()
    assert len(first.annotations) == 3
    assert (second.conclusion, len(second.annotations)) == ("success", 1)


def test_the_check_of_another_app_is_left_alone(server, workflow):
    other = connect(server, server.grant("ghs_" + "f6" * 18, "x[bot]", app="x"), login="x[bot]")
    other.report_check(check_of(server, 1))
    workflow.report_check(check_of(server, 1))
    assert [run.app for run in server.state.checks.values()] == ["x", "github-actions"]
    other.close()


def test_long_texts_of_a_check_are_cut(server, workflow):
    long = Annotation("a", 0, Level.NOTICE, "t" * 300, "😀" * 20_000)
    workflow.report_check(check_of(server, summary="line 😀\n" * 20_000, title="t" * 300, annotations=(long, long)))
    (run,) = server.state.checks.values()
    assert len(run.summary) <= 65_535
    assert run.summary.endswith("more.\n")
    assert "line 😀\n\n… cut" in run.summary
    (sent,) = run.annotations
    assert (len(sent["title"]), sent["start_line"]) == (255, 1)
    assert len(sent["message"].encode()) <= 64_000
    workflow.report_check(check_of(server, summary="x", annotations=(long,)))
    assert len(server.state.checks) == 1


def test_a_personal_token_makes_no_checks(server, forge):
    with pytest.raises(ReadOnlyError, match=r"You must authenticate via a GitHub App"):
        forge.report_check(check_of(server))


# --- who asks ---


def test_an_app_becomes_an_installation(server):
    forge = connect(server, AppKey(server.app.id, server.app_key))
    made = forge.open_request(BRANCH, "main", "t", "b")
    assert forge.add_comment(made.number, "x").ours
    forge.report_check(check_of(server, 1))
    assert server.state.pulls[1].login == "netpol-app[bot]"
    assert forge.git_login().user == "x-access-token"
    assert forge.git_login().token in server.accounts
    forge.close()


def test_an_app_that_is_told_its_installation_does_not_ask_for_it(server):
    forge = connect(server, AppKey(server.app.id, server.app_key, server.app.installation))
    assert forge.default_branch() == "main"
    assert server.count("GET", "/installation$") == 0
    forge.close()


def test_a_key_that_is_none(server):
    with pytest.raises(OptionError, match="no RSA key in PEM form") as told:
        connect(server, AppKey(1, "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----"))
    assert told.value.__context__ is None
    assert "secret" not in repr(AppKey(1, "secret"))


def test_the_key_of_another_app(server):
    forge = connect(server, AppKey(1, server.app_key))
    with pytest.raises(RemoteError, match="the token is not accepted"):
        forge.default_branch()
    forge.close()


def test_an_enterprise_server(tmp_path):
    with GitHubServer(tmp_path, "team/repo", prefix="/api/v3") as server:
        server.git.commit(BRANCH, {"a": "1"}, "x", parent=server.git.head("main"))
        forge = connect(server)
        made = forge.open_request(BRANCH, "main", "t", "b")
        for number in range(120):
            server.state.say(made.number, str(number))
        assert len(forge.comments(made.number)) == 120
        assert forge.protected(BRANCH) is False
        assert all(each.path.startswith("/api/v3/") for each in server.requests)
        forge.close()


def test_git_logs_in_with_the_token(server, forge):
    login = forge.git_login()
    assert (login.user, login.token) == ("x-access-token", server.token)
    assert server.token not in repr(login)
