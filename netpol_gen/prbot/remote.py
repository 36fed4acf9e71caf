"""A remote of a repository: its branches, what is fetched of them, and the one branch that is pushed.

Nothing is fetched into a branch or a remote-tracking branch of the user's, nor into FETCH_HEAD: commits are asked for
by name, which two runs in one clone can do at the same time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from netpol_gen.errors import InvariantError, OptionError, ReadOnlyError, RemoteError, printable
from netpol_gen.prbot.git import Repository, failed, text
from netpol_gen.prbot.process import REMOTE_SECONDS, Finished
from netpol_gen.prbot.submission import BRANCH_PREFIX

HEADS = "refs/heads/"


class Refusal(StrEnum):
    """Why a push was not taken."""

    STALE = "stale"
    """The branch is not where it was expected, or somebody else was writing it at that moment."""
    DECLINED = "declined"
    """A rule or a hook of the remote forbids it."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """The remote took it, or had it already."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The remote did not take it. `said` is what it said, printable."""

    reason: Refusal
    said: str


# What the remote or Git says when another push was faster. Everything else that is rejected is a rule.
RACES = re.compile(
    r"stale info|fetch first|non-fast-forward|cannot lock ref|failed to update ref|failed to lock|"
    r"reference already exists|incorrect old value|but expected",
    re.IGNORECASE,
)
FORBIDDEN = re.compile(
    r"returned error: 403|permission to \S+ denied|write access to repository not granted|marked as read.only|"
    r"not allowed to push|access denied|service not enabled",
    re.IGNORECASE,
)
UNKNOWN = re.compile(r"returned error: 401|authentication failed|could not read (username|password)", re.IGNORECASE)
MOVED = re.compile(r"returned error: 30[12378]|update url base from redirection", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Remote:
    """A remote by its name in the configuration, or by its address; make one with `Remote.of`."""

    repository: Repository
    name: str
    fetch_url: str
    push_url: str

    @classmethod
    def of(cls, repository: Repository, name: str) -> Remote:
        """The remote called `name`; an `OptionError` if it is none, or pushes to several places."""
        if not name or name.startswith("-") or not name.isprintable():
            raise OptionError(f"{printable(name) or 'an empty name'} is not a remote")
        fetch_url = repository.line("ls-remote", "--get-url", "--end-of-options", name)
        if name not in text(repository.out("remote")).split("\n"):
            if not re.search(r"[:/\\]", name):
                raise OptionError(f"{name} is not a remote of {printable(repository.top)}")
            return cls(repository, name, fetch_url, fetch_url)
        push_urls = text(repository.out("remote", "get-url", "--push", "--all", "--end-of-options", name)).splitlines()
        if len(push_urls) != 1:
            raise OptionError(f"remote {name} pushes to {len(push_urls)} addresses: name one that has the requests")
        return cls(repository, name, fetch_url, push_urls[0])

    @property
    def shown(self) -> str:
        """The remote's name for messages: an address may have a password in it."""
        return re.sub(r"(?<=://)[^/@]+@", "", self.name)

    def default_branch(self) -> str:
        """The branch that the remote's HEAD names."""
        done = self._call("ls-remote", "--symref", "--end-of-options", self.name, "HEAD")
        found = re.search(r"^ref: refs/heads/(.+)\tHEAD$", text(done.out), re.MULTILINE)
        if found is None:
            raise RemoteError(f"{self.shown} does not say which branch is its default")
        return found[1]

    def branches(self, prefix: str = "") -> dict[str, str]:
        """The commits of the branches whose names begin with `prefix`."""
        return self._listed(f"{HEADS}{prefix}*", prefix)

    def head(self, branch: str) -> str | None:
        """The commit of a branch; `None` if there is no such branch."""
        self.check_name(branch)
        return self._listed(f"{HEADS}{branch}", branch).get(branch)

    def _listed(self, pattern: str, prefix: str) -> dict[str, str]:
        done = self._call("ls-remote", "--heads", "--end-of-options", self.name, pattern)
        pairs = [line.partition("\t") for line in text(done.out).split("\n") if line]
        # A pattern matches the end of a name, so that refs/heads/x/refs/heads/y would be found for y.
        return {
            ref.removeprefix(HEADS): sha for sha, _, ref in sorted(pairs, key=str) if ref.startswith(HEADS + prefix)
        }

    def fetch(self, branch: str) -> str:
        """The commit of a branch, fetched; a `RemoteError` if there is no such branch."""
        sha = self.head(branch)
        if sha is None:
            raise RemoteError(f"{self.shown} has no branch {printable(branch)}")
        self.fetch_commit(sha)
        return sha

    def fetch_commit(self, sha: str) -> None:
        """Fetch a commit that is not here. In a shallow clone it comes without its history, as the others did."""
        if not self.repository.has(sha):
            self._fetch(*(["--depth=1"] if self.repository.shallow else []), commit=sha)

    def merge_base(self, one: str, other: str) -> str | None:
        """The best common ancestor of two commits; in a shallow clone the history that is missing is fetched."""
        here = self.repository.has(one) and self.repository.has(other)
        found = self.repository.merge_base(one, other) if here else None
        if found is None and self._deepened(one, other):
            found = self.repository.merge_base(one, other)
        return found

    def is_ancestor(self, old: str, new: str) -> bool:
        """Whether `new` has `old` in its history, or is it; where history is missing, it is fetched."""
        return self._is_ancestor(old, new) or (self._deepened(new) and self._is_ancestor(old, new))

    def _is_ancestor(self, old: str, new: str) -> bool:
        if not self.repository.has(old):
            return False
        done = self.repository.git.run(["merge-base", "--is-ancestor", old, new])
        if done.code > 1:
            raise failed("merge-base", done)
        return done.code == 0

    def _deepened(self, *commits: str) -> bool:
        if not self.repository.shallow:
            return False
        for commit in commits:
            # The first call may have made the clone a whole one; asking again would then be an error.
            if self.repository.shallow:
                self._fetch("--unshallow", commit=commit)
        return True

    def _fetch(self, *options: str, commit: str) -> None:
        quiet = ("--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--no-recurse-submodules")
        self._call("fetch", *quiet, *options, "--end-of-options", self.name, commit)

    def push(self, commit: str, branch: str, expect: str | None) -> Pushed | Rejected:
        """Put `commit` on a branch of ours that is at `expect` now (`None`: is not there)."""
        return self._push(commit, branch, expect)

    def delete(self, branch: str, expect: str) -> Pushed | Rejected:
        """Delete a branch of ours that is at `expect` now."""
        return self._push("", branch, expect)

    def _push(self, commit: str, branch: str, expect: str | None) -> Pushed | Rejected:
        self.check_name(branch)
        if not branch.startswith(BRANCH_PREFIX):
            raise InvariantError(f"asked to push to {branch}, which is none of ours")
        lease = f"--force-with-lease={HEADS}{branch}:{expect or ''}"
        # To the address: a push to a name moves the remote-tracking branch, which is the user's.
        options = ["push", "--porcelain", "--no-verify", "--no-follow-tags", lease, "--end-of-options", self.push_url]
        done = self._run(*options, f"{commit}:{HEADS}{branch}", url=self.push_url)
        for line in text(done.out).split("\n"):
            flag, _, rest = line.partition("\t")
            if flag == "!":
                return self._rejected(rest.partition("\t")[2], done)
        if done.code:
            raise self._error(done, writing=True)
        return Pushed()

    def _rejected(self, summary: str, done: Finished) -> Rejected:
        if not RACES.search(summary) and FORBIDDEN.search(done.err):
            raise self._error(done, writing=True)
        # A hook speaks on the other channel, and names the rule there.
        told = [line.removeprefix("remote:").strip() for line in done.err.splitlines() if line.startswith("remote:")]
        said = printable("; ".join([summary, *(line for line in told if line)]), 500)
        return Rejected(Refusal.STALE if RACES.search(summary) else Refusal.DECLINED, said)

    def check_name(self, branch: str) -> None:
        """An `OptionError` if Git would not take a branch of this name."""
        if not branch or self.repository.git.run(["check-ref-format", HEADS + branch]).code:
            raise OptionError(f"{printable(branch) or 'an empty name'} is not a branch name")

    def _call(self, *arguments: str) -> Finished:
        done = self._run(*arguments, url=self.fetch_url)
        if done.code:
            raise self._error(done, writing=False)
        return done

    def _run(self, *arguments: str, url: str) -> Finished:
        return self.repository.git.run(arguments, url=url, seconds=REMOTE_SECONDS)

    def _error(self, done: Finished, *, writing: bool) -> RemoteError:
        """The error of a failed call. A remote that hides what one may not see says 404, or asks who one is."""
        if FORBIDDEN.search(done.err):
            kind = ReadOnlyError if writing else RemoteError
            return kind(f"{self.shown}: may not be {'pushed to' if writing else 'read'}: {done.why}")
        if UNKNOWN.search(done.err):
            with_what = "the token" if self.repository.git.login else "no token"
            return RemoteError(f"{self.shown}: asks who this is, and {with_what} was not enough: {done.why}")
        if MOVED.search(done.err):
            return RemoteError(f"{self.shown}: has moved, and a token does not follow: change the remote's address")
        return RemoteError(f"{self.shown}: {done.why}")
