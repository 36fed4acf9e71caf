"""Laws of a proposal, over small clusters with whatever policies people may have."""

from __future__ import annotations

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from netpol_gen.config import Mode
from netpol_gen.diff import Change
from netpol_gen.propose import OPT_OUT, read_tree
from netpol_gen.propose.decide import after, same_meaning
from netpol_gen.sets import ConnectionSet, PortSet
from tests.flowrows import row
from tests.propose.made import PODS, proposal_of

APPS = {"a": "10.0.0.1", "b": "10.0.0.2", "c": "10.0.0.3"}
SELECTORS = st.sampled_from([
    {}, *({"matchLabels": {"app": app}} for app in APPS),
    {"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "b"]}]},
])  # fmt: skip
RULES = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "peers": st.lists(SELECTORS.map(lambda s: {"podSelector": s}), min_size=1, max_size=2),
            "ports": st.lists(
                st.sampled_from([80, 443]).map(lambda p: {"port": p}), min_size=1, max_size=2, unique_by=str
            ),
        },
    ),
    max_size=2,
)


@st.composite
def policies(draw):
    """One manifest: anybody's or ours, opted out or not, with any rules."""
    types = draw(st.sampled_from([["Ingress"], ["Egress"], ["Ingress", "Egress"]]))
    spec = {"podSelector": draw(SELECTORS), "policyTypes": types}
    for key, peers in (("ingress", "from"), ("egress", "to")):
        if key.capitalize() in types:
            spec[key] = [{peers if k == "peers" else k: v for k, v in rule.items()} for rule in draw(RULES)]
    metadata = {"namespace": "shop"}
    if draw(st.booleans()):
        metadata["labels"] = {"app.kubernetes.io/managed-by": "netpol-gen"}
    if draw(st.integers(0, 4)) == 0:
        metadata["annotations"] = {OPT_OUT: "false"}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


@st.composite
def repositories(draw):
    """Some files with one or more policies each, named so that names of workloads are among them."""
    names = draw(st.lists(st.sampled_from(["a", "b", "c", "wide", "old"]), unique=True, max_size=4))
    files = {}
    for name in names:
        policy = draw(policies())
        policy["metadata"]["name"] = name
        path = draw(st.sampled_from(["one.yaml", "two.yaml", f"{name}.yaml"]))
        text = yaml.safe_dump(policy, sort_keys=False, default_flow_style=draw(st.sampled_from([False, None])))
        files[path] = files[path] + b"---\n" + text.encode() if path in files else text.encode()
    return files


FLOWS = st.lists(
    st.tuples(st.sampled_from(sorted(APPS)), st.sampled_from(sorted(APPS)), st.sampled_from([80, 443])).filter(
        lambda edge: edge[0] != edge[1]
    ),
    unique=True,
    max_size=4,
).map(lambda edges: [row(APPS[src], APPS[dst], port) for src, dst, port in edges])


@settings(max_examples=100, deadline=None)
@given(repositories(), FLOWS, st.sampled_from(Mode), st.booleans())
def test_a_proposal_keeps_its_word(files, flows, mode, adopt):
    proposal = proposal_of(files, *flows, mode=mode, adopt=adopt)
    (environment,) = proposal.environments
    rows = environment.difference.rows
    # Nothing that was observed and is allowed is ever denied.
    assert environment.broken == ()
    # Only what was observed is ever opened.
    for r in rows:
        if r.change is Change.OPENED:
            seen = ConnectionSet.NONE
            for edge in environment.evidence:
                if (edge.src, edge.dst) == (r.src, r.dst):
                    seen |= ConnectionSet.of(edge.protocol, PortSet.of(edge.port))
            assert not r.after - r.before - seen
    # The files say what was judged.
    merged = {path: c for path, c in {**files, **proposal.files}.items() if c is not None}
    found = read_tree(merged)
    judged = {p.ref: p for p in after(environment.existing, environment.changes)}
    assert set(found.policies) == set(judged)
    assert all(same_meaning(found.policies[ref].policy, judged[ref]) for ref in judged)
    # What is not ours, or has opted out, is as it was to the byte where it has a file of its own.
    old = read_tree(files).policies
    touched = {c.ref for c in environment.changes}
    for ref, located in old.items():
        if located.fixed or not (located.managed or adopt):
            assert ref not in touched
    untouched = set(files) - {old[ref].path for ref in touched & set(old)}
    assert all(path not in proposal.files for path in untouched)
    # Done once, there is nothing left to do.
    again = proposal_of(merged, *flows, mode=mode, adopt=adopt, pods=PODS)
    assert again.files == {}
