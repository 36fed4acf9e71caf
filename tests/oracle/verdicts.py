"""Whether one connection is allowed, from manifests as `kubectl get -o json` gives them."""

# ruff: noqa: PLR0917 - plain functions of plain arguments, on purpose

from __future__ import annotations

import ipaddress


def allowed(manifests, src, dst, protocol, port, *, blocks_match_pods):
    """`src` and `dst` are Pod manifests or address strings; both ends have to agree."""
    return _side(manifests, "egress", src, dst, dst, protocol, port, blocks_match_pods) and _side(
        manifests, "ingress", dst, src, dst, protocol, port, blocks_match_pods
    )


def _of_kind(manifests, kind):
    return [m for m in manifests if m["kind"] == kind]


def _side(manifests, way, subject, peer, dst, protocol, port, blocks_match_pods):
    if isinstance(subject, str) or subject["spec"].get("hostNetwork"):
        return True
    if subject is peer:
        return True
    question = (manifests, way, subject, peer, dst, protocol, port)
    admin = _tier("Admin", *question)
    if admin in ("Allow", "Deny"):
        return admin == "Allow"
    selecting = [p for p in _of_kind(manifests, "NetworkPolicy") if _selects(p, way, subject)]
    if selecting:
        return any(
            _rule_matches(manifests, p, rule, way, peer, dst, protocol, port, blocks_match_pods)
            for p in selecting
            for rule in p["spec"].get(way) or []
        )
    return _tier("Baseline", *question) != "Deny"


def _namespace_of(thing):
    return thing["metadata"].get("namespace", "default")


def _labels(thing):
    return thing["metadata"].get("labels") or {}


def _namespace_labels(manifests, name):
    for namespace in _of_kind(manifests, "Namespace"):
        if namespace["metadata"]["name"] == name:
            return {**_labels(namespace), "kubernetes.io/metadata.name": name}
    raise AssertionError(name)


def _selects(policy, way, subject):
    spec = policy["spec"]
    types = spec.get("policyTypes")
    if not types:
        types = ["Ingress"] + (["Egress"] if spec.get("egress") else [])
    if way.capitalize() not in types:
        return False
    if _namespace_of(policy) != _namespace_of(subject):
        return False
    return _selector(spec.get("podSelector") or {}, _labels(subject))


def _selector(selector, labels):
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    for expression in selector.get("matchExpressions") or []:
        key, values = expression["key"], expression.get("values") or []
        matches = {
            "In": key in labels and labels[key] in values,
            "NotIn": key not in labels or labels[key] not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }
        if not matches[expression["operator"]]:
            return False
    return True


def _rule_matches(manifests, policy, rule, way, peer, dst, protocol, port, blocks_match_pods):
    peers = rule.get("from" if way == "ingress" else "to") or [None]
    ports = rule.get("ports") or [None]
    for each in peers:
        for entry in ports:
            to_block = each is not None and "ipBlock" in each and way == "egress"
            if entry is not None and isinstance(entry.get("port"), str) and to_block:
                continue
            if (each is None or _peer_matches(manifests, policy, each, peer, blocks_match_pods)) and (
                entry is None or _port_matches(entry, dst, protocol, port)
            ):
                return True
    return False


def _peer_matches(manifests, policy, pattern, peer, blocks_match_pods):
    if "ipBlock" in pattern:
        if isinstance(peer, str):
            return _in_block(pattern["ipBlock"], peer)
        if not blocks_match_pods and not peer["spec"].get("hostNetwork"):
            return False
        return _in_block(pattern["ipBlock"], peer["status"]["podIP"])
    if isinstance(peer, str) or peer["spec"].get("hostNetwork"):
        return False
    namespace = _namespace_of(peer)
    if pattern.get("namespaceSelector") is None:
        if namespace != _namespace_of(policy):
            return False
    elif not _selector(pattern["namespaceSelector"], _namespace_labels(manifests, namespace)):
        return False
    return pattern.get("podSelector") is None or _selector(pattern["podSelector"], _labels(peer))


def _in_block(block, address):
    address = ipaddress.ip_address(address)
    if address not in ipaddress.ip_network(block["cidr"], strict=False):
        return False
    return not any(address in ipaddress.ip_network(e, strict=False) for e in block.get("except") or [])


def _port_matches(entry, dst, protocol, port):
    if (entry.get("protocol") or "TCP") != protocol:
        return False
    wanted = entry.get("port")
    if wanted is None:
        return True
    if isinstance(wanted, str):
        return _named(dst, wanted, protocol, port)
    return wanted <= port <= (entry.get("endPort") or wanted)


def _named(dst, name, protocol, port):
    if isinstance(dst, str) or dst["spec"].get("hostNetwork"):
        return False
    for container in dst["spec"]["containers"]:
        for declared in container.get("ports") or []:
            given = (declared.get("name"), declared.get("protocol", "TCP"), declared["containerPort"])
            if given == (name, protocol, port):
                return True
    return False


# --- cluster-wide policies --------------------------------------------------------------------------------------------


def _tier(tier, manifests, way, subject, peer, dst, protocol, port):
    """Allow, Deny, or Pass: the first rule that matches, by priority and order."""
    policies = []
    for manifest in manifests:
        kind, spec = manifest["kind"], manifest.get("spec")
        if kind == "AdminNetworkPolicy" and tier == "Admin":
            policies.append((spec["priority"], manifest))
        elif kind == "BaselineAdminNetworkPolicy" and tier == "Baseline":
            policies.append((1000, manifest))
        elif kind == "ClusterNetworkPolicy" and spec["tier"] == tier:
            policies.append((spec["priority"], manifest))
    for _, policy in sorted(policies, key=lambda pair: pair[0]):
        if not _either(manifests, policy["spec"]["subject"], subject):
            continue
        for rule in policy["spec"].get(way) or []:
            if not any(_wide_peer(manifests, p, peer) for p in rule["from" if way == "ingress" else "to"]):
                continue
            entries = rule.get("ports") or rule.get("protocols") or [None]
            if any(e is None or _wide_port(e, dst, protocol, port) for e in entries):
                return {"Accept": "Allow"}.get(rule["action"], rule["action"])
    return "Pass"


def _either(manifests, pattern, pod):
    """`namespaces` or `pods`."""
    if isinstance(pod, str) or pod["spec"].get("hostNetwork"):
        return False
    labels = _namespace_labels(manifests, _namespace_of(pod))
    if "namespaces" in pattern:
        return _selector(pattern["namespaces"], labels)
    pods = pattern["pods"]
    return _selector(pods["namespaceSelector"], labels) and _selector(pods["podSelector"], _labels(pod))


def _wide_peer(manifests, pattern, peer):
    if "networks" in pattern:
        address = peer if isinstance(peer, str) else peer["status"]["podIP"]
        return any(_in_block({"cidr": cidr}, address) for cidr in pattern["networks"])
    return _either(manifests, pattern, peer)


def _wide_port(entry, dst, protocol, port):
    if "portNumber" in entry:
        return entry["portNumber"] == {"protocol": protocol, "port": port}
    if "portRange" in entry:
        given = entry["portRange"]
        return given["protocol"] == protocol and given["start"] <= port <= given["end"]
    name = entry.get("namedPort") or entry.get("destinationNamedPort")
    if name:
        return _named(dst, name, protocol, port)
    given = entry.get(protocol.lower())
    if given is None:
        return False
    wanted = given.get("destinationPort")
    if not wanted:
        return True
    if "number" in wanted:
        return wanted["number"] == port
    return wanted["range"]["start"] <= port <= wanted["range"]["end"]
