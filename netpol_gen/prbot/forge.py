"""What the bot needs of a forge: requests, comments, labels and checks. One module per forge implements it.

A *request* is what GitHub calls a pull request and GitLab a merge request. Nothing here merges, approves, or touches a
branch: branches are Git's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class RequestState(StrEnum):
    """Where a request is in its life."""

    OPEN = "open"
    CLOSED = "closed"
    MERGED = "merged"


@dataclass(frozen=True, slots=True)
class Request:
    """A request. `branch` is its head branch, `head` that branch's commit as the forge knows it.

    `own` says that the branch lies in the repository itself, not in a fork: only such a request can be ours, whatever
    its body claims.
    """

    number: int
    url: str
    state: RequestState
    title: str
    body: str
    branch: str
    base: str
    head: str
    own: bool
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment on a request. `ours` if the account that the token belongs to wrote it: nobody else's is edited."""

    id: int
    body: str
    ours: bool


class Conclusion(StrEnum):
    """How a check ended."""

    SUCCESS = "success"
    NEUTRAL = "neutral"
    FAILURE = "failure"


class Level(StrEnum):
    """How bad an annotated line is."""

    NOTICE = "notice"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Annotation:
    """A remark on a line (from 1) of a file of the repository. Texts are plain."""

    path: str
    line: int
    level: Level
    title: str
    message: str


@dataclass(frozen=True, slots=True)
class Check:
    """A finished check of commit `head`. `summary` is Markdown; a forge without annotations leaves them out."""

    name: str
    head: str
    conclusion: Conclusion
    title: str
    summary: str
    annotations: tuple[Annotation, ...] = ()


@dataclass(frozen=True, slots=True)
class GitLogin:
    """What Git logs in with over HTTP. It goes to a credential helper: never into argv, a URL or a file."""

    user: str
    token: str = field(repr=False)


class Forge(Protocol):
    """A repository on a forge, reached with one token.

    Every method raises `ReadOnlyError` where the token may read but not do this, and `RemoteError` for everything else
    that goes wrong remotely, after the retries that are due (rate limits, overload, time-outs). What changes something
    is safe to repeat: a caller that was killed half-way calls again.
    """

    @property
    def body_limit(self) -> int:
        """Characters that a request's body may have, as `len` counts them; a longer one is a `RemoteError`."""

    @property
    def comment_limit(self) -> int:
        """Characters that a comment may have, counted likewise."""

    def git_login(self) -> GitLogin:
        """What Git logs in with."""

    def default_branch(self) -> str:
        """The branch that requests go to unless told otherwise."""

    def protected(self, branch: str) -> bool:
        """Whether a branch is protected; False if it does not exist or the token may not know."""

    def open_requests(self) -> Sequence[Request]:
        """All open requests, oldest first."""

    def requests_of(self, branch: str) -> Sequence[Request]:
        """Requests of any state whose head is this branch of the repository itself, oldest first."""

    def request(self, number: int) -> Request:
        """One request."""

    def open_request(self, branch: str, base: str, title: str, body: str) -> Request:
        """Open a request, or return the open one that this branch already has."""

    def edit_request(self, number: int, title: str, body: str) -> None:
        """Give a request another title and body."""

    def close_request(self, number: int) -> None:
        """Close a request without merging it; one that is closed already stays so."""

    def add_labels(self, number: int, labels: Sequence[str]) -> None:
        """Add labels to a request; those that the repository lacks are made."""

    def comments(self, number: int) -> Sequence[Comment]:
        """All comments of a request, oldest first."""

    def add_comment(self, number: int, body: str) -> Comment:
        """Write a comment."""

    def edit_comment(self, number: int, comment: int, body: str) -> None:
        """Replace the text of a comment."""

    def delete_comment(self, number: int, comment: int) -> None:
        """Delete a comment; one that is gone already is no error."""

    def report_check(self, check: Check) -> None:
        """Report a check, replacing an earlier one of the same name and commit."""
