"""Every rule: one case in which it fires, and one next to it in which it stays silent."""

from __future__ import annotations

import io
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from netpol_gen.config import Cni, Config
from netpol_gen.edges import find_edges
from netpol_gen.inventory import Inventory
from netpol_gen.inventory.objects import ContainerPort
from netpol_gen.lint import RULES, Finding, LintSettings, Material, read_documents, run
from netpol_gen.manifests import read_manifests
from netpol_gen.model import Protocol
from netpol_gen.sets import AddressSet
from tests.flowrows import flows_of, inventory_of, node, pod, row, service

WEB, API, DB, DNS = "10.0.1.1", "10.0.1.2", "10.0.1.3", "10.0.1.4"
CLUSTER = inventory_of(
    pod("web-1", "web", WEB),
    pod("api-1", "api", API, (8080, "http")),
    pod("db-1", "db", DB, 5432),
    pod("dns-1", "dns", DNS, ports=(ContainerPort(1053, Protocol.UDP, "dns"),)),
    pod("agent-1", "agent", "192.168.0.1", host_network=True),
    service("api", "api", "10.96.0.20", 80, "http"),
    pod_ranges=AddressSet.of(ip_network("10.0.0.0/16")),
    service_ranges=AddressSet.of(ip_network("10.96.0.0/16")),
)


def policy(spec: str, name: str = "p", namespace: str = "shop", **metadata: Any) -> str:
    """One manifest; `spec` is flow-style YAML."""
    extra = "".join(f", {k}: {v}" for k, v in metadata.items())
    return (
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n"
        f"metadata: {{name: {name}, namespace: {namespace}{extra}}}\nspec: {spec}\n"
    )


def ingress(rule: str, selector: str = "{matchLabels: {app: api}}") -> str:
    return policy(f"{{podSelector: {selector}, policyTypes: [Ingress], ingress: [{rule}]}}")


def egress(rule: str, selector: str = "{matchLabels: {app: web}}") -> str:
    return policy(f"{{podSelector: {selector}, policyTypes: [Egress], egress: [{rule}]}}")


def findings(
    text: str,
    inventory: Inventory | None = None,
    rows: tuple[dict[str, Any], ...] | None = None,
    settings: LintSettings | None = None,
    **config: Any,
) -> tuple[Finding, ...]:
    documents = read_documents(read_manifests(["-"], stdin=io.BytesIO(text.encode())))
    edges = None if rows is None else find_edges(flows_of(*rows), inventory or Inventory())
    return run(Material(documents, inventory, edges, Config(**config), settings or LintSettings())).findings


FROM_WEB = "from: [{podSelector: {matchLabels: {app: web}}}]"
TO_API = "to: [{podSelector: {matchLabels: {app: api}}}]"
OWN = "namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: shop}}"
TCP_8080 = "ports: [{protocol: TCP, port: 8080}]"
DENY = "{podSelector: {}, policyTypes: [%s]}"
CALL = row(WEB, API, 8080)
USED = ingress(f"{{{FROM_WEB}, {TCP_8080}}}")
SHORT = "ports: [" + ", ".join(f"{{protocol: TCP, port: {8000 + n}}}" for n in range(24)) + "]"
LONG = "ports: [" + ", ".join(f"{{protocol: TCP, port: {8000 + n}}}" for n in range(25)) + "]"
LEGACY = '{apiVersion: v1, kind: Namespace, metadata: {name: shop, annotations: {%s: "{}"}}}'
MANY = inventory_of(
    *(pod(f"c{n}-1", f"c{n}", f"10.0.2.{n}", labels=(("app", f"c{n}"), ("role", "client"))) for n in range(1, 11)),
    pod("api-1", "api", API, (8080, "http")),
)
FROM_CLIENTS = "from: [{podSelector: {matchLabels: {role: client}}}]"
CALLS = tuple(row(f"10.0.2.{n}", API, 8080) for n in range(1, 11))

Case = tuple[str, dict[str, Any]]
"""Manifests and what else `findings` takes."""

