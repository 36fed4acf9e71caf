"""Verdicts on single connections and on edges, with the policies and rules behind them.

Semantics: `networking.k8s.io/v1` NetworkPolicy, allow rules only, isolation per direction, both ends have to agree; and
the tiers of cluster-wide policies before and after it. What Kubernetes leaves to the CNI is answered "unknown" with the
fact that is missing, never guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

from netpol_gen.evaluate.match import Match, OutsideView, PodView, Tri, View, rule_matches, selector_matches
from netpol_gen.evaluate.population import InPlay, Population
from netpol_gen.evaluate.readings import Reading, Readings, own_node
from netpol_gen.evaluate.tiered import Outcome, Step, Tiers
from netpol_gen.evaluate.verdict import RuleRef, SideVerdict, Verdict, agreed
from netpol_gen.inventory.objects import Labels, Node, Pod
from netpol_gen.model import Decision, Direction, Edge, Party, Protocol
from netpol_gen.policy import NetworkPolicy
from netpol_gen.sets import Address
from netpol_gen.tiers import Tier, TierPolicy

if TYPE_CHECKING:
    from netpol_gen.inventory import Inventory

Endpoint = Pod | Node | Address
End = Endpoint | Party
Question = tuple[Protocol | None, int]

_HAIRPIN = "how this CNI treats a pod that calls itself through its own Service"
_OWN_NODE = "which node the pod runs on"


@dataclass(frozen=True, slots=True)
class Selecting:
    """The policies that select a pod for a direction: surely, and perhaps (its labels are not known)."""

    surely: tuple[NetworkPolicy, ...]
    perhaps: tuple[NetworkPolicy, ...]
    missing: str = ""


@dataclass(frozen=True, slots=True)
class Examined:
    """Two ends as policies see them, with the verdict on their connection."""

    src: View
    dst: View
    verdict: Verdict


class Judge:
    """Answers questions about one set of policies over one inventory. Remembers what it worked out; has no other state.

    `ipblock_matches_pods` says whether the CNI matches ipBlocks against pod addresses: Calico does (ALLOW), Cilium does
    not (DENY), the API leaves it open (UNKNOWN).
    """

    def __init__(
        self,
        policies: Iterable[NetworkPolicy],
        inventory: Inventory,
        *,
        tiers: Iterable[TierPolicy] = (),
        ipblock_matches_pods: Decision = Decision.UNKNOWN,
    ) -> None:
        self.policies = tuple(sorted(policies, key=lambda p: (p.namespace, p.name)))
        self.tiers = Tiers(tiers)
        self.population = Population(inventory, InPlay.of(self.policies, self.tiers.policies))
        self.matches_pods = Tri.of(ipblock_matches_pods)
        self._readings = Readings(self.population)
        self._by_namespace: dict[str, list[NetworkPolicy]] = {}
        self._by_label: dict[tuple[str, tuple[str, str] | None], list[tuple[int, NetworkPolicy]]] = {}
        """Policies with their number by namespace and the first label that they ask for, if they ask for any."""
        for number, policy in enumerate(self.policies):
            self._by_namespace.setdefault(policy.namespace, []).append(policy)
            asked = next(iter(policy.pod_selector.match_labels), None)
            self._by_label.setdefault((policy.namespace, asked), []).append((number, policy))
        self._selecting: dict[tuple[Direction, str, Labels, bool], Selecting] = {}

    # --- questions ----------------------------------------------------------------------------------------------------

    def connection(
        self, src: Endpoint, dst: Endpoint, protocol: Protocol | None, port: int, *, via_service: bool = False
    ) -> Verdict:
        """The verdict on one connection between concrete endpoints.

        `protocol` is None for one that policies cannot name, such as ICMP. `via_service` matters where a pod calls
        itself: directly it always can, through its own Service the CNI decides.
        """
        return self.examine(src, dst, (protocol, port), via_service=via_service).verdict

    def edge(self, edge: Edge) -> Verdict:
        """The verdict on an edge: it holds for every pair of live pods of its ends, or it does not hold.

        One denied pair denies the edge, with that pair's reasons; else one unknown pair leaves it unknown.
        """
        return self.examine(edge.src, edge.dst, (edge.protocol, edge.port), via_service=True).verdict

    def examine(self, src: End, dst: End, question: Question, *, via_service: bool) -> Examined:
        """The pair of views that decides, with its verdict: the first denied one, else unknown, else the first."""
        return _worst(self._pairs(src, dst, question, via_service=via_service))

    def admitting_rules(self, edge: Edge) -> tuple[frozenset[RuleRef], ...]:
        """For each pair of the edge and each isolated end, the rules that admit it; distinct sets, sorted.

        A rule is needed for the edge exactly if it stands alone in one of these sets.
        """
        pairs = self._pairs(edge.src, edge.dst, (edge.protocol, edge.port), via_service=True)
        sides = (side for pair in pairs for side in (pair.verdict.egress, pair.verdict.ingress))
        return tuple(sorted({frozenset(s.admitted_by) for s in sides if s.admitted_by}, key=sorted))

    # --- pairs --------------------------------------------------------------------------------------------------------

    def _pairs(self, src: End, dst: End, question: Question, *, via_service: bool) -> list[Examined]:
        """One for each pair of groups, and each way in which their pods can lie."""
        found: list[Examined] = []
        for a, b in product(self._readings.of(src), self._readings.of(dst)):
            # Whichever reading is true, this pair took part; where the readings disagree, nobody knows.
            ways = [list(self._pair(x, y, question, via_service=via_service)) for x, y in product(a, b)]
            found += ways[0] if len(ways) == 1 else [_agree([_worst(way) for way in ways])]
        return found

    def _pair(self, src: Reading, dst: Reading, question: Question, *, via_service: bool) -> Iterator[Examined]:
        """One verdict for each way in which pods of two groups can lie: on the same node, on others, or not known."""
        for reading in (src, dst):
            if reading.ended:
                doubt = _doubt(f"{reading.view.shown} has ended", f"who has the address of {reading.view.shown} now")
                yield Examined(src.view, dst.view, doubt)
                return
        same = src.group == dst.group and src.group.size == 1 and isinstance(src.view, PodView)
        if same and not via_service:
            reason = f"{src.view.shown} reaches itself directly"
            sides = [SideVerdict(Decision.ALLOW, d, reason=reason) for d in (Direction.EGRESS, Direction.INGRESS)]
            yield Examined(src.view, dst.view, Verdict.of(*sides))
            return
        for on_own_node in own_node(src, dst):
            verdict = Verdict.of(
                self.side(Direction.EGRESS, src.view, dst.view, question, on_own_node),
                self.side(Direction.INGRESS, dst.view, src.view, question, on_own_node),
            )
            if same and verdict.denied:
                verdict = _doubt(f"{src.view.shown} calls itself, and no rule admits it", _HAIRPIN)
            yield Examined(src.view, dst.view, verdict)

    def side(
        self, direction: Direction, subject: View, peer: View, question: Question, on_own_node: Tri = Tri.NO
    ) -> SideVerdict:
        """What one end says. `subject` is the end that policies select, `on_own_node` whether `peer` is its node."""
        if isinstance(subject, OutsideView):
            return self._outside(direction, subject)
        if not self.tiers:
            return self._below(direction, subject, peer, question, on_own_node)
        admin = self.tiers.outcome(Tier.ADMIN, direction, subject, peer, question)
        if Step.NEXT not in admin.steps:
            return _decided(direction, subject, admin)
        rest = self._below(direction, subject, peer, question, on_own_node)
        return rest if len(admin.steps) == 1 else _followed(direction, subject, admin, rest)

    def _outside(self, direction: Direction, subject: OutsideView) -> SideVerdict:
        governed = any(direction in p.policy_types for p in self.policies) or self.tiers.has_rules(direction)
        if subject.maybe_pod and governed:
            missing = f"whether {subject.shown} is a pod, and its labels"
            return SideVerdict(Decision.UNKNOWN, direction, reason=f"{subject.shown} may be a pod", missing=missing)
        return SideVerdict(Decision.ALLOW, direction, reason=f"policies do not select {subject.shown}")

    def _below(
        self, direction: Direction, subject: PodView, peer: View, question: Question, on_own_node: Tri
    ) -> SideVerdict:
        """NetworkPolicies, and the Baseline tier for a pod that none of them selects."""
        found = self._namespaced(direction, subject, peer, question)
        selecting = self.selecting(direction, subject)
        if self.tiers and not selecting.surely:
            baseline = self.tiers.outcome(Tier.BASELINE, direction, subject, peer, question)
            if baseline.steps != {Step.NEXT}:
                alone = _decided(direction, subject, baseline)
                return alone if not selecting.perhaps else _either_way(alone, found)
        if found.decision is not Decision.ALLOW and on_own_node is Tri.YES:
            return SideVerdict(Decision.ALLOW, direction, reason=f"{peer.shown} is the own node of {subject.shown}")
        if found.decision is Decision.DENY and on_own_node is Tri.MAYBE:
            reason = f"{found.reason}; but {peer.shown} may be the own node of {subject.shown}"
            return replace(found, decision=Decision.UNKNOWN, reason=reason, missing=_OWN_NODE)
        return found

    def _namespaced(self, direction: Direction, subject: PodView, peer: View, question: Question) -> SideVerdict:
        """The NetworkPolicies of the subject's namespace."""
        selecting = self.selecting(direction, subject)
        refs = tuple(p.ref for p in selecting.surely)
        sure = self._admitting(selecting.surely, direction, subject, peer, question)
        perhaps = self._admitting(selecting.perhaps, direction, subject, peer, question)
        if not selecting.surely:
            return _not_surely_isolated(direction, subject, selecting, perhaps)
        admitted = tuple(ref for ref, match in sure if match.tri is Tri.YES)
        if admitted:
            reason = f"{admitted[0]} admits it{f' (and {len(admitted) - 1} more)' if len(admitted) > 1 else ''}"
            return SideVerdict(Decision.ALLOW, direction, refs, admitted, reason)
        by = f"{subject.shown} is isolated for {direction.rules_key} by {', '.join(refs)}"
        for ref, match in (*sure, *perhaps):
            if match.tri is not Tri.NO:
                missing = match.missing or selecting.missing
                return SideVerdict(Decision.UNKNOWN, direction, refs, (), f"{by}; {ref} may admit it", missing)
        if question[0] is None:
            missing = "how this CNI treats protocols other than TCP, UDP and SCTP"
            return SideVerdict(Decision.UNKNOWN, direction, refs, (), by, missing)
        reason = f"{by}, and no rule admits {_show(direction, peer, question)}"
        return SideVerdict(Decision.DENY, direction, refs, (), reason)

    def selecting(self, direction: Direction, subject: PodView) -> Selecting:
        """The policies that isolate a pod for a direction."""
        key = (direction, subject.namespace, subject.labels, subject.labels_known)
        found = self._selecting.get(key)
        if found is None:
            known = subject.labels_known
            found = self._with_labels(direction, subject) if known else self._with_doubt(direction, subject)
            self._selecting[key] = found
        return found

    def _with_labels(self, direction: Direction, subject: PodView) -> Selecting:
        """For a pod whose labels are known: a policy that asks for a label it lacks need not be looked at."""
        labels = dict(subject.labels)
        numbered = [
            (number, policy)
            for asked in (None, *labels.items())
            for number, policy in self._by_label.get((subject.namespace, asked), ())
            if direction in policy.policy_types and policy.pod_selector.matches(labels)
        ]
        numbered.sort(key=lambda item: item[0])
        return Selecting(tuple(policy for _, policy in numbered), ())

    def _with_doubt(self, direction: Direction, subject: PodView) -> Selecting:
        candidates = [p for p in self._by_namespace.get(subject.namespace, ()) if direction in p.policy_types]
        matches = [
            (p, selector_matches(p.pod_selector, subject.labels, complete=False, of=subject.shown)) for p in candidates
        ]
        return Selecting(
            tuple(p for p, m in matches if m.tri is Tri.YES),
            tuple(p for p, m in matches if m.tri is Tri.MAYBE),
            next((m.missing for _, m in matches if m.missing), ""),
        )

    def _admitting(
        self,
        policies: tuple[NetworkPolicy, ...],
        direction: Direction,
        subject: PodView,
        peer: View,
        question: Question,
    ) -> list[tuple[RuleRef, Match]]:
        """Rules that match or may match."""
        dst = peer if direction is Direction.EGRESS else subject
        found = []
        for policy in policies:
            for i, rule in enumerate(policy.rules(direction)):
                match = rule_matches(rule, policy.namespace, direction, peer, dst, question, self.matches_pods)
                if match.tri is not Tri.NO:
                    found.append((RuleRef(policy.ref, direction, i), match))
        return found


