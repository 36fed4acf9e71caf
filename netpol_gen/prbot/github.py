"""GitHub and GitHub Enterprise Server, through PyGithub (docs/adr/0011)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import jwt
from github import Auth, Github, GithubIntegration
from github.IssueComment import IssueComment
from github.Repository import Repository

from netpol_gen.errors import OptionError
from netpol_gen.prbot import github_failures
from netpol_gen.prbot.calls import (
    DEFAULT_LIMITS,
    AppKey,
    Caller,
    Limits,
    Patience,
    RefusalError,
    as_stored,
    checked_repository,
    checked_token,
    checked_url,
    clean,
    fitting,
    same,
)
from netpol_gen.prbot.forge import Check, Comment, GitLogin, Request, RequestState
from netpol_gen.prbot.github_checks import report

if TYPE_CHECKING:
    from github.PullRequest import PullRequest

URL = "https://api.github.com"
ACTIONS_LOGIN = "github-actions[bot]"
"""Who GITHUB_TOKEN of a workflow acts for: it may not ask who it is."""

# GitHub counts the characters of a request's body, beyond the basic plane too. A comment is limited to 262,144 bytes,
# which is as many characters of four bytes; the message of a refusal names the characters.
TEXT_LIMIT = 65_536
LABEL_COLOUR = "0e8a16"


def app_auth(key: AppKey) -> Auth.AppAuth:
    """An app, before it is an installation.

    Raises:
        OptionError: its private key cannot be used.

    """
    try:
        auth = Auth.AppAuth(key.app, key.private_key)
        auth.create_jwt()
    except (jwt.PyJWTError, ValueError, TypeError, AssertionError):
        auth = None
    # Outside, so that no exception about the key hangs on ours.
    if auth is None:
        raise OptionError("the private key of the GitHub App is no RSA key in PEM form")
    return auth


class GitHub:
    """A repository on GitHub. Implements `Forge`.

    `token` is a personal one, that of a workflow, or an app's key. `url` is the API's base, that of an Enterprise
    Server ends in `/api/v3`. `login` is who the token acts for, if that is known: GitHub tells it for a personal token
    only, and a workflow's is taken to be `github-actions[bot]`, under which all workflows of a repository write.
    """

    def __init__(
        self,
        repository: str,
        token: str | AppKey,
        url: str = URL,
        *,
        login: str = "",
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        """No request is sent yet.

        Raises:
            OptionError: an argument that cannot be right.

        """
        self._name = checked_repository(repository, 2, 2)
        self._url = checked_url(url)
        self._key = app_auth(token) if isinstance(token, AppKey) else None
        self._installation = token.installation if isinstance(token, AppKey) else 0
        secret = "" if isinstance(token, AppKey) else checked_token(token)
        self._auth: Auth.Auth | None = Auth.Token(secret) if secret else None
        self._login = login
        self._timeout = limits.timeout
        self._opened: Github | None = None
        self._call = Caller(
            f"GitHub, {self._name}",
            github_failures.ERRORS,
            github_failures.explain,
            Patience(limits.max_wait, limits.pause),
            [secret] if secret else [],
        )

    def close(self) -> None:
        """Close idle connections."""
        if self._opened is not None:
            self._opened.close()

    # --- the connection ---

    def _options(self) -> dict[str, Any]:
        # Pauses between requests are for those who send many; what is too much, GitHub says.
        return {
            "base_url": self._url,
            "timeout": self._timeout,
            "user_agent": "netpol-gen",
            "per_page": 100,
            "retry": None,
            "seconds_between_requests": None,
            "seconds_between_writes": None,
            "lazy": True,
        }

    def _github(self) -> Github:
        """The client, made at the first call: an app has to become an installation first."""
        if self._opened is not None:
            return self._opened
        if self._key is None:
            self._opened = Github(auth=self._auth, **self._options())
            return self._opened
        owner, _, name = self._name.partition("/")
        with GithubIntegration(auth=self._key, **self._options()) as app:
            self._login = self._login or f"{app.get_app().slug}[bot]"
            self._installation = self._installation or app.get_repo_installation(owner, name).id
        self._auth = Auth.AppInstallationAuth(self._key, self._installation)
        opened = Github(auth=self._auth, **self._options())
        # Fetched here, so that no message can quote it.
        self._call.secrets.append(self._auth.token)
        self._opened = opened
        return opened

    def _repo(self) -> Repository:
        """The repository as a place to ask at: nothing is asked about itself."""
        return self._github().get_repo(self._name)

    def git_login(self) -> GitLogin:
        """What Git logs in with. An app's is good for an hour."""

        def token() -> str:
            self._github()
            return "" if self._auth is None else self._auth.token

        return GitLogin("x-access-token", self._call("get a token for Git", token))

    def _me(self) -> str:
        """The login that the token acts for."""
        if not self._login:
            try:
                self._login = self._call("ask who the token belongs to", self._who)
            except RefusalError as error:
                if error.status != 403:
                    raise
                self._login = ACTIONS_LOGIN
        return self._login

    def _who(self) -> str:
        github = self._github()
        return self._login or str(github.get_user().login)

    # --- Forge ---

    @property
    def body_limit(self) -> int:
        """Characters of a request's body, one beyond the basic plane counting as one."""
        return TEXT_LIMIT

    @property
    def comment_limit(self) -> int:
        """Characters of a comment."""
        return TEXT_LIMIT

    def default_branch(self) -> str:
        """See `Forge`."""
        return self._call("read the repository", lambda: text(self._repo().default_branch))

    def protected(self, branch: str) -> bool:
        """By a rule of the branch, or by rulesets."""
        try:
            if self._call(f"read branch {branch}", lambda: flag(self._repo().get_branch(branch).protected)):
                return True
            return self._call(f"read the rules of branch {branch}", lambda: self._has_rules(branch))
        except RefusalError as error:
            # An Enterprise Server of before rulesets has no such address.
            if error.status not in {403, 404}:
                raise
            return False

    def _has_rules(self, branch: str) -> bool:
        repo = self._repo()
        _, rules = repo.requester.requestJsonAndCheck("GET", f"{repo.url}/rules/branches/{quote(branch, safe='')}")
        return bool(listed(rules))

    def open_requests(self) -> Sequence[Request]:
        """See `Forge`."""
        return self._call("list the open pull requests", lambda: self._pulls(state="open"))

    def requests_of(self, branch: str) -> Sequence[Request]:
        """See `Forge`."""
        head = f"{self._name.partition('/')[0]}:{branch}"
        found = self._call(f"list the pull requests of {branch}", lambda: self._pulls(state="all", head=head))
        # The filter takes forks of the same owner in, and GitHub ignores one that it does not understand.
        return [each for each in found if each.own and each.branch == branch]

    def _pulls(self, **wanted: str) -> list[Request]:
        return [as_request(each) for each in self._repo().get_pulls(sort="created", direction="asc", **wanted)]

    def request(self, number: int) -> Request:
        """See `Forge`."""
        return self._call(f"read pull request {number}", lambda: as_request(self._repo().get_pull(number).complete()))

    def open_request(self, branch: str, base: str, title: str, body: str) -> Request:
        """See `Forge`."""
        sent = fitting(body, TEXT_LIMIT, "the body of the pull request")
        title = clean(title)

        def open_one() -> Request:
            return as_request(self._repo().create_pull(base, branch, title=title, body=sent))

        try:
            return self._call(f"open a pull request for {branch}", open_one, write=True)
        except RefusalError as error:
            # So answers GitHub a request whose first answer was lost, too.
            if error.status != 422 or "pull request already exists" not in error.problem.lower():
                raise
            found = [each for each in self.requests_of(branch) if each.state is RequestState.OPEN]
            for each in sorted(found, key=lambda request: request.base != base):
                return each
            raise

    def edit_request(self, number: int, title: str, body: str) -> None:
        """See `Forge`."""
        sent = fitting(body, TEXT_LIMIT, "the body of the pull request")
        self._edit(number, title=clean(title), body=sent)

    def close_request(self, number: int) -> None:
        """See `Forge`."""
        self._edit(number, state="closed")

    def _edit(self, number: int, **values: Any) -> None:
        def edit() -> Request:
            pull = self._repo().get_pull(number)
            pull.edit(**values)
            # Read, because a page that a proxy puts in between is no answer.
            return as_request(pull)

        self._call(f"change pull request {number}", edit, write=True)

    def add_labels(self, number: int, labels: Sequence[str]) -> None:
        """See `Forge`."""
        if not labels:
            return
        for name in labels:
            self._make_label(name)

        def add() -> None:
            repo = self._repo()
            # PyGithub's own call sends a bare list, which GitHub takes but does not describe.
            address = f"{repo.url}/issues/{number}/labels"
            _, data = repo.requester.requestJsonAndCheck("POST", address, input={"labels": list(labels)})
            listed(data)

        self._call(f"label pull request {number}", add, write=True)

    def _make_label(self, name: str) -> None:
        try:
            self._call(f"read label {name}", lambda: text(self._repo().get_label(name).complete().name))
        except RefusalError as error:
            if error.status != 404:
                raise
        else:
            return
        try:
            self._call(
                f"make label {name}", lambda: text(self._repo().create_label(name, LABEL_COLOUR).name), write=True
            )
        except RefusalError as error:
            if error.status != 422 or "already_exists" not in error.problem:
                raise

    def comments(self, number: int) -> Sequence[Comment]:
        """See `Forge`. A comment is ours if our account wrote it: its text proves nothing."""
        me = self._me()

        def read() -> list[Comment]:
            return [as_comment(each, me) for each in self._repo().get_issue(number).get_comments()]

        return self._call(f"read the comments of pull request {number}", read)

    def add_comment(self, number: int, body: str) -> Comment:
        """See `Forge`."""
        sent, me = fitting(body, TEXT_LIMIT, "the comment"), self._me()

        def add() -> Comment:
            return as_comment(self._repo().get_issue(number).create_comment(sent), me)

        def find() -> Comment | None:
            return next((each for each in reversed(self.comments(number)) if each.ours and same(each.body, sent)), None)

        return self._call(f"comment on pull request {number}", add, write=True, recover=find)

    def edit_comment(self, number: int, comment: int, body: str) -> None:
        """See `Forge`."""
        sent = fitting(body, TEXT_LIMIT, "the comment")

        def edit() -> str:
            repo = self._repo()
            found = IssueComment(repo.requester, url=f"{repo.url}/issues/comments/{comment}")
            found.edit(sent)
            return text(found.body)

        self._call(f"edit comment {comment} of pull request {number}", edit, write=True)

    def delete_comment(self, number: int, comment: int) -> None:
        """See `Forge`."""

        def delete() -> None:
            repo = self._repo()
            _, data = repo.requester.requestJsonAndCheck("DELETE", f"{repo.url}/issues/comments/{comment}")
            if data is not None:
                raise TypeError

        try:
            self._call(f"delete comment {comment} of pull request {number}", delete, write=True)
        except RefusalError as error:
            if error.status != 404:
                raise

    def report_check(self, check: Check) -> None:
        """See `Forge`. Only an app's token, such as a workflow's, may: GitHub refuses a personal one."""
        report(self._call, self._repo, self._me().removesuffix("[bot]"), check)