CASES: dict[str, tuple[Case, Case]] = {
    "NPL001": ((USED, {}), (USED + policy(DENY % "Ingress", "deny"), {})),
    "NPL002": ((policy(DENY % "Ingress"), {}), (policy(DENY % "Egress"), {})),
    "NPL003": ((ingress(f"{{{FROM_WEB}}}"), {}), (USED, {})),
    "NPL004": ((ingress(f"{{{TCP_8080}}}"), {}), (USED, {})),
    "NPL005": (
        (ingress(f"{{{FROM_WEB}, {TCP_8080}}}", "{matchLabels: {app: apj}}"), {"inventory": CLUSTER}),
        (USED, {"inventory": CLUSTER}),
    ),
    "NPL006": ((policy("{policyTypes: [Ingress]}"), {}), (policy(DENY % "Ingress"), {})),
    "NPL007": (
        (ingress(f"{{from: [{{podSelector: {{matchLabels: {{app: wep}}}}}}], {TCP_8080}}}"), {"inventory": CLUSTER}),
        (USED, {"inventory": CLUSTER}),
    ),
    "NPL008": (
        (ingress(f"{{from: [{{namespaceSelector: {{}}}}], {TCP_8080}}}"), {}),
        (
            ingress(
                f"{{from: [{{namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: a}}}}}}], {TCP_8080}}}"
            ),
            {},
        ),
    ),
    "NPL009": (
        (ingress(f"{{{FROM_WEB}, {TCP_8080}}}", "{matchLabels: {app: api, pod-template-hash: 5d4f}}"), {}),
        (USED, {}),
    ),
    "NPL010": (
        (
            ingress(f"{{from: [{{podSelector: {{matchLabels: {{app.kubernetes.io/version: v2}}}}}}], {TCP_8080}}}"),
            {},
        ),
        # The instance tells two releases of one chart apart; it does not change with either.
        (
            ingress(f"{{from: [{{podSelector: {{matchLabels: {{app.kubernetes.io/instance: blue}}}}}}], {TCP_8080}}}"),
            {},
        ),
    ),
    "NPL011": (
        (ingress(f"{{{FROM_WEB}, ports: [{{protocol: TCP, port: web}}]}}"), {"inventory": CLUSTER}),
        (ingress(f"{{{FROM_WEB}, ports: [{{protocol: TCP, port: http}}]}}"), {"inventory": CLUSTER}),
    ),
    "NPL012": (
        (egress(f"{{{TO_API}, ports: [{{protocol: TCP, port: 80}}]}}"), {"inventory": CLUSTER}),
        (egress(f"{{{TO_API}, {TCP_8080}}}"), {"inventory": CLUSTER}),
    ),
    "NPL013": (
        (egress(f"{{{TO_API}, ports: [{{port: 53}}]}}"), {}),
        (egress(f"{{{TO_API}, ports: [{{port: 53}}, {{protocol: UDP, port: 53}}]}}"), {}),
    ),
    "NPL014": (
        (egress(f"{{to: [{{ipBlock: {{cidr: 10.0.0.0/8}}}}], {TCP_8080}}}"), {"inventory": CLUSTER}),
        (
            egress(f"{{to: [{{ipBlock: {{cidr: 10.0.0.0/8, except: [10.0.0.0/16]}}}}], {TCP_8080}}}"),
            {"inventory": CLUSTER},
        ),
    ),
    "NPL015": (
        (
            egress(f"{{to: [{{ipBlock: {{cidr: 10.96.0.20/32}}}}], {TCP_8080}}}"),
            {"service_cidrs": (ip_network("10.96.0.0/12"),)},
        ),
        (
            egress(f"{{to: [{{ipBlock: {{cidr: 10.95.0.20/32}}}}], {TCP_8080}}}"),
            {"service_cidrs": (ip_network("10.96.0.0/12"),)},
        ),
    ),
    "NPL016": (
        (egress(f"{{to: [{{ipBlock: {{cidr: 10.0.0.0/8, except: [11.0.0.0/24]}}}}], {TCP_8080}}}"), {}),
        (egress(f"{{to: [{{ipBlock: {{cidr: 10.0.0.0/8, except: [10.9.0.0/24]}}}}], {TCP_8080}}}"), {}),
    ),
    "NPL017": (
        (ingress("{from: [{ipBlock: {cidr: 0.0.0.0/0}}], ports: [{protocol: TCP, port: 20, endPort: 30}]}"), {}),
        (ingress("{from: [{ipBlock: {cidr: 0.0.0.0/0}}], ports: [{protocol: TCP, port: 443}]}"), {}),
    ),
    "NPL018": (
        (egress("{to: [{ipBlock: {cidr: 0.0.0.0/0}}], ports: [{protocol: TCP, port: 80}]}"), {}),
        (
            egress(
                "{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [169.254.0.0/16, 100.64.0.0/10]}}],"
                " ports: [{protocol: TCP, port: 80}]}"
            ),
            {},
        ),
    ),
    "NPL019": (
        (ingress(f"{{{FROM_WEB}, {TCP_8080}}}, {{from: [{{podSelector: {{}}}}], {TCP_8080}}}"), {}),
        (ingress(f"{{{FROM_WEB}, {TCP_8080}}}, {{from: [{{podSelector: {{}}}}], ports: [{{port: 9090}}]}}"), {}),
    ),
    "NPL020": (
        (ingress(f"{{{FROM_WEB}, ports: [{{protocol: TCP, port: 9090}}]}}"), {"inventory": CLUSTER, "rows": (CALL,)}),
        (USED, {"inventory": CLUSTER, "rows": (CALL,)}),
    ),
    "NPL021": (
        (ingress(f"{{{FROM_CLIENTS}, {TCP_8080}}}"), {"inventory": MANY, "rows": CALLS[:2]}),
        (ingress(f"{{{FROM_CLIENTS}, {TCP_8080}}}"), {"inventory": MANY, "rows": CALLS[:5]}),
    ),
    "NPL022": (
        (ingress(f"{{{FROM_WEB}, ports: [{{protocol: TCP, port: 80, endPort: 90}}]}}"), {"cni": Cni.AZURE_NPM}),
        (ingress(f"{{{FROM_WEB}, ports: [{{protocol: TCP, port: 80, endPort: 90}}]}}"), {"cni": Cni.CALICO}),
    ),
    "NPL023": (
        (ingress(f"{{{FROM_WEB}, ports: [{{protocol: TCP, port: http}}]}}"), {"cni": Cni.OVN_KUBERNETES}),
        (ingress(f"{{{FROM_WEB}, ports: [{{protocol: TCP, port: 80}}]}}"), {"cni": Cni.OVN_KUBERNETES}),
    ),
    "NPL024": (
        (ingress(f"{{{FROM_WEB}, {LONG}}}"), {"cni": Cni.EKS_VPC_CNI}),
        (ingress(f"{{{FROM_WEB}, {SHORT}}}"), {"cni": Cni.EKS_VPC_CNI}),
    ),
    "NPL025": (
        (LEGACY % "net.beta.kubernetes.io/network-policy", {}),
        (LEGACY % "example.org/network-policy", {}),
    ),
    "NPL026": ((USED + ingress(f"{{{FROM_WEB}}}"), {}), (USED + policy(DENY % "Ingress", "q"), {})),
    "NPL027": ((ingress(f"{{{FROM_WEB}, ports: [{{protocol: ICMP}}]}}"), {}), (USED, {})),
    "NPL028": (
        (policy("{podSelector: {}, policyTypes: [Egress], ingress: [{}]}"), {}),
        (policy("{podSelector: {}, ingress: [{}]}"), {}),
    ),
    "NPL029": (
        (ingress(f"{{{FROM_WEB}}}", "{matchLabels: {app: agent}}"), {"inventory": CLUSTER}),
        (USED, {"inventory": CLUSTER}),
    ),
    "NPL030": (
        (policy(DENY % "Ingress", annotations="{netpol-gen.dev/lint-ignore: NPL999}"), {}),
        (policy(DENY % "Ingress", annotations="{netpol-gen.dev/lint-ignore: NPL002}"), {}),
    ),
}


