"""Every line of the semantics checklist, section 4.1 (NetworkPolicy v1): each test's name cites its line."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest

from netpol_gen.connectivity import connections
from netpol_gen.errors import InputError
from netpol_gen.evaluate import Judge, RuleRef
from netpol_gen.inventory.objects import Node, Pod
from netpol_gen.model import Decision, Direction, Edge, External, ExternalKind, Protocol, Workload
from tests.evaluate.cluster import inventory, pod, policies

ALLOW, DENY, UNKNOWN = Decision
TCP, UDP, SCTP = Protocol
WORLD = ipaddress.ip_address("203.0.113.7")

WEB = pod("web", ip="10.0.0.1", ports={"http": 8080})
DB = pod("db", ip="10.0.0.2", ports={"sql": 5432})
OTHER = pod("other", namespace="other", ip="10.0.1.1", node="n2")
NODES = {"n1": "192.0.2.1", "n2": "192.0.2.2"}
CLUSTER = inventory(WEB, DB, OTHER, namespaces={"other": {"team": "blue"}}, nodes=NODES)


def ask(text, src=WEB, dst=DB, protocol=TCP, port=5432, cluster=CLUSTER, **options):
    """The judge's decision, which has to be the connectivity's too wherever that speaks of such ends."""
    decision = Judge(policies(text), cluster, **options).connection(src, dst, protocol, port).decision
    if protocol is not None and listed(src, cluster) and listed(dst, cluster) and src != dst:
        assert decision is in_list(connections(policies(text), cluster, **options), src, dst, protocol, port)
    return decision


def listed(end, cluster):
    """Not nodes, nor addresses that somebody in the cluster has: the list is about pods and the outside."""
    if isinstance(end, Pod):
        return end in cluster.pods and not end.host_network
    return not isinstance(end, Node) and not any(end in p.addresses for p in (*cluster.pods, *cluster.nodes.values()))


def in_list(found, src, dst, protocol, port):
    ends = [e.workload if isinstance(e, Pod) else ipaddress.ip_network(e) for e in (src, dst)]
    for row in found.rows():
        if covers(row.src, ends[0]) and covers(row.dst, ends[1]):
            if port in row.connections.ports(protocol):
                return ALLOW
            return UNKNOWN if port in row.possible.ports(protocol) else DENY
    return DENY


def covers(side, end):
    if isinstance(side, Workload) or isinstance(end, Workload):
        return side == end
    return side.version == end.version and end.subnet_of(side)


@pytest.mark.parametrize("selector", ["podSelector: {}, ", "", "podSelector: null, "])
def test_4_1_01_empty_or_absent_pod_selector_is_every_pod_of_the_namespace(selector):
    text = f"{{{selector}policyTypes: [Ingress]}}"
    assert ask(text) is DENY
    assert ask(text, src=DB, dst=WEB) is DENY
    # Never elsewhere.
    assert ask(text, dst=OTHER) is ALLOW


def test_4_1_02_policy_types_absent_is_ingress_and_egress_only_with_egress_rules():
    assert ask("{podSelector: {}}", dst=OTHER) is ALLOW
    assert ask("{podSelector: {}}") is DENY
    assert ask("{podSelector: {}, egress: []}", dst=OTHER) is ALLOW
    with_egress = "{podSelector: {}, egress: [{to: [{podSelector: {}}]}]}"
    assert ask(with_egress, dst=OTHER) is DENY
    assert ask(with_egress) is DENY, "Ingress is still on by default"


def test_4_1_02_explicit_policy_types_win():
    assert ask("{podSelector: {}, policyTypes: [Egress], ingress: [{}], egress: [{}]}") is ALLOW
    # The ingress rule that admits only UDP is ignored, since Ingress is not listed.
    assert ask("{podSelector: {}, policyTypes: [Egress], ingress: [{ports: [{protocol: UDP}]}], egress: [{}]}") is ALLOW
    # A listed type without rules isolates.
    assert ask("{podSelector: {}, policyTypes: [Egress]}", dst=OTHER) is DENY
    assert ask("{podSelector: {}, policyTypes: [Ingress]}", dst=OTHER) is ALLOW


def test_4_1_03_isolation_is_per_direction_and_per_pod():
    text = "{podSelector: {matchLabels: {app: db}}, policyTypes: [Ingress]}"
    assert ask(text) is DENY
    assert ask(text, src=DB, dst=WEB) is ALLOW, "db is not isolated for egress, web not at all"
    assert ask(text, src=OTHER, dst=WEB) is ALLOW


def test_4_1_04_no_rules_deny_all_and_the_empty_rule_allows_all():
    for none in ("", ", ingress: []"):
        assert ask(f"{{podSelector: {{}}, policyTypes: [Ingress]{none}}}") is DENY
        assert ask(f"{{podSelector: {{}}, policyTypes: [Ingress]{none}}}", src=WORLD) is DENY
    everything = "{podSelector: {}, policyTypes: [Ingress], ingress: [{}]}"
    assert ask(everything) is ALLOW
    assert ask(everything, src=WORLD, protocol=SCTP, port=9) is ALLOW
    assert ask("{podSelector: {}, policyTypes: [Egress]}", dst=WORLD) is DENY
    assert ask("{podSelector: {}, policyTypes: [Egress], egress: [{}]}", dst=WORLD) is ALLOW


@pytest.mark.parametrize("peers", ["", "from: [], ", "from: null, "])
def test_4_1_05_empty_from_means_all_peers_also_outside(peers):
    text = f"{{podSelector: {{}}, policyTypes: [Ingress], ingress: [{{{peers}ports: [{{port: 5432}}]}}]}}"
    assert ask(text) is ALLOW
    assert ask(text, src=OTHER) is ALLOW
    assert ask(text, src=WORLD) is ALLOW
    assert ask(text, port=5433) is DENY


@pytest.mark.parametrize("ports", ["", ", ports: []", ", ports: null"])
def test_4_1_05_empty_ports_means_all_ports_and_protocols(ports):
    text = f"{{podSelector: {{}}, policyTypes: [Ingress], ingress: [{{from: [{{podSelector: {{}}}}]{ports}}}]}}"
    for protocol in Protocol:
        assert ask(text, protocol=protocol, port=65535) is ALLOW
    assert ask(text, src=WORLD) is DENY


TWO_RULES = """
podSelector: {matchLabels: {app: db}}
policyTypes: [Ingress]
ingress:
- from: [{podSelector: {matchLabels: {app: web}}}, {podSelector: {matchLabels: {app: cart}}}]
  ports: [{port: 5432}, {protocol: UDP, port: 53}]
