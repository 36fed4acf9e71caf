"""What a GitHub repository holds besides Git: pull requests, comments, labels, check runs, and who may do what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from tests.forge.repository import Bare


@dataclass(frozen=True)
class Account:
    """Who a token belongs to. `app` is the slug of the app that it acts for, empty for a person's token."""

    login: str
    write: bool = True
    app: str = ""

    @property
    def kind(self) -> str:
        return "Bot" if self.app else "User"


@dataclass
class Comment:
    id: int
    number: int
    login: str
    body: str
    kind: str = "User"
    created: int = 0
    updated: int = 0


@dataclass
class Pull:
    """A pull request. `fork` is the full name of the repository that its branch lies in, empty for the same one."""

    number: int
    login: str
    kind: str
    title: str
    body: str | None
    branch: str
    base: str
    head: str
    fork: str = ""
    fork_deleted: bool = False
    state: str = "open"
    merged: bool = False
    merge_commit: str | None = None
    labels: list[str] = field(default_factory=list)
    draft: bool = False
    created: int = 0
    updated: int = 0
    closed: int = 0


@dataclass
class CheckRun:
    id: int
    app: str
    name: str
    head: str
    status: str
    conclusion: str | None
    title: str | None = None
    summary: str | None = None
    text: str | None = None
    annotations: list[dict[str, Any]] = field(default_factory=list)
    external_id: str | None = None
    created: int = 0


@dataclass
class State:
    """Everything, and the ways in which others than the bot change it."""

    git: Bare
    default_branch: str = "main"
    pulls: dict[int, Pull] = field(default_factory=dict)
    comments: dict[int, Comment] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=lambda: {"bug": "d73a4a"})
    """Colours by name."""
    checks: dict[int, CheckRun] = field(default_factory=dict)
    rules: dict[str, list[str]] = field(default_factory=dict)
    """Types of the rules of rulesets that are active for a branch."""
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    ids: Iterator[int] = field(default_factory=lambda: count(1001))
    ticks: Iterator[int] = field(default_factory=lambda: count(1))

    def refresh(self) -> None:
        """What GitHub does after a push: heads follow their branches; without one a request is closed."""
        heads = self.git.heads()
        for pull in self.pulls.values():
            if pull.state != "open" or pull.fork:
                continue
            pull.head = heads.get(pull.branch, pull.head)
            if pull.branch not in heads:
                self.close(pull.number)
            elif pull.base in heads and self.git.contains(pull.base, pull.head):
                self.close(pull.number)
                pull.merged, pull.merge_commit = True, heads[pull.base]

    def open_pull(
        self,
        branch: str,
        base: str = "main",
        title: str = "A change",
        body: str | None = "",
        *,
        login: str = "mallory",
        kind: str = "User",
        fork: str = "",
    ) -> Pull:
        """A pull request of anybody's. One from a fork has a head that the repository itself does not know."""
        head = "f" * 40 if fork else self.git.head(branch)
        tick = next(self.ticks)
        pull = Pull(next(self.numbers), login, kind, title, body, branch, base, head, fork, created=tick, updated=tick)
        self.pulls[pull.number] = pull
        return pull

    def close(self, number: int) -> None:
        pull = self.pulls[number]
        if pull.state == "open":
            pull.state, pull.closed = "closed", next(self.ticks)

    def merge(self, number: int) -> str:
        """Merge a pull request of the repository itself, for real. Returns the merge commit's id."""
        self.refresh()
        pull = self.pulls[number]
        pull.merge_commit = self.git.merge(pull.head, pull.base)
        self.close(number)
        pull.merged = True
        return pull.merge_commit

    def say(self, number: int, body: str, *, login: str = "mallory", kind: str = "User") -> Comment:
        """A comment of anybody's."""
        tick = next(self.ticks)
        comment = Comment(next(self.ids), number, login, body, kind, tick, tick)
        self.comments[comment.id] = comment
        return comment

    def comments_of(self, number: int) -> list[Comment]:
        return [each for each in self.comments.values() if each.number == number]

    def open_pulls(self) -> list[Pull]:
        self.refresh()
        return [each for each in self.pulls.values() if each.state == "open"]