def test_every_rule_has_its_two_cases():
    assert list(CASES) == [rule.id for rule in RULES]


@pytest.mark.parametrize("rule", CASES)
def test_fires(rule):
    text, given = CASES[rule][0]
    found = [f for f in findings(text, **given) if f.rule == rule]
    assert found
    assert all(f.message and f.fix and "\n" not in f.fix for f in found)


@pytest.mark.parametrize("rule", CASES)
def test_stays_silent(rule):
    text, given = CASES[rule][1]
    assert [f.message for f in findings(text, **given) if f.rule == rule] == []


def messages(rule: str, text: str, **given: Any) -> list[str]:
    return [f.message for f in findings(text, **given) if f.rule == rule]


class TestDefaultDeny:
    def test_an_allow_all_is_no_default_deny(self):
        assert messages("NPL001", policy("{podSelector: {}, policyTypes: [Ingress], ingress: [{}]}"))

    def test_a_default_with_an_exception_still_is_one(self):
        dns = f"{{podSelector: {{}}, policyTypes: [Egress], egress: [{{{TO_API}}}]}}"
        assert messages("NPL002", policy(dns)) == []

    def test_namespaces_without_any_policy_are_found_in_the_inventory(self):
        found = [f for f in findings(policy(DENY % "Ingress", namespace="other"), CLUSTER) if f.rule == "NPL001"]
        assert [(f.subject, f.place.path) for f in found] == [("shop", "")]
        assert found[0].message.endswith("0 of its 4 pods are selected by a policy")

    def test_system_namespaces_are_left_alone(self):
        assert messages("NPL001", policy("{podSelector: {matchLabels: {a: b}}}", namespace="kube-system")) == []

    def test_a_default_deny_that_the_cluster_has_counts(self):
        (held,) = (d.policy for d in read_documents(read_manifests(["-"], stdin=io.BytesIO(
            policy(DENY % "Ingress", "deny").encode()))))  # fmt: skip
        assert messages("NPL001", USED, inventory=replace(CLUSTER, policies=(held,))) == []


