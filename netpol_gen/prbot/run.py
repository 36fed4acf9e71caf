"""One run for one submission: what it works with, and the steps that more than one course of it takes."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace

from netpol_gen.errors import InvariantError, OptionError, RemoteError, printable
from netpol_gen.prbot import branches, comments
from netpol_gen.prbot.forge import Forge, Request, RequestState
from netpol_gen.prbot.git import Author
from netpol_gen.prbot.marker import Proposal, proposal_in, same, sealed, unsealed
from netpol_gen.prbot.remote import Pushed, Refusal, Remote
from netpol_gen.prbot.submission import BRANCH_PREFIX, Submission, content_digest

NOT_NEEDED = "not-needed"
DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class Run:
    """What a run works with. `heads` are the commits of all branches of ours when it began, `base_head` the base's."""

    remote: Remote
    forge: Forge
    submission: Submission
    author: Author
    base_head: str
    heads: Mapping[str, str]

    @classmethod
    def begin(cls, remote: Remote, forge: Forge, submission: Submission, author: Author) -> Run:
        """Look at the remote; a `RemoteError` if the base lost the commit that the submission was made from."""
        check(submission)
        remote.check_name(submission.base)
        base_head = remote.fetch(submission.base)
        if not remote.is_ancestor(submission.base_commit, base_head):
            raise RemoteError(
                f"{printable(submission.base)} does not have {submission.base_commit[:12]} any more: run again"
            )
        return cls(remote, forge, submission, author, base_head, remote.branches(BRANCH_PREFIX))

    @property
    def prefix(self) -> str:
        """How the branches of the submission's scope begin."""
        return f"{BRANCH_PREFIX}{self.submission.scope[:8]}-"

    def mark_of(self, request: Request) -> Proposal | None:
        """The mark of a request that is ours: of this scope, on a branch of ours in the repository itself."""
        mark = proposal_in(request.body)
        ours = request.own and request.branch.startswith(BRANCH_PREFIX)
        return mark if ours and mark and mark.scope == self.submission.scope else None

    def requests(self) -> list[Request]:
        """The open requests of the scope, oldest first. Two runs at once may have opened several."""
        found = [request for request in self.forge.open_requests() if self.mark_of(request)]
        return sorted(found, key=lambda request: request.number)

    def declined(self) -> Request | None:
        """A request with the same content that people closed.

        It is looked for under the name that a new branch would get, and on the branches of the scope that are still
        there. Deleting the branch of an open request closes it too, and nobody can tell the two apart: both decline.
        """
        others = sorted(name for name in self.heads if name.startswith(self.prefix))
        for branch in dict.fromkeys([self.submission.branch, *others]):
            for request in self.forge.requests_of(branch):
                mark = self.mark_of(request)
                closed = request.state is RequestState.CLOSED and mark and not mark.closed
                if closed and mark and mark.content == self.submission.content:
                    return request
        return None

    def look(self, branch: str) -> branches.Found | None:
        """What lies on a branch of the remote; `None` if it is not there."""
        tip = self.heads.get(branch)
        return self.examine(tip) if tip else None

    def examine(self, tip: str) -> branches.Found:
        """What lies at a commit of the remote."""
        return branches.examine(self.remote, tip, self.submission.scope, self.submission.base, self.base_head)

    def commit(self) -> str:
        """The submission as a commit on the commit that it was made from; the same one whenever it is asked for."""
        asked, repository = self.submission, self.remote.repository
        message = branches.with_trailers(asked.message or asked.title, asked.scope, asked.content)
        made = repository.commit(asked.base_commit, asked.files, message, self.author)
        if same_ones := set(asked.files) - set(repository.changed(asked.base_commit, made)):
            raise InvariantError(f"submitted without a change: {', '.join(sorted(map(printable, same_ones))[:5])}")
        return made

    def push(self, branch: str, expect: str | None) -> str:
        """Put the submission on a branch that is at `expect`; the commit that the branch is at then."""
        # A rule for branches of this name may be meant for people: asked first, so that a token that is exempt from
        # it does not break it by accident.
        if self.forge.protected(branch):
            raise RemoteError(f"{branch} is protected: nothing is pushed to it")
        commit = self.commit()
        done = self.remote.push(commit, branch, expect)
        if isinstance(done, Pushed):
            return commit
        if done.reason is Refusal.DECLINED:
            raise RemoteError(f"{self.remote.shown} does not take {branch}: {done.said}")
        tip = self.remote.head(branch)
        if tip:
            found = self.examine(tip)
            if not found.foreign and found.content == self.submission.content:
                return tip
        raise RemoteError(f"somebody pushed to {branch} at the same time: run again")

    def body(self, commit: str) -> str:
        """The request's body, with the mark."""
        text = sealed(self.submission.body, Proposal(self.submission.scope, self.submission.content, commit))
        if len(text) > self.forge.body_limit:
            raise InvariantError(f"a body of {len(text)} characters, of {self.forge.body_limit} that are allowed")
        return text

    def close(self, request: Request, why: str, text: str) -> str:
        """Close a request of ours with a comment, and delete its branch; or say why it is left as it is.

        The mark says first that it is we who close it: killed after that, the next run goes on. It is looked at once
        more in the end, because a run at the same time may have written the text anew: without the mark, people would
        seem to have closed it.
        """
        found = self.look(request.branch)
        if found and found.foreign:
            return found.foreign
        mark = self.mark_of(request)
        if mark is None:
            raise InvariantError(f"asked to close {request.url}, which is not ours")
        self._mark_closed(request, mark, why)
        comments.put(self.forge, request.number, {comments.CLOSED: text})
        self.forge.close_request(request.number)
        latest = self.forge.request(request.number)
        self._mark_closed(latest, self.mark_of(latest) or mark, why)
        if found and not self._in_use(request.branch):
            self.remote.delete(request.branch, found.tip)
        return ""

    def _in_use(self, branch: str) -> bool:
        """Whether a request is open for a branch: somebody may have made another of it, to another base."""
        return _any_open(self.forge.requests_of(branch))

    def _mark_closed(self, request: Request, mark: Proposal, why: str) -> None:
        closing = sealed(unsealed(request.body), replace(mark, closed=why))
        if not same(closing, request.body):
            self.forge.edit_request(request.number, request.title, closing)

    def edit(self, request: Request, title: str, body: str) -> None:
        """Give an open request another title and body; a `RemoteError` if it was closed meanwhile.

        A live mark on a request that another run closed would make it look declined.
        """
        if self.forge.request(request.number).state is not RequestState.OPEN:
            raise RemoteError(f"{request.url} was closed at the same time: run again")
        self.forge.edit_request(request.number, title, body)

    def tidy(self, known: Container[str]) -> bool:
        """Delete branches of the scope that a killed run left, other than `known`. Whether there were any.

        Such a branch is ours and has either no request, never had one, and still has its name from its content; or
        its last request was closed by us. What people closed or merged is theirs to tidy.
        """
        tidied = False
        for branch, tip in self.heads.items():
            if branch in known or not branch.startswith(self.prefix):
                continue
            requests = self.forge.requests_of(branch)
            if _any_open(requests):
                continue
            mark = self.mark_of(requests[-1]) if requests else None
            if requests and not (mark and mark.closed and requests[-1].state is RequestState.CLOSED):
                continue
            found = self.examine(tip)
            if found.foreign or not (requests or branch == f"{self.prefix}{found.content[:12]}"):
                continue
            tidied |= isinstance(self.remote.delete(branch, tip), Pushed)
        return tidied


def _any_open(requests: Iterable[Request]) -> bool:
    return any(request.state is RequestState.OPEN for request in requests)


def check(submission: Submission) -> None:
    """What the one who made a submission promised; and that it does not go to a branch of ours."""
    if not re.fullmatch(r"[0-9a-f]{8,64}", submission.scope):
        raise InvariantError(f"{printable(submission.scope)} is not a digest")
    if submission.files and submission.content != content_digest(submission.files):
        raise InvariantError("the content of a submission is not the digest of its files")
    if submission.base.startswith(BRANCH_PREFIX):
        raise OptionError(f"{printable(submission.base)} is a branch of ours: no request goes to it")
