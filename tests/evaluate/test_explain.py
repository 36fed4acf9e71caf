"""Explanations: every policy and rule at both ends, and why the others do not match."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest

from netpol_gen.errors import InputError
from netpol_gen.evaluate.match import Tri
from netpol_gen.explain import explain, find_end, parse_port
from netpol_gen.model import Decision, Protocol, Workload
from netpol_gen.report.verdicts import explain_json, explain_markdown, explain_text
from tests.evaluate.cluster import inventory, pod, policies

TCP, UDP, SCTP = Protocol
WEB, DB = pod("web-1", {"app": "web"}, workload="web"), pod("db-1", {"app": "db"}, workload="db")
CLUSTER = inventory(WEB, DB, pod("x", namespace="other"))
WEB_WORKLOAD, DB_WORKLOAD = WEB.workload, DB.workload
TEXT = """
podSelector: {matchLabels: {app: db}}
policyTypes: [Ingress]
ingress:
- from: [{podSelector: {matchLabels: {app: cart}}}]
- from: [{podSelector: {matchLabels: {app: web}}}]
  ports: [{port: 5432}]
---
podSelector: {matchLabels: {app: web}}
policyTypes: [Ingress]
---
podSelector: {matchLabels: {app: db}}
policyTypes: [Egress]
"""


def ask(port=5432):
    return explain(policies(TEXT), CLUSTER, WEB_WORKLOAD, DB_WORKLOAD, TCP, port)


def test_every_policy_of_the_namespace_is_named_with_its_part():
    found = ask()
    assert found.verdict.decision is Decision.ALLOW
    assert not found.denied
    shown = [(p.policy, p.selects, p.why, [(r.matches, r.why) for r in p.rules]) for p in found.ingress.policies]
    assert shown == [
        (
            "shop/p1",
            Tri.YES,
            "",
            [(Tri.NO, "the labels of shop/web-1 do not match app=cart"), (Tri.YES, "")],
        ),
        ("shop/p2", Tri.NO, "the labels of pod shop/db-1 do not match app=web", []),
        ("shop/p3", Tri.NO, "Ingress is not among its policyTypes", []),
    ]
    assert [p.selects for p in found.egress.policies] == [Tri.NO] * 3


def test_a_denied_connection_says_why_no_rule_matches():
    found = ask(port=80)
    assert found.denied
    whys = [r.why for p in found.ingress.policies for r in p.rules]
    assert whys == ["the labels of shop/web-1 do not match app=cart", "the port is 5432"]
    text = explain_text(found)
    assert text.splitlines()[0] == "deny: shop/web[Deployment] -> shop/db[Deployment] TCP 80"
    assert "  shop/p1 selects it (test: document 1)" in text
    assert "    ingress[1] does not match: the port is 5432" in text
    assert explain_markdown(found).count("```") == 2
    assert '"matches": "no"' in explain_json(found)


def test_the_pair_that_decides_is_explained():
    both = inventory(WEB, pod("web-2", {"app": "web", "v": "2"}, workload="web"), DB)
    text = TEXT.replace("{app: web}}}]\n  ports", "{app: web, v: '2'}}}]\n  ports")
    found = explain(policies(text), both, Workload("shop", "Deployment", "web"), DB, TCP, 5432)
    assert found.denied
    assert "from shop/web-1" in found.verdict.reason


def test_addresses_and_protocols_that_policies_cannot_name():
    found = explain(policies(TEXT), CLUSTER, ipaddress.ip_address("203.0.113.7"), DB, None, 0)
    assert found.verdict.decision is Decision.UNKNOWN
    assert "another protocol" in explain_text(found).splitlines()[0]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("shop/web", Workload("shop", "Deployment", "web")),
        ("shop/web[Deployment]", Workload("shop", "Deployment", "web")),
        ("shop/web-1", WEB),
        ("203.0.113.7", ipaddress.ip_address("203.0.113.7")),
        ("2001:db8::1", ipaddress.ip_address("2001:db8::1")),
    ],
)
def test_ends_as_people_write_them(text, found):
    assert find_end(text, CLUSTER) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("web", "is not an address"),
        ("shop/nobody", r"no workload or pod shop/nobody; there are shop/db\[Deployment\], shop/web\[Deployment\]"),
        ("shop/web[Job]", "no workload or pod"),
        ("nowhere/web", "nothing is known in nowhere"),
        ("shop/\x1b[31m", "is not an address"),
    ],
)
def test_ends_that_are_none(text, message):
    with pytest.raises(InputError, match=message) as caught:
        find_end(text, CLUSTER)
    assert "\x1b" not in str(caught.value)


def test_two_workloads_of_one_name_have_to_be_told_apart():
    twin = replace(WEB, name="web-0", workload=Workload("shop", "StatefulSet", "web"))
    with pytest.raises(InputError, match=r"can be shop/web\[Deployment\], shop/web\[StatefulSet\]"):
        find_end("shop/web", inventory(WEB, twin))


@pytest.mark.parametrize(
    ("text", "port"), [("80", (TCP, 80)), ("53/udp", (UDP, 53)), ("9/SCTP", (SCTP, 9)), ("65535/tcp", (TCP, 65535))]
)
def test_ports_as_people_write_them(text, port):
    assert parse_port(text) == port


@pytest.mark.parametrize("text", ["", "0", "65536", "http", "80/icmp", "-1", "٨٠"])
def test_ports_that_are_none(text):
    with pytest.raises(InputError):
        parse_port(text)