class TestSelection:
    @pytest.mark.parametrize(
        "selector", ["", "podSelector: , ", "podSelector: {matchLabels: {}}, "], ids=["absent", "null", "empty parts"]
    )
    def test_an_accidental_selector_fires_even_without_rules(self, selector):
        assert messages("NPL006", policy(f"{{{selector}policyTypes: [Ingress]}}"))

    def test_an_empty_selector_with_rules(self):
        assert messages("NPL006", ingress(f"{{{FROM_WEB}}}", "{}")) == [
            "an empty podSelector gives these rules to every pod of the namespace"
        ]

    def test_a_null_selector_in_a_peer(self):
        assert messages("NPL008", ingress("{from: [{namespaceSelector: {matchLabels: {a: b}}, podSelector: }]}"))

    def test_any_namespace_with_a_pod_selector_is_a_choice(self):
        rule = "{from: [{namespaceSelector: {}, podSelector: {matchLabels: {app: prometheus}}}]}"
        assert messages("NPL008", ingress(rule)) == []

    def test_the_fix_names_what_pods_have(self):
        found = findings(ingress(f"{{{FROM_WEB}}}", "{matchLabels: {app: apj}}"), CLUSTER)
        assert next(f.fix for f in found if f.rule == "NPL005").startswith(
            "select labels that the pods carry (pods have app=api, db, dns, web)"
        )


