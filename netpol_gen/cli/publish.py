"""What becomes of a proposal: printed, attached, and with `--apply` a branch and a request, or a comment."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from netpol_gen import __version__
from netpol_gen.cli import bot
from netpol_gen.cli.output import put, say
from netpol_gen.errors import CheckFailedError, OptionError, ReadOnlyError, printable

if TYPE_CHECKING:
    from netpol_gen.prbot.ci import Surroundings
    from netpol_gen.prbot.forge import Check, Forge
    from netpol_gen.prbot.git import Author, Repository
    from netpol_gen.prbot.submission import Outcome, Submission
    from netpol_gen.proposal import Proposal
    from netpol_gen.report.parts import Section

LABEL = "netpol-gen"
AUTHOR = "netpol-gen <noreply@netpol-gen.invalid>"
CHECK = "netpol-gen proposal"
_AUTHOR = re.compile(r"\s*([^<>]+?)\s*<([^<>\s]+)>\s*")
_BREAKING = "it would deny what was observed, and is not proposed (--allow-breaking)"


class ProposeFormat(StrEnum):
    """Forms of a proposal."""

    MARKDOWN = "md"
    PATCH = "patch"
    JSON = "json"
    SARIF = "sarif"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Options of the command that say what happens with the result."""

    apply: bool
    allow_breaking: bool
    exit_code: bool
    author: str
    form: ProposeFormat
    artifacts: Path | None
    quiet: bool


def publish(proposal: Proposal, repository: Repository, remote: str, around: Surroundings, wanted: Wanted) -> int:
    """Print it, attach it, and carry it out if that was asked for.

    Returns:
        The exit code.

    Raises:
        CheckFailedError: it would break something, and that was not allowed.

    """
    from netpol_gen.report.proposal import proposal_sections

    patch = repository.preview(proposal.base, proposal.files) if proposal.files else ""
    sections = proposal_sections(proposal)
    forms = _forms(proposal, sections, patch)
    bot.attach(wanted.artifacts, forms, quiet=wanted.quiet)
    put(forms[_FILES[wanted.form]] + (_patch(patch) if wanted.form is ProposeFormat.MARKDOWN else ""), "-")
    bot.output(around, _counts(proposal))
    if proposal.broken and not wanted.allow_breaking:
        bot.output(around, {"outcome": "refused"})
        bot.summarise(around, sections)
        raise CheckFailedError(_BREAKING)
    if wanted.apply:
        _apply(proposal, sections, repository, remote, around, wanted)
    else:
        bot.output(around, {"outcome": "dry-run"})
        bot.summarise(around, sections)
    return int(wanted.exit_code and bool(proposal.changes))


_FILES: Mapping[ProposeFormat, str] = {
    ProposeFormat.MARKDOWN: "proposal.md",
    ProposeFormat.PATCH: "proposal.patch",
    ProposeFormat.JSON: "proposal.json",
    ProposeFormat.SARIF: "proposal.sarif",
}


def _forms(proposal: Proposal, sections: Sequence[Section], patch: str) -> dict[str, str]:
    from netpol_gen.report.proposal import proposal_json, proposal_title
    from netpol_gen.report.sarif_changes import proposal_sarif

    return {
        "proposal.md": f"# {proposal_title(proposal)}\n\n{bot.whole(sections)}",
        "proposal.patch": patch,
        "proposal.json": proposal_json(proposal),
        "proposal.sarif": proposal_sarif(proposal, tool_version=__version__),
    }


def _patch(patch: str) -> str:
    from netpol_gen.prbot.comments import fenced

    return f"\n## Patch\n\n{fenced(patch, 1 << 62)}\n" if patch else ""


def _counts(proposal: Proposal) -> dict[str, object]:
    from netpol_gen.diff import Change

    rows = [row for e in proposal.environments for row in e.difference.rows]
    counts = {str(kind): sum(r.change is kind for r in rows) for kind in (Change.BROKEN, Change.OPENED, Change.CLOSED)}
    return {"policies": len(proposal.changes), "files": len(proposal.files), **counts}


