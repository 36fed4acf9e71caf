"""Policies and their rules for the page: what each rule says in words, and the edges behind it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from netpol_gen.emit import render_policy
from netpol_gen.model import Direction, Edge
from netpol_gen.plan import Plan
from netpol_gen.policy import ALL, NetworkPolicy, Peer, PolicyPort, Rule
from netpol_gen.report.html.parties import NEED, text
from netpol_gen.synthesize import RuleNote
from netpol_gen.verify import Replay

NAME_LABEL = "kubernetes.io/metadata.name"


def policy_json(policies: Iterable[NetworkPolicy], plan: Plan, edges: Mapping[Edge, int]) -> list[dict[str, Any]]:
    """`ref`, whether it is generated, its selector, its rules by direction, and its manifest.

    `edges` numbers the edges of the page.
    """
    generated = {p.ref: p for p in plan.policies}
    notes = {(n.policy, n.direction, n.rule): n for n in plan.notes}
    admitted = admitting(plan.replay, edges)
    out = []
    for policy in policies:
        ours = generated.get(policy.ref) == policy
        rules = []
        for direction in Direction:
            for i, rule in enumerate(policy.rules(direction)):
                note = notes.get((policy.ref, direction, i)) if ours else None
                rules.append(_rule(rule, direction, note, admitted.get((policy.ref, direction, i), []), edges))
        found = {
            "ns": text(policy.namespace),
            "name": text(policy.name),
            "generated": ours,
            "selects": text(policy.pod_selector),
            "types": [str(d) for d in Direction if d in policy.policy_types],
            "rules": rules,
            "yaml": render_policy(policy, plan.notes) if ours else _manifest(policy),
            "need": text(dict(policy.annotations).get(NEED, "")),
        }
        out.append({k: v for k, v in found.items() if v not in ("", [])})
    return out


def _manifest(policy: NetworkPolicy) -> str:
    """A policy that somebody else wrote, without our own heading."""
    return "".join(line for line in render_policy(policy).splitlines(keepends=True) if not line.startswith("#"))


def admitting(replay: Replay, edges: Mapping[Edge, int]) -> dict[tuple[str, Direction, int], list[int]]:
    """For each rule the numbers of the edges that it admits: what every rule has, generated or not."""
    out: dict[tuple[str, Direction, int], list[int]] = {}
    for row in replay.rows:
        if row.edge not in edges:
            continue
        for side in (row.verdict.egress, row.verdict.ingress):
            for ref in side.admitted_by:
                out.setdefault((ref.policy, ref.direction, ref.index), []).append(edges[row.edge])
    return {key: sorted(set(numbers)) for key, numbers in out.items()}


def _rule(
    rule: Rule, direction: Direction, note: RuleNote | None, admitted: list[int], edges: Mapping[Edge, int]
) -> dict[str, Any]:
    behind = sorted({edges[e] for e in note.edges if e in edges}) if note else admitted
    found = {
        "direction": str(direction),
        "peers": ["anyone"] if rule.peers is ALL else [peer_text(p) for p in rule.peers],
        "ports": ["all ports"] if rule.ports is ALL else [port_text(p) for p in rule.ports],
        "edges": behind,
        "inferred": text(note.inferred) if note else "",
        "widened": text(note.widened) if note else "",
    }
    return {k: v for k, v in found.items() if v not in ("", [])}


def peer_text(peer: Peer) -> str:
    """`pods app=web`, `pods app=web in namespace shop`, `10.0.0.0/8 except 10.1.0.0/16`."""
    if peer.ip_block is not None:
        block = peer.ip_block
        return f"{block.cidr} except {', '.join(map(str, block.except_))}" if block.except_ else str(block.cidr)
    pods = "any pod"
    if peer.pod_selector is not None and not peer.pod_selector.is_empty:
        pods = f"pods {peer.pod_selector}"
    space = peer.namespace_selector
    if space is None:
        return text(pods)
    if space.is_empty:
        return text(f"{pods} in any namespace")
    if not space.match_expressions and len(space.match_labels) == 1 and space.match_labels[0][0] == NAME_LABEL:
        return text(f"{pods} in namespace {space.match_labels[0][1]}")
    return text(f"{pods} in namespaces {space}")


def port_text(port: PolicyPort) -> str:
    """`TCP 8080`, `TCP 8000-8010`, `TCP http`, `UDP, all ports`."""
    if port.port is None:
        return f"{port.protocol}, all ports"
    return text(f"{port.protocol} {port.port}" + (f"-{port.end_port}" if port.end_port is not None else ""))
