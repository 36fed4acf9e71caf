"""Who is on the page: every workload of the inventory or the flows, and the classes of parties outside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from netpol_gen.coverage import Scope
from netpol_gen.errors import printable
from netpol_gen.inventory.objects import Labels
from netpol_gen.model import Direction, External, ExternalKind, Party, Workload
from netpol_gen.policy import NetworkPolicy
from netpol_gen.report.html.material import Material

_OUTSIDE_NAMES: Mapping[ExternalKind, str] = {
    ExternalKind.WORLD: "outside the cluster",
    ExternalKind.NODE: "nodes",
    ExternalKind.OWN_NODE: "own node",
    ExternalKind.API_SERVER: "API server",
    ExternalKind.INGRESS_PROXY: "ingress proxy",
    ExternalKind.UNKNOWN: "unknown",
}
NEED = "netpol-gen.dev/need"
"""Annotation of a workload or a policy: the business need for its connections, for reviews."""


@dataclass(frozen=True)
class Parties:
    """Workloads by namespace, name and kind, then the classes that edges speak of."""

    shown: tuple[Party, ...]

    @cached_property
    def index(self) -> Mapping[Party, int]:
        """Where each one stands."""
        return {party: i for i, party in enumerate(self.shown)}

    @cached_property
    def by_name(self) -> Mapping[str, int]:
        """By the name in full: `ns/name[Kind]`, or the class."""
        return {str(party): i for i, party in enumerate(self.shown)}

    def number(self, party: Party) -> int:
        """The number of a party; an address goes by its class."""
        return self.index[party if isinstance(party, Workload) else External(party.kind)]


def find_parties(material: Material) -> Parties:
    """Everyone, in total order."""
    edges = [o.edge for o in material.plan.edges.observations]
    ends = [end for edge in edges for end in (edge.src, edge.dst)]
    inventory = material.plan.edges.inventory
    workloads = {
        *(e for e in ends if isinstance(e, Workload)),
        *material.after.connectivity.workloads,
        *material.before.connectivity.workloads,
        *inventory.controllers,
        *(row.workload for row in material.ports.rows),
        *(rule.workload for rule in material.ports.wide),
    }
    kinds = {e.kind for e in ends if isinstance(e, External)} | {ExternalKind.WORLD}
    ordered = sorted(workloads, key=lambda w: (w.namespace, w.name, w.kind))
    return Parties((*ordered, *(External(k) for k in ExternalKind if k in kinds)))


def outside_name(kind: ExternalKind) -> str:
    """How the page calls a class of parties outside."""
    return _OUTSIDE_NAMES[kind]


def party_json(material: Material, parties: Parties) -> list[dict[str, Any]]:
    """Kind, namespace and name, and for workloads pods, labels, policies by number, gaps and coverage."""
    selecting = {
        "before": _selecting(material, material.before.policies),
        "after": _selecting(material, material.after.policies),
    }
    gaps: dict[Workload, list[list[str]]] = {}
    for gap in material.plan.gaps:
        gaps.setdefault(gap.workload, []).append([str(gap.direction), text(gap.reason)])
    coverage = {
        (line.workload, line.direction): [str(line.state), text(line.reason)]
        for line in material.coverage.of(Scope.WORKLOAD)
        if line.edges
    }
    out: list[dict[str, Any]] = []
    for party in parties.shown:
        if isinstance(party, External):
            out.append({"kind": str(party.kind), "name": outside_name(party.kind)})
            continue
        states = {str(d): coverage[party, d] for d in Direction if (party, d) in coverage}
        found = {
            "kind": text(party.kind),
            "ns": text(party.namespace),
            "name": text(party.name),
            **_held(material, party),
            "before": selecting["before"].get(party, []),
            "after": selecting["after"].get(party, []),
            "gaps": gaps.get(party, []),
            "coverage": states,
        }
        out.append({k: v for k, v in found.items() if v not in ([], {}, "", 0)})
    return out


def _held(material: Material, workload: Workload) -> dict[str, Any]:
    inventory = material.plan.edges.inventory
    pods = [p for p in inventory.pods_of(workload) if p.live and not p.template]
    controller = inventory.workload(workload)
    labels: Labels = controller.template_labels if controller else pods[0].labels if pods else ()
    ports = {*(controller.ports if controller else ()), *(p for pod in pods for p in pod.ports)}
    return {
        "pods": len(pods),
        "labels": [f"{text(k)}={text(v)}" for k, v in labels],
        "declared": [[str(p.protocol), p.number, text(p.name)] for p in sorted(ports)],
        "need": text(dict(controller.annotations).get(NEED, "")) if controller else "",
    }


def _selecting(material: Material, policies: Iterable[NetworkPolicy]) -> dict[Workload, list[int]]:
    """For each workload the numbers of the policies that select a pod of it."""
    inventory = material.plan.edges.inventory
    labels: dict[str, dict[Workload, set[Labels]]] = {}
    for pod in inventory.pods:
        if not pod.host_network and (pod.live or pod.template):
            labels.setdefault(pod.workload.namespace, {}).setdefault(pod.workload, set()).add(pod.labels)
    for controller in inventory.controllers.values():
        if not controller.host_network:
            of = labels.setdefault(controller.workload.namespace, {}).setdefault(controller.workload, set())
            of.add(controller.template_labels)
    out: dict[Workload, list[int]] = {}
    for number, policy in enumerate(policies):
        for workload, sets in labels.get(policy.namespace, {}).items():
            if any(policy.pod_selector.matches(dict(one)) for one in sets):
                out.setdefault(workload, []).append(number)
    return out


def text(value: object, limit: int = 400) -> str:
    """One line of text that nothing obeys: no control characters, no bidirectional overrides."""
    return printable(value, limit)