class TestPorts:
    def test_a_name_never_matches_an_ipblock_and_that_needs_no_inventory(self):
        rule = "{to: [{ipBlock: {cidr: 203.0.113.0/24}}], ports: [{protocol: TCP, port: https}]}"
        assert messages("NPL011", egress(rule)) == [
            "port name https never matches an ipBlock: addresses have no port names"
        ]

    def test_a_name_of_the_other_protocol(self):
        rule = f"{{{FROM_WEB}, ports: [{{protocol: TCP, port: dns}}]}}"
        assert messages("NPL011", ingress(rule, "{matchLabels: {app: dns}}"), inventory=CLUSTER) == [
            "port name dns is UDP where it is declared, and the rule says TCP"
        ]

    def test_names_of_pods_that_only_flows_named_are_unknown(self):
        observed = inventory_of(pod("api-1", "api", API, observed=True))
        assert messages("NPL011", ingress(f"{{{FROM_WEB}, ports: [{{port: web}}]}}"), inventory=observed) == []

    def test_a_service_port_that_was_seen_on_the_pod_itself_is_no_mistake(self):
        text = egress(f"{{{TO_API}, ports: [{{protocol: TCP, port: 80}}]}}")
        assert messages("NPL012", text, inventory=CLUSTER, rows=(row(WEB, API, 80),)) == []

    def test_the_service_and_its_target_are_named(self):
        text = ingress(f"{{{FROM_WEB}, ports: [{{protocol: TCP, port: 80}}]}}")
        assert messages("NPL012", text, inventory=CLUSTER) == [
            "80 is the port of Service shop/api, but its pods listen on 8080, which policies see"
        ]

    def test_pods_that_declare_the_port_as_udp(self):
        text = ingress(f"{{{FROM_WEB}, ports: [{{port: 1053}}]}}", "{matchLabels: {app: dns}}")
        assert messages("NPL013", text, inventory=CLUSTER) == [
            "no protocol means TCP, but the pods declare port 1053 as UDP"
        ]

    def test_tcp_that_was_written_is_meant(self):
        assert messages("NPL013", egress(f"{{{TO_API}, ports: [{{protocol: TCP, port: 53}}]}}")) == []


class TestAddresses:
    def test_except_of_another_family(self):
        assert messages("NPL016", egress('{to: [{ipBlock: {cidr: 10.0.0.0/8, except: ["fd00::/8"]}}]}'))

    def test_a_bad_except_is_not_reported_twice(self):
        text = egress("{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/24]}}]}")
        assert messages("NPL027", text) == []

    def test_everyone_by_leaving_out_the_peers(self):
        assert messages("NPL017", ingress("{ports: [{protocol: TCP, port: 10250}]}")) == [
            "everyone can reach TCP 10250 (kubelet API)"
        ]

    def test_a_nodes_own_address_in_the_pod_range_is_no_pods(self):
        router = replace(node("n1", "192.168.0.1", "10.0.1.0/24"), inner_addresses=(ip_address("10.0.1.77"),))
        held = replace(CLUSTER, nodes={"n1": router})
        rule = "{from: [{ipBlock: {cidr: 10.0.1.%s/32}}], ports: [{protocol: TCP, port: 8080}]}"
        assert messages("NPL014", ingress(rule % 77), inventory=held) == []
        assert messages("NPL014", ingress(rule % 78), inventory=held) != []

    def test_flows_reveal_a_nodes_own_address(self):
        text = ingress("{from: [{ipBlock: {cidr: 10.0.1.77/32}}], ports: [{protocol: TCP, port: 8080}]}")
        seen = row("10.0.1.77", API, 8080, src_entities="host,remote-node")
        assert messages("NPL014", text, inventory=CLUSTER, rows=(seen,)) == []

    def test_sensitive_ports_can_be_chosen(self):
        text = ingress("{from: [{ipBlock: {cidr: 0.0.0.0/0}}], ports: [{protocol: TCP, port: 443}]}")
        assert messages("NPL017", text, settings=LintSettings(sensitive_ports=frozenset({443})))

    def test_udp_is_not_ssh(self):
        text = ingress("{from: [{ipBlock: {cidr: 0.0.0.0/0}}], ports: [{protocol: UDP, port: 22}]}")
        assert messages("NPL017", text) == []

    def test_metadata_on_ipv6(self):
        text = egress('{to: [{ipBlock: {cidr: "fd00::/8"}}], ports: [{protocol: TCP, port: 80}]}')
        assert messages("NPL018", text)[0].startswith("this rule reaches fd00:ec2::254")

    def test_metadata_needs_its_port(self):
        text = egress("{to: [{ipBlock: {cidr: 0.0.0.0/0}}], ports: [{protocol: TCP, port: 443}]}")
        assert messages("NPL018", text) == []

    def test_metadata_is_no_matter_of_ingress(self):
        text = ingress("{from: [{ipBlock: {cidr: 0.0.0.0/0}}], ports: [{protocol: TCP, port: 80}]}")
        assert messages("NPL018", text) == []


