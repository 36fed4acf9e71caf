"""Differences: nothing for rewrites that mean the same, exactly the rows of a change for one that does not."""

from __future__ import annotations

import copy
import ipaddress
import random

import pytest

from netpol_gen.connectivity import connections
from netpol_gen.diff import Change, compare
from netpol_gen.inventory.objects import Controller
from netpol_gen.model import (
    Decision,
    DirectionEvidence,
    Edge,
    Evidence,
    External,
    ExternalKind,
    Protocol,
    Signal,
    Workload,
)
from netpol_gen.sets import ConnectionSet
from tests.evaluate import worlds
from tests.evaluate.cluster import inventory, pod, policies

TCP, UDP, SCTP = Protocol
EVIDENCE = Evidence(3, 3, 0, 0, 0, DirectionEvidence.SYN, Signal.SYN)


def w(name, namespace="shop"):
    return Workload(namespace, "Deployment", name)


# --- rewrites that mean the same --------------------------------------------------------------------------------------


def every_policy(manifests):
    return [m for m in manifests if m["kind"] == "NetworkPolicy"]


def rules_of(policy):
    for key, peers_key in (("ingress", "from"), ("egress", "to")):
        if policy["spec"].get(key):
            yield policy["spec"][key], peers_key


def reorder(manifests, r):
    """Policies, rules, peers, ports and values in another order."""
    r.shuffle(manifests)
    for policy in every_policy(manifests):
        for rules, peers_key in rules_of(policy):
            r.shuffle(rules)
            for rule in rules:
                for key in (peers_key, "ports"):
                    if rule.get(key):
                        r.shuffle(rule[key])
    return manifests


def split_rules(manifests, _):
    """One rule for each pair of a peer and a port."""
    for policy in every_policy(manifests):
        for rules, peers_key in rules_of(policy):
            rules[:] = [
                {**({peers_key: [peer]} if peer else {}), **({"ports": [port]} if port is not None else {})}
                for rule in rules
                for peer in rule.get(peers_key) or [None]
                for port in (rule["ports"] if rule.get("ports") else [None])
            ]
    return manifests


def double_rules(manifests, _):
    """Every rule twice."""
    for policy in every_policy(manifests):
        for rules, _ in rules_of(policy):
            rules.extend(copy.deepcopy(rules))
    return manifests


def cut_policies(manifests, _):
    """One policy into two: the first keeps its first rule of each direction."""
    out = []
    for manifest in manifests:
        out.append(manifest)
        if manifest["kind"] == "NetworkPolicy":
            make_types_explicit([manifest], None)
            other = copy.deepcopy(manifest)
            other["metadata"]["name"] += "-b"
            for key in ("ingress", "egress"):
                if manifest["spec"].get(key):
                    other["spec"][key] = manifest["spec"][key][1:]
                    manifest["spec"][key] = manifest["spec"][key][:1]
            out.append(other)
    return out


def make_types_explicit(manifests, _):
    """What is the default, said."""
    for policy in every_policy(manifests):
        spec = policy["spec"]
        if not spec.get("policyTypes"):
            spec["policyTypes"] = ["Ingress", *(["Egress"] if spec.get("egress") else [])]
    return manifests


def empty_for_absent(manifests, _):
    """`{}` and `[]` and `null` for what is not there, and the other way round."""
    for policy in every_policy(manifests):
        make_types_explicit([policy], None)
        spec = policy["spec"]
        if spec.get("podSelector") == {}:
            del spec["podSelector"]
        else:
            spec.setdefault("podSelector", {})
        for key in ("ingress", "egress"):
            if not spec.get(key):
                spec[key] = [] if key not in spec else None
        for rules, peers_key in rules_of(policy):
            for rule in rules:
                for key in (peers_key, "ports"):
                    if not rule.get(key):
                        rule[key] = None if key in rule else []
    return manifests


def selectors(thing):
    """Every label selector anywhere within."""
    if isinstance(thing, list):
        for item in thing:
            yield from selectors(item)
    elif isinstance(thing, dict):
        for key, value in thing.items():
            if key in ("podSelector", "namespaceSelector") and value is not None:
                yield value
            else:
                yield from selectors(value)


