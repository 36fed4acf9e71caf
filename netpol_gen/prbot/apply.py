"""Carry out a submission: a branch and a request for it, or neither when nothing is proposed.

Every run looks at what is there and does only what is missing, so that a second run with the same input changes
nothing, and a run after one that was killed finishes its work. Nothing is merged, and no branch is pushed to or deleted
unless all of it is ours (see `branches`).
"""

from __future__ import annotations

from netpol_gen.errors import printable
from netpol_gen.prbot import comments
from netpol_gen.prbot.branches import Found
from netpol_gen.prbot.forge import Forge, Request
from netpol_gen.prbot.git import Author
from netpol_gen.prbot.marker import ROOM, same
from netpol_gen.prbot.remote import Remote
from netpol_gen.prbot.run import DUPLICATE, NOT_NEEDED, Run
from netpol_gen.prbot.submission import Done, Outcome, Submission


def apply(remote: Remote, forge: Forge, submission: Submission, author: Author) -> Outcome:
    """Make `remote` and `forge` say what `submission` says, and tell what became of it.

    Raises `RemoteError` where a rule of the remote or another run is in the way, `ReadOnlyError` where the token is.
    """
    run = Run.begin(remote, forge, submission, author)
    found = run.requests()
    if not submission.files:
        return _withdraw(run, found)
    if not found and (declined := run.declined()):
        note = f"people closed a request with the same content: reopen it, {declined.url}, to have it again"
        return Outcome(Done.DECLINED, declined.number, declined.url, declined.branch, declined.head, (note,))
    outcome = _propose(run, found[0] if found else None)
    notes = list(outcome.notes)
    for other in found[1:]:
        left = run.close(other, DUPLICATE, f"Closed: {found[0].url} is open for the same, and was there first.")
        notes.append(f"{other.url} was one too many, and is {f'left, because {left}' if left else 'closed'}")
    tidied = run.tidy({outcome.branch, *(request.branch for request in found)})
    done = Done.UPDATED if outcome.done is Done.UNCHANGED and (found[1:] or tidied) else outcome.done
    return Outcome(done, outcome.number, outcome.url, outcome.branch, outcome.commit, tuple(notes))


def _propose(run: Run, request: Request | None) -> Outcome:
    """Bring the request of the scope up to date, or open it."""
    branch = request.branch if request else run.submission.branch
    found = run.look(branch)
    if request and request.base != run.submission.base:
        return _hold(run, branch, request, f"it goes to {printable(request.base)} now, not to {run.submission.base}")
    if found and found.foreign:
        return _hold(run, branch, request, found.foreign)
    if found and _newer(run, found):
        note = f"the branch was made from a newer {run.submission.base} than this run saw: left as it is"
        number, url = (request.number, request.url) if request else (0, "")
        return Outcome(Done.UNCHANGED, number, url, branch, found.tip, (note,))
    commit = found.tip if found and _holds_good(run, found) else run.push(branch, found.tip if found else None)
    done = Done.UPDATED if found is None or commit != found.tip else Done.UNCHANGED
    if request is None:
        base, title = run.submission.base, run.submission.title
        request, done = run.forge.open_request(branch, base, title, run.body(commit)), Done.OPENED
        if run.mark_of(request) is None:
            # The branch was pushed by a run that was killed, and somebody made a request of it, or took ours over.
            note = f"{request.url} was opened or rewritten by hand for this branch: left as it is"
            return Outcome(Done.HELD, request.number, request.url, branch, commit, (note,))
    if _say(run, request, commit) and done is Done.UNCHANGED:
        done = Done.UPDATED
    return Outcome(done, request.number, request.url, branch, commit)


def _newer(run: Run, found: Found) -> bool:
    """Whether another run, which saw more of the base, has been there: runs may overtake each other."""
    return not run.remote.is_ancestor(found.parent, run.submission.base_commit)


def _holds_good(run: Run, found: Found) -> bool:
    """Whether the commit on the branch says what is proposed, and still merges.

    It does if nothing that it touches has changed on the base. It does not if the base has it already: what is
    proposed again after that was taken back.
    """
    asked, repository = run.submission, run.remote.repository
    if found.content != asked.content:
        return False
    if found.parent == asked.base_commit:
        return True
    if asked.files.keys() & set(repository.changed(found.parent, asked.base_commit)):
        return False
    return not run.remote.is_ancestor(found.tip, run.base_head)


def _say(run: Run, request: Request, commit: str) -> bool:
    """Title, body, labels and comments of an open request. Whether any had to change."""
    asked, changed = run.submission, False
    body = run.body(commit)
    if request.title.strip() != asked.title.strip() or not same(request.body, body):
        run.edit(request, asked.title, body)
        changed = True
    there = {label.casefold() for label in request.labels}
    if missing := [label for label in asked.labels if label.casefold() not in there]:
        run.forge.add_labels(request.number, missing)
        changed = True
    parts = {comments.part(number): text for number, text in enumerate(asked.more, start=2)}
    return comments.put(run.forge, request.number, parts, surplus=comments.OF_A_PROPOSAL) or changed


def _hold(run: Run, branch: str, request: Request | None, why: str) -> Outcome:
    """Leave a branch that somebody pushed to, and say so once, with what would have been proposed."""
    notes = (f"{branch} is left as it is: {why}",)
    if request is None:
        return Outcome(Done.HELD, 0, "", branch, run.heads.get(branch, ""), notes)
    asked = run.submission
    mark = run.mark_of(request) if request.base == asked.base else None
    back = f" To hand the branch back, reset it to {mark.commit}." if mark else ""
    text = f"This request is left as it is: {_quoted(why)}.{back}\n\n"
    if asked.files:
        text += f"What would be proposed now, on {_quoted(asked.base)} at {asked.base_commit[:12]}:\n\n"
        patch = run.remote.repository.preview(asked.base_commit, asked.files)
        text += comments.fenced(patch, run.forge.comment_limit - len(text) - ROOM)
    else:
        text += f"Nothing is proposed any more: {_quoted(asked.reason)}."
    comments.put(run.forge, request.number, {comments.HELD: text})
    return Outcome(Done.HELD, request.number, request.url, branch, run.heads.get(branch, ""), notes)


def _quoted(text: str) -> str:
    """Text from elsewhere in Markdown: a name in a commit is no link, mention or markup of ours."""
    plain = printable(text, 300).replace("`", "'")
    return f"`{plain}`"


def _withdraw(run: Run, found: list[Request]) -> Outcome:
    """Close what is open, and delete the branches: nothing is proposed."""
    reason = run.submission.reason.strip().rstrip(".") or "nothing is left to propose"
    outcome = Outcome(Done.NOTHING, notes=(reason,))
    for request in found:
        if run.close(request, NOT_NEEDED, f"Closed, because it is not needed any more: {reason}."):
            branch = run.look(request.branch)
            held = _hold(run, request.branch, request, branch.foreign if branch else "")
            outcome = held if outcome.done is not Done.HELD else outcome
        elif outcome.done is Done.NOTHING:
            outcome = Outcome(Done.CLOSED, request.number, request.url, request.branch, notes=(reason,))
    run.tidy({request.branch for request in found})
    return outcome