class TestShadowed:
    def shadowed(self, *rules: str) -> list[str]:
        found = findings(ingress(", ".join(f"{{{r}}}" for r in rules)))
        return [f.place.field for f in found if f.rule == "NPL019"]

    def test_of_two_that_say_the_same_the_second_goes(self):
        assert self.shadowed(f"{FROM_WEB}, {TCP_8080}", f"{FROM_WEB}, {TCP_8080}") == ["spec.ingress[1]"]

    @pytest.mark.parametrize(
        ("narrow", "wide"),
        [
            (f"{FROM_WEB}, {TCP_8080}", FROM_WEB),
            (f"{FROM_WEB}, {TCP_8080}", f"{FROM_WEB}, ports: [{{protocol: TCP}}]"),
            (f"{FROM_WEB}, {TCP_8080}", f"{FROM_WEB}, ports: [{{protocol: TCP, port: 8000, endPort: 9000}}]"),
            (f"{FROM_WEB}, ports: [{{port: http}}]", f"{FROM_WEB}, ports: [{{protocol: TCP}}]"),
            ("from: [{podSelector: {matchLabels: {a: b, c: d}}}]", "from: [{podSelector: {matchLabels: {a: b}}}]"),
            (
                "from: [{podSelector: {matchExpressions: [{key: a, operator: In, values: [x, z]}]}}]",
                "from: [{podSelector: {matchExpressions: [{key: a, operator: Exists}]}}]",
            ),
            ("from: [{ipBlock: {cidr: 10.1.0.0/16}}]", "from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.2.0.0/16]}}]"),
            (
                "from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.2.0.0/16]}}]",
                "from: [{ipBlock: {cidr: 10.0.0.0/9}}, {ipBlock: {cidr: 10.128.0.0/9}}]",
            ),
            # The same namespace, written as a selector.
            (FROM_WEB, f"from: [{{{OWN}}}]"),
            (f"from: [{{{OWN}, podSelector: {{matchLabels: {{app: web}}}}}}]", "from: [{podSelector: {}}]"),
        ],
    )
    def test_covered(self, narrow, wide):
        assert self.shadowed(narrow, wide) == ["spec.ingress[0]"]
        assert self.shadowed(wide, narrow) == ["spec.ingress[1]"]

    @pytest.mark.parametrize(
        ("narrow", "wide"),
        [
            (FROM_WEB, f"{FROM_WEB}, ports: [{{protocol: TCP}}]"),  # no ports is more than TCP
            (f"{FROM_WEB}, ports: [{{port: http}}]", f"{FROM_WEB}, {TCP_8080}"),  # http may be another number
            (f"{FROM_WEB}, ports: [{{protocol: UDP, port: 8080}}]", f"{FROM_WEB}, {TCP_8080}"),
            ("from: [{ipBlock: {cidr: 10.2.0.0/16}}]", "from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.2.3.0/24]}}]"),
            ("from: [{ipBlock: {cidr: 10.2.0.0/16}}]", "from: [{namespaceSelector: {}}]"),
            (FROM_WEB, "from: [{namespaceSelector: {matchLabels: {team: a}}}]"),
            ("from: [{podSelector: {}}]", "from: [{podSelector: {matchLabels: {app: web}}}]"),
            (
                "from: [{podSelector: {matchExpressions: [{key: a, operator: NotIn, values: [x]}]}}]",
                "from: [{podSelector: {matchExpressions: [{key: a, operator: Exists}]}}]",  # NotIn matches absence
            ),
        ],
    )
    def test_not_covered(self, narrow, wide):
        assert "spec.ingress[0]" not in self.shadowed(narrow, wide)

    def test_a_rule_for_other_pods_shadows_nothing(self):
        other = ingress(f"{{{FROM_WEB}}}", "{matchLabels: {app: db}}").replace("name: p,", "name: q,")
        assert messages("NPL019", USED + other) == []

    def test_a_rule_for_all_pods_does(self):
        other = ingress(f"{{{FROM_WEB}}}", "{}").replace("name: p,", "name: q,")
        assert messages("NPL019", USED + other) == ["shop/q ingress[0] admits all that this rule admits"]

    def test_directions_do_not_mix(self):
        assert messages("NPL019", ingress("{}") + egress(f"{{{TO_API}}}").replace("name: p,", "name: q,")) == []


