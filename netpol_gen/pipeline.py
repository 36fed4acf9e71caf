"""The whole: flows, an inventory and settings in, a plan out. Pure; nothing is read or written here.

A plan is only made when its replay holds: every accepted edge is evaluated against existing and generated policies at
both ends. A direction that cannot admit what was observed there (a peer that no NetworkPolicy can name) stays open
and is listed as a gap: leaving it open is visible, breaking it would not be.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from netpol_gen.config import Config, Mode
from netpol_gen.edges import Edges, find_edges
from netpol_gen.errors import InvariantError
from netpol_gen.evaluate import Judge, SideVerdict, Verdict
from netpol_gen.flowtable import Flows
from netpol_gen.inventory import Inventory
from netpol_gen.inventory.objects import Pod
from netpol_gen.model import (
    Decision,
    Diagnostic,
    Direction,
    Edge,
    Evidence,
    External,
    ExternalKind,
    Party,
    Severity,
    Workload,
)
from netpol_gen.plan import Plan
from netpol_gen.policy import NetworkPolicy
from netpol_gen.synthesize import Gap, Synthesis, synthesize
from netpol_gen.synthesize.baseline import MANAGED_BY
from netpol_gen.verify import Replay, replay

Need = tuple[Edge, Direction]


def generate(
    flows: Flows, inventory: Inventory, config: Config | None = None, existing: Iterable[NetworkPolicy] | None = None
) -> Plan:
    """Policies for the accepted edges of `flows`, with the replay that proves them.

    Args:
        flows: what `read_flows` returned.
        inventory: what the cluster held; `inventory.empty()` works, with less knowledge.
        config: settings; the defaults are the command line's.
        existing: policies in force; `None` takes those of the inventory.

    """
    config = config or Config()
    in_force = tuple(inventory.policies if existing is None else existing)
    return plan_of(find_edges(flows, inventory, config), config, in_force)


def plan_of(edges: Edges, config: Config, in_force: Sequence[NetworkPolicy]) -> Plan:
    """The same from edges that were found already; `in_force` are the policies in force."""
    accepted = edges.accepted
    known = edges.inventory
    before = Judge(in_force, known, tiers=known.tiers, ipblock_matches_pods=config.cni.ipblock_matches_pods)
    needs = _needs(accepted, before, config)
    synthesis, blocked = _without_blocked(accepted, known, config, needs, in_force)
    overwrites = _overwrites(synthesis, in_force)
    replaces: frozenset[str] = frozenset()
    staying: tuple[Diagnostic, ...] = ()
    if config.mode is Mode.TIGHTEN:
        replaces, staying = _tightened(synthesis, in_force, accepted, before, known, config)
    proof = _replay(synthesis, in_force, replaces, accepted, known, config)
    return Plan(
        synthesis.policies,
        synthesis.notes,
        synthesis.gaps,
        tuple(
            sorted(
                {
                    *synthesis.diagnostics,
                    *known.diagnostics,
                    *blocked,
                    *staying,
                    *overwrites,
                    *_denied_today(edges),
                    *_unknowable(edges),
                    *_not_there(edges, config),
                }
            )
        ),
        edges,
        proof,
        tuple(in_force),
        tuple(sorted(replaces)),
    )


def _ends(edge: Edge) -> tuple[tuple[Party, Direction], ...]:
    return ((edge.src, Direction.EGRESS), (edge.dst, Direction.INGRESS))


def _needs(accepted: Iterable[Edge], before: Judge, config: Config) -> frozenset[Need]:
    """The ends of edges that rules are wanted for, by mode."""
    out: set[Need] = set()
    for edge in accepted:
        verdict = before.edge(edge) if config.mode is not Mode.FULL else None
        for party, direction in _ends(edge):
            if isinstance(party, Workload) and config.in_scope(party.namespace) and _wanted(verdict, direction, config):
                out.add((edge, direction))
    return frozenset(out)


def _wanted(verdict: Verdict | None, direction: Direction, config: Config) -> bool:
    if verdict is None:
        return True
    side = _side(verdict, direction)
    if config.mode is Mode.TIGHTEN:
        return bool(side.isolated_by)
    # Missing-only: an end that no policy isolates is allowed by default, which is exactly what is missing.
    return not (side.decision is Decision.ALLOW and side.admitted_by)


def _side(verdict: Verdict, direction: Direction) -> SideVerdict:
    return verdict.ingress if direction is Direction.INGRESS else verdict.egress


def _without_blocked(
    accepted: dict[Edge, Evidence],
    inventory: Inventory,
    config: Config,
    needs: frozenset[Need],
    existing: Sequence[NetworkPolicy],
) -> tuple[Synthesis, tuple[Diagnostic, ...]]:
    """Synthesize, leaving open every direction that would deny an edge that no rule can express.

    Each round takes whole directions of workloads out, so there are at most as many rounds as there are such
    directions.
    """
    blocked: set[tuple[Workload, Direction]] = set()
    taken = _taken(existing, config)
    messages: set[Diagnostic] = set()
    gaps: set[Gap] = set()
    while True:
        wanted = frozenset((e, d) for e, d in needs if (_end(e, d), d) not in blocked)
        synthesis = synthesize(accepted, inventory, config, wanted=wanted, taken=taken)
        new = _blocking(accepted, synthesis, inventory, existing, config)
        if not new:
            done = replace(synthesis, gaps=tuple(sorted({*synthesis.gaps, *gaps})))
            return done, tuple(sorted(messages))
        for (workload, direction), edge in sorted(new.items(), key=lambda item: (item[0], item[1].key)):
            blocked.add((workload, direction))
            other = edge.src if direction is Direction.INGRESS else edge.dst
            text = f"{direction} stays open: no NetworkPolicy rule can name {other}, which was seen on port {edge.port}"
            messages.add(Diagnostic("NPG402", str(workload), text, Severity.WARNING))
            gaps.add(Gap(workload, direction, text))


def _taken(existing: Iterable[NetworkPolicy], config: Config) -> frozenset[tuple[str, str]]:
    """Names of policies that must stay: what others wrote, and, where only the missing is written, our own too."""
    return frozenset((p.namespace, p.name) for p in existing if config.mode is Mode.MISSING_ONLY or not _ours(p))


def _ours(policy: NetworkPolicy) -> bool:
    return MANAGED_BY in policy.labels


def _overwrites(synthesis: Synthesis, existing: Iterable[NetworkPolicy]) -> tuple[Diagnostic, ...]:
    """Policies of others whose name was asked for (`names`)."""
    own = {p.ref for p in synthesis.policies}
    text = "the name given replaces a policy in force that netpol-gen did not write"
    return tuple(Diagnostic("NPG404", p.ref, text, Severity.WARNING) for p in existing if p.ref in own and not _ours(p))


def _end(edge: Edge, direction: Direction) -> Party:
    return edge.dst if direction is Direction.INGRESS else edge.src


def _blocking(
    accepted: dict[Edge, Evidence],
    synthesis: Synthesis,
    inventory: Inventory,
    existing: Sequence[NetworkPolicy],
    config: Config,
) -> dict[tuple[Workload, Direction], Edge]:
    """Directions that generated policies close and that deny an accepted edge which synthesis called inexpressible."""
    excused = frozenset((u.edge, u.direction) for u in synthesis.unwritten)
    generated = {p.ref for p in synthesis.policies}
    matches = config.cni.ipblock_matches_pods
    judge = Judge(_together(synthesis, existing), inventory, tiers=inventory.tiers, ipblock_matches_pods=matches)
    out: dict[tuple[Workload, Direction], Edge] = {}
    for edge in sorted(accepted):
        verdict = judge.edge(edge)
        if verdict.decision is Decision.ALLOW:
            continue
        for party, direction in _ends(edge):
            side = _side(verdict, direction)
            ours = any(ref in generated for ref in side.isolated_by)
            cut = side.decision is Decision.DENY or (side.decision is Decision.UNKNOWN and _proxied(edge))
            if cut and ours and isinstance(party, Workload) and (edge, direction) in excused:
                out.setdefault((party, direction), edge)
    return out


def _proxied(edge: Edge) -> bool:
    """Whether the CNI's ingress proxy is the client.

    No rule can name it, so that isolation cuts off all it forwards, unless it happens to count as the pod's own node.
    """
    return isinstance(edge.src, External) and edge.src.kind is ExternalKind.INGRESS_PROXY


def _replay(
    synthesis: Synthesis,
    existing: Iterable[NetworkPolicy],
    replaces: Collection[str],
    accepted: dict[Edge, Evidence],
    inventory: Inventory,
    config: Config,
) -> Replay:
    """What the generated policies and those that stay make of the accepted edges."""
    policies = _together(synthesis, (p for p in existing if p.ref not in replaces))
    matches = config.cni.ipblock_matches_pods
    return replay(policies, inventory, accepted, tiers=inventory.tiers, ipblock_matches_pods=matches)


def _together(synthesis: Synthesis, existing: Iterable[NetworkPolicy]) -> tuple[NetworkPolicy, ...]:
    """Existing and generated policies; a generated one replaces an existing one of its name."""
    new = {p.ref: p for p in synthesis.policies}
    if len(new) != len(synthesis.policies):
        raise InvariantError("two generated policies share a name")
    return (*(p for p in existing if p.ref not in new), *new.values())


def _tightened(
    synthesis: Synthesis,
    existing: Sequence[NetworkPolicy],
    accepted: dict[Edge, Evidence],
    before: Judge,
    inventory: Inventory,
    config: Config,
) -> tuple[frozenset[str], tuple[Diagnostic, ...]]:
    """Existing policies that the generated ones stand in for, and why others stay in force beside them.

    One stays where it selects more than the generated ones, and where an accepted edge that existing policies surely
    allow would not surely be allowed without it: a client that no rule can name, let in by a rule without peers.
    """
    standing_in, reasons = _replaced(synthesis.policies, existing, inventory)
    refs = set(standing_in)
    while refs:
        worse: dict[str, Edge] = {}
        for row in _replay(synthesis, existing, refs, accepted, inventory, config).rows:
            was = before.edge(row.edge)
            if row.verdict.decision is Decision.ALLOW or was.decision is not Decision.ALLOW:
                continue
            for _, direction in _ends(row.edge):
                if _side(row.verdict, direction).decision is not Decision.ALLOW:
                    for ref in refs.intersection(_side(was, direction).isolated_by):
                        worse.setdefault(ref, row.edge)
        if not worse:
            break
        refs -= set(worse)
        reasons |= {ref: f"without it {edge} would not surely be allowed" for ref, edge in worse.items()}
    text = "it stays in force beside the generated policies, and so does all that it admits: "
    found = (Diagnostic("NPG403", ref, text + why, Severity.WARNING) for ref, why in reasons.items())
    return frozenset(refs), tuple(found)


def _replaced(
    policies: Sequence[NetworkPolicy], existing: Sequence[NetworkPolicy], inventory: Inventory
) -> tuple[frozenset[str], dict[str, str]]:
    """Existing policies all of whose pods and directions a generated policy covers, and what the others select more.

    A default deny covers nothing: it would stand in for the policies of workloads that were merely idle.
    """
    pods = [p for p in inventory.pods if p.live and not p.host_network]
    generated = [p for p in policies if not p.pod_selector.is_empty]
    covered = {
        (id(pod), direction)
        for policy in generated
        for pod in _selected(policy, pods)
        for direction in policy.policy_types
    }
    own = {p.ref for p in policies}
    out: set[str] = set()
    reasons: dict[str, str] = {}
    for policy in existing:
        chosen = _selected(policy, pods)
        missing = sorted({(p.workload, d) for p in chosen for d in policy.policy_types if (id(p), d) not in covered})
        if chosen and not missing:
            out.add(policy.ref)
        elif policy.ref not in own and any((id(p), d) in covered for p in chosen for d in policy.policy_types):
            workload, direction = missing[0]
            others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            reasons[policy.ref] = f"{direction} of {workload}{others} has no generated policy"
    return frozenset(out), reasons


def _selected(policy: NetworkPolicy, pods: Iterable[Pod]) -> list[Pod]:
    return [p for p in pods if p.namespace == policy.namespace and policy.pod_selector.matches(dict(p.labels))]


def _unknowable(edges: Edges) -> tuple[Diagnostic, ...]:
    """What cannot be known from flows alone."""
    if any(not pod.observed for pod in edges.inventory.pods) or not edges.observations:
        return ()
    text = (
        "no object dump was given (-i): owners are told from pod names and labels, selectors are checked only against "
        "the pods seen, Services and node addresses are not known, and workloads without flows are not listed"
    )
    return (Diagnostic("NPG101", "inventory", text),)


def _not_there(edges: Edges, config: Config) -> tuple[Diagnostic, ...]:
    """Namespaces that policies were asked for (`-n`) and that neither flows nor inventory know."""
    inventory = edges.inventory
    parties = {p for e in edges.accepted for p in (e.src, e.dst) if isinstance(p, Workload)}
    there = {*inventory.namespaces, *(p.namespace for p in inventory.pods), *(w.namespace for w in parties)}
    there |= {w.namespace for w in inventory.controllers}
    text = "policies were asked for this namespace, which neither the inventory nor the flows know"
    missing = sorted((config.namespaces or frozenset()) - there)
    return tuple(Diagnostic("NPG405", namespace, text, Severity.WARNING) for namespace in missing)


def _denied_today(edges: Edges) -> tuple[Diagnostic, ...]:
    count = len(edges.denied)
    if not count:
        return ()
    text = f"{count} edges are denied by policies in force; they were reported, not added"
    return (Diagnostic("NPG401", "flows", text, Severity.INFO),)