- from: [{namespaceSelector: {matchLabels: {team: blue}}}]
  ports: [{port: 9000}]
"""


def test_4_1_06_peers_or_ports_or_peers_and_ports():
    assert ask(TWO_RULES) is ALLOW
    assert ask(TWO_RULES, protocol=UDP, port=53) is ALLOW
    assert ask(TWO_RULES, protocol=TCP, port=53) is DENY
    assert ask(TWO_RULES, src=OTHER, port=9000) is ALLOW
    # The peer of one rule with the port of the other.
    assert ask(TWO_RULES, src=OTHER, port=5432) is DENY
    assert ask(TWO_RULES, port=9000) is DENY


def test_4_1_06_policies_or_and_their_order_is_nothing():
    deny = "{podSelector: {}, policyTypes: [Ingress]}"
    allow = "{podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {}}]}]}"
    assert ask(f"{deny}\n---\n{allow}") is ALLOW
    assert ask(f"{allow}\n---\n{deny}") is ALLOW


def from_peers(peers):
    return f"{{podSelector: {{matchLabels: {{app: db}}}}, policyTypes: [Ingress], ingress: [{{from: {peers}}}]}}"


BLUE = "namespaceSelector: {matchLabels: {team: blue}}"
OTHER_WEB = pod("other-web", {"app": "web"}, namespace="other")


def test_4_1_07_both_selectors_in_one_peer_are_and_two_peers_are_or():
    cluster = inventory(WEB, DB, OTHER, OTHER_WEB, namespaces={"other": {"team": "blue"}})
    both = from_peers(f"[{{{BLUE}, podSelector: {{matchLabels: {{app: web}}}}}}]")
    either = from_peers(f"[{{{BLUE}}}, {{podSelector: {{matchLabels: {{app: web}}}}}}]")
    answers = [[ask(text, src=p, cluster=cluster) for p in (WEB, OTHER, OTHER_WEB)] for text in (both, either)]
    assert answers == [[DENY, DENY, ALLOW], [ALLOW, ALLOW, ALLOW]]


def test_4_1_07_pod_selector_alone_is_the_own_namespace():
    cluster = inventory(WEB, DB, OTHER_WEB)
    text = from_peers("[{podSelector: {matchLabels: {app: web}}}]")
    assert ask(text, cluster=cluster) is ALLOW
    assert ask(text, src=OTHER_WEB, cluster=cluster) is DENY
    assert ask(from_peers("[{podSelector: {}}]")) is ALLOW
    assert ask(from_peers("[{podSelector: {}}]"), src=OTHER) is DENY


def test_4_1_07_namespace_selector_alone_is_all_pods_there():
    assert ask(from_peers(f"[{{{BLUE}}}]"), src=OTHER) is ALLOW
    assert ask(from_peers(f"[{{{BLUE}}}]")) is DENY
    assert ask(from_peers("[{namespaceSelector: {}}]"), src=OTHER) is ALLOW
    assert ask(from_peers("[{namespaceSelector: {}}]"), src=WORLD) is DENY, "all namespaces is not the world"


def to_block(block, more=""):
    return f"{{podSelector: {{}}, policyTypes: [Egress], egress: [{{to: [{{ipBlock: {block}}}]{more}}}]}}"


def test_4_1_08_ip_block_with_exceptions():
    text = to_block("{cidr: 203.0.113.0/24, except: [203.0.113.0/29]}")
    assert ask(text, dst=ipaddress.ip_address("203.0.113.8")) is ALLOW
    assert ask(text, dst=WORLD) is DENY
    assert ask(text, dst=ipaddress.ip_address("203.0.114.8")) is DENY
    six = to_block("{cidr: '2001:db8::/32', except: ['2001:db8:1::/48']}")
    assert ask(six, dst=ipaddress.ip_address("2001:db8::1")) is ALLOW
    assert ask(six, dst=ipaddress.ip_address("2001:db8:1::1")) is DENY
    assert ask(six, dst=WORLD) is DENY
    assert ask(to_block("{cidr: 0.0.0.0/0}"), dst=ipaddress.ip_address("2001:db8::1")) is DENY


def test_4_1_08_host_bits_are_normalised():
    assert ask(to_block("{cidr: 203.0.113.77/24}"), dst=WORLD) is ALLOW


@pytest.mark.parametrize(
    ("block", "field"),
    [
        ("{cidr: 10.0.0.0/24, except: [10.0.0.0/24]}", "ipBlock.except[0]"),
        ("{cidr: 10.0.0.0/24, except: [10.0.0.0/16]}", "ipBlock.except[0]"),
        ("{cidr: 10.0.0.0/24, except: ['2001:db8::/64']}", "ipBlock.except[0]"),
        ("{cidr: 10.0.0.0}", "ipBlock.cidr"),
        ("{}", "ipBlock.cidr"),
    ],
)
def test_4_1_08_impossible_blocks_are_errors_that_name_the_field(block, field):
    with pytest.raises(InputError, match=r"test: document 1: spec\.egress\[0\]\.to\[0\]") as caught:
        policies(to_block(block))
    assert caught.value.place.field.endswith(field)


def test_4_1_08_ip_block_stands_alone():
    with pytest.raises(InputError, match="stands alone"):
        policies(from_peers("[{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}]"))


def test_4_1_09_ip_block_on_pod_addresses_is_a_matter_of_the_cni():
    text = to_block("{cidr: 10.0.0.0/24}")
    verdict = Judge(policies(text), CLUSTER).connection(WEB, DB, TCP, 5432)
    assert verdict.decision is UNKNOWN
    assert "ipBlock" in verdict.missing
    assert ask(text, ipblock_matches_pods=ALLOW) is ALLOW
    assert ask(text, ipblock_matches_pods=DENY) is DENY
    # A block that does not cover the pod cannot match, whatever the CNI.
    assert ask(to_block("{cidr: 10.9.0.0/24}")) is DENY
    assert ask(to_block("{cidr: 10.0.0.0/24, except: [10.0.0.2/32]}"), ipblock_matches_pods=ALLOW) is DENY


def test_4_1_09_a_pod_without_known_address_is_unknown_to_an_ip_block():
    cluster = inventory(WEB, replace(DB, addresses=()))
    for option in (ALLOW, UNKNOWN):
        judge = Judge(policies(to_block("{cidr: 10.0.0.0/24}")), cluster, ipblock_matches_pods=option)
        assert judge.connection(WEB, cluster.pods[0], TCP, 5432).missing == "the address of shop/db"


NAMED = "{podSelector: {}, policyTypes: [Egress], egress: [{to: [{podSelector: {}}], ports: [{port: sql}]}]}"


def test_4_1_10_port_names_are_resolved_on_each_destination_pod():
    second = pod("db2", {"app": "db"}, ports={"sql": 6432})
    third = pod("db3", {"app": "db"}, ports={"http": 5432})
    fourth = pod("db4", {"app": "db"}, ports={"sql": ("UDP", 5432)})
    cluster = inventory(WEB, DB, second, third, fourth)
    answers = {p.name: [ask(NAMED, dst=p, port=n, cluster=cluster) for n in (5432, 6432)] for p in cluster.pods}
    assert answers == {
        "db": [ALLOW, DENY],
        "db2": [DENY, ALLOW],
        "db3": [DENY, DENY],
        "db4": [DENY, DENY],
        # A pod without the name does not match, and web is asked about itself, directly.
        "web": [ALLOW, ALLOW],
    }


def test_4_1_10_on_ingress_the_selected_pod_names_the_port():
    text = "{podSelector: {}, policyTypes: [Ingress], ingress: [{ports: [{port: sql}]}]}"
    assert ask(text) is ALLOW
    assert ask(text, port=5433) is DENY
    assert ask(text, src=WORLD) is ALLOW
    from_block = text.replace("ports:", "from: [{ipBlock: {cidr: 203.0.113.0/24}}], ports:")
    assert ask(from_block, src=WORLD) is ALLOW, "the name is the destination's"


def test_4_1_10_port_name_never_matches_an_ip_block_or_the_outside_on_egress():
    assert ask(to_block("{cidr: 0.0.0.0/0}", ", ports: [{port: sql}]"), dst=WORLD) is DENY
    assert ask(to_block("{cidr: 0.0.0.0/0}", ", ports: [{port: sql}]"), ipblock_matches_pods=ALLOW) is DENY
    assert ask("{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: sql}]}]}", dst=WORLD) is DENY
    assert ask("{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: sql}]}]}") is ALLOW


def test_4_1_10_the_ports_of_a_pod_known_only_from_flows_are_unknown():
    seen = replace(DB, observed=True, ports=())
    judge = Judge(policies(NAMED), inventory(WEB, seen))
    assert judge.connection(WEB, seen, TCP, 5432).missing == "container port sql of shop/db"


def ports(entries):
    return f"{{podSelector: {{}}, policyTypes: [Ingress], ingress: [{{ports: {entries}}}]}}"


def test_4_1_11_a_protocol_without_a_port_is_all_ports_of_it():
    assert ask(ports("[{protocol: UDP}]"), protocol=UDP, port=1) is ALLOW
    assert ask(ports("[{protocol: UDP}]")) is DENY
    assert ask(ports("[{}]")) is ALLOW, "TCP by default"
    assert ask(ports("[{}]"), protocol=UDP) is DENY
    assert ask(ports("[{port: 5432}]"), protocol=UDP) is DENY
    assert ask(ports("[{port: 5432, protocol: SCTP}]"), protocol=SCTP) is ALLOW


@pytest.mark.parametrize("protocol", ["tcp", "ICMP", "6", "''"])
def test_4_1_11_other_protocols_are_errors(protocol):
    with pytest.raises(InputError, match=r"ports\[0\]\.protocol"):
        policies(ports(f"[{{port: 1, protocol: {protocol}}}]"))


def test_4_1_12_end_port_is_inclusive():
    text = ports("[{port: 5430, endPort: 5432}]")
    assert [ask(text, port=p) for p in (5429, 5430, 5432, 5433)] == [DENY, ALLOW, ALLOW, DENY]
    assert ask(ports("[{port: 5432, endPort: 5432}]")) is ALLOW


@pytest.mark.parametrize(
    "entry", ["port: 80, endPort: 79", "endPort: 80", "port: http, endPort: 80", "port: 0", "port: 65536"]
)
def test_4_1_12_impossible_ranges_are_errors(entry):
    with pytest.raises(InputError, match=r"ports\[0\]"):
        policies(ports(f"[{{{entry}}}]"))


def test_4_1_13_both_ends_have_to_allow():
    egress = (
        "podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: [{ports: [{port: 1, endPort: 10}]}]"
    )
    ingress = (
        "podSelector: {matchLabels: {app: db}}, policyTypes: [Ingress], ingress: [{ports: [{port: 5, endPort: 20}]}]"
    )
    text = f"{{{egress}}}\n---\n{{{ingress}}}"
    assert [ask(text, port=p) for p in (4, 5, 10, 11)] == [DENY, ALLOW, ALLOW, DENY]
    verdict = Judge(policies(text), CLUSTER).connection(WEB, DB, TCP, 4)
    assert verdict.egress.admitted_by == (RuleRef("shop/p1", Direction.EGRESS, 0),)
    assert verdict.ingress.isolated_by == ("shop/p2",)
    assert (verdict.egress.decision, verdict.ingress.decision) == (ALLOW, DENY)


def test_4_1_13_outside_ends_have_one_side():
    text = "{podSelector: {}, policyTypes: [Ingress, Egress], ingress: [{}]}"
    assert ask(text, src=WORLD) is ALLOW
    assert ask(text, src=WEB, dst=WORLD) is DENY


def test_4_1_14_the_direction_of_the_connection_counts():
    # web may call db, and nothing is said about db calling web: replies need no rule.
    text = (
        "{podSelector: {matchLabels: {app: db}}, policyTypes: [Ingress, Egress], "
        "ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]}"
    )
    assert ask(text) is ALLOW
    assert ask(text, src=DB, dst=WEB) is DENY


CLOSED = "{podSelector: {}, policyTypes: [Ingress, Egress]}"


def test_4_1_15_the_own_node_is_always_allowed():
    n1, n2 = CLUSTER.nodes["n1"], CLUSTER.nodes["n2"]
    assert ask(CLOSED, src=n1) is ALLOW
    assert ask(CLOSED, src=n2) is DENY
    assert ask(CLOSED, src=WEB, dst=n1) is ALLOW
    assert ask(CLOSED, src=ipaddress.ip_address("192.0.2.1")) is ALLOW
    assert ask(CLOSED, src=ipaddress.ip_address("192.0.2.2")) is DENY
    kubelet = pod("agent", host_network=True, node="n1")
    assert ask(CLOSED, src=kubelet) is ALLOW


def test_4_1_15_unknown_node_is_unknown():
    nowhere = replace(DB, node="")
    cluster = inventory(nowhere, nodes={"n1": "192.0.2.1"})
    verdict = Judge(policies(CLOSED), cluster).connection(cluster.nodes["n1"], nowhere, TCP, 5432)
    assert verdict.decision is UNKNOWN
    assert verdict.missing == "which node the pod runs on"
    opened = "{podSelector: {}, policyTypes: [Ingress], ingress: [{from: [{ipBlock: {cidr: 192.0.2.0/24}}]}]}"
    assert ask(opened, src=cluster.nodes["n1"], dst=nowhere, cluster=cluster) is ALLOW


def test_4_1_16_a_pod_cannot_block_itself_but_its_own_service_may_be_blocked():
    judge = Judge(policies(CLOSED), CLUSTER)
    assert judge.connection(WEB, WEB, TCP, 8080).decision is ALLOW
    hairpin = judge.connection(WEB, WEB, TCP, 8080, via_service=True)
    assert hairpin.decision is UNKNOWN
    assert "Service" in hairpin.missing
    admitted = Judge(policies("{podSelector: {}, ingress: [{from: [{podSelector: {}}]}]}"), CLUSTER)
    assert admitted.connection(WEB, WEB, TCP, 8080, via_service=True).decision is ALLOW


def test_4_1_17_host_network_pods_are_not_isolated_and_appear_as_their_node():
    agent = pod("agent", {"app": "web"}, host_network=True, node="n2", ip="192.0.2.2")
    cluster = inventory(WEB, DB, agent, nodes=NODES)
    assert ask(CLOSED, src=WORLD, dst=agent, cluster=cluster) is ALLOW
    assert ask(from_peers("[{podSelector: {matchLabels: {app: web}}}]"), src=agent, cluster=cluster) is DENY
    assert ask(from_peers("[{namespaceSelector: {}}]"), src=agent, cluster=cluster) is DENY
    assert ask(from_peers("[{ipBlock: {cidr: 192.0.2.2/32}}]"), src=agent, cluster=cluster) is ALLOW
    # Its port names mean nothing to a policy: it is a node.
    named = "{podSelector: {}, policyTypes: [Egress], egress: [{ports: [{port: http}]}]}"
    serving = replace(agent, ports=WEB.ports)
    assert ask(named, dst=serving, port=8080, cluster=inventory(WEB, DB, serving, nodes={"n2": "192.0.2.2"})) is DENY


def test_4_1_18_other_protocols_are_unknown_where_a_policy_isolates():
    assert ask("{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress]}", protocol=None, port=0) is ALLOW
    for text in (CLOSED, "{podSelector: {}, ingress: [{}]}", ports("[{port: 1}]")):
        verdict = Judge(policies(text), CLUSTER).connection(WEB, DB, None, 0)
        assert verdict.decision is UNKNOWN
        assert "protocols" in verdict.missing


def test_4_1_19_the_name_label_is_on_every_namespace():
    text = from_peers("[{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: other}}}]")
    # Even for a namespace whose object nobody dumped.
    cluster = replace(inventory(WEB, DB, OTHER), namespaces={})
    assert ask(text, src=OTHER, cluster=cluster) is ALLOW
    assert ask(text, src=WEB, cluster=cluster) is DENY
    # Its other labels are not known then.
    verdict = Judge(policies(from_peers(f"[{{{BLUE}}}]")), cluster).connection(OTHER, DB, TCP, 1)
    assert verdict.missing == "label team of namespace other"


@pytest.mark.parametrize(
    ("expression", "matches"),
    [
        ("{key: team, operator: In, values: [blue, red]}", ["blue", "red"]),
        ("{key: team, operator: NotIn, values: [blue]}", ["red", "none"]),
        ("{key: team, operator: Exists}", ["blue", "red"]),
        ("{key: team, operator: DoesNotExist}", ["none"]),
    ],
)
def test_4_1_20_operators_and_absent_keys(expression, matches):
    blue, red = pod("blue", {"team": "blue"}), pod("red", {"team": "red"})
    none = pod("none", {})
    cluster = inventory(DB, blue, red, none)
    text = from_peers(f"[{{podSelector: {{matchExpressions: [{expression}]}}}}]")
    assert [p.name for p in (blue, red, none) if ask(text, src=p, cluster=cluster) is ALLOW] == matches


def test_4_1_20_labels_and_expressions_are_and():
    cluster = inventory(DB, pod("a", {"app": "web", "team": "blue"}), pod("b", {"app": "web"}))
    text = from_peers("[{podSelector: {matchLabels: {app: web}, matchExpressions: [{key: team, operator: Exists}]}}]")
    assert [ask(text, src=p, cluster=cluster) for p in cluster.pods if p.name != "db"] == [ALLOW, DENY]


@pytest.mark.parametrize(
    "selector",
    [
        "{matchExpressions: [{key: a, operator: In}]}",
        "{matchExpressions: [{key: a, operator: In, values: []}]}",
        "{matchExpressions: [{key: a, operator: Exists, values: [b]}]}",
        "{matchExpressions: [{key: a, operator: in, values: [b]}]}",
        "{matchExpressions: [{operator: Exists}]}",
        "{matchLabels: {a: 1}}",
        "{matchLabels: {-a: b}}",
        "{app: web}",
        "[]",
    ],
)
def test_4_1_20_invalid_selectors_are_errors(selector):
    with pytest.raises(InputError, match=r"test: document 1: spec\.ingress\[0\]\.from\[0\]\.podSelector"):
        policies(from_peers(f"[{{podSelector: {selector}}}]"))


def test_4_1_20_a_peer_without_any_field_is_an_error_not_everybody():
    with pytest.raises(InputError, match=r"from\[0\]"):
        policies(from_peers("[{}]"))
    with pytest.raises(InputError, match=r"from\[0\]"):
        policies(from_peers("[{podSelector: null}]"))


def test_4_1_21_a_verdict_is_about_new_connections_between_pods_that_run():
    # What happens to open connections when policies change is the CNI's business; a pod without a
    # policy is open, and its next pod is judged from its template.
    waiting = replace(DB, template=True, addresses=(), node="")
    assert ask(CLOSED, dst=waiting, cluster=inventory(WEB, waiting)) is DENY


@pytest.mark.parametrize("gone", [{"phase": "Succeeded"}, {"phase": "Failed"}, {"ended": 1}])
def test_4_1_22_completed_pods_do_not_match(gone):
    done = replace(WEB, **gone)
    verdict = Judge((), inventory(done, DB)).connection(done, DB, TCP, 5432)
    assert verdict.decision is UNKNOWN
    assert "address of shop/web" in verdict.missing
    # Its address is an address like any other, once it has ended.
    text = from_peers("[{podSelector: {matchLabels: {app: web}}}]")
    assert ask(text, src=done.addresses[0], cluster=inventory(done, DB)) is DENY
    assert ask(text, src=WEB.addresses[0]) is ALLOW


# --- edges ------------------------------------------------------------------------------------------------------------


def edge(src, dst, port=5432, protocol=TCP):
    return Edge(src, dst, protocol, port)


def w(name, namespace="shop"):
    return Workload(namespace, "Deployment", name)


def test_an_edge_holds_for_all_pairs_of_pods_or_not_at_all():
    old = pod("web-1", {"app": "web", "v": "1"}, workload="web")
    new = pod("web-2", {"app": "web", "v": "2"}, workload="web")
    text = from_peers("[{podSelector: {matchLabels: {v: '1'}}}]")
    assert Judge(policies(text), inventory(old, DB)).edge(edge(w("web"), w("db"))).decision is ALLOW
    verdict = Judge(policies(text), inventory(old, new, DB)).edge(edge(w("web"), w("db")))
    assert verdict.decision is DENY
    assert "shop/web-2" in verdict.reason


def test_an_edge_with_named_ports_is_resolved_on_every_destination_pod():
    second = pod("db-2", {"app": "db"}, workload="db", ports={"sql": 6432})
    cluster = inventory(WEB, DB, second)
    assert Judge(policies(NAMED), inventory(WEB, DB)).edge(edge(w("web"), w("db"))).allowed
    assert Judge(policies(NAMED), cluster).edge(edge(w("web"), w("db"))).denied


def test_an_edge_of_a_workload_that_nobody_knows():
    judge = Judge(policies(CLOSED), CLUSTER)
    assert judge.edge(edge(w("ghost"), w("other", "other"))).decision is DENY, "every pod of shop is isolated"
    assert judge.edge(edge(w("ghost", "other"), w("web", "other"))).decision is ALLOW, "no policy there"
    some = Judge(policies("{podSelector: {matchLabels: {app: x}}, policyTypes: [Egress]}"), CLUSTER)
    verdict = some.edge(edge(w("ghost"), w("db")))
    assert verdict.decision is UNKNOWN
    assert verdict.missing == "label app of shop/ghost[Deployment]"


def test_the_next_run_of_a_finished_job_is_judged_by_its_last_labels():
    done = pod("job-x", {"app": "job"}, workload="job", phase="Succeeded", ip="10.0.0.9")
    text = from_peers("[{podSelector: {matchLabels: {app: job}}}]")
    judge = Judge(policies(text), inventory(done, DB))
    assert judge.edge(edge(w("job"), w("db"))).decision is ALLOW
    assert judge.edge(edge(w("web"), w("db"))).decision is UNKNOWN


EXTERNALS = [
    # kind, address, decision with the pod closed, with ipBlock 192.0.2.0/24 open, with everything open
    (ExternalKind.OWN_NODE, "", ALLOW, ALLOW, ALLOW),
    (ExternalKind.NODE, "192.0.2.1", ALLOW, ALLOW, ALLOW),
    (ExternalKind.NODE, "192.0.2.2", DENY, ALLOW, ALLOW),
    (ExternalKind.NODE, "192.0.2.99", DENY, ALLOW, ALLOW),
    (ExternalKind.NODE, "", UNKNOWN, UNKNOWN, ALLOW),
    (ExternalKind.API_SERVER, "192.0.2.2", DENY, ALLOW, ALLOW),
    (ExternalKind.API_SERVER, "192.0.2.1", ALLOW, ALLOW, ALLOW),
    (ExternalKind.API_SERVER, "", UNKNOWN, UNKNOWN, ALLOW),
    (ExternalKind.WORLD, "192.0.2.77", DENY, ALLOW, ALLOW),
    (ExternalKind.WORLD, "203.0.113.7", DENY, DENY, ALLOW),
    (ExternalKind.WORLD, "", DENY, UNKNOWN, ALLOW),
    (ExternalKind.INGRESS_PROXY, "192.0.2.77", UNKNOWN, UNKNOWN, ALLOW),
    (ExternalKind.INGRESS_PROXY, "", UNKNOWN, UNKNOWN, ALLOW),
    (ExternalKind.UNKNOWN, "", UNKNOWN, UNKNOWN, ALLOW),
    (ExternalKind.UNKNOWN, "192.0.2.77", UNKNOWN, UNKNOWN, ALLOW),
]


@pytest.mark.parametrize(("kind", "address", "closed", "block", "opened"), EXTERNALS)
def test_edges_from_outside(kind, address, closed, block, opened):
    question = edge(External(kind, address), w("db"))
    texts = (
        "{podSelector: {}, policyTypes: [Ingress]}",
        from_peers("[{ipBlock: {cidr: 192.0.2.0/24}}]"),
        "{podSelector: {}, policyTypes: [Ingress], ingress: [{}]}",
    )
    verdicts = [Judge(policies(text), CLUSTER).edge(question) for text in texts]
    assert [v.decision for v in verdicts] == [closed, block, opened]
    assert [bool(v.missing) for v in verdicts] == [d is UNKNOWN for d in (closed, block, opened)]


def test_an_outside_address_that_the_inventory_knows_as_a_pod_is_unknown_where_it_matters():
    question = edge(External(ExternalKind.WORLD, "10.0.0.1"), w("db"))
    # As the pod web: allowed; as an outside address: denied.
    verdict = Judge(policies(from_peers("[{podSelector: {matchLabels: {app: web}}}]")), CLUSTER).edge(question)
    assert verdict.decision is UNKNOWN
    assert verdict.missing == "who held the address then"
    # Both readings agree.
    assert Judge(policies("{podSelector: {}, policyTypes: [Ingress]}"), CLUSTER).edge(question).denied
    assert Judge((), CLUSTER).edge(question).allowed


def test_an_unknown_destination_may_be_an_isolated_pod():
    question = edge(w("web"), External(ExternalKind.UNKNOWN, "10.0.9.9"))
    assert Judge(policies("{podSelector: {}, policyTypes: [Egress], egress: [{}]}"), CLUSTER).edge(question).allowed
    assert Judge(policies("{podSelector: {}, policyTypes: [Ingress]}"), CLUSTER).edge(question).missing


def test_self_edges():
    closed = Judge(policies(CLOSED), CLUSTER).edge(edge(w("web"), w("web"), 8080))
    assert closed.decision is UNKNOWN
    assert "own Service" in closed.missing
    two = inventory(pod("web-1", {"app": "web"}, workload="web"), pod("web-2", {"app": "web"}, workload="web"))
    assert Judge(policies(CLOSED), two).edge(edge(w("web"), w("web"), 8080)).denied


def test_admitting_rules_prove_what_is_needed():
    text = """
