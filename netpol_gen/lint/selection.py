"""Rules about selectors: what they select, by accident or not at all, and whether they will tomorrow."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from netpol_gen.labels import per_instance, per_release
from netpol_gen.lint.material import Material
from netpol_gen.lint.model import Hit
from netpol_gen.policy import NetworkPolicy, Peer
from netpol_gen.selectors import LabelSelector


def policy_selects_nothing(material: Material) -> Iterator[Hit]:
    """The podSelector matches no pod and no pod template."""
    for document, policy in material.parsed:
        if not policy.pod_selector.is_empty and not material.selected(policy):
            yield Hit(
                document.at("spec.podSelector"),
                policy.ref,
                f"podSelector {policy.pod_selector} matches no pod of namespace {policy.namespace}"
                f"{_unknown_namespace(material, policy)}",
                _nearest(material, policy),
            )


def _unknown_namespace(material: Material, policy: NetworkPolicy) -> str:
    return "" if policy.namespace in material.namespaces else ", which the inventory does not have"


def _nearest(material: Material, policy: NetworkPolicy) -> str:
    """The values that the selector's keys really have there."""
    for key, value in sorted(policy.pod_selector.match_labels, key=lambda pair: per_instance(pair[0])):
        pods = material.pods_in(policy.namespace)
        values = sorted({v for pod in pods for k, v in pod.labels if k == key})
        if value not in values:
            have = f"pods have {key}={', '.join(values[:5])}" if values else f"no pod has the label {key}"
            return f"select labels that the pods carry ({have}), or delete the policy"
    return "select labels that the pods carry together, or delete the policy"


def policy_selects_everything(material: Material) -> Iterator[Hit]:
    """A podSelector that was left out, or an empty one on a policy that opens something."""
    for document, policy in material.parsed:
        if not policy.pod_selector.is_empty:
            continue
        raw = document.raw("spec.podSelector")
        if raw is None:
            what = "podSelector is absent or null, which selects every pod of the namespace"
        elif raw != {}:
            what = "podSelector has empty parts only, which selects every pod of the namespace"
        elif any(policy.rules(d) for d in policy.policy_types):
            what = "an empty podSelector gives these rules to every pod of the namespace"
        else:
            # A default deny: that is what an empty selector is for.
            continue
        yield Hit(
            document.at("spec.podSelector") if raw is not None else document.at("spec"),
            policy.ref,
            what,
            "select the workload's own labels; for a default deny write podSelector: {} and no rules",
        )


def peer_selects_nothing(material: Material) -> Iterator[Hit]:
    """A peer's selectors match no pod."""
    for at in material.rules:
        for path, peer in at.peers():
            if peer.ip_block is None and not material.peer_pods(peer, at.policy.namespace):
                yield Hit(
                    at.document.at(path),
                    at.subject,
                    f"this peer matches no pod: {_show(peer, at.policy.namespace)}",
                    "select labels that the peer's pods and namespace carry, or delete the peer",
                )


def _show(peer: Peer, own: str) -> str:
    where = f"namespaces {peer.namespace_selector}" if peer.namespace_selector is not None else f"namespace {own}"
    return f"pods {peer.pod_selector} in {where}" if peer.pod_selector is not None else f"all pods in {where}"


def peer_selects_everything(material: Material) -> Iterator[Hit]:
    """A peer that is every pod of the cluster, or has a selector that says nothing."""
    for at in material.rules:
        for path, peer in at.peers():
            raw = at.document.raw(path)
            if isinstance(raw, dict) and any(key in raw and raw[key] is None for key in ("podSelector", "ipBlock")):
                what = "a null selector in this peer counts as absent"
            elif peer.namespace_selector is not None and peer.namespace_selector.is_empty and _all_pods(peer):
                what = "this peer is every pod of every namespace"
            else:
                continue
            yield Hit(
                at.document.at(path),
                at.subject,
                what,
                "name the namespace (kubernetes.io/metadata.name) and select the pods' labels",
            )


def _all_pods(peer: Peer) -> bool:
    return peer.pod_selector is None or peer.pod_selector.is_empty


def selector_per_instance(material: Material) -> Iterator[Hit]:
    """A label that the next rollout, run or replica will not have."""
    yield from _keys(material, per_instance, "differs between pods, runs or rollouts of one workload")


def selector_per_release(material: Material) -> Iterator[Hit]:
    """A label that the next version will not have."""
    yield from _keys(
        material, lambda key: per_release(key) and not per_instance(key), "changes with the next version or chart"
    )


def _keys(material: Material, bad: Callable[[str], bool], why: str) -> Iterator[Hit]:
    for document, policy in material.parsed:
        found: list[tuple[str, LabelSelector]] = [("spec.podSelector", policy.pod_selector)]
        for at in material.rules:
            if at.policy is policy:
                for path, peer in at.peers():
                    found += [(f"{path}.podSelector", peer.pod_selector)] if peer.pod_selector else []
        for path, selector in found:
            for key in sorted(filter(bad, selector.keys)):
                yield Hit(
                    document.at(path),
                    policy.ref,
                    f"label {key} {why}",
                    f"leave {key} out and select what the workload's own selector has",
                )
