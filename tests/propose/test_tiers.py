"""Cluster-wide policies: those of the folder, and those that only the cluster has."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from netpol_gen.config import Config
from netpol_gen.diff import Change
from netpol_gen.propose import Reviewed, propose, read_tree, review
from tests.flowrows import flows_of, inventory_of
from tests.propose.made import A_TO_B, OURS, PODS, environment, manifest


def denying(name, app):
    """An AdminNetworkPolicy that denies all that comes to the pods of `app`."""
    everybody = [{"namespaces": {}}]
    pods = {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": app}}}
    rules = [{"name": "none", "action": "Deny", "from": everybody}]
    spec = {"priority": 10, "subject": {"pods": pods}, "ingress": rules}
    head = {"apiVersion": "policy.networking.k8s.io/v1alpha1", "kind": "AdminNetworkPolicy", "metadata": {"name": name}}
    return json.dumps({**head, "spec": spec}).encode()


MINE, OTHER = {"t.json": denying("mine", "b")}, {"o.json": denying("other", "c")}
IN_CLUSTER = read_tree({**MINE, **OTHER}).tiers


def changed(before, after, tiers):
    held = replace(inventory_of(*PODS), tiers=tiers)
    given = Reviewed("prod", read_tree(before), read_tree(after), held, flows_of(A_TO_B), Config())
    return {(r.change, str(r.dst)) for r in review(given).difference.rows}


@pytest.mark.parametrize("tiers", [(), IN_CLUSTER], ids=["not-in-cluster", "in-cluster"])
def test_one_that_a_change_removes_is_gone_although_the_cluster_holds_it(tiers):
    assert changed(MINE, {}, tiers) == {(Change.OPENED, "shop/b[Deployment]")}


def test_one_that_only_the_cluster_has_stays_when_the_folder_gets_another():
    only = read_tree(OTHER).tiers
    assert changed({}, MINE, only) == {
        (Change.BROKEN, "shop/b[Deployment]"),
        (Change.CLOSED, "shop/b[Deployment]"),
    }


def test_a_proposal_knows_those_of_the_cluster_beside_those_of_the_folder():
    """Flows to b are denied by the cluster's own policy: tightening b closes nothing."""
    there = environment(A_TO_B)
    held = replace(there.inventory, tiers=read_tree(MINE).tiers)
    files = {**OTHER, "b.yaml": manifest("b", "b", more=OURS)}
    (found,) = propose([replace(there, inventory=held)], files).environments
    assert [str(edge.dst) for edge in found.denied_before] == ["shop/b[Deployment]"]
