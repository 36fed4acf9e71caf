"""What rules look at: the documents with their places, the inventory, the flows. Looked up once, changed never."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import ip_address
from typing import Any

from netpol_gen.config import Config
from netpol_gen.edges import Edges
from netpol_gen.errors import InputError, Place
from netpol_gen.evaluate import Judge
from netpol_gen.evaluate.verdict import RuleRef
from netpol_gen.inventory import Inventory
from netpol_gen.inventory.objects import Pod
from netpol_gen.lint.settings import LintSettings
from netpol_gen.manifests import NETWORK_POLICY, Manifest
from netpol_gen.model import Decision, Direction, Edge, External, ExternalKind
from netpol_gen.policy import ALL, NetworkPolicy, Peer, PolicyPort, Rule, dump_policy, parse_policy
from netpol_gen.selectors import LabelSelector
from netpol_gen.sets import AddressSet

LEGACY_GROUP = "extensions"
_NODES = (ExternalKind.NODE, ExternalKind.OWN_NODE, ExternalKind.API_SERVER)


@dataclass(frozen=True, slots=True)
class Document:
    """One object of a given file. `policy` is `None` for what is no valid NetworkPolicy; `problem` says why then."""

    place: Place
    data: Mapping[str, Any]
    group: str
    kind: str
    policy: NetworkPolicy | None = None
    problem: InputError | None = None
    default_namespace: str = "default"

    @property
    def is_policy(self) -> bool:
        """Whether it is meant to be a NetworkPolicy of the current API group."""
        return (self.group, self.kind) == NETWORK_POLICY

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Its metadata as far as it is a mapping."""
        found = self.data.get("metadata")
        return found if isinstance(found, Mapping) else {}

    @property
    def subject(self) -> str:
        """`namespace/name`, or the name alone for what has no namespace."""
        if self.policy is not None:
            return self.policy.ref
        namespace, name = self.metadata.get("namespace"), self.metadata.get("name")
        if not namespace and self.kind != "Namespace":
            namespace = self.default_namespace
        return "/".join(str(part) for part in (namespace, name) if part) or "unnamed"

    def at(self, path: str) -> Place:
        """A field of it."""
        return self.place.at(path)

    def raw(self, path: str) -> Any:
        """What the manifest has at `spec.ingress[0].ports[1]`; `None` where there is nothing."""
        value: Any = self.data
        for step in path.replace("[", ".[").split("."):
            if step.startswith("["):
                index = int(step[1:-1])
                value = value[index] if isinstance(value, list) and index < len(value) else None
            else:
                value = value.get(step) if isinstance(value, Mapping) else None
        return value


def read_documents(manifests: Iterable[Manifest], default_namespace: str = "default") -> tuple[Document, ...]:
    """Documents of manifests. An invalid NetworkPolicy is kept with its problem: it is a finding, not the end."""
    out = []
    for manifest in manifests:
        if manifest.empty_list:
            continue
        policy, problem = None, None
        if (manifest.group, manifest.kind) == NETWORK_POLICY:
            try:
                policy = parse_policy(manifest.data, manifest.place, default_namespace)
            except InputError as error:
                problem = error
        out.append(
            Document(manifest.place, manifest.data, manifest.group, manifest.kind, policy, problem, default_namespace)
        )
    return tuple(out)


def policy_documents(policies: Iterable[NetworkPolicy]) -> tuple[Document, ...]:
    """Documents of policies that are values already."""
    # Without a file the number tells them apart.
    return tuple(
        Document(p.place if p.place.path else Place(document=i), dump_policy(p), *NETWORK_POLICY, p)
        for i, p in enumerate(policies, start=1)
    )


@dataclass(frozen=True, slots=True)
class RuleAt:
    """A rule in force with its place."""

    document: Document
    policy: NetworkPolicy
    direction: Direction
    index: int
    rule: Rule

    @property
    def path(self) -> str:
        """`spec.ingress[0]`."""
        return f"spec.{self.direction.rules_key}[{self.index}]"

    @property
    def place(self) -> Place:
        """Where it is written."""
        return self.document.at(self.path)

    @property
    def subject(self) -> str:
        """The policy's `namespace/name`."""
        return self.policy.ref

    def peers(self) -> Iterator[tuple[str, Peer]]:
        """Peers with their paths."""
        for i, peer in enumerate(() if self.rule.peers is ALL else self.rule.peers):
            yield f"{self.path}.{self.direction.peers_key}[{i}]", peer

    def ports(self) -> Iterator[tuple[str, PolicyPort]]:
        """Ports with their paths."""
        for i, port in enumerate(() if self.rule.ports is ALL else self.rule.ports):
            yield f"{self.path}.ports[{i}]", port


@dataclass(frozen=True, slots=True)
class Used:
    """Accepted edges by the rule that admits them; `doubtful` are policies with an edge that nobody can judge."""

    edges: dict[RuleRef, list[Edge]]
    doubtful: frozenset[str]


def _place_key(place: Place) -> tuple[str, int, int, str]:
    return (place.path, place.document, place.line, place.field)


