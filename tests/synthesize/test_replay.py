"""What the author wrote, put before the judge: nothing accepted is denied, and no rule is idle."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings

from netpol_gen.config import Config
from netpol_gen.evaluate import Judge
from netpol_gen.model import Decision, Direction, Workload
from netpol_gen.synthesize import synthesize
from tests.synthesize.build import evidence
from tests.synthesize.test_properties import worlds


def sides(judge, edge):
    verdict = judge.edge(edge)
    ends = ((edge.dst, Direction.INGRESS, verdict.ingress), (edge.src, Direction.EGRESS, verdict.egress))
    return [(d, side) for party, d, side in ends if isinstance(party, Workload)]


@given(worlds())
def test_no_accepted_edge_is_denied(made):
    cluster, edges = made
    found = synthesize(evidence(*edges), cluster.inventory, Config())
    judge = Judge(found.policies, cluster.inventory)
    listed = {(u.edge, u.direction) for u in found.unwritten}
    for edge in edges:
        for direction, side in sides(judge, edge):
            assert side.decision is not Decision.DENY or (edge, direction) in listed, side.reason


@given(worlds())
def test_default_deny_denies_nothing_that_was_accepted(made):
    cluster, edges = made
    found = synthesize(evidence(*edges), cluster.inventory, Config(default_deny=True))
    judge = Judge(found.policies, cluster.inventory)
    listed = {(u.edge, u.direction) for u in found.unwritten}
    for edge in edges:
        for direction, side in sides(judge, edge):
            assert side.decision is not Decision.DENY or (edge, direction) in listed, side.reason


@given(worlds())
@settings(max_examples=60)
def test_without_any_rule_an_accepted_edge_is_not_allowed(made):
    """Minimality: rules that only hold what was inferred are excepted."""
    cluster, edges = made
    found = synthesize(evidence(*edges), cluster.inventory, Config())
    for note in found.notes:
        if not note.edges:
            continue
        (policy,) = [p for p in found.policies if p.ref == note.policy]
        key = note.direction.rules_key
        rules = getattr(policy, key)
        less = replace(policy, **{key: rules[: note.rule] + rules[note.rule + 1 :]})
        judge = Judge([less if p is policy else p for p in found.policies], cluster.inventory)
        lost = [
            e
            for e in note.edges
            for d, side in sides(judge, e)
            if d is note.direction and side.decision is not Decision.ALLOW
        ]
        assert lost, f"{note.policy} {note.direction} rule {note.rule} is idle"
