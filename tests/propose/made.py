"""Environments and repositories for the tests of proposals, from the few facts that a case is about."""

from __future__ import annotations

import textwrap

from netpol_gen.config import Config, Mode
from netpol_gen.propose import Environment, propose
from tests.flowrows import flows_of, inventory_of, pod, row

PODS = (pod("a-1", "a", "10.0.0.1"), pod("b-1", "b", "10.0.0.2"), pod("c-1", "c", "10.0.0.3"))
A_TO_B = row("10.0.0.1", "10.0.0.2", 80)
C_TO_B = row("10.0.0.3", "10.0.0.2", 80)
B_TO_C = row("10.0.0.2", "10.0.0.3", 5432)
OURS = "  labels:\n    app.kubernetes.io/managed-by: netpol-gen\n"


def manifest(name, app, spec="policyTypes: [Ingress]\ningress: [{}]", more="", namespace="shop"):
    """A policy for `app`; `more` are lines of its metadata."""
    head = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n"
    head += f"  name: {name}\n" + (f"  namespace: {namespace}\n" if namespace else "") + more
    body = f"podSelector:\n  matchLabels:\n    app: {app}\n{spec}\n"
    return (head + "spec:\n" + textwrap.indent(body, "  ")).encode()


def environment(*rows, mode=Mode.TIGHTEN, pods=PODS, policies=(), config=None, **facts):
    """What was observed, in one environment."""
    settings = config or Config(mode=mode)
    held = inventory_of(*pods, policies=tuple(policies))
    return Environment(facts.pop("name", "prod"), facts.pop("path", ""), flows_of(*rows), held, settings, **facts)


def proposal_of(files, *rows, **facts):
    """The proposal for one environment over these files."""
    return propose([environment(*rows, **facts)], files, target="main", base="0" * 40, everything=files)