def _decided(direction: Direction, subject: PodView, outcome: Outcome) -> SideVerdict:
    """What a tier decided, or left open. Going on from the last tier means that nothing denies."""
    accepted, denied = outcome.by(Step.ACCEPT), outcome.by(Step.DENY)
    if len(outcome.steps) > 1:
        names = ", ".join(str(ref) for _, ref in outcome.rules)
        reason = f"{names} may decide for {subject.shown}"
        return SideVerdict(Decision.UNKNOWN, direction, reason=reason, missing=outcome.missing)
    if Step.ACCEPT in outcome.steps:
        return SideVerdict(Decision.ALLOW, direction, (), accepted, f"{accepted[0]} accepts it")
    return SideVerdict(Decision.DENY, direction, reason=f"{denied[0]} denies it to {subject.shown}", denied_by=denied)


def _followed(direction: Direction, subject: PodView, admin: Outcome, rest: SideVerdict) -> SideVerdict:
    """A tier may decide or not: the answer holds if it is the same either way."""
    others = {Decision.ALLOW if s is Step.ACCEPT else Decision.DENY for s in admin.steps if s is not Step.NEXT}
    if others == {rest.decision}:
        return rest
    return _decided(direction, subject, admin)


def _either_way(a: SideVerdict, b: SideVerdict) -> SideVerdict:
    if a.decision is b.decision:
        return a
    return replace(a, decision=Decision.UNKNOWN, reason=f"{a.reason}; {b.reason}", missing=a.missing or b.missing)