def as_request(pull: PullRequest) -> Request:
    """A pull request as GitHub gives it."""
    state = RequestState.MERGED if pull.merged_at is not None else RequestState(text(pull.state))
    head, base = pull.head, pull.base
    # The head of a deleted fork has none, whatever the library's types say.
    origin: Any = head.repo
    own = origin is not None and origin.id == base.repo.id
    return Request(
        number=int(pull.number),
        url=text(pull.html_url),
        state=state,
        title=text(pull.title),
        body=as_stored(pull.body),
        branch=text(head.ref),
        base=text(base.ref),
        head=text(head.sha),
        own=own,
        labels=tuple(text(label.name) for label in pull.labels),
    )


def as_comment(comment: IssueComment, me: str) -> Comment:
    """A comment as GitHub gives it. One of a deleted account has no author."""
    user: Any = comment.user
    ours = user is not None and user.login == me and (user.type == "Bot") == me.endswith("[bot]")
    return Comment(int(comment.id), as_stored(comment.body), ours)


def text(value: object) -> str:
    """A text of an answer.

    Raises:
        TypeError: it is none, so the answer is not GitHub's.

    """
    if not isinstance(value, str):
        raise TypeError
    return value


def flag(value: object) -> bool:
    """A truth value of an answer.

    Raises:
        TypeError: it is none.

    """
    if not isinstance(value, bool):
        raise TypeError
    return value


def listed(value: object) -> list[object]:
    """A list of an answer.

    Raises:
        TypeError: it is none.

    """
    if not isinstance(value, list):
        raise TypeError
    return value