def labels_as_expressions(manifests, _):
    """`matchLabels` as `In` with one value."""
    for selector in selectors([p["spec"] for p in every_policy(manifests)]):
        labels = selector.pop("matchLabels", None) or {}
        selector["matchExpressions"] = [
            *(selector.get("matchExpressions") or []),
            *({"key": k, "operator": "In", "values": [v]} for k, v in labels.items()),
        ]
    return manifests


def ports_of(manifests):
    for policy in every_policy(manifests):
        for rules, _ in rules_of(policy):
            for rule in rules:
                if rule.get("ports"):
                    yield rule["ports"]


def ranges_as_lists(manifests, _):
    """A short range as its ports, a long one as two ranges; a port as a range of one."""
    for ports in ports_of(manifests):
        out = []
        for entry in ports:
            first, last = entry.get("port"), entry.get("endPort")
            if not isinstance(first, int):
                out.append(entry)
            elif last is None:
                out.append({**entry, "endPort": first})
            elif last - first < 50:
                out += [
                    {**{k: v for k, v in entry.items() if k != "endPort"}, "port": p} for p in range(first, last + 1)
                ]
            else:
                middle = (first + last) // 2
                out += [{**entry, "endPort": middle}, {**entry, "port": middle + 1}]
        ports[:] = out
    return manifests


def halve_blocks(manifests, _):
    """A CIDR as its two halves, with the exceptions in the half that they belong to."""
    for policy in every_policy(manifests):
        for rules, peers_key in rules_of(policy):
            for rule in rules:
                if rule.get(peers_key):
                    rule[peers_key] = [half for peer in rule[peers_key] for half in halves(peer)]
    return manifests


def halves(peer):
    if "ipBlock" not in peer:
        return [peer]
    out = []
    for half in ipaddress.ip_network(peer["ipBlock"]["cidr"]).subnets():
        inner = [ipaddress.ip_network(e) for e in peer["ipBlock"].get("except") or []]
        # An exception as large as the half, or larger, leaves nothing of it.
        if not any(half.subnet_of(e) for e in inner if e.version == half.version):
            kept = [str(e) for e in inner if e.subnet_of(half)]
            out.append({"ipBlock": {"cidr": str(half), "except": kept}})
    return out or [peer]


def exceptions_as_blocks(manifests, _):
    """A CIDR with exceptions as the CIDRs that are left."""
    for policy in every_policy(manifests):
        for rules, peers_key in rules_of(policy):
            for rule in rules:
                if rule.get(peers_key):
                    rule[peers_key] = [part for peer in rule[peers_key] for part in parts(peer)]
    return manifests


def parts(peer):
    if not peer.get("ipBlock", {}).get("except"):
        return [peer]
    left = [ipaddress.ip_network(peer["ipBlock"]["cidr"])]
    for text in peer["ipBlock"]["except"]:
        e = ipaddress.ip_network(text)
        left = [
            part
            for net in left
            for part in (net.address_exclude(e) if e.subnet_of(net) else [] if net.subnet_of(e) else [net])
        ]
    return [{"ipBlock": {"cidr": str(net)}} for net in left] or [peer]


REWRITES = [
    reorder,
    split_rules,
    double_rules,
    cut_policies,
    make_types_explicit,
    empty_for_absent,
    labels_as_expressions,
    ranges_as_lists,
    halve_blocks,
    exceptions_as_blocks,
]


