"""Sections that a proposal and a review share: what would break, what opens, what closes, and what nobody can tell.

Names come from logs, manifests and file names. All of them go through `code`, so that none can mention somebody, become
a link or leave its cell.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from netpol_gen.coverage import Coverage, Exercise, Line
from netpol_gen.coverage.bins import iso, span
from netpol_gen.diff import Change, Difference, DiffRow
from netpol_gen.model import UNKNOWN_TIME, Edge, Evidence
from netpol_gen.report.difference import HEAD
from netpol_gen.report.parts import Section
from netpol_gen.report.text import code, count, markdown_row

OPEN_ROWS = 10
"""A table with more rows than this is folded, unless it says what would break."""


def columns(head: Sequence[str]) -> str:
    """The first two lines of a Markdown table."""
    return f"| {' | '.join(head)} |\n|{' --- |' * len(head)}\n"


def broken(difference: Difference, evidence: Mapping[Edge, Evidence], *, level: int = 2) -> Section:
    """What was observed and would be denied, with what it was seen doing."""
    rows = [r for r in difference.rows if r.change is Change.BROKEN]
    heading = f"{'#' * level} Would break: {len(rows):,}\n\n"
    if not rows:
        return Section(heading + _none_broken(evidence))
    lines = [
        markdown_row((edge.src, edge.dst, f"{edge.protocol} {edge.port}", *seen_cells(evidence.get(edge))))
        for row in rows
        for edge in row.edges
    ]
    text = "These connections were observed, are allowed today, and would be denied.\n"
    return Section(heading + text, tuple(lines), columns(("src", "dst", "port", *SEEN)))


def _none_broken(evidence: Mapping[Edge, Evidence]) -> str:
    if not evidence:
        return "No flow was replayed, so nothing is known about what would break.\n"
    timed = [e for e in evidence.values() if e.timed]
    when = ""
    if timed:
        first, last = min(e.first_seen for e in timed), max(e.last_seen for e in timed)
        when = f", seen from {moment(first)} to {moment(last)},"
    edges = count(len(evidence), "observed edge")
    return f"None of {edges}{when} that is allowed today would be denied: each was replayed at both of its ends.\n"


def opened(difference: Difference, *, level: int = 2) -> Section:
    """What would be allowed and is not today."""
    return _changes(difference, Change.OPENED, "Opens", "Not allowed today, and allowed afterwards.", level)


def closed(difference: Difference, *, level: int = 2) -> Section:
    """What would be denied and was never seen in use."""
    text = "Allowed today, never observed in use, and denied afterwards."
    return _changes(difference, Change.CLOSED, "Closes", text, level)


def has_opened(difference: Difference) -> bool:
    """Whether anything is allowed that was not."""
    return difference.count(Change.OPENED) > 0


def change_counts(difference: Difference) -> Mapping[str, int]:
    """How many rows there are of each kind, with flows."""
    return {str(kind): difference.count(kind) for kind in (Change.BROKEN, Change.OPENED, Change.CLOSED)}


def plain(difference: Difference, *, level: int = 2) -> Iterator[Section]:
    """Without flows: added, removed, changed."""
    for change in (Change.ADDED, Change.REMOVED, Change.CHANGED):
        if any(r.change is change for r in difference.rows):
            yield _changes(difference, change, str(change).capitalize(), "", level)


def _changes(difference: Difference, change: Change, word: str, text: str, level: int) -> Section:
    rows = [r for r in difference.rows if r.change is change]
    heading = f"{'#' * level} {word}: {len(rows):,}\n"
    lines = tuple(row_line(r) for r in rows)
    sentence = f"\n{text}\n" if rows and text else "\nNothing.\n" if not rows else ""
    return Section(heading + sentence, lines, columns(HEAD[1:]), folded(lines))


def folded(lines: Sequence[str]) -> str:
    """The line behind which many rows are folded, empty for few."""
    return count(len(lines), "row") if len(lines) > OPEN_ROWS else ""


def row_line(row: DiffRow) -> str:
    """One connection, before and after, as a row of a table."""
    return markdown_row((row.src, row.dst, row.before, row.after))


def doubtful(difference: Difference, *, level: int = 2) -> Iterator[Section]:
    """What the CNI or the pod decides, and observed edges among that; nothing if there is none."""
    if difference.unsure:
        text = f"{'#' * level} Observed, in doubt afterwards: {len(difference.unsure):,}\n\nAllowed today; afterwards "
        text += "the CNI or a fact that is missing decides.\n"
        lines = tuple(f"- {code(edge)}" for edge in difference.unsure)
        yield Section(text, lines, "", folded(lines))
    if difference.doubtful:
        text = f"{'#' * level} In doubt: {len(difference.doubtful):,}\n\n"
        text += "What may pass, where the CNI or the pod decides.\n"
        lines = tuple(markdown_row((r.src, r.dst, r.perhaps_before, r.perhaps_after)) for r in difference.doubtful)
        yield Section(text, lines, columns(HEAD[1:]), folded(lines))


SEEN = ("flows", "first seen", "last seen", "days")


def seen_cells(evidence: Evidence | None) -> tuple[object, ...]:
    """Cells for the columns `SEEN`."""
    if evidence is None:
        return ("", "", "", "")
    return (f"{evidence.flows:,}", moment(evidence.first_seen), moment(evidence.last_seen), evidence.days or "")


def moment(nanoseconds: int) -> str:
    """A time to the second, UTC; `unknown` for a record without one."""
    return "unknown" if nanoseconds == UNKNOWN_TIME else iso(nanoseconds)


def coverage_sections(found: Coverage, lines: Iterable[Line], *, level: int = 2) -> Iterator[Section]:
    """How settled the picture is: the whole, then the workloads in question, then what flows cannot tell."""
    whole, window = found.whole, found.window
    text = f"{'#' * level} Coverage: {whole.state}\n\n{code(whole.reason)}"
    if window is not None:
        text += f" Observed for {span(window.hours)}, from {iso(window.start)} to {iso(window.end)}."
    rows = tuple(
        markdown_row((line.workload, line.direction, line.state, line.edges, line.reason))
        for line in sorted(set(lines), key=lambda each: each.name)
    )
    head = ("workload", "direction", "state", "edges", "why")
    yield Section(text + "\n", rows, columns(head), folded(rows))
    missing = [job for job in found.jobs if job.exercise is not Exercise.SEEN]
    if missing:
        text = f"{'#' * (level + 1)} Scheduled jobs that were not seen: {len(missing):,}\n\n"
        text += "What they need is not in the evidence.\n"
        jobs = tuple(markdown_row((j.workload, j.schedule, j.exercise, j.next_due)) for j in missing)
        yield Section(text, jobs, columns(("job", "schedule", "state", "next due")), folded(jobs))
    if found.losses:
        text = f"Events were lost on {count(len(found.losses), 'node')}: edges seen only there and then are missing.\n"
        yield Section(text)
    blind = [f"- {code(source)}: {code(spot)}" for source, spots in sorted(found.blind_spots.items()) for spot in spots]
    if blind:
        yield Section("", tuple(blind), "", "What these sources can never show")
