"""Rules about the documents themselves: invalid, twice, outdated, without effect."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from netpol_gen.errors import printable
from netpol_gen.lint.addresses import except_outside
from netpol_gen.lint.material import LEGACY_GROUP, Document, Material
from netpol_gen.lint.model import Hit
from netpol_gen.lint.settings import ANNOTATION
from netpol_gen.model import Direction

LEGACY_PREFIXES = ("net.alpha.kubernetes.io/", "net.beta.kubernetes.io/")
_NAMESPACE_KIND = "Namespace"
_POLICY_KIND = "NetworkPolicy"


def invalid_policy(material: Material) -> Iterator[Hit]:
    """What the API server would refuse; a bad `except` has a rule of its own."""
    elsewhere = {hit.place for hit in except_outside(material)}
    for document in material.documents:
        problem = document.problem
        if problem is not None and problem.place not in elsewhere:
            yield Hit(
                problem.place or document.place,
                document.subject,
                f"the API server would refuse this: {problem.problem}",
                "correct the field that is named",
            )


def duplicate_name(material: Material) -> Iterator[Hit]:
    """Two documents with one namespace and name, valid or not: the cluster keeps whichever comes last."""
    first: dict[str, Document] = {}
    for document in material.documents:
        if not document.is_policy or not document.metadata.get("name"):
            continue
        held = first.setdefault(document.subject, document)
        if held is not document:
            same = held.policy is not None and held.policy == document.policy
            yield Hit(
                document.at("metadata.name"),
                document.subject,
                f"{'the same' if same else 'another'} NetworkPolicy of this name is at {held.place}"
                + ("" if same else ": a cluster keeps only one of them"),
                "delete one of them" if same else "rename one of them",
            )


def legacy(material: Material) -> Iterator[Hit]:
    """API groups and annotations that nothing reads any more."""
    for document in material.documents:
        if document.kind == _POLICY_KIND and document.group == LEGACY_GROUP:
            yield Hit(
                document.at("apiVersion"),
                document.subject,
                "extensions/v1beta1 NetworkPolicy is gone since Kubernetes 1.16: this document has no effect",
                "write apiVersion: networking.k8s.io/v1",
            )
        if document.is_policy or document.kind == _NAMESPACE_KIND:
            for key in _annotations(document):
                if key.startswith(LEGACY_PREFIXES):
                    yield Hit(
                        document.at("metadata.annotations"),
                        document.subject,
                        f"annotation {printable(key)} is ignored since Kubernetes 1.7: it isolates nothing",
                        "delete it and write a default deny policy",
                    )


def _annotations(document: Document) -> dict[str, Any]:
    found = document.metadata.get("annotations")
    return {k: v for k, v in found.items() if isinstance(k, str)} if isinstance(found, dict) else {}


def rules_ignored(material: Material) -> Iterator[Hit]:
    """Rules of a direction that `policyTypes` leaves out."""
    for document, policy in material.parsed:
        for direction in Direction:
            rules = policy.ingress if direction is Direction.INGRESS else policy.egress
            if rules and direction not in policy.policy_types:
                yield Hit(
                    document.at(f"spec.{direction.rules_key}"),
                    policy.ref,
                    f"policyTypes leaves {direction} out, so these {direction.rules_key} rules have no effect",
                    f"add {direction} to policyTypes, or delete the rules",
                )


def host_network_subject(material: Material) -> Iterator[Hit]:
    """Only pods on their nodes' network would be selected, and those are not selected in practice."""
    for document, policy in material.parsed:
        if material.inventory is None or material.selected(policy) or policy.pod_selector.is_empty:
            continue
        hosts = [
            p
            for p in material.inventory.pods
            if p.namespace == policy.namespace and p.host_network and policy.pod_selector.matches(dict(p.labels))
        ]
        if hosts:
            yield Hit(
                document.at("spec.podSelector"),
                policy.ref,
                f"selects only pods on their node's network ({hosts[0].name}): most CNIs do not isolate these",
                "protect the node instead, or take the pods off its network",
            )


def unknown_suppression(material: Material) -> Iterator[Hit]:
    """A suppression that names no rule suppresses nothing, and nobody would notice."""
    from netpol_gen.lint.table import RULE_IDS  # noqa: PLC0415 - the table lists this function

    for document in material.documents:
        for rule in ignored_rules(document):
            if rule not in RULE_IDS:
                yield Hit(
                    document.at("metadata.annotations"),
                    document.subject,
                    f"{ANNOTATION} names {printable(rule)}, which is no rule",
                    "write rule ids, separated by commas",
                )


def ignored_rules(document: Document) -> tuple[str, ...]:
    """Rule ids in the object's own annotation."""
    value = _annotations(document).get(ANNOTATION)
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else ()
