"""Collecting the port inventory from edges, the inventory of objects, and policies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from netpol_gen.config import Config
from netpol_gen.edges import Edges
from netpol_gen.inventory import Inventory, service_targets
from netpol_gen.inventory.objects import ContainerPort, Pod
from netpol_gen.model import Direction, Edge, Evidence, External, Party, Protocol, Workload
from netpol_gen.policy import ALL, NetworkPolicy, PolicyPort, Rule
from netpol_gen.ports.known import control_port
from netpol_gen.ports.model import Allowed, Answer, Client, Mark, PortInventory, PortRow, ServiceRef, Wide

LONG_RANGE = 16
"""Ranges of more ports than this are no rows of their own."""

Port = tuple[Protocol, int]


def collect(
    edges: Edges, config: Config | None = None, policies: Iterable[NetworkPolicy] | None = None
) -> PortInventory:
    """The port inventory of everything in scope.

    Args:
        edges: what `find_edges` (or a store) returned; accepted edges count as use.
        config: only its scope is used (`namespaces`, `all_namespaces`).
        policies: what decides `allowed`; `None` takes those of the inventory, and where it has none nothing is known.

    """
    config = config or Config()
    inventory = edges.inventory
    in_force = tuple(inventory.policies if policies is None else policies)
    known = policies is not None or bool(in_force)
    accepted = edges.accepted
    found = _Found()
    found.add_seen(accepted)
    found.add_declared(inventory)
    found.add_services(inventory)
    rows: list[PortRow] = []
    wide: set[Wide] = set()
    workloads = set(found.ports) | {p.workload for p in inventory.pods if p.live or p.template}
    for workload in sorted(w for w in workloads if config.in_scope(w.namespace)):
        pods = _pods(inventory, workload)
        rules = _Rules.of(workload, pods, in_force, known=known)
        wide |= rules.wide
        here = found.ports.get(workload, set()) | set(rules.named)
        rows += [_row(workload, port, pods, found, rules) for port in sorted(here)]
    spans = [o.evidence for o in edges.observations if o.evidence.timed]
    return PortInventory(
        tuple(rows),
        tuple(sorted(wide)),
        min((v.first_seen for v in spans), default=None),
        max((v.last_seen for v in spans), default=None),
    )


def _pods(inventory: Inventory, workload: Workload) -> tuple[Pod, ...]:
    """The pods that stand for a workload: live ones or its template, else the last it had."""
    pods = inventory.pods_of(workload)
    return tuple(p for p in pods if p.live or p.template) or pods


@dataclass(slots=True)
class _Found:
    """What is known of each port of each workload, gathered in one pass per source."""

    ports: dict[Workload, set[Port]] = field(default_factory=dict)
    seen: dict[tuple[Workload, Port], list[tuple[Party, Evidence]]] = field(default_factory=dict)
    declared: dict[tuple[Workload, Port], set[ContainerPort]] = field(default_factory=dict)
    services: dict[tuple[Workload, Port], set[ServiceRef]] = field(default_factory=dict)
    ambiguous: set[tuple[Workload, str]] = field(default_factory=set)
    """Port names that stand for different numbers: on pods of one workload, or behind one Service."""

    def _touch(self, workload: Workload, port: Port) -> tuple[Workload, Port]:
        self.ports.setdefault(workload, set()).add(port)
        return (workload, port)

    def add_seen(self, accepted: Mapping[Edge, Evidence]) -> None:
        for edge, evidence in accepted.items():
            if isinstance(edge.dst, Workload):
                key = self._touch(edge.dst, (edge.protocol, edge.port))
                self.seen.setdefault(key, []).append((edge.src, evidence))

    def add_declared(self, inventory: Inventory) -> None:
        numbers: dict[tuple[Workload, str, Protocol], set[int]] = {}
        for pod in inventory.pods:
            for port in pod.ports if pod.live or pod.template else ():
                key = self._touch(pod.workload, (port.protocol, port.number))
                self.declared.setdefault(key, set()).add(port)
                if port.name:
                    numbers.setdefault((pod.workload, port.name, port.protocol), set()).add(port.number)
        self.ambiguous |= {(w, name) for (w, name, _), found in numbers.items() if len(found) > 1}

    def add_services(self, inventory: Inventory) -> None:
        for service in inventory.services:
            ref = f"{service.namespace}/{service.name}"
            for port in service.ports:
                targets = [(t.pod, t.port) for t in service_targets(inventory, service, port) if t.pod is not None]
                for pod, number in targets:
                    key = self._touch(pod.workload, (port.protocol, number))
                    self.services.setdefault(key, set()).add(ServiceRef(ref, port.port, str(port.target)))
                if isinstance(port.target, str) and len({number for _, number in targets}) > 1:
                    self.ambiguous |= {(pod.workload, port.target) for pod, _ in targets}


@dataclass(frozen=True, slots=True)
class _Rules:
    """What ingress policies say about one workload. `known` is false where nobody can tell."""

    known: bool
    isolated: bool
    named: dict[Port, set[str]]
    """Ports that rules name, with the rules."""
    broad: tuple[tuple[Protocol, int, int, str], ...]
    """Ranges that rules admit: protocol, first, last, rule."""
    wide: frozenset[Wide]

    @classmethod
    def of(cls, workload: Workload, pods: tuple[Pod, ...], policies: Iterable[NetworkPolicy], *, known: bool) -> _Rules:
        named: dict[Port, set[str]] = {}
        broad: list[tuple[Protocol, int, int, str]] = []
        wide: set[Wide] = set()
        isolated = False
        subjects = [p for p in pods if not p.host_network]
        for policy in policies:
            if policy.namespace != workload.namespace or Direction.INGRESS not in policy.policy_types:
                continue
            mine = [p for p in subjects if policy.pod_selector.matches(dict(p.labels))]
            if not mine:
                continue
            isolated = True
            for i, rule in enumerate(policy.rules(Direction.INGRESS)):
                ref = f"{policy.ref} ingress[{i}]"
                for protocol, low, high in _intervals(rule, mine):
                    if high - low < LONG_RANGE:
                        for number in range(low, high + 1):
                            named.setdefault((protocol, number), set()).add(ref)
                    else:
                        broad.append((protocol, low, high, ref))
                wide |= {Wide(workload, text, ref) for text in _wide(rule)}
        return cls(known and bool(subjects), isolated, named, tuple(broad), frozenset(wide))

    def about(self, port: Port) -> tuple[Allowed, tuple[str, ...]]:
        """What they say about one port, and by which rules."""
        if not self.known:
            return Allowed.UNKNOWN, ()
        if not self.isolated:
            return Allowed.OPEN, ()
        protocol, number = port
        refs = set(self.named.get(port, ()))
        refs |= {ref for p, low, high, ref in self.broad if p is protocol and low <= number <= high}
        return (Allowed.ADMITTED if refs else Allowed.CLOSED), tuple(sorted(refs))


def _intervals(rule: Rule, pods: Iterable[Pod]) -> Iterable[tuple[Protocol, int, int]]:
    if rule.ports is ALL:
        yield from ((protocol, 1, 65535) for protocol in Protocol)
        return
    for port in rule.ports:
        if port.port is None:
            yield port.protocol, 1, 65535
        elif isinstance(port.port, int):
            yield port.protocol, port.port, port.end_port or port.port
        else:
            numbers = {p.number for pod in pods for p in pod.ports if _is_named(p, port)}
            yield from ((port.protocol, n, n) for n in sorted(numbers))


def _is_named(declared: ContainerPort, port: PolicyPort) -> bool:
    return declared.name == port.port and declared.protocol is port.protocol


def _wide(rule: Rule) -> Iterable[str]:
    if rule.ports is ALL:
        yield "all"
        return
    for port in rule.ports:
        if port.port is None:
            yield f"all {port.protocol}"
        elif isinstance(port.port, int) and (port.end_port or port.port) - port.port >= LONG_RANGE:
            yield f"{port.protocol} {port.port}-{port.end_port}"


def _row(workload: Workload, port: Port, pods: tuple[Pod, ...], found: _Found, rules: _Rules) -> PortRow:
    protocol, number = port
    key = (workload, port)
    names = tuple(sorted({p.name for p in found.declared.get(key, ()) if p.name}))
    seen = found.seen.get(key, [])
    allowed, refs = rules.about(port)
    host = bool(pods) and all(p.host_network for p in pods)
    row = PortRow(
        workload,
        protocol,
        number,
        names,
        _declared(key, pods, found),
        tuple(sorted(found.services.get(key, ()))),
        Answer.YES if seen else Answer.UNKNOWN if host else Answer.NO,
        sum(v.flows for _, v in seen),
        min((v.first_seen for _, v in seen if v.timed), default=None),
        max((v.last_seen for _, v in seen if v.timed), default=None),
        _clients(seen),
        allowed,
        refs,
        (),
        control_port(protocol, number, names),
    )
    return _marked(row, named_here=port in rules.named, ambiguous=any((workload, n) in found.ambiguous for n in names))


def _declared(key: tuple[Workload, Port], pods: tuple[Pod, ...], found: _Found) -> Answer:
    if key in found.declared:
        return Answer.YES
    # Of pods that only flows named nobody knows what they declare.
    return Answer.NO if pods and not any(p.observed for p in pods) else Answer.UNKNOWN


def _clients(seen: Iterable[tuple[Party, Evidence]]) -> tuple[Client, ...]:
    flows: dict[str, int] = {}
    addresses: dict[str, set[str]] = {}
    for party, evidence in seen:
        name = str(party.kind) if isinstance(party, External) else str(party)
        flows[name] = flows.get(name, 0) + evidence.flows
        addresses.setdefault(name, set()).update([party.address] if isinstance(party, External) else [])
    return tuple(Client(name, len(addresses[name] - {""}), flows[name]) for name in sorted(flows))


def _marked(row: PortRow, *, named_here: bool, ambiguous: bool) -> PortRow:
    """The row with its marks, in the order of `Mark`."""
    used, unused = row.seen is Answer.YES, row.seen is Answer.NO
    reasons = {
        Mark.UNDECLARED: used and row.declared is Answer.NO,
        Mark.UNUSED: unused and (row.declared is Answer.YES or bool(row.services)),
        Mark.ALLOWED_UNUSED: unused and row.allowed is Allowed.ADMITTED and named_here,
        Mark.NOT_ALLOWED: used and row.allowed is Allowed.CLOSED,
        Mark.SERVICE_DIFFERS: any(s.port != row.number for s in row.services),
        Mark.NAME_DIFFERS: ambiguous,
        Mark.CONTROL: bool(row.control),
    }
    return replace(row, marks=tuple(mark for mark in Mark if reasons[mark]))
