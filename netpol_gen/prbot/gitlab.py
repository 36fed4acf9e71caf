"""GitLab, gitlab.com and self-managed, through python-gitlab (docs/adr/0011)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from gitlab.v4.objects import Project

from netpol_gen.prbot.calls import (
    DEFAULT_LIMITS,
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
from netpol_gen.prbot.forge import Check, Comment, Conclusion, GitLogin, Request, RequestState
from netpol_gen.prbot.gitlab_failures import ERRORS, Client, explain

URL = "https://gitlab.com"
DESCRIPTION_LIMIT = 1_048_576
NOTE_LIMIT = 1_000_000
STATUS_LIMIT = 255

STATES = {"opened": RequestState.OPEN, "locked": RequestState.OPEN, "closed": RequestState.CLOSED}


class GitLab:
    """A project on GitLab. Implements `Forge`.

    `token` is a personal, project or group access token, or with `job_token` that of a CI job, which may read a few
    things and write none. `url` is the instance's address, without `/api/v4`.
    """

    def __init__(
        self,
        repository: str,
        token: str,
        url: str = URL,
        *,
        job_token: bool = False,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        """No request is sent yet.

        Raises:
            OptionError: an argument that cannot be right.

        """
        self._name = checked_repository(repository, 2, 21)
        self._token, self._job_token = checked_token(token), job_token
        self._id: int | None = None
        address = checked_url(url).removesuffix("/api/v4")
        # The links of pages are taken to lie below our own address, so that no answer leads the token elsewhere.
        self._client = Client(
            address,
            private_token=None if job_token else self._token,
            job_token=self._token if job_token else None,
            timeout=limits.timeout,
            per_page=100,
            user_agent="netpol-gen",
            keep_base_url=True,
        )
        self._client.watch()
        self._call = Caller(
            f"GitLab, {self._name}",
            ERRORS,
            lambda error, write: explain(self._client, error, write=write, job_token=job_token),
            Patience(limits.max_wait, limits.pause),
            [self._token],
        )

    def close(self) -> None:
        """Close idle connections."""
        self._client.session.close()

    def git_login(self) -> GitLogin:
        """What Git logs in with."""
        return GitLogin("gitlab-ci-token" if self._job_token else "oauth2", self._token)

    def _project(self) -> Project:
        """The project as a place to ask at: nothing is asked about itself."""
        return self._client.projects.get(self._name, lazy=True)

    def _me(self) -> int:
        """The id of the account that the token acts for; 0 for a job, whose token may not ask and not write."""
        if self._job_token:
            return 0
        if self._id is None:
            self._id = self._call("ask who the token belongs to", self._who)
        return self._id

    def _who(self) -> int:
        answer: Any = self._client.http_get("/user")
        return int(answer["id"])

    # --- Forge ---

    @property
    def body_limit(self) -> int:
        """Characters of a description."""
        return DESCRIPTION_LIMIT

    @property
    def comment_limit(self) -> int:
        """Characters of a note."""
        return NOTE_LIMIT

    def default_branch(self) -> str:
        """See `Forge`."""

        def read() -> str:
            return text(self._client.projects.get(self._name).attributes["default_branch"])

        return self._call("read the project", read)

    def protected(self, branch: str) -> bool:
        """See `Forge`."""

        def read() -> bool:
            return self._project().branches.get(branch).attributes["protected"] is True

        try:
            return self._call(f"read branch {branch}", read)
        except RefusalError as error:
            if error.status not in {403, 404}:
                raise
            return False

    def open_requests(self) -> Sequence[Request]:
        """See `Forge`."""
        return self._call("list the open merge requests", lambda: self._merge_requests(state="opened"))

    def requests_of(self, branch: str) -> Sequence[Request]:
        """See `Forge`."""
        found = self._call(
            f"list the merge requests of {branch}", lambda: self._merge_requests(state="all", source_branch=branch)
        )
        return [each for each in found if each.own and each.branch == branch]

    def _merge_requests(self, **wanted: str) -> list[Request]:
        found = self._project().mergerequests.list(iterator=True, order_by="created_at", sort="asc", **wanted)
        requests = [as_request(each.attributes) for each in found]
        # Two of the same second come in any order.
        return sorted(requests, key=lambda request: request.number)

    def request(self, number: int) -> Request:
        """See `Forge`."""
        return self._call(
            f"read merge request {number}", lambda: as_request(self._project().mergerequests.get(number).attributes)
        )

    def open_request(self, branch: str, base: str, title: str, body: str) -> Request:
        """See `Forge`."""
        wanted = {
            "source_branch": branch,
            "target_branch": base,
            "title": clean(title),
            "description": fitting(unquick(body), DESCRIPTION_LIMIT, "the description"),
        }
        try:
            return self._call(
                f"open a merge request for {branch}",
                lambda: as_request(self._project().mergerequests.create(wanted).attributes),
                write=True,
            )
        except RefusalError as error:
            # So answers GitLab a request whose first answer was lost, too.
            if error.status != 409 or "another open merge request already exists" not in error.problem.lower():
                raise
            found = [each for each in self.requests_of(branch) if each.state is RequestState.OPEN]
            for each in sorted(found, key=lambda request: request.base != base):
                return each
            raise

    def edit_request(self, number: int, title: str, body: str) -> None:
        """See `Forge`."""
        description = fitting(unquick(body), DESCRIPTION_LIMIT, "the description")
        self._change(number, {"title": clean(title), "description": description})

    def close_request(self, number: int) -> None:
        """See `Forge`. GitLab has no event for closing what is not open."""

        def closed() -> bool | None:
            return None if self.request(number).state is RequestState.OPEN else True

        def close() -> bool:
            self._project().mergerequests.update(number, {"state_event": "close"})
            return True

        if not closed():
            self._call(f"close merge request {number}", close, write=True, recover=closed)

    def add_labels(self, number: int, labels: Sequence[str]) -> None:
        """See `Forge`. GitLab makes those that are missing; a comma would make two of one."""
        if labels:
            self._change(number, {"add_labels": ",".join(clean(label).replace(",", ";") for label in labels)})

    def _change(self, number: int, values: Mapping[str, str]) -> None:
        self._call(
            f"change merge request {number}",
            lambda: self._project().mergerequests.update(number, dict(values)),
            write=True,
        )

    def comments(self, number: int) -> Sequence[Comment]:
        """See `Forge`, without the notes that GitLab itself leaves. What our account wrote is ours."""
        me = self._me()

        def read() -> list[Comment]:
            notes = self._notes(number).list(iterator=True, order_by="created_at", sort="asc")
            found = [as_comment(each.attributes, me) for each in notes if not each.attributes["system"]]
            return sorted(found, key=lambda comment: comment.id)

        return self._call(f"read the comments of merge request {number}", read)

    def _notes(self, number: int) -> Any:
        return self._project().mergerequests.get(number, lazy=True).notes

    def add_comment(self, number: int, body: str) -> Comment:
        """See `Forge`."""
        sent, me = fitting(unquick(body), NOTE_LIMIT, "the comment"), self._me()

        def add() -> Comment:
            return as_comment(self._notes(number).create({"body": sent}).attributes, me)

        def find() -> Comment | None:
            mine = [each for each in self.comments(number) if each.ours and same(unquick(each.body), sent)]
            return mine[-1] if mine else None

        return self._call(f"comment on merge request {number}", add, write=True, recover=find)

    def edit_comment(self, number: int, comment: int, body: str) -> None:
        """See `Forge`."""
        sent = fitting(unquick(body), NOTE_LIMIT, "the comment")
        self._call(
            f"edit comment {comment} of merge request {number}",
            lambda: self._notes(number).update(comment, {"body": sent}),
            write=True,
        )

    def delete_comment(self, number: int, comment: int) -> None:
        """See `Forge`."""
        try:
            self._call(
                f"delete comment {comment} of merge request {number}",
                lambda: self._notes(number).delete(comment),
                write=True,
            )
        except RefusalError as error:
            if error.status != 404:
                raise

    def report_check(self, check: Check) -> None:
        """See `Forge`. A commit status: GitLab knows no neutral one, no summary and no annotations."""
        state = "failed" if check.conclusion is Conclusion.FAILURE else "success"
        wanted = {"state": state, "name": clean(check.name), "description": clean(check.title)[:STATUS_LIMIT]}
        what = f"report check {check.name}"

        def stands() -> bool | None:
            """Whether the newest status of this name says so: GitLab adds one at each call, even the same again."""
            found = self._commit_statuses(check.head).list(name=wanted["name"], iterator=True)
            newest: Mapping[str, Any] = max((s.attributes for s in found), key=lambda s: int(s["id"]), default={})
            said = (newest.get("status"), newest.get("description") or "")
            return True if said == (state, wanted["description"]) else None

        def read() -> bool | None:
            return self._call(f"read the earlier {check.name} checks", stands)

        def make() -> bool:
            self._commit_statuses(check.head).create(wanted)
            return True

        if not read():
            self._call(what, make, write=True, recover=read)

    def _commit_statuses(self, head: str) -> Any:
        return self._project().commits.get(head, lazy=True).statuses


def as_request(merge_request: Mapping[str, Any]) -> Request:
    """A merge request as GitLab gives it."""
    state = RequestState.MERGED if merge_request["state"] == "merged" else STATES[merge_request["state"]]
    return Request(
        number=int(merge_request["iid"]),
        url=text(merge_request["web_url"]),
        state=state,
        title=text(merge_request["title"]),
        body=requick(as_stored(merge_request["description"])),
        branch=text(merge_request["source_branch"]),
        base=text(merge_request["target_branch"]),
        # None while a branch that was pushed a moment ago has not been looked at yet.
        head=merge_request["sha"] or "",
        # The source of a deleted fork is None.
        own=merge_request["source_project_id"] == merge_request["target_project_id"],
        labels=tuple(map(text, merge_request["labels"])),
    )


def as_comment(note: Mapping[str, Any], me: int) -> Comment:
    """A note as GitLab gives it."""
    author = note["author"] or {}
    return Comment(int(note["id"]), requick(as_stored(note["body"])), ours=bool(me) and author.get("id") == me)


def unquick(body: str) -> str:
    """A body in which no line is a quick action.

    GitLab carries out a line that begins with a slash and a word, with the rights of who wrote it: `/merge`, `/assign`.
    A blank before the slash makes it text, and cannot be seen.
    """
    return re.sub(r"(?m)^(?=[^\S\n]*/)", " ", body)


def requick(body: str) -> str:
    """What `unquick` was given."""
    return re.sub(r"(?m)^ (?=[^\S\n]*/)", "", body)


def text(value: object) -> str:
    """A text of an answer.

    Raises:
        TypeError: it is none, so the answer is not GitLab's.

    """
    if not isinstance(value, str):
        raise TypeError
    return value
