"""A review of somebody else's change of policies: one comment, what would break first, counts before all.

JSON (`"format": "netpol-gen/review", "version": 1`):

| key | content |
|---|---|
| environments | name, path, observed (were flows replayed), broken (count), policies, difference, unjudged, findings |
| environments[].policies | before, after: how many there are |
| environments[].difference | as `netpol-gen diff -o json` |
| environments[].unjudged | policies that the change touches and that are not evaluated, by kind and name |
| environments[].findings | rule, severity, path, line, subject, message, fix: what is new in the changed files |

A version number changes when a key disappears or changes its meaning; new keys may appear within a version.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from netpol_gen.diff import Change
from netpol_gen.lint import Finding
from netpol_gen.proposal import Review
from netpol_gen.report import changes as parts
from netpol_gen.report.changes import columns
from netpol_gen.report.difference import diff_json, summary
from netpol_gen.report.parts import Section
from netpol_gen.report.text import code, count, markdown_row

FORMAT = "netpol-gen/review"
VERSION = 1


def review_title(reviews: Sequence[Review]) -> str:
    """One line of plain text: what a check is called by."""
    if _says_nothing(reviews):
        return "No difference in meaning"
    broken = sum(len(r.broken) for r in reviews)
    findings = sum(len(r.findings) for r in reviews)
    if not all(r.difference.observed for r in reviews):
        rows = sum(len(r.difference.rows) for r in reviews)
        return f"{count(rows, 'change')} in meaning, no flows replayed, {count(findings, 'finding')}{_doubt(reviews)}"
    opened = sum(r.difference.count(Change.OPENED) for r in reviews)
    closed = sum(r.difference.count(Change.CLOSED) for r in reviews)
    return f"{broken:,} would break, {opened:,} open, {closed:,} close, {count(findings, 'finding')}{_doubt(reviews)}"


def _doubt(reviews: Sequence[Review]) -> str:
    number = sum(len(r.unjudged) for r in reviews)
    return f", {number:,} not judged" if number else ""


def _says_nothing(reviews: Sequence[Review]) -> bool:
    """What cannot be judged is not the same as what makes no difference."""
    return all(r.difference.same and not r.findings and not r.unjudged for r in reviews)


def review_sections(reviews: Sequence[Review]) -> list[Section]:
    """The whole text; one line where nothing changed in meaning."""
    several = len(reviews) > 1
    if _says_nothing(reviews):
        return [Section("netpol-gen: no difference in meaning between the policies before and after.\n")]
    out = [Section(f"**netpol-gen: {review_title(reviews)}.**\n")]
    for review in reviews:
        if several:
            out.append(Section(f"# {code(review.name)}\n\n{summary(review.difference)}\n"))
        out += _sections(review)
    return out


def _sections(review: Review) -> list[Section]:
    difference = review.difference
    out: list[Section] = []
    if difference.observed:
        out += [parts.broken(difference, review.evidence), parts.opened(difference), parts.closed(difference)]
    else:
        text = "No flow was given, so what would break is not known. The changes in meaning:\n"
        out += [Section(text), *parts.plain(difference)]
    out += parts.doubtful(difference)
    for word, those in (("New", difference.new), ("Gone", difference.gone)):
        if those:
            rows = tuple(f"- {code(w)}" for w in those)
            out.append(Section(f"## {word} workloads\n", rows, "", parts.folded(rows)))
    if review.unjudged:
        text = f"## Not judged: {len(review.unjudged):,}\n\n"
        text += "The change touches policies of kinds that netpol-gen does not evaluate: what they do is not known.\n"
        rows = tuple(f"- {code(item)}" for item in review.unjudged)
        out.append(Section(text, rows, "", parts.folded(rows)))
    out += _findings(review.findings)
    if review.coverage is not None:
        out += parts.coverage_sections(review.coverage, ())
    if review.notes:
        rows = tuple(f"- {code(note)}" for note in review.notes)
        out.append(Section("## To know\n", rows, "", parts.folded(rows)))
    return out


def _findings(findings: Sequence[Finding]) -> list[Section]:
    if not findings:
        return []
    rows = tuple(
        markdown_row((f.severity, f.rule, f"{f.place.path}:{f.place.line}", f.subject, f"{f.message}. Fix: {f.fix}"))
        for f in findings
    )
    head = columns(("severity", "rule", "place", "about", "finding"))
    return [Section(f"## New findings: {len(rows):,}\n", rows, head, parts.folded(rows))]


def review_json(reviews: Sequence[Review]) -> str:
    """`{"format", "version", "environments"}`; keys in a fixed order, ends with a newline."""
    document = {
        "format": FORMAT,
        "version": VERSION,
        "environments": [
            {
                "name": r.name,
                "path": r.path,
                "observed": r.difference.observed,
                "broken": len(r.broken),
                "policies": {"before": r.policies[0], "after": r.policies[1]},
                "difference": json.loads(diff_json(r.difference)),
                "unjudged": list(r.unjudged),
                "findings": [
                    {
                        "rule": f.rule,
                        "severity": str(f.severity),
                        "path": f.place.path,
                        "line": f.place.line,
                        "subject": f.subject,
                        "message": f.message,
                        "fix": f.fix,
                    }
                    for f in r.findings
                ],
            }
            for r in reviews
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=True) + "\n"
