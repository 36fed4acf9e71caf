"""A template frames a policy and cannot change it."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
import yaml

from netpol_gen.emit import render_kustomization, render_policy, template_dir
from netpol_gen.errors import OptionError, Place
from netpol_gen.model import Direction, External, ExternalKind, Protocol, Workload
from netpol_gen.policy import ALL, IPBlock, NetworkPolicy, Peer, PolicyPort, Rule, parse_policy
from netpol_gen.selectors import LabelSelector, Operator, Requirement
from netpol_gen.synthesize import RuleNote
from netpol_gen.synthesize.baseline import default_deny
from tests.synthesize.build import edge

IN = Direction.INGRESS
GATEWAY = Peer(LabelSelector.of({"app": "api-gateway"}))
PAYMENTS = NetworkPolicy(
    "backend",
    "internal-port-restrict",
    LabelSelector.of({"app": "payments"}),
    frozenset({IN}),
    (Rule((GATEWAY,), (PolicyPort(Protocol.TCP, 8443),)),),
)
AWKWARD = NetworkPolicy(
    "on",
    "1e3",
    LabelSelector((("app", "0123"), ("null", "true")), (Requirement("y", Operator.IN, ("no", "yes")),)),
    frozenset(Direction),
    (Rule(ALL, ALL), Rule((Peer(None, LabelSelector()),), (PolicyPort(Protocol.UDP), PolicyPort(Protocol.TCP, 1, 9)))),
    (
        Rule(
            (Peer(ip_block=IPBlock(ipaddress.ip_network("::/0"), (ipaddress.ip_network("fd00::/8"),))),),
            (PolicyPort(Protocol.SCTP, "http-x"),),
        ),
    ),
    (("app.kubernetes.io/managed-by", "netpol-gen"), ("when", "2026-11-02")),
    (("note", "a\nb: c"),),
)


def test_payments():
    assert render_policy(PAYMENTS) == (
        """\
# Written by netpol-gen. The flows behind each rule are in the evidence file (--evidence).
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: internal-port-restrict
  namespace: backend
spec:
  podSelector:
    matchLabels:
      app: payments
  policyTypes:
  - Ingress
  ingress:
  - from:
    - podSelector:
        matchLabels:
          app: api-gateway
    ports:
    - protocol: TCP
      port: 8443
"""
    )


@pytest.mark.parametrize("policy", [PAYMENTS, AWKWARD, default_deny("shop")], ids=lambda p: p.name)
def test_parse_undoes_render(policy):
    assert parse_policy(yaml.safe_load(render_policy(policy)), Place()) == policy


def test_default_deny_selects_all_on_purpose():
    text = render_policy(default_deny("shop"))
    assert "  podSelector: {}\n  policyTypes:\n  - Ingress\n  - Egress\n" in text
    assert "ingress:" not in text


def note(**more):
    return RuleNote(PAYMENTS.ref, IN, 0, **more)


def test_remarks_stand_before_their_rule():
    seen = edge(External(ExternalKind.NODE, "10.0.0.1"), "backend/payments", 8443)
    text = render_policy(PAYMENTS, [note(edges=(seen,), inferred="why", widened="how far")])
    assert (
        "  ingress:\n  # ipBlock: nodes\n  # inferred: why\n  # widened: how far\n  - from:\n    - podSelector:\n"
        in text
    )


def test_notes_of_other_policies_are_passed_over():
    assert render_policy(PAYMENTS, [RuleNote("backend/other", IN, 0, inferred="x")]) == render_policy(PAYMENTS)


@pytest.mark.parametrize("nasty", ["a\n  - {}", "a\r- {}", "a\u2028- {}", "a\x85- {}", "\x1b[2Jx", "a\0b", "\u202ea"])
def test_text_from_logs_stays_in_its_comment(nasty):
    text = render_policy(PAYMENTS, [note(inferred=nasty)])
    assert nasty not in text
    assert parse_policy(yaml.safe_load(text), Place()) == PAYMENTS
    assert len(text.splitlines()) == len(render_policy(PAYMENTS).splitlines()) + 1


# --- templates of users ---


def custom(tmp_path, text, name="networkpolicy.yaml.j2"):
    (tmp_path / name).write_text(text)
    return tmp_path


FRAME = """\
# {{ policy.metadata.name | comment }} of the house
{{ policy | yaml }}
"""


def test_a_template_may_say_it_otherwise(tmp_path):
    text = render_policy(PAYMENTS, templates=custom(tmp_path, FRAME))
    assert text.startswith("# internal-port-restrict of the house\napiVersion: networking.k8s.io/v1\n")


def test_what_a_user_does_not_replace_comes_with_netpol_gen(tmp_path):
    assert render_kustomization(["a.yaml"], custom(tmp_path, FRAME)) == render_kustomization(["a.yaml"])


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ policy | yaml }}\nstatus: {}\n", "does not mean"),
        ("{{ policy | yaml | replace('8443', '8444') }}", "does not mean"),
        (
            "{{ policy | yaml | replace('- podSelector', '- namespaceSelector: {}\n      podSelector') }}",
            "does not mean",
        ),
        ("{{ policy | yaml }}\n---\n{{ policy | yaml }}", "is 2 documents"),
        ("# nothing", "is 0 documents"),
        ("{{ policy | yaml }}\nkind: Other\n", "comes twice"),
        ("a: [", "is not YAML"),
        ("{{ policy.nothing }}", "has no attribute 'nothing'"),
        ("{% if %}", "networkpolicy.yaml.j2:1"),
        ("{{ policy.__class__.__mro__ }}", "unsafe"),
        ("{{ policy.update({'kind': 'x'}) }}", "unsafe|not safely callable"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{% include '../../../../etc/passwd' %}", "networkpolicy.yaml.j2|passwd"),
    ],
)
def test_a_template_that_means_something_else_is_refused(tmp_path, template, message):
    with pytest.raises(OptionError, match=message) as caught:
        render_policy(PAYMENTS, templates=custom(tmp_path, template))
    assert str(caught.value).startswith(f"--templates {tmp_path}: ")


def test_a_changed_template_is_read_again(tmp_path):
    render_policy(PAYMENTS, templates=custom(tmp_path, FRAME))
    text = render_policy(PAYMENTS, templates=custom(tmp_path, FRAME.replace("of the house", "of the other house")))
    assert "of the other house" in text


def test_no_such_directory(tmp_path):
    with pytest.raises(OptionError, match="no such directory"):
        render_policy(PAYMENTS, templates=tmp_path / "missing")


def test_templates_are_found_in_the_checkout(repository):
    assert template_dir() in (repository / "templates", repository / "netpol_gen" / "_templates")
    assert isinstance(template_dir(), Path)


def test_kustomization():
    assert render_kustomization(["a.yaml", "default-deny.yaml"]) == (
        """\
# Written by netpol-gen: lists the policies beside it.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
- a.yaml
- default-deny.yaml
"""
    )


def test_workload_names_do_not_reach_the_text():
    hostile = Workload("backend", "Pod", "x\n- {}")
    text = render_policy(PAYMENTS, [note(edges=(edge(hostile, "backend/payments", 8443),))])
    assert text == render_policy(PAYMENTS)