def _not_surely_isolated(
    direction: Direction, subject: PodView, selecting: Selecting, perhaps: list[tuple[RuleRef, Match]]
) -> SideVerdict:
    if not selecting.perhaps:
        reason = f"no policy selects {subject.shown} for {direction.rules_key}"
        return SideVerdict(Decision.ALLOW, direction, reason=reason)
    admitted = tuple(ref for ref, match in perhaps if match.tri is Tri.YES)
    if {ref.policy for ref in admitted} == {p.ref for p in selecting.perhaps}:
        reason = f"every policy that may select {subject.shown} admits it"
        return SideVerdict(Decision.ALLOW, direction, (), admitted, reason)
    refs = ", ".join(p.ref for p in selecting.perhaps)
    return SideVerdict(Decision.UNKNOWN, direction, (), (), f"{refs} may select {subject.shown}", selecting.missing)


def _show(direction: Direction, peer: View, question: Question) -> str:
    protocol, port = question
    return f"{protocol} {port} {'to' if direction is Direction.EGRESS else 'from'} {peer.shown}"


def _doubt(reason: str, missing: str) -> Verdict:
    return Verdict.of(
        SideVerdict(Decision.UNKNOWN, Direction.EGRESS, reason=reason, missing=missing),
        SideVerdict(Decision.UNKNOWN, Direction.INGRESS, reason=reason, missing=missing),
    )


def _worst(found: list[Examined]) -> Examined:
    for wanted in (Decision.DENY, Decision.UNKNOWN):
        for each in found:
            if each.verdict.decision is wanted:
                return each
    return found[0]


def _agree(found: list[Examined]) -> Examined:
    """What all readings of an address say; unknown where they differ."""
    if agreed(each.verdict.decision for each in found) is not Decision.UNKNOWN or len(found) == 1:
        return found[0]
    for each in found:
        if each.verdict.decision is Decision.UNKNOWN:
            return each
    doubt = _doubt("the address has several owners in the inventory, and they differ", "who held the address then")
    return Examined(found[0].src, found[0].dst, doubt)
