"""Edges in, policies out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeGuard

from netpol_gen.config import Config
from netpol_gen.errors import InvariantError, printable
from netpol_gen.inventory import Inventory
from netpol_gen.model import Diagnostic, Direction, Edge, Evidence, External, ExternalKind, Severity, Workload
from netpol_gen.policy import NetworkPolicy
from netpol_gen.synthesize import passes
from netpol_gen.synthesize.baseline import default_deny, house_labels
from netpol_gen.synthesize.callers import Callers
from netpol_gen.synthesize.dns import OTHER_PROTOCOL, Resolvers
from netpol_gen.synthesize.drafts import Draft
from netpol_gen.synthesize.enforcement import enforcement
from netpol_gen.synthesize.guards import guard_rails
from netpol_gen.synthesize.names import Taken, default_deny_name, is_namespace, policy_names
from netpol_gen.synthesize.peers import Answer, Directory, addresses_of, forbidden
from netpol_gen.synthesize.ports import policy_port
from netpol_gen.synthesize.subjects import Subject, relies_on_version
from netpol_gen.synthesize.units import Unit, exact_units, shared_units
from netpol_gen.synthesize.universe import Row, Universe
from netpol_gen.synthesize.values import Gap, RuleNote, Synthesis, Unwritten

Wanted = Collection[tuple[Edge, Direction]]

NOTHING_SEEN = "nothing was seen in this direction"
NOTHING_NAMED = "no rule can be written for anything that was seen: {}"
SHARED_IDLE = "its labels are also those of {}, for which no rule is to be written in this direction"

MANY_BLOCKS = 10
"""From so many ipBlocks in one rule on, the reader is told how to get fewer."""


def synthesize(
    edges: Mapping[Edge, Evidence],
    inventory: Inventory,
    config: Config,
    *,
    wanted: Wanted | None = None,
    taken: Taken = frozenset(),
) -> Synthesis:
    """Policies that admit the wanted edges and, apart from what the notes call inferred or widened, nothing else.

    `wanted` restricts for which edge, and at which of its ends, rules are written (all of them by default); the other
    edges still count as evidence. A direction is isolated only if a rule could be written for it. `taken` are
    namespaces and names of policies that stay, so that none is written in their place.

    Raises:
        OptionError: names or labels in `config` that cannot be.

    """
    writer = _Writer(edges, inventory, config, wanted, taken)
    for unit in exact_units(writer.subjects):
        writer.write(unit, unit.members)
    isolated = frozenset(writer.isolated)
    for unit in shared_units(writer.subjects):
        writer.write(unit, unit.members, isolated)
    writer.report_gaps()
    if config.default_deny:
        writer.write_default_deny()
    return writer.result()


@dataclass(slots=True)
class _Section:
    """One direction of a policy while it is made."""

    drafts: list[Draft] = field(default_factory=list)
    unwritten: list[Unwritten] = field(default_factory=list)
    remarks: set[tuple[str, str]] = field(default_factory=set)


class _Writer:
    def __init__(
        self, edges: Mapping[Edge, Evidence], inventory: Inventory, config: Config, wanted: Wanted | None, taken: Taken
    ) -> None:
        mentioned = {party for e in edges for party in (e.src, e.dst) if isinstance(party, Workload)}
        self.config = config
        self.inventory = inventory
        self.universe = Universe(inventory, mentioned)
        self.directory = Directory(self.universe, config)
        self.resolvers = Resolvers.of(edges, inventory)
        self.callers = Callers.of(inventory)
        self.labels = house_labels(config)
        self.taken = taken
        self.names = policy_names(self.universe.workloads, config, taken)
        self.limits = passes.Limits(config.max_extra_addresses, forbidden(self.directory), config.cni)
        self.policies: list[NetworkPolicy] = []
        self.notes: list[RuleNote] = []
        self.gaps: set[Gap] = set()
        self.unwritten: list[Unwritten] = []
        self.diagnostics: set[Diagnostic] = set()
        self.isolated: set[tuple[Workload, Direction]] = set()
        self.seen: dict[tuple[Workload, Direction], list[Edge]] = {}
        self.wanted: dict[tuple[Workload, Direction], list[Edge]] = {}
        known = {f"{w.namespace}/{w.kind}/{w.name}" for w in self.universe.workloads}
        for key in sorted(set(config.names) - known):
            self.say("NPG307", "names", f"{printable(key)} is no workload that is known", Severity.INFO)
        self._sort_edges(edges, wanted)
        self.subjects = self._subjects()

    def _sort_edges(self, edges: Iterable[Edge], wanted: Wanted | None) -> None:
        asked = None if wanted is None else frozenset(wanted)
        for edge in sorted(edges, key=lambda e: e.key):
            for direction, own, other in (
                (Direction.INGRESS, edge.dst, edge.src),
                (Direction.EGRESS, edge.src, edge.dst),
            ):
                # What passes between a pod and its own node is always allowed, so it is no reason for a rule.
                if not isinstance(own, Workload) or _own_node(other):
                    continue
                self.seen.setdefault((own, direction), []).append(edge)
                if asked is None or (edge, direction) in asked:
                    self.wanted.setdefault((own, direction), []).append(edge)

    def _subjects(self) -> list[Subject]:
        """Selectors of the workloads that policies are to be written for."""
        out = []
        for workload in sorted({w for w, _ in self.wanted if self.config.in_scope(w.namespace)}):
            subject = self.directory.subject(workload)
            if not is_namespace(workload.namespace):
                subject = Subject(workload, problem="its namespace has a name that no namespace can have")
                self.say("NPG306", workload, f"no policy: {subject.problem}")
            elif subject.selector is None and workload not in self.universe.host_network:
                self.say("NPG202", workload, f"no policy: {subject.problem}")
            if subject.selector is None:
                self.gaps |= {Gap(workload, d, subject.problem) for d in Direction}
            elif relies_on_version(self.inventory, subject):
                self.say("NPG204", workload, f"{subject.selector} tells it from others by what may change on release")
            out.append(subject)
        return out

    def say(self, code: str, subject: object, message: str, severity: Severity = Severity.WARNING) -> None:
        """Add a diagnostic."""
        self.diagnostics.add(Diagnostic(code, str(subject), message, severity))

    # --- one policy ---

    def write(
        self, unit: Unit, members: Iterable[Workload], already: Collection[tuple[Workload, Direction]] = ()
    ) -> None:
        """The policy of a unit. `already` are members and directions that a policy of their own admits and isolates."""
        if unit.shared:
            shown = ", ".join(map(str, unit.shared))
            self.say("NPG201", unit.workload, f"{unit.selector} selects {shown} too, which get the same policy")
        rows = self.directory.selected(unit.workload.namespace, unit.selector)
        rules: dict[Direction, tuple[Draft, ...]] = {}
        for direction in Direction:
            # Isolating all of them would cut off those that nothing was seen of, or whose flows no rule can express.
            if idle := [m for m in unit.members if (m, direction) not in self.wanted]:
                self._gap_of_shared(unit, direction, idle)
                continue
            core = [m for m in members if (m, direction) not in already]
            drafts = self._section(unit, direction, core, rows)
            if drafts:
                rules[direction] = passes.run(drafts, self.limits)
                self.isolated |= {(m, direction) for m in unit.members}
        if rules:
            self._finish(unit, rules)

    def _gap_of_shared(self, unit: Unit, direction: Direction, idle: Iterable[Workload]) -> None:
        reason = SHARED_IDLE.format(", ".join(map(str, idle)))
        busy = [m for m in unit.members if (m, direction) in self.wanted]
        self.gaps |= {Gap(m, direction, reason) for m in busy}

    def _section(
        self, unit: Unit, direction: Direction, members: Iterable[Workload], rows: Collection[Row]
    ) -> list[Draft]:
        """Rules of one direction, each of one peer and one port. None: the direction stays open."""
        section = _Section()
        for member in members:
            edges = self.wanted.get((member, direction), [])
            self._observed(section, edges, direction, rows)
        if not section.drafts:
            if section.unwritten:
                reasons = sorted({u.reason for u in section.unwritten})
                self.gaps |= {Gap(m, direction, NOTHING_NAMED.format("; ".join(reasons))) for m in unit.members}
                self.say("NPG301", unit.workload, f"{direction} stays open: {'; '.join(reasons)}")
            return []
        if direction is Direction.EGRESS:
            for member in members:
                self._add_dns(section, member, rows)
        else:
            for member in members:
                self._add_callers(section, member, rows)
        self._account(unit, direction, section)
        return section.drafts

    def _observed(self, section: _Section, edges: Iterable[Edge], direction: Direction, rows: Collection[Row]) -> None:
        edges = tuple(edges)
        together = {(_other(e, direction), e.protocol, e.port) for e in edges}
        for edge in edges:
            answer = self.directory.answer(edge, direction)
            # A selector that hits several workloads is right where all of them have the edge.
            if answer.instead is not None and not _strangers(answer.instead, edge, together):
                answer = answer.instead
            strangers = _strangers(answer, edge, together)
            if strangers or not answer.peers:
                problem = answer.problem or _ambiguous(edge, direction, strangers)
                section.unwritten.append(Unwritten(edge, direction, problem))
            else:
                section.remarks |= set(answer.remarks)
                section.drafts += self._drafts(answer, edge, direction, rows)

    def _drafts(
        self, answer: Answer, edge: Edge, direction: Direction, rows: Collection[Row], why: str = ""
    ) -> list[Draft]:
        server = tuple(rows) if direction is Direction.INGRESS else answer.rows
        port = policy_port(edge.protocol, edge.port, server, self.config)
        behind = frozenset({edge})
        return [
            Draft(
                (peer,),
                (port,),
                edges=frozenset() if why else behind,
                inferred=behind if why else frozenset(),
                why=frozenset({why}) if why else frozenset(),
                widened=frozenset({answer.widened}) if answer.widened else frozenset(),
                outside=answer.outside,
            )
            for peer in answer.peers
        ]

    def _add_dns(self, section: _Section, member: Workload, rows: Collection[Row]) -> None:
        egress = self.seen.get((member, Direction.EGRESS), [])
        if not egress:
            return
        added = []
        for edge, why in self.resolvers.completing(member, egress):
            answer = self.directory.answer(edge, Direction.EGRESS)
            if answer.peers and not answer.also:
                section.drafts += self._drafts(answer, edge, Direction.EGRESS, rows, why)
                added.append(why)
        if added and OTHER_PROTOCOL not in added:
            self.say("NPG302", member, f"a rule for DNS is inferred: {added[0]}", Severity.INFO)
        if not added and not self.resolvers.has_dns(egress) and not self.resolvers.serves(member):
            self.say("NPG303", member, "egress is isolated, and NO rule for DNS was written: no resolver is known")

    def _add_callers(self, section: _Section, member: Workload, rows: Collection[Row]) -> None:
        """Let the API server in where webhooks and APIServices make it call."""
        seen = {(e.src.kind, e.port) for e in self.seen.get((member, Direction.INGRESS), []) if _is_external(e.src)}
        for edge, why in self.callers.of_workload(member):
            if (ExternalKind.API_SERVER, edge.port) in seen:
                continue
            answer = self.directory.answer(edge, Direction.INGRESS)
            if not answer.peers:
                text = f"{why}, on port {edge.port}, and NO rule for it was written: {answer.problem}"
                self.say("NPG309", member, text)
                continue
            section.remarks |= set(answer.remarks)
            section.drafts += self._drafts(answer, edge, Direction.INGRESS, rows, why)
            self.say("NPG308", member, f"a rule for port {edge.port} is inferred: {why}", Severity.INFO)

    def _account(self, unit: Unit, direction: Direction, section: _Section) -> None:
        """Say what the section costs and what it leaves out."""
        self.unwritten += section.unwritten
        for reason, count in sorted(Counter(u.reason for u in section.unwritten).items()):
            edges = "1 edge" if count == 1 else f"{count} edges"
            self.say("NPG301", unit.workload, f"{direction}: {edges} without a rule: {reason}")
        for code, text in section.remarks:
            self.say(code, unit.workload, f"{direction}: {text}")
        self.diagnostics |= set(guard_rails((e, direction) for d in section.drafts for e in d.edges))

    def _finish(self, unit: Unit, rules: Mapping[Direction, tuple[Draft, ...]]) -> None:
        written = {d: tuple(draft.rule for draft in drafts) for d, drafts in rules.items()}
        policy = NetworkPolicy(
            unit.workload.namespace,
            self.names[unit.workload],
            unit.selector,
            frozenset(rules),
            written.get(Direction.INGRESS, ()),
            written.get(Direction.EGRESS, ()),
            self.labels,
        )
        if policy != policy.canonical():
            raise InvariantError(f"{policy.ref} is not in canonical order")
        self.policies.append(policy)
        for direction, drafts in rules.items():
            self.notes += [_note(policy, direction, i, draft) for i, draft in enumerate(drafts)]
            self._outside(policy, direction, drafts)
        for code, text in enforcement(policy, unit.members, self.config.cni):
            self.say(code, policy.ref, text)

    def _outside(self, policy: NetworkPolicy, direction: Direction, drafts: Iterable[Draft]) -> None:
        """What the addresses outside come to."""
        for draft in drafts:
            seen = {a for e in draft.edges if (a := _world(_other(e, direction)))}
            if seen:
                blocks = [p for p in draft.peers if p.ip_block is not None]
                size = addresses_of(blocks).size
                ports = ", ".join(f"{p.protocol} {p.port}" for p in draft.ports)
                text = f"{direction} {ports}: {len(seen)} addresses outside observed, {size} admitted by {len(blocks)}"
                hint = " (--max-extra-addresses gives fewer)" if len(blocks) >= MANY_BLOCKS else ""
                self.say("NPG320", policy.ref, f"{text} ipBlock{'s' * (len(blocks) != 1)}{hint}", Severity.INFO)

    # --- what is not isolated ---

    def report_gaps(self) -> None:
        """Every workload in scope, every direction that nothing was seen in."""
        for workload in self.universe.workloads:
            if not self.config.in_scope(workload.namespace):
                continue
            for direction in Direction:
                if workload in self.universe.host_network:
                    self.gaps.add(Gap(workload, direction, self.directory.subject(workload).problem))
                elif not self.universe.rows(workload):
                    # All its pods have ended, nothing makes new ones, and no flow speaks of it.
                    continue
                elif (workload, direction) not in self.seen and (workload, direction) not in self.isolated:
                    self.gaps.add(Gap(workload, direction, NOTHING_SEEN))

    def write_default_deny(self) -> None:
        """One policy per namespace, in the directions in which it cuts off nothing that was seen."""
        for namespace in sorted({w.namespace for w in self.universe.workloads if self.config.in_scope(w.namespace)}):
            if not is_namespace(namespace):
                continue
            called = {(w, Direction.INGRESS) for w in self.callers.calls}
            open_to = {
                (w, d)
                for w, d in {*self.seen, *called}
                if w.namespace == namespace and w not in self.universe.host_network
            }
            blocked = sorted(open_to - self.isolated)
            for workload, direction in blocked:
                text = f"it would cut off what {workload} was seen to do"
                if (workload, direction) not in self.seen:
                    text = f"it would cut off {workload}: {self.callers.of_workload(workload)[0][1]}"
                self.say("NPG305", namespace, f"no default deny for {direction}: {text}")
            directions = [d for d in Direction if d not in {direction for _, direction in blocked}]
            if directions:
                name = default_deny_name(namespace, self.taken)
                self.policies.append(default_deny(namespace, directions, self.labels, name))
            cut = [
                g
                for g in sorted(self.gaps)
                if g.workload.namespace == namespace
                and g.direction in directions
                and g.workload not in self.universe.host_network
            ]
            for gap in cut:
                text = f"default deny closes {gap.direction}, in which nothing is admitted: {gap.reason}"
                self.say("NPG304", gap.workload, text)

    def result(self) -> Synthesis:
        """Everything in canonical order."""
        return Synthesis(
            tuple(sorted(self.policies, key=lambda p: (p.namespace, p.name))),
            tuple(sorted(self.notes, key=lambda n: n.key)),
            tuple(sorted(self.gaps)),
            tuple(sorted(self.diagnostics)),
            tuple(sorted(self.unwritten, key=lambda u: u.key)),
        )


def _is_external(party: object) -> TypeGuard[External]:
    return isinstance(party, External)


def _own_node(party: object) -> bool:
    return isinstance(party, External) and party.kind is ExternalKind.OWN_NODE


def _other(edge: Edge, direction: Direction) -> Workload | External:
    return edge.src if direction is Direction.INGRESS else edge.dst


def _world(party: Workload | External) -> str:
    return party.address if isinstance(party, External) and party.kind is ExternalKind.WORLD else ""


def _strangers(answer: Answer, edge: Edge, together: Collection[object]) -> list[Workload]:
    """Workloads that the answer's peers select and that do not have the edge."""
    return [w for w in answer.also if (w, edge.protocol, edge.port) not in together]


def _ambiguous(edge: Edge, direction: Direction, strangers: Iterable[Workload]) -> str:
    shown = ", ".join(map(str, strangers))
    return f"labels cannot tell {_other(edge, direction)} from {shown}"


def _note(policy: NetworkPolicy, direction: Direction, index: int, draft: Draft) -> RuleNote:
    return RuleNote(
        policy.ref,
        direction,
        index,
        tuple(sorted(draft.edges, key=lambda e: e.key)),
        "; ".join(sorted(draft.why)),
        "; ".join(sorted(draft.widened)),
        tuple(sorted(draft.inferred - draft.edges, key=lambda e: e.key)),
    )
