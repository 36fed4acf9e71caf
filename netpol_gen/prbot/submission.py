"""What the bot is handed to carry out, and what it says it did: values only."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

BRANCH_PREFIX = "netpol-gen/"
"""Every branch of ours begins so; no other is ever pushed to."""


def content_digest(files: Mapping[str, bytes | None]) -> str:
    """The digest of files by path (`None`: goes), whatever their order. Modes are not in it: ours never change them."""
    digest = hashlib.sha256()
    for path, content in sorted(files.items()):
        name = os.fsencode(path)
        # Lengths first, so that no content can pass for the next file's path.
        digest.update(b"%d %d\n%s" % (len(name), -1 if content is None else len(content), name))
        digest.update(content or b"")
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Submission:
    """One proposal, ready to be a branch and a request.

    `scope` is a digest (hexadecimal) of what is proposed for (target branch, environments): there is one open request
    per scope. `content` is `content_digest(files)`. `files` are new contents by path in the repository, `None` for a
    file that goes, and each differs from what `base_commit` has; empty if nothing is proposed, and `reason` says why
    then. `base` is the branch that the request goes to, `base_commit` the commit that `files` were made from. `body`
    leaves room for a marker (`marker.ROOM`), each of `more`, the parts of a body too long for one, as well: those
    become comments of their own.
    """

    scope: str
    content: str
    base: str
    base_commit: str
    files: Mapping[str, bytes | None]
    title: str
    body: str
    more: tuple[str, ...] = ()
    message: str = ""
    """The commit's message, without the trailers that the bot adds."""
    labels: tuple[str, ...] = ()
    reason: str = ""

    @property
    def branch(self) -> str:
        """The name of a branch made for this content."""
        return f"{BRANCH_PREFIX}{self.scope[:8]}-{self.content[:12]}"


class Done(StrEnum):
    """What became of a submission."""

    OPENED = "opened"
    UPDATED = "updated"
    """The branch, the body or a comment of the open request is new."""
    UNCHANGED = "unchanged"
    """The open request already says all of it."""
    CLOSED = "closed"
    """The request was not needed any more."""
    NOTHING = "nothing"
    """Nothing to propose, and no request was open."""
    DECLINED = "declined"
    """People closed a request with the same content: it is not opened again."""
    HELD = "held"
    """The branch has commits of others, and is left as it is."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was done, with the request it is about (0 and empty if there is none). `notes` are sentences for people."""

    done: Done
    number: int = 0
    url: str = ""
    branch: str = ""
    commit: str = ""
    notes: tuple[str, ...] = ()
