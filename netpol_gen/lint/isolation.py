"""Rules about default deny: every pod of a namespace is isolated, whatever it is called."""

from __future__ import annotations

from collections.abc import Iterator

from netpol_gen.errors import Place
from netpol_gen.lint.material import Document, Material
from netpol_gen.lint.model import Hit
from netpol_gen.model import Direction
from netpol_gen.policy import ALL, NetworkPolicy


def no_default_deny_ingress(material: Material) -> Iterator[Hit]:
    """Namespaces where a new pod can be reached by all."""
    yield from _no_default_deny(material, Direction.INGRESS)


def no_default_deny_egress(material: Material) -> Iterator[Hit]:
    """Namespaces where a new pod can reach all."""
    yield from _no_default_deny(material, Direction.EGRESS)


def _no_default_deny(material: Material, direction: Direction) -> Iterator[Hit]:
    # What the cluster already has counts too, under the same names the given files win.
    given = {policy.ref for _, policy in material.parsed}
    held = material.inventory.policies if material.inventory is not None else ()
    policies = [*(p for _, p in material.parsed), *(p for p in held if p.ref not in given)]
    denied = {p.namespace for p in policies if _denies_by_default(p, direction)}
    first: dict[str, Document] = {}
    for document, policy in material.parsed:
        first.setdefault(policy.namespace, document)
    populated = {n for n in material.namespaces if material.pods_in(n)}
    for namespace in sorted((set(first) | populated) - denied):
        if not material.config.in_scope(namespace):
            continue
        isolated = _isolated(material, policies, namespace, direction)
        others = f"; {isolated}" if isolated else ""
        yield Hit(
            first[namespace].place if namespace in first else Place(),
            namespace,
            f"namespace {namespace} has no default deny for {direction.rules_key}: pods that no policy selects are open"
            f"{others}",
            f"add a policy with podSelector: {{}}, policyTypes: [{direction}] and no {direction.rules_key} rules",
        )


def _denies_by_default(policy: NetworkPolicy, direction: Direction) -> bool:
    """It isolates every pod of its namespace, and does not open it again."""
    everything = any(r.peers is ALL and r.ports is ALL for r in policy.rules(direction))
    return policy.pod_selector.is_empty and direction in policy.policy_types and not everything


def _isolated(material: Material, policies: list[NetworkPolicy], namespace: str, direction: Direction) -> str:
    pods = material.pods_in(namespace)
    if not pods:
        return ""
    mine = [p for p in policies if p.namespace == namespace and direction in p.policy_types]
    chosen = {id(pod) for policy in mine for pod in material.selected(policy)}
    return f"{len(chosen)} of its {len(pods)} pods are selected by a policy"
