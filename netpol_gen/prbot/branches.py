"""Whether a branch is still ours: only then is it moved or deleted.

A branch is ours if all of it is one commit of ours, on the base. That is read from the commit itself, and not from a
record of what was pushed: a run that was killed leaves none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from netpol_gen.errors import printable
from netpol_gen.prbot.git import EXECUTABLE, PLAIN, Change, Commit, Repository
from netpol_gen.prbot.remote import Remote
from netpol_gen.prbot.submission import content_digest

_TRAILERS = re.compile(r"\n\nNetpol-Gen-Scope: ([0-9a-f]+)\nNetpol-Gen-Content: ([0-9a-f]+)\n\Z")


@dataclass(frozen=True, slots=True)
class Found:
    """What a branch has. `foreign` says why it is not ours, and is empty if it is; the rest is known only then."""

    tip: str
    parent: str = ""
    content: str = ""
    foreign: str = ""


def with_trailers(message: str, scope: str, content: str) -> str:
    """A commit's message, with what makes the commit ours at its end."""
    return f"{message.strip()}\n\nNetpol-Gen-Scope: {scope}\nNetpol-Gen-Content: {content}\n"


def examine(remote: Remote, tip: str, scope: str, base: str, base_head: str) -> Found:
    """What lies at `tip`, a commit of the remote, and whether it is a proposal of ours for `scope` on `base`."""
    repository = remote.repository
    remote.fetch_commit(tip)
    commit = repository.read_commit(tip)
    whose = f"its last commit, {tip[:12]} by {printable(_name(commit), 60)},"
    trailers = _TRAILERS.search(commit.message)
    if len(commit.parents) != 1:
        return Found(tip, foreign=f"{whose} is a merge" if commit.parents else f"{whose} has no parent")
    if trailers is None or trailers[1] != scope:
        return Found(tip, foreign=f"{whose} is not one of this proposal")
    parent = commit.parents[0]
    remote.fetch_commit(parent)
    # Ours are committed by their author at the time of their parent. Who amends or rebases leaves a name or a time.
    if commit.author != commit.committer or commit.time != repository.read_commit(parent).time:
        return Found(tip, foreign=f"{whose} was amended")
    if _digest(repository, repository.changes(parent, tip)) != trailers[2]:
        return Found(tip, foreign=f"{whose} has other files than it says")
    if not remote.is_ancestor(parent, base_head):
        return Found(tip, foreign=f"it stands on commit {parent[:12]}, which {printable(base)} does not have")
    return Found(tip, parent, trailers[2])


def _name(commit: Commit) -> str:
    return commit.committer.rpartition(" <")[0]


def _digest(repository: Repository, changes: tuple[Change, ...]) -> str:
    """The digest of what a commit did; empty if it did what ours never do: other modes, links, submodules."""
    for change in changes:
        usual = change.old.mode if change.old else PLAIN
        if usual not in {PLAIN, EXECUTABLE} or (change.new and change.new.mode != usual):
            return ""
    blobs = repository.blobs(change.new.sha for change in changes if change.new)
    return content_digest({change.path: blobs[change.new.sha] if change.new else None for change in changes})