@pytest.mark.parametrize("rewrite", REWRITES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("blocks", [Decision.ALLOW, Decision.DENY, Decision.UNKNOWN])
def test_a_rewrite_that_means_the_same_has_no_difference(rewrite, blocks):
    changed = 0
    for seed in range(40):
        manifests = worlds.world(seed)
        rewritten = rewrite(copy.deepcopy(manifests), random.Random(seed))
        changed += rewritten != manifests
        known = worlds.as_inventory(manifests)
        old, new = worlds.as_policies(manifests), worlds.as_policies(rewritten)
        found = compare(old, new, known, known, ipblock_matches_pods=blocks)
        assert found.same, (seed, found.rows[:3], found.doubtful[:3])
    assert changed > 10, "the rewrite did nothing"


def test_all_rewrites_one_after_another():
    for seed in range(40):
        manifests = worlds.world(seed, policies=6)
        rewritten = copy.deepcopy(manifests)
        for rewrite in REWRITES:
            rewritten = rewrite(rewritten, random.Random(seed))
        known = worlds.as_inventory(manifests)
        assert compare(worlds.as_policies(manifests), worlds.as_policies(rewritten), known, known).same, seed


def test_the_difference_is_what_the_two_lists_differ_in():
    """On random pairs of sets: applying the rows to the one list gives the other."""
    differing = 0
    for seed in range(150):
        manifests = worlds.world(seed)
        known = worlds.as_inventory(manifests)
        policies_ = worlds.as_policies(manifests)
        old, new = policies_[: len(policies_) // 2 + 1], policies_[1:]
        found = compare(old, new, known, known, ipblock_matches_pods=Decision.DENY)
        a, b = (cells(connections(s, known, ipblock_matches_pods=Decision.DENY)) for s in (old, new))
        for row in found.rows:
            for end in probes(row):
                assert at(a, *end) == row.before, (seed, row)
                assert at(b, *end) == row.after, (seed, row)
                assert row.before != row.after
        listed = {end for row in found.rows for end in probes(row)}
        for end in {*ends(a), *ends(b)} - listed:
            if at(a, *end) != at(b, *end):
                covered = any(covers(row, *end) for row in found.rows)
                assert covered, (seed, end)
        differing += bool(found.rows)
    assert differing > 50


def cells(connectivity):
    return [(r.src, r.dst, r.connections) for r in connectivity.rows()]


def first(side):
    """A range by its first address, so that ranges of both lists can be looked up in one another."""
    return side if isinstance(side, Workload) else side.network_address


def ends(rows):
    return {(first(src), first(dst)) for src, dst, _ in rows}


def probes(row):
    yield first(row.src), first(row.dst)
    if not isinstance(row.src, Workload):
        yield row.src.broadcast_address, row.dst
    if not isinstance(row.dst, Workload):
        yield row.src, row.dst.broadcast_address


def matches(side, value):
    if isinstance(side, Workload):
        return side == value
    return not isinstance(value, Workload) and value.version == side.version and value in side


def covers(row, src, dst):
    return matches(row.src, src) and matches(row.dst, dst)


def at(rows, src, dst):
    found = [c for a, b, c in rows if matches(a, src) and matches(b, dst)]
    assert len(found) <= 1
    return found[0] if found else ConnectionSet.NONE


# --- changes ----------------------------------------------------------------------------------------------------------

WEB, DB, CART = pod("web", ports={"http": 8080}), pod("db"), pod("cart")
OTHER = pod("web", namespace="other")
CLUSTER = inventory(WEB, DB, CART, OTHER, namespaces={"other": {"team": "blue"}})
BASE = """
podSelector: {matchLabels: {app: db}}
policyTypes: [Ingress]
ingress:
- from: [{podSelector: {matchLabels: {app: web}}}]
  ports: [{port: 5432}]
- from: [{podSelector: {matchLabels: {app: cart}}}]
  ports: [{port: 5432}, {port: 8000, endPort: 8010}]
"""
BOTH = "ports: [{port: 5432}, {port: 8000, endPort: 8010}]"


def rows(old, new, **options):
    found = compare(policies(old), policies(new), CLUSTER, CLUSTER, **options)
    assert not found.doubtful
    return [(str(r.change), str(r.src), str(r.dst), str(r.before), str(r.after)) for r in found.rows]


MUTATIONS = {
    "a dropped rule": (
        BASE[: BASE.index("- from: [{podSelector: {matchLabels: {app: cart}}}]")],
        [("removed", "shop/cart[Deployment]", "shop/db[Deployment]", "TCP 5432,8000-8010", "none")],
    ),
    "a wider port": (
        BASE.replace("endPort: 8010", "endPort: 8011"),
        [("changed", "shop/cart[Deployment]", "shop/db[Deployment]", "TCP 5432,8000-8010", "TCP 5432,8000-8011")],
    ),
    "a port more": (
        BASE.replace("ports: [{port: 5432}]\n", "ports: [{port: 5432}, {port: 53, protocol: UDP}]\n"),
        [("changed", "shop/web[Deployment]", "shop/db[Deployment]", "TCP 5432", "TCP 5432; UDP 53")],
    ),
    "another namespace": (
        BASE.replace(
            "- from: [{podSelector: {matchLabels: {app: web}}}]",
            "- from: [{podSelector: {matchLabels: {app: web}}}, {namespaceSelector: {matchLabels: {team: blue}}}]",
        ),
        [("added", "other/web[Deployment]", "shop/db[Deployment]", "none", "TCP 5432")],
    ),
    "all ports": (
        BASE.replace(BOTH, "ports: []"),
        [("changed", "shop/cart[Deployment]", "shop/db[Deployment]", "TCP 5432,8000-8010", "all")],
    ),
    "a block": (
        BASE.replace("{app: cart}}}]", "{app: cart}}}, {ipBlock: {cidr: 203.0.113.0/24}}]"),
        [("added", "203.0.113.0/24", "shop/db[Deployment]", "none", "TCP 5432,8000-8010")],
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_change_shows_exactly_its_rows(name):
    changed, expected = MUTATIONS[name]
    assert changed != BASE
    assert rows(BASE, changed, ipblock_matches_pods=Decision.DENY) == expected
    back = {"added": "removed", "removed": "added", "changed": "changed"}
    mirrored = [(back[c], s, d, after, before) for c, s, d, before, after in expected]
    assert rows(changed, BASE, ipblock_matches_pods=Decision.DENY) == mirrored


def egress(rule):
    return f"{{podSelector: {{matchLabels: {{app: db}}}}, policyTypes: [Egress], egress: [{{{rule}}}]}}"


def test_a_new_exception_in_a_block_is_one_row():
    old = (
        "{podSelector: {matchLabels: {app: db}}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}"
    )
    new = old.replace("0.0.0.0/0}", "0.0.0.0/0, except: [169.254.169.254/32]}")
    found = compare(policies(old), policies(new), CLUSTER, CLUSTER)
    assert [(str(r.change), str(r.dst)) for r in found.rows] == [("removed", "169.254.169.254/32")]


def test_only_the_address_ranges_that_differ_are_rows():
    old = egress("to: [{ipBlock: {cidr: 10.0.0.0/8}}], ports: [{port: 1}]")
    new = old.replace("10.0.0.0/8", "10.0.0.0/9")
    assert rows(old, new, ipblock_matches_pods=Decision.DENY) == [
        ("removed", "shop/db[Deployment]", "10.128.0.0/9", "TCP 1", "none")
    ]


# --- with observed edges ----------------------------------------------------------------------------------------------


def test_observed_edges_split_what_closes():
    edges = {
        Edge(w("cart"), w("db"), TCP, 5432): EVIDENCE,
        Edge(w("web"), w("db"), TCP, 5432): EVIDENCE,
        # Denied before: nothing that this change breaks.
        Edge(w("web", "other"), w("db"), TCP, 1): EVIDENCE,
    }
    new = BASE[: BASE.index("- from: [{podSelector: {matchLabels: {app: cart}}}]")].replace("port: 5432", "port: 5433")
    found = compare(policies(BASE), policies(new), CLUSTER, CLUSTER, edges)
    shown = [(str(r.change), r.src.name, str(r.before), str(r.after), [e.port for e in r.edges]) for r in found.rows]
    assert shown == [
        ("broken", "cart", "TCP 5432,8000-8010", "none", [5432]),
        ("broken", "web", "TCP 5432", "TCP 5433", [5432]),
        # web gains 5433, and cart also loses what nobody was seen using.
        ("opened", "web", "TCP 5432", "TCP 5433", []),
        ("closed", "cart", "TCP 5432,8000-8010", "none", []),
    ]
    assert [found.count(c) for c in (Change.BROKEN, Change.OPENED, Change.CLOSED)] == [2, 1, 1]


def test_a_broken_edge_to_the_outside_stands_beside_what_closes_around_it():
    old = egress("to: [{ipBlock: {cidr: 203.0.113.0/24}}]")
    edges = {Edge(w("db"), External(ExternalKind.WORLD, "203.0.113.7"), TCP, 443): EVIDENCE}
    new = "{podSelector: {matchLabels: {app: db}}, policyTypes: [Egress]}"
    found = compare(policies(old), policies(new), CLUSTER, CLUSTER, edges)
    assert [(str(r.change), str(r.dst), str(r.before)) for r in found.rows] == [
        ("broken", "203.0.113.7/32", "all"),
        ("closed", "203.0.113.0/24", "all"),
    ]


def test_an_edge_to_the_api_server_without_an_address_can_break_too():
    edges = {Edge(External(ExternalKind.API_SERVER), w("db"), TCP, 443): EVIDENCE}
    found = compare((), policies("{podSelector: {}, policyTypes: [Ingress]}"), CLUSTER, CLUSTER, edges)
    # Its node is not known: in doubt, not broken.
    assert [str(r.change) for r in found.rows if isinstance(r.src, External)] == []
    assert found.unsure == tuple(edges)


def test_everything_observed_denied_is_broken_and_nothing_closed():
    edges = {Edge(w("web"), w("db"), TCP, 5432): EVIDENCE}
    old = BASE[: BASE.index("- from: [{podSelector: {matchLabels: {app: cart}}}]")]
    found = compare(
        policies(old),
        policies("{podSelector: {matchLabels: {app: db}}, policyTypes: [Ingress]}"),
        CLUSTER,
        CLUSTER,
        edges,
    )
    assert [str(r.change) for r in found.rows] == ["broken"]


# --- workloads and doubts ---------------------------------------------------------------------------------------------


def test_workloads_of_one_side_only_are_new_or_gone():
    before = inventory(WEB, DB)
    after = inventory(WEB, CART)
    found = compare(policies(BASE), policies(BASE), before, after)
    assert found.new == (w("cart"),)
    assert found.gone == (w("db"),)
    notes = {(r.src, r.dst): found.info(r) for r in found.rows}
    assert notes[w("web"), w("db")] == "shop/db[Deployment] is gone"
    assert notes[w("web"), w("cart")] == "shop/cart[Deployment] is new"
    kinds = {str(r.change) for r in found.rows}
    assert kinds == {"added", "removed"}
    assert not found.same


def test_a_change_of_what_is_only_possible_is_in_doubt_and_not_the_same():
    inside = inventory(pod("web", ip="10.0.0.1"), pod("db", ip="10.0.0.2"))
    old = "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/31}}]}]}"
    found = compare(policies(old), policies(old.replace("10.0.0.0/31", "10.0.0.4/31")), inside, inside)
    doubts = [(str(r.change), str(r.src), str(r.perhaps_before), str(r.perhaps_after)) for r in found.doubtful]
    assert doubts == [("removed", "shop/web[Deployment]", "all", "none")]
    assert {str(r.src) for r in found.rows} == {"10.0.0.0/31", "10.0.0.4/31"}
    assert not found.same


def test_a_workload_whose_pods_differ_has_what_holds_for_all_of_them():
    old_pod = pod("web-1", {"app": "web", "v": "1"}, workload="web")
    new_pod = pod("web-2", {"app": "web", "v": "2"}, workload="web")
    text = """
podSelector: {matchLabels: {app: db}}
policyTypes: [Ingress]
ingress:
- {from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 1}]}
- {from: [{podSelector: {matchLabels: {v: '2'}}}], ports: [{port: 2}]}
"""
    found = connections(policies(text), inventory(old_pod, new_pod, DB))
    sure, may = found.between(w("web"), w("db"))
    assert (str(sure), str(may)) == ("TCP 1", "TCP 1-2")


def test_a_workload_without_pods_is_judged_by_its_template():
    waiting = pod("web", template=True, node="")
    controller = Controller(w("web"), None, waiting.labels, replicas=3)
    found = connections(policies(BASE), inventory(waiting, DB, controllers=[controller]))
    assert str(found.between(w("web"), w("db"))[0]) == "TCP 5432"


def test_rows_of_one_pair_are_unique_and_sorted_and_frames_say_the_same():
    for seed in range(30):
        manifests = worlds.world(seed)
        found = connections(worlds.as_policies(manifests), worlds.as_inventory(manifests))
        rows_ = [(r.src, r.dst) for r in found.rows()]
        assert len(set(rows_)) == len(rows_)
        frame = found.to_frame()
        assert list(frame.columns) == ["src", "dst", "connections", "possible"]
        assert list(zip(frame["src"], frame["dst"], strict=True)) == [(str(a), str(b)) for a, b in rows_]


def test_order_of_policies_and_pods_does_not_matter():
    for seed in range(20):
        manifests = worlds.world(seed, pods=10)
        shuffled = list(manifests)
        random.Random(seed).shuffle(shuffled)
        a, b = ([*connections(worlds.as_policies(m), worlds.as_inventory(m)).rows()] for m in (manifests, shuffled))
        assert a == b