podSelector: {matchLabels: {app: db}}
policyTypes: [Ingress]
ingress:
- from: [{podSelector: {matchLabels: {app: web}}}]
- from: [{podSelector: {}}]
- from: [{podSelector: {matchLabels: {app: cart}}}]
---
podSelector: {matchLabels: {app: web}}
policyTypes: [Egress]
egress: [{ports: [{port: 5432}]}]
"""
    found = Judge(policies(text), CLUSTER).admitting_rules(edge(w("web"), w("db")))
    ingress, egress = Direction.INGRESS, Direction.EGRESS
    assert found == (
        frozenset({RuleRef("shop/p1", ingress, 0), RuleRef("shop/p1", ingress, 1)}),
        frozenset({RuleRef("shop/p2", egress, 0)}),
    )
    assert Judge((), CLUSTER).admitting_rules(edge(w("web"), w("db"))) == ()


def test_pods_that_only_flows_know_do_not_speak_for_a_workload_that_was_dumped():
    seen = pod("web-seen", {}, workload="web", observed=True)
    text = from_peers("[{podSelector: {matchLabels: {app: web}}}]")
    for cluster, decision in ((inventory(WEB, seen, DB), ALLOW), (inventory(seen, DB), DENY)):
        assert Judge(policies(text), cluster).edge(edge(w("web"), w("db"))).decision is decision
        sure, _ = connections(policies(text), cluster).between(w("web"), w("db"))
        assert bool(sure) is (decision is ALLOW)
