"""Verdicts for people and for programs: replays and explanations."""

from __future__ import annotations

from typing import Any

from netpol_gen.errors import printable
from netpol_gen.evaluate import SideVerdict, Verdict
from netpol_gen.evaluate.match import Tri
from netpol_gen.explain import Explanation, PolicyFinding, RuleFinding
from netpol_gen.report.connectivity import WIDE, json_text
from netpol_gen.report.text import count, csv_text, markdown_table
from netpol_gen.verify import Replay, Replayed

REPLAY_HEAD = ("decision", "src", "dst", "protocol", "port", "flows", "reason")


def replay_summary(replay: Replay) -> str:
    """One line with the counts."""
    parts = [f"{len(replay.denied):,} denied", f"{len(replay.unknown):,} unknown", f"{len(replay.allowed):,} allowed"]
    return f"{count(len(replay.rows), 'edge')}: {', '.join(parts)}"


def replay_text(replay: Replay) -> str:
    """The summary; then each edge that is not allowed, with its count and the reason at both ends."""
    out = [replay_summary(replay) + "\n"]
    for row in (*replay.denied, *replay.unknown):
        out.append(f"\n{row.verdict.decision}  {_shown(row.edge)}  ({count(row.evidence.flows, 'flow')})\n")
        out += [f"  {_side_line(side)}\n" for side in (row.verdict.egress, row.verdict.ingress)]
        if row.evidence.samples:
            out.append(f"  seen at {_shown(', '.join(row.evidence.samples))}\n")
    return "".join(out)


def _side_line(side: SideVerdict) -> str:
    missing = f" (missing: {side.missing})" if side.missing else ""
    return _shown(f"{side.direction.rules_key}: {side.decision}: {side.reason}{missing}")


def _shown(value: object) -> str:
    return printable(value, WIDE)


def _replay_cells(row: Replayed) -> tuple[object, ...]:
    edge = row.edge
    reason = row.verdict.missing or row.verdict.reason
    return (row.verdict.decision, edge.src, edge.dst, edge.protocol, edge.port, row.evidence.flows, reason)


def replay_csv(replay: Replay) -> str:
    """Every edge, allowed ones too."""
    return csv_text(REPLAY_HEAD, map(_replay_cells, replay.rows))


def replay_markdown(replay: Replay) -> str:
    """The summary and a table of what is not allowed."""
    rows = (*replay.denied, *replay.unknown)
    out = f"**{replay_summary(replay)}**\n"
    return out + ("\n" + markdown_table(REPLAY_HEAD, map(_replay_cells, rows)) if rows else "")


def replay_json(replay: Replay) -> str:
    """`{"denied": n, "unknown": n, "allowed": n, "edges": [...]}` with the verdict at both ends."""
    edges = [
        {
            "src": str(r.edge.src),
            "dst": str(r.edge.dst),
            "protocol": str(r.edge.protocol),
            "port": r.edge.port,
            "flows": r.evidence.flows,
            "samples": list(r.evidence.samples),
            **verdict_json(r.verdict),
        }
        for r in replay.rows
    ]
    counts = {"denied": len(replay.denied), "unknown": len(replay.unknown), "allowed": len(replay.allowed)}
    return json_text({**counts, "edges": edges})


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """A verdict with both its ends."""
    return {
        "decision": str(verdict.decision),
        "missing": verdict.missing,
        "egress": _side_json(verdict.egress),
        "ingress": _side_json(verdict.ingress),
    }


def _side_json(side: SideVerdict) -> dict[str, Any]:
    return {
        "decision": str(side.decision),
        "isolated_by": list(side.isolated_by),
        "admitted_by": [str(r) for r in side.admitted_by],
        "denied_by": [str(r) for r in side.denied_by],
        "reason": side.reason,
        "missing": side.missing,
    }


# --- explanations -----------------------------------------------------------------------------------------------------

_SELECTS = {Tri.YES: "selects it", Tri.NO: "does not select it", Tri.MAYBE: "may select it"}
_MATCHES = {Tri.YES: "matches", Tri.NO: "does not match", Tri.MAYBE: "may match"}


def explain_text(explanation: Explanation) -> str:
    """The verdict, then both ends with every policy and rule that has a say."""
    protocol = explanation.protocol or "another protocol"
    port = f" {explanation.port}" if explanation.protocol else ""
    out = [_shown(f"{explanation.verdict.decision}: {explanation.src} -> {explanation.dst} {protocol}{port}")]
    if explanation.verdict.missing:
        out.append(_shown(f"missing: {explanation.verdict.missing}"))
    for side in (explanation.egress, explanation.ingress):
        out += ["", _shown(f"{side.direction.rules_key} of {side.subject}: {side.verdict.decision}")]
        out.append(_shown(f"  {side.verdict.reason}"))
        for policy in side.policies:
            out += _policy_lines(policy)
    return "\n".join(out) + "\n"


def _policy_lines(policy: PolicyFinding) -> list[str]:
    why = f": {policy.why}" if policy.why and policy.selects is not Tri.YES else ""
    where = f" ({policy.place})" if policy.place.path else ""
    lines = [_shown(f"  {policy.policy} {_SELECTS[policy.selects]}{why}{where}")]
    if policy.selects is not Tri.NO and not policy.rules:
        lines.append("    it has no rules for this direction")
    return lines + [_shown(f"    {_rule_line(rule)}") for rule in policy.rules]


def _rule_line(rule: RuleFinding) -> str:
    action = f" {rule.action}" if rule.action else ""
    why = f": {rule.why}" if rule.why else ""
    return f"{rule.rule.direction.rules_key}[{rule.rule.index}]{action} {_MATCHES[rule.matches]}{why}"


def explain_json(explanation: Explanation) -> str:
    """The same as data."""
    return json_text(
        {
            "src": explanation.src,
            "dst": explanation.dst,
            "protocol": str(explanation.protocol) if explanation.protocol else None,
            "port": explanation.port,
            **verdict_json(explanation.verdict),
            "policies": {
                side.direction.rules_key: [_policy_json(p) for p in side.policies]
                for side in (explanation.egress, explanation.ingress)
            },
        }
    )


def _policy_json(policy: PolicyFinding) -> dict[str, Any]:
    return {
        "policy": policy.policy,
        "selects": policy.selects.name.lower(),
        "why": policy.why,
        "place": str(policy.place),
        "rules": [
            {"index": r.rule.index, "action": r.action, "matches": r.matches.name.lower(), "why": r.why}
            for r in policy.rules
        ],
    }


def explain_markdown(explanation: Explanation) -> str:
    """The text as a code block that it cannot leave."""
    text = explain_text(explanation).replace("`", "\N{MODIFIER LETTER GRAVE ACCENT}")
    return f"```\n{text}```\n"