@dataclass(frozen=True)
class Material:
    """Everything. `inventory` is `None` where none was given, even if flows named pods; `edges` without flows."""

    documents: tuple[Document, ...]
    inventory: Inventory | None = None
    edges: Edges | None = None
    config: Config = field(default_factory=Config)
    settings: LintSettings = field(default_factory=LintSettings)

    def __post_init__(self) -> None:
        """Put documents in the order of their places; one place is one document, however often it was given."""
        by_place = {_place_key(d.place): d for d in self.documents}
        object.__setattr__(self, "documents", tuple(by_place[key] for key in sorted(by_place)))

    @cached_property
    def parsed(self) -> tuple[tuple[Document, NetworkPolicy], ...]:
        """Valid policies with their documents."""
        return tuple((d, d.policy) for d in self.documents if d.policy is not None)

    @cached_property
    def rules(self) -> tuple[RuleAt, ...]:
        """Every rule in force."""
        return tuple(
            RuleAt(document, policy, direction, i, rule)
            for document, policy in self.parsed
            for direction in Direction
            for i, rule in enumerate(policy.rules(direction))
        )

    @cached_property
    def _pods(self) -> dict[str, list[Pod]]:
        out: dict[str, list[Pod]] = {}
        for pod in self.inventory.pods if self.inventory is not None else ():
            # Pods on their node's network are not selected in practice (semantics 4.1 no. 17).
            if (pod.live or pod.template) and not pod.host_network:
                out.setdefault(pod.namespace, []).append(pod)
        return out

    @property
    def namespaces(self) -> list[str]:
        """Namespaces that the inventory has, with pods or without."""
        known = set(self.inventory.namespaces) if self.inventory is not None else set()
        return sorted(known | set(self._pods))

    def pods_in(self, namespace: str) -> list[Pod]:
        """Pods of a namespace that policies can select."""
        return self._pods.get(namespace, [])

    def selected(self, policy: NetworkPolicy) -> tuple[Pod, ...]:
        """Pods that a policy selects."""
        return self._chosen(policy.namespace, policy.pod_selector)

    def _chosen(self, namespace: str, selector: LabelSelector | None) -> tuple[Pod, ...]:
        key = (namespace, selector)
        if key not in self._memo:
            pods = self.pods_in(namespace)
            self._memo[key] = tuple(p for p in pods if selector is None or selector.matches(dict(p.labels)))
        return self._memo[key]

    @cached_property
    def _memo(self) -> dict[tuple[str, LabelSelector | None], tuple[Pod, ...]]:
        return {}

    def peer_pods(self, peer: Peer, own_namespace: str) -> tuple[Pod, ...]:
        """Pods that a peer's selectors match; none for an ipBlock."""
        if peer.ip_block is not None or self.inventory is None:
            return ()
        if peer.namespace_selector is None:
            return self._chosen(own_namespace, peer.pod_selector)
        return tuple(
            pod
            for namespace in self.namespaces
            if peer.namespace_selector.matches(self.inventory.namespace_labels(namespace))
            for pod in self._chosen(namespace, peer.pod_selector)
        )

    def destinations(self, at: RuleAt) -> tuple[Pod, ...]:
        """Pods that a rule's ports are ports of: the selected ones for ingress, those of its peers for egress."""
        if at.direction is Direction.INGRESS:
            return self.selected(at.policy)
        found = {id(p): p for _, peer in at.peers() for p in self.peer_pods(peer, at.policy.namespace)}
        return tuple(found.values())

    @cached_property
    def used(self) -> Used:
        """Which rules the accepted edges need."""
        if self.edges is None:
            return Used({}, frozenset())
        known = self.edges.inventory
        judge = Judge([p for _, p in self.parsed], known, tiers=known.tiers)
        found: dict[RuleRef, list[Edge]] = {}
        doubtful: set[str] = set()
        for edge in sorted(self.edges.accepted):
            for ref in {ref for refs in judge.admitting_rules(edge) for ref in refs}:
                found.setdefault(ref, []).append(edge)
            verdict = judge.edge(edge)
            if verdict.decision is Decision.UNKNOWN:
                doubtful.update(verdict.egress.isolated_by, verdict.ingress.isolated_by)
        return Used(found, frozenset(doubtful))

    @cached_property
    def pod_ranges(self) -> AddressSet:
        """What pods may hold, from the inventory and the settings. What a node itself answers at is no pod's."""
        if self.inventory is None:
            return AddressSet.of(*self.config.pod_cidrs)
        nodes = [a for n in self.inventory.nodes.values() for a in (*n.addresses, *n.inner_addresses)]
        # Some CNIs give each node an address from the pod range that only flows reveal (Cilium's router).
        ends = [end for o in (self.edges.observations if self.edges else ()) for end in (o.edge.src, o.edge.dst)]
        nodes += [ip_address(e.address) for e in ends if isinstance(e, External) and e.kind in _NODES and e.address]
        return (self.inventory.pod_ranges | AddressSet.of(*self.config.pod_cidrs)) - AddressSet.of(*nodes)

    @cached_property
    def service_ranges(self) -> AddressSet:
        """What Services may hold."""
        known = self.inventory.service_ranges if self.inventory is not None else AddressSet()
        return known | AddressSet.of(*self.config.service_cidrs)
