"""A forge in memory, over a real bare repository: quick enough to be killed at every step.

It behaves as GitHub does where the bot depends on it: a request whose branch is gone is closed, one branch has one open
request, and a request needs a commit that its base lacks. Its own truth is checked by running the same scenarios
against the server in `tests/forge`, whose answers follow GitHub's description of its API.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from netpol_gen.errors import RemoteError
from netpol_gen.prbot.forge import Check, Comment, Request, RequestState
from netpol_gen.prbot.git import Git
from tests.prbot.repos import Place

CHANGING = {
    "open_request",
    "edit_request",
    "close_request",
    "add_labels",
    "add_comment",
    "edit_comment",
    "delete_comment",
    "report_check",
    "push",
}


class Abort(BaseException):
    """The process ends here. As KeyboardInterrupt, so that nothing of ours catches it."""


class Steps:
    """Counts calls that reach the remote, and ends the run before or after the n-th."""

    def __init__(self, number: int = -1, when: str = "before"):
        self.number, self.when = number, when
        self.names: list[str] = []

    def take(self, name: str, call: Callable[[], object]):
        here = len(self.names) == self.number
        if here and self.when == "before":
            raise Abort(name)
        self.names.append(name)
        result = call()
        if here:
            raise Abort(name)
        return result

    @property
    def changes(self) -> list[str]:
        return [name for name in self.names if name in CHANGING]


class SteppedGit(Git):
    """`git`, with its pushes counted."""

    __slots__ = ("steps",)

    def run(self, arguments, **options):
        if arguments[0] != "push":
            return super().run(arguments, **options)
        return self.steps.take("push", lambda: Git.run(self, arguments, **options))


def stepped(git: Git, steps: Steps) -> SteppedGit:
    made = SteppedGit(git.directory, git.environment, git.login)
    object.__setattr__(made, "steps", steps)
    return made


class SteppedForge:
    """A forge, with every call counted."""

    def __init__(self, forge, steps: Steps):
        self.forge, self.steps = forge, steps

    def __getattr__(self, name):
        value = getattr(self.forge, name)
        if not callable(value):
            return value
        return lambda *arguments: self.steps.take(name, lambda: value(*arguments))


class MemoryForge:
    body_limit = 4000
    comment_limit = 3000

    def __init__(self, upstream: Place):
        self.upstream = upstream
        self.kept: dict[int, Request] = {}
        self.said: dict[int, list[Comment]] = {}
        self.rules: set[str] = set()
        self.lock = threading.RLock()
        self.last = 0

    def refresh(self) -> None:
        """What GitHub does by itself when branches change."""
        refs = self.upstream.refs()
        for number, request in self.kept.items():
            tip = refs.get(f"refs/heads/{request.branch}")
            if request.state is RequestState.OPEN and request.own:
                state = RequestState.OPEN if tip else RequestState.CLOSED
                self.kept[number] = replace(request, head=tip or request.head, state=state)

    def requests(self) -> list[Request]:
        with self.lock:
            self.refresh()
            return [request for _, request in sorted(self.kept.items())]

    def default_branch(self) -> str:
        return "main"

    def protected(self, branch: str) -> bool:
        return branch in self.rules

    def open_requests(self):
        return [request for request in self.requests() if request.state is RequestState.OPEN]

    def requests_of(self, branch: str):
        return [request for request in self.requests() if request.branch == branch and request.own]

    def request(self, number: int) -> Request:
        self.refresh()
        return self.kept[number]

    def open_request(self, branch: str, base: str, title: str, body: str) -> Request:
        with self.lock:
            for request in self.open_requests():
                if (request.branch, request.base) == (branch, base):
                    return request
            refs = self.upstream.refs()
            tip = refs.get(f"refs/heads/{branch}")
            if not tip or not int(self.upstream.git("rev-list", "--count", f"{base}..{tip}")):
                raise RemoteError("422: no commits between the two")
            self.last += 1
            url = f"https://forge.example/o/r/pull/{self.last}"
            self.kept[self.last] = Request(self.last, url, RequestState.OPEN, title, body, branch, base, tip, own=True)
            self.said[self.last] = []
            return self.kept[self.last]

    def edit_request(self, number: int, title: str, body: str) -> None:
        self.kept[number] = replace(self.kept[number], title=title, body=body)

    def close_request(self, number: int) -> None:
        self.kept[number] = replace(self.kept[number], state=RequestState.CLOSED)

    def add_labels(self, number: int, labels) -> None:
        self.kept[number] = replace(self.kept[number], labels=(*self.kept[number].labels, *labels))

    def comments(self, number: int):
        return list(self.said[number])

    def add_comment(self, number: int, body: str) -> Comment:
        with self.lock:
            comment = Comment(1 + sum(map(len, self.said.values())) + 100 * len(self.said[number]), body, ours=True)
            self.said[number].append(comment)
            return comment

    def edit_comment(self, number: int, comment: int, body: str) -> None:
        self.said[number] = [replace(each, body=body) if each.id == comment else each for each in self.said[number]]

    def delete_comment(self, number: int, comment: int) -> None:
        self.said[number] = [each for each in self.said[number] if each.id != comment]

    def report_check(self, check: Check) -> None:
        raise NotImplementedError

    # --- what people do ---

    def merge(self, number: int) -> None:
        """A squash, so that the branch's own commit stays outside the base."""
        request = self.request(number)
        tree = self.upstream.git("merge-tree", "--write-tree", request.base, request.head)
        made = self.upstream.git("commit-tree", tree, "-p", request.base, "-m", request.title)
        self.upstream.git("update-ref", f"refs/heads/{request.base}", made)
        self.kept[number] = replace(request, state=RequestState.MERGED)