def _apply(
    proposal: Proposal,
    sections: Sequence[Section],
    repository: Repository,
    remote: str,
    around: Surroundings,
    wanted: Wanted,
) -> None:
    from netpol_gen.prbot.apply import apply
    from netpol_gen.prbot.remote import Remote

    forge = bot.open_forge(around)
    submission = _submission(proposal, sections, forge, around)
    try:
        outcome = apply(Remote.of(repository, remote), forge, submission, author_of(wanted.author))
    except ReadOnlyError as error:
        # A token of a fork's request may only read: the text is in the job's summary, and attached.
        bot.summarise(around, sections)
        say(f"nothing was pushed or opened: {error}")
        bot.output(around, {"outcome": "read-only", "url": "", "number": "", "branch": ""})
        return
    notes = list(outcome.notes)
    if outcome.commit and outcome.number and proposal.files:
        notes += bot.report_check(forge, _check(proposal, sections, outcome, around))
    bot.summarise(around, sections)
    _tell(outcome, notes, around)


def _submission(proposal: Proposal, sections: Sequence[Section], forge: Forge, around: Surroundings) -> Submission:
    from netpol_gen.prbot.marker import ROOM
    from netpol_gen.prbot.submission import Submission, content_digest
    from netpol_gen.report.proposal import commit_message, nothing_to_do, proposal_title

    limit = min(forge.body_limit, forge.comment_limit) - ROOM
    body, more = bot.texts(sections, limit, around)
    return Submission(
        proposal.scope,
        content_digest(proposal.files),
        proposal.target,
        proposal.base,
        proposal.files,
        proposal_title(proposal),
        body,
        more,
        commit_message(proposal),
        (LABEL,),
        nothing_to_do(proposal),
    )


def _check(proposal: Proposal, sections: Sequence[Section], outcome: Outcome, around: Surroundings) -> Check:
    from netpol_gen.prbot.forge import Check, Conclusion
    from netpol_gen.report.proposal import proposal_title

    conclusion = Conclusion.FAILURE if proposal.broken else Conclusion.SUCCESS
    return Check(CHECK, outcome.commit, conclusion, proposal_title(proposal), bot.texts(sections, 60_000, around)[0])


def _tell(outcome: Outcome, notes: Sequence[str], around: Surroundings) -> None:
    where = f" {outcome.url}" if outcome.url else ""
    say(f"{outcome.done}{where}" + (f" ({outcome.branch})" if outcome.branch else ""))
    for note in notes:
        say(f"  {printable(note, 400)}")
    values = {"outcome": outcome.done, "url": outcome.url, "number": outcome.number or "", "branch": outcome.branch}
    bot.output(around, values)


def author_of(text: str) -> Author:
    """`Name <mail>` as a value.

    Raises:
        OptionError: it is none.

    """
    from netpol_gen.prbot.git import Author

    found = _AUTHOR.fullmatch(text)
    if found is None:
        raise OptionError(f"--author: {printable(text)} is not 'Name <mail>'")
    return Author(found[1], found[2])


def comment(proposal: Proposal, around: Surroundings, wanted: Wanted, number: int) -> int:
    """Say what would be proposed for rendered output, and with `--apply` say it on a request, in one comment.

    Returns:
        The exit code.

    Raises:
        CheckFailedError: it would break something, and that was not allowed.

    """
    from netpol_gen.report.proposal import proposal_sections

    sections = proposal_sections(proposal)
    forms = {name: text for name, text in _forms(proposal, sections, "").items() if name != "proposal.patch"}
    if wanted.form is ProposeFormat.PATCH:
        raise OptionError("-o patch: rendered output has no files that a patch could be for")
    policies = _policies(proposal)
    bot.attach(wanted.artifacts, {**forms, "policies.yaml": policies}, quiet=wanted.quiet)
    text = forms[_FILES[wanted.form]]
    put(text + (_policies_fenced(policies) if wanted.form is ProposeFormat.MARKDOWN else ""), "-")
    bot.output(around, _counts(proposal))
    bot.summarise(around, sections)
    if wanted.apply:
        if not number:
            raise OptionError("--apply with rendered output comments on a request: --pull-request N")
        bot.sticky(around, number, "proposal", sections)
    refused = bool(proposal.broken) and not wanted.allow_breaking
    bot.output(around, {"outcome": "refused" if refused else "commented" if wanted.apply else "dry-run"})
    if refused:
        raise CheckFailedError(_BREAKING)
    return int(wanted.exit_code and bool(proposal.changes))


def _policies(proposal: Proposal) -> str:
    from netpol_gen.emit import render_stream

    return render_stream(
        [c.after for c in proposal.changes if c.after is not None], [n for c in proposal.changes for n in c.notes]
    )


def _policies_fenced(policies: str) -> str:
    return f"\n## Policies\n\n```yaml\n{policies}```\n" if policies else ""
