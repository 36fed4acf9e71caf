"""Lint findings as SARIF 2.1.0, within what GitHub's code scanning takes.

Its limits per run: 25,000 results of which 5,000 are shown, 25,000 rules, 1,000 locations per result, 20 tags per rule,
10 MB when packed. Which 5,000 it shows is not strictly a matter of severity, so the cut is made here: the worst first,
and a notification says how many were left out.
"""

from __future__ import annotations

import hashlib
import json
import os.path
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from netpol_gen.errors import printable
from netpol_gen.lint import RULES, Finding, Report, Rule
from netpol_gen.lint.model import rank
from netpol_gen.model import Severity

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
VERSION = "2.1.0"
MAX_RESULTS = 5_000
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
_MAX_TEXT = 1_000


def lint_sarif(report: Report, *, tool_version: str, root: str = "", scanned: Sequence[str] = ()) -> str:
    """A SARIF log with one run, ending with a newline.

    Args:
        report: the findings, suppressed ones included.
        tool_version: of this program.
        root: absolute paths below it become relative to it, as GitHub wants them; nothing is read from there.
        scanned: the paths that were given; findings about a namespace without a file point to the first of them.

    """
    kept = sorted(report.findings, key=lambda f: (bool(f.suppressed), -rank(f.severity), f.key))[:MAX_RESULTS]
    kept.sort(key=lambda f: f.key)
    index = {rule.id: i for i, rule in enumerate(RULES)}
    prints = _fingerprints(report.findings)
    fallback = scanned[0] if scanned else "."
    document = {
        "$schema": SCHEMA,
        "version": VERSION,
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "netpol-gen",
                        "semanticVersion": tool_version,
                        "rules": [_rule(rule) for rule in RULES],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "invocations": [
                    {
                        "executionSuccessful": True,
                        "toolExecutionNotifications": _notifications(report, len(kept)),
                    }
                ],
                "results": [_result(f, index, prints[id(f)], root, fallback) for f in kept],
            }
        ],
    }
    return json.dumps(document, indent=2, ensure_ascii=True) + "\n"


def left_out(report: Report) -> int:
    """How many findings the log does not have."""
    return max(0, len(report.findings) - MAX_RESULTS)


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "name": rule.name,
        "shortDescription": {"text": rule.summary},
        "fullDescription": {"text": rule.why},
        "help": {"text": f"{rule.summary} {rule.why}", "markdown": f"**{rule.summary}** {rule.why}"},
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        "properties": {"tags": ["kubernetes", "network-policy"]},
    }


def _result(finding: Finding, index: dict[str, int], fingerprint: str, root: str, fallback: str) -> dict[str, Any]:
    text = f"{finding.subject}: {finding.message}. Fix: {finding.fix}"
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": index[finding.rule],
        "level": _LEVELS[finding.severity],
        "message": {"text": printable(text, _MAX_TEXT)},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": relative_uri(finding.place.path or fallback, root)},
                    "region": {"startLine": max(1, finding.place.line)},
                },
                "logicalLocations": [{"fullyQualifiedName": printable(finding.subject, _MAX_TEXT)}],
            }
        ],
        "partialFingerprints": {"primaryLocationLineHash": fingerprint},
    }
    if finding.suppressed:
        result["suppressions"] = [
            {
                "kind": "inSource" if finding.in_source else "external",
                "justification": printable(finding.suppressed, _MAX_TEXT),
            }
        ]
    return result


def relative_uri(path: str, root: str) -> str:
    """A relative URI reference; an absolute path outside `root` keeps all its parts, without the leading slash."""
    if path == "-":
        return "stdin"
    if root and path.startswith(os.sep):
        inside = os.path.relpath(path, root)
        path = path if inside.startswith("..") else inside
    # Bytes of a name that are not UTF-8 are bytes of the reference, too.
    return quote(os.path.normpath(path).replace(os.sep, "/").lstrip("/"), safe="/", errors="surrogateescape") or "."


def _fingerprints(findings: Sequence[Finding]) -> dict[int, str]:
    """What stays the same when lines move: rule, file, subject, field and text, and a number among equals."""
    seen: dict[str, int] = {}
    out = {}
    for f in findings:
        parts = (f.rule, f.place.path, f.subject, f.place.field, f.message)
        digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]
        seen[digest] = seen.get(digest, 0) + 1
        out[id(f)] = f"{digest}:{seen[digest]}"
    return out


def _notifications(report: Report, kept: int) -> list[dict[str, Any]]:
    texts = [f"rule {rule} did not run: {why}" for rule, why in report.not_run]
    texts += [f"{number} {kind} were not looked at" for kind, number in report.other.items()]
    if kept < len(report.findings):
        texts.append(f"{len(report.findings) - kept} findings of the lowest severities were left out")
    return [{"level": "note", "message": {"text": printable(text, _MAX_TEXT)}} for text in texts]
