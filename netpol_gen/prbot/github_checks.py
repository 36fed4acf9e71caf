"""Check runs: at most fifty annotations per call, and none twice.

GitHub appends the annotations of an update to those that a run has. So an earlier run is updated only while all that it
says is still to be said; otherwise a new run takes its place, which GitHub shows instead of the earlier one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from github.Repository import Repository

from netpol_gen.prbot.calls import Caller, clean
from netpol_gen.prbot.forge import Annotation, Check, Level

PER_CALL = 50
SUMMARY_LIMIT = 65_535
TITLE_LIMIT = 255
MESSAGE_LIMIT = 64_000
"""Bytes; GitHub says 64 KB."""
CUT = "\n\n… cut: a check's summary has no room for more.\n"


@dataclass(frozen=True, slots=True)
class Run:
    """A check run that exists, and the annotations that it has."""

    id: int
    has: frozenset[Annotation]


def report(call: Caller, repo: Callable[[], Repository], app: str, check: Check) -> None:
    """Report a check as the app whose slug is `app`, replacing that app's earlier one. Safe to repeat."""
    wanted = list(dict.fromkeys(map(shortened, check.annotations)))
    what = f"report check {check.name}"

    def earlier() -> Run | None:
        return call(f"read the earlier {check.name} checks", lambda: find(repo(), app, check))

    def create() -> Run:
        first = wanted[:PER_CALL]
        made = repo().create_check_run(check.name, check.head, **payload(check, first))
        return Run(int(made.id), frozenset(first))

    run = earlier()
    if run is None or not run.has <= set(wanted):
        before = run

        def made_after_all() -> Run | None:
            found = earlier()
            return None if found is None or (before is not None and found.id == before.id) else found

        run = call(what, create, write=True, recover=made_after_all)
        if run.has == set(wanted):
            return
    while True:
        missing = [each for each in wanted if each not in run.has][:PER_CALL]
        run = call(what, partial(update, repo, run, check, missing), write=True, recover=earlier)
        if run.has >= set(wanted):
            return


def find(repo: Repository, app: str, check: Check) -> Run | None:
    """The newest run of a check's name and commit that our app made."""
    for run in repo.get_commit(check.head).get_check_runs(check_name=check.name):
        made_by: Any = run.app
        if made_by is not None and made_by.slug == app:
            return Run(int(run.id), frozenset(map(as_annotation, run.get_annotations())))
    return None


def update(repo: Callable[[], Repository], run: Run, check: Check, more: list[Annotation]) -> Run:
    """Say it anew in a run, with more annotations."""
    place = repo()
    # Not through PyGithub's object: that would ask for what an answer lacks, and so hide that it is none.
    _, data = place.requester.requestJsonAndCheck(
        "PATCH", f"{place.url}/check-runs/{run.id}", input=payload(check, more)
    )
    return Run(int(data["id"]), run.has | set(more))


def payload(check: Check, annotations: list[Annotation]) -> dict[str, Any]:
    """What is sent of a check, with some of its annotations."""
    output: dict[str, Any] = {"title": clean(check.title)[:TITLE_LIMIT], "summary": summary(check.summary)}
    if annotations:
        output["annotations"] = [
            {
                "path": each.path,
                "start_line": each.line,
                "end_line": each.line,
                "annotation_level": each.level.value,
                "title": each.title,
                "message": each.message,
            }
            for each in annotations
        ]
    return {"status": "completed", "conclusion": check.conclusion.value, "output": output}


def summary(text: str) -> str:
    """A summary that GitHub takes, cut at a line's end where it is too long."""
    text = clean(text)
    if len(text) <= SUMMARY_LIMIT:
        return text
    kept = text[: SUMMARY_LIMIT - len(CUT)]
    return (kept[: kept.rfind("\n")] if "\n" in kept else kept) + CUT


def shortened(annotation: Annotation) -> Annotation:
    """An annotation that GitHub takes: a title and a message have limits, and a message must not be empty."""
    message = clean(annotation.message).encode()[:MESSAGE_LIMIT].decode(errors="ignore")
    title = clean(annotation.title)[:TITLE_LIMIT]
    path = clean(annotation.path)
    return Annotation(path, max(1, annotation.line), annotation.level, title, message or title or "-")


def as_annotation(sent: Any) -> Annotation:
    """An annotation as GitHub gives it back."""
    return Annotation(
        str(sent.path),
        int(sent.start_line),
        Level(sent.annotation_level),
        str(sent.title or ""),
        str(sent.message or ""),
    )
