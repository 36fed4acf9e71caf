"""Hidden marks in the texts that are ours, by which a later run knows them again.

They are HTML comments, which no forge shows. What they say is checked, never trusted: who may write in the repository
may write them too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

ROOM = 400
"""Characters that a mark may take: the body of a request or a comment must leave as many."""

_START = "<!-- netpol-gen:"
_PROPOSAL = re.compile(
    r"<!-- netpol-gen:proposal scope=([0-9a-f]{8,64}) content=([0-9a-f]{12,64}) commit=([0-9a-f]{40,64})"
    r"(?: closed=([a-z-]{1,20}))? -->"
)
_COMMENT = re.compile(
    r"<!-- netpol-gen:(part [1-9][0-9]{0,3}|held|closed|(?:review|proposal)(?: [1-9][0-9]{0,3})?) -->(?:\r?\n|$)"
)


@dataclass(frozen=True, slots=True)
class Proposal:
    """The mark in a request's body. `closed` says why we closed it; people who close it leave it empty."""

    scope: str
    content: str
    commit: str
    closed: str = ""

    def __str__(self) -> str:
        """As it is written."""
        closed = f" closed={self.closed}" if self.closed else ""
        return f"{_START}proposal scope={self.scope} content={self.content} commit={self.commit}{closed} -->"


def sealed(body: str, proposal: Proposal) -> str:
    """A request's body with its mark at the end; what looks like one in the text itself is none any more."""
    return f"{disarmed(body).rstrip()}\n\n{proposal}\n"


def unsealed(body: str) -> str:
    """A request's body without marks."""
    return _PROPOSAL.sub("", body).rstrip()


def proposal_in(body: str) -> Proposal | None:
    """The mark of a request's body: the last, since ours stands at the end."""
    found = _PROPOSAL.findall(body)
    return Proposal(*found[-1]) if found else None


def marked(kind: str, body: str) -> str:
    """A comment of a kind: `part 2`, `held`, `closed`, `review`, `review 2`, `proposal`."""
    return f"{_START}{kind} -->\n{disarmed(body).rstrip()}\n"


def kind_of(body: str) -> str:
    """The kind of a comment that is ours; empty for others. The mark stands first, where no quotation puts it."""
    found = _COMMENT.match(body)
    return found[1] if found else ""


def disarmed(text: str) -> str:
    """Text from elsewhere, with marks in it made harmless."""
    return text.replace(_START, _START.replace("<!--", "<!-- -"))


def same(one: str, other: str) -> bool:
    """Whether two texts are the same to a forge, which may change the ends of lines and of the text."""
    return _plain(one) == _plain(other)


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n").strip()