class TestUse:
    def test_the_share_is_printed(self):
        text = ingress(f"{{{FROM_CLIENTS}, {TCP_8080}}}")
        assert messages("NPL021", text, inventory=MANY, rows=CALLS[:2]) == [
            "used for 2 of 10 connections that it allows: 20%"
        ]

    def test_a_range_counts_all_its_ports(self):
        text = ingress(f"{{{FROM_WEB}, ports: [{{protocol: TCP, port: 8080, endPort: 8179}}]}}")
        assert messages("NPL021", text, inventory=CLUSTER, rows=(CALL,)) == [
            "used for 1 of 100 connections that it allows: 1%"
        ]

    def test_a_rule_that_nobody_uses_is_not_also_broad(self):
        text = ingress(f"{{{FROM_CLIENTS}, ports: [{{protocol: TCP, port: 1}}]}}")
        assert messages("NPL021", text, inventory=MANY, rows=CALLS) == []
        assert messages("NPL020", text, inventory=MANY, rows=CALLS) == [
            "no flow of the 1 hours given (hubble) needs this rule"
        ]

    def test_a_policy_with_an_edge_of_unknown_verdict_is_not_reported(self):
        # Whether the block matches the pod is up to the CNI: perhaps the rule is what admits the edge.
        text = ingress(f"{{from: [{{ipBlock: {{cidr: {WEB}/32}}}}], {TCP_8080}}}")
        assert messages("NPL020", text, inventory=CLUSTER, rows=(CALL,)) == []

    def test_without_an_inventory_flows_alone_tell_use(self):
        facts = {
            "src_namespace": "shop", "src_pod": "web-1", "src_labels": {"app": "web"},
            "dst_namespace": "shop", "dst_pod": "api-1", "dst_labels": {"app": "api"},
        }  # fmt: skip
        assert messages("NPL020", USED, rows=(row(WEB, API, 8080, **facts),)) == []
        assert messages("NPL020", USED, rows=(row(WEB, API, 8081, **facts),)) != []


class TestCnis:
    def test_a_range_of_one_port_is_none(self):
        text = ingress(f"{{{FROM_WEB}, ports: [{{protocol: TCP, port: 80, endPort: 80}}]}}")
        assert messages("NPL022", text, cni=Cni.AZURE_NPM) == []

    def test_families_on_eks(self):
        text = ingress('{from: [{ipBlock: {cidr: 203.0.113.0/24}}, {ipBlock: {cidr: "2001:db8::/32"}}]}')
        assert messages("NPL024", text, cni=Cni.EKS_VPC_CNI)


class TestHygiene:
    def test_the_old_api_group(self):
        text = "{apiVersion: extensions/v1beta1, kind: NetworkPolicy, metadata: {name: a, namespace: b}, spec: {}}"
        assert messages("NPL025", text)[0].startswith("extensions/v1beta1 NetworkPolicy is gone")

    def test_the_same_policy_twice(self):
        assert messages("NPL026", USED + USED) == ["the same NetworkPolicy of this name is at -:2: document 1"]

    def test_an_invalid_policy_names_the_field(self):
        (found,) = (f for f in findings(ingress("{ports: [{port: 70000}]}")) if f.rule == "NPL027")
        assert found.place.field == "spec.ingress[0].ports[0].port"
        assert found.message == "the API server would refuse this: 70000 is not a port"
