"""From evidence to changes of files: what is tightened, what is left alone, and what must never open by omission."""

from __future__ import annotations

from dataclasses import replace

import pytest

from netpol_gen.config import Config, Mode
from netpol_gen.diff import Change
from netpol_gen.errors import InputError, OptionError, Place
from netpol_gen.manifests import documents_in
from netpol_gen.model import Direction
from netpol_gen.policy import parse_policy
from netpol_gen.proposal import Action
from netpol_gen.propose import OPT_OUT, check_layout, propose, read_tree
from tests.propose.made import A_TO_B, B_TO_C, C_TO_B, OURS, PODS, environment, manifest, proposal_of

OPEN_B = manifest("b", "b", more=OURS)


def policies_after(files, proposal):
    merged = {path: content for path, content in {**files, **proposal.files}.items() if content is not None}
    return {ref: found.policy for ref, found in read_tree(merged).policies.items()}


def counts(proposal):
    rows = proposal.environments[0].difference.rows
    return {kind: sum(r.change is kind for r in rows) for kind in (Change.BROKEN, Change.OPENED, Change.CLOSED)}


def test_ours_is_tightened_where_it_lies():
    files = {"k8s/web/b.yaml": b"# mine\n" + OPEN_B}
    proposal = proposal_of(files, A_TO_B)
    assert [(c.action, c.ref, c.path) for c in proposal.changes] == [(Action.EDIT, "shop/b", "k8s/web/b.yaml")]
    assert list(proposal.files) == ["k8s/web/b.yaml"]
    assert proposal.files["k8s/web/b.yaml"].startswith(b"# mine\n")
    assert counts(proposal)[Change.BROKEN] == counts(proposal)[Change.OPENED] == 0
    assert counts(proposal)[Change.CLOSED] > 0


def test_a_second_run_over_what_the_first_made_proposes_nothing():
    files = {"k8s/b.yaml": OPEN_B}
    for mode in Mode:
        first = proposal_of(files, A_TO_B, mode=mode)
        after = {path: c for path, c in {**files, **first.files}.items() if c is not None}
        second = proposal_of(after, A_TO_B, mode=mode)
        assert (second.changes, second.files) == ((), {}), mode


def test_what_others_wrote_is_left_alone_and_so_is_a_policy_that_would_change_nothing():
    files = {"b.yaml": manifest("wide", "b")}
    proposal = proposal_of(files, A_TO_B)
    assert proposal.files == {}
    left = {e.ref: e.reason for e in proposal.environments[0].left_alone}
    assert "--adopt" in left["shop/wide"]
    assert "close nothing" in left["shop/b"]


def test_adopted_means_edited_under_its_own_name_and_ours_from_then_on():
    files = {"b.yaml": manifest("wide", "b")}
    proposal = proposal_of(files, A_TO_B, adopt=True)
    assert [(c.action, c.ref, c.adopted) for c in proposal.changes] == [(Action.EDIT, "shop/wide", True)]
    after = {**files, **proposal.files}
    assert read_tree(after).policies["shop/wide"].managed
    assert proposal_of(after, A_TO_B).files == {}


def test_a_direction_that_the_evidence_does_not_speak_of_stays_as_it_is():
    """Without evidence for egress the plan has no egress; the policy had, and taking it out would open the pods."""
    both = manifest("b", "b", "policyTypes: [Ingress, Egress]\ningress: [{}]\negress: []", more=OURS)
    proposal = proposal_of({"b.yaml": both}, A_TO_B)
    after = policies_after({"b.yaml": both}, proposal)["shop/b"]
    assert after.policy_types == frozenset(Direction)
    assert after.egress == ()
    assert counts(proposal)[Change.OPENED] == 0


def test_ours_of_a_workload_without_evidence_stays():
    files = {"b.yaml": OPEN_B, "c.yaml": manifest("c", "c", "policyTypes: [Ingress]", more=OURS)}
    for mode in Mode:
        assert "c.yaml" not in proposal_of(files, A_TO_B, mode=mode).files


def test_an_opted_out_policy_is_never_touched():
    more = OURS + f'  annotations: {{{OPT_OUT}: "false"}}\n'
    files = {"b.yaml": manifest("b", "b", more=more)}
    proposal = proposal_of(files, A_TO_B, adopt=True)
    assert proposal.files == {}
    assert "opted out" in proposal.environments[0].left_alone[0].reason


def test_beside_an_opted_out_policy_no_other_is_put_for_its_workload():
    more = OURS + f'  annotations: {{{OPT_OUT}: "false"}}\n'
    files = {"b.yaml": manifest("b", "b", "policyTypes: [Ingress]", more=more)}
    proposal = proposal_of(files, A_TO_B, mode=Mode.FULL)
    assert [c.ref for c in proposal.changes] == ["shop/a"]
    assert "opted out" in {e.ref: e.reason for e in proposal.environments[0].left_alone}["shop/b"]


def test_one_that_is_stood_in_for_goes_and_its_kustomization_forgets_it():
    """Two policies of ours for one workload: the one named after it is kept, the other is covered by it."""
    files = {
        "kustomization.yaml": b"resources:\n- b.yaml\n- second.yaml\n",
        "b.yaml": OPEN_B,
        "second.yaml": manifest("second", "b", more=OURS),
    }
    proposal = proposal_of(files, A_TO_B)
    assert proposal.files["second.yaml"] is None
    assert b"second" not in proposal.files["kustomization.yaml"]
    assert set(policies_after(files, proposal)) == {"shop/b"}
    assert counts(proposal)[Change.BROKEN] == counts(proposal)[Change.OPENED] == 0


def test_full_adds_beside_ours_of_the_namespace_and_lists_it():
    files = {"apps/shop/kustomization.yaml": b"# ours\nresources:\n  - b.yaml\n", "apps/shop/b.yaml": OPEN_B}
    proposal = proposal_of(files, A_TO_B, B_TO_C, mode=Mode.FULL)
    added = {c.ref: c.path for c in proposal.changes if c.action is Action.ADD}
    assert added == {"shop/a": "apps/shop/a.yaml", "shop/c": "apps/shop/c.yaml"}
    assert proposal.files["apps/shop/kustomization.yaml"] == b"# ours\nresources:\n  - a.yaml\n  - b.yaml\n  - c.yaml\n"


def test_a_new_namespace_goes_by_the_layout_into_the_nearest_kustomization():
    files = {"k8s/kustomization.yaml": b"resources: []\n"}
    proposal = proposal_of(files, A_TO_B, mode=Mode.FULL, path="k8s")
    assert {"k8s/shop/a.yaml", "k8s/shop/b.yaml"} <= set(proposal.files)
    assert b"shop/a.yaml" in proposal.files["k8s/kustomization.yaml"]
    plain = proposal_of({}, A_TO_B, mode=Mode.FULL, layout="net/{policy}-{namespace}.yaml")
    assert "net/a-shop.yaml" in plain.files


def test_a_component_of_one_namespace_takes_the_policies_themselves():
    content = b"apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nnamespace: shop\n"
    proposal = proposal_of({"c/kustomization.yaml": content}, A_TO_B, mode=Mode.FULL, path="c")
    assert "c/a.yaml" in proposal.files
    assert proposal.files["c/kustomization.yaml"].startswith(content)


def test_no_new_file_takes_the_place_of_another():
    files = {"shop/a.yaml": b"apiVersion: v1\nkind: Service\nmetadata: {name: a}\n"}
    proposal = proposal_of(files, A_TO_B, mode=Mode.FULL)
    assert "shop/a.networkpolicy.yaml" in proposal.files
    assert "shop/a.yaml" not in proposal.files


def test_a_kustomization_of_another_namespace_does_not_swallow_a_policy():
    files = {"kustomization.yaml": b"namespace: other\nresources: []\n"}
    with pytest.raises(InputError, match=r"kustomization\.yaml: .*namespace other.*layout"):
        proposal_of(files, A_TO_B, mode=Mode.FULL)


@pytest.mark.parametrize(
    "layout",
    [
        "/x/{namespace}/{policy}.yaml",
        "../{namespace}/{policy}.yaml",
        "{namespace}/{name}.yaml",
        "{policy}.yaml",
        "{namespace}/x.yaml",
        "{namespace}/{policy}.txt",
        "{namespace}//{policy}.yaml",
    ],
)
def test_layouts_that_lead_out_or_collide_are_refused(layout):
    with pytest.raises(OptionError, match="layout"):
        check_layout(layout)


def test_several_removals_and_edits_in_one_file_each_hit_their_own_document():
    parts = [
        manifest("second", "b", more=OURS),
        b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: keep}\n",
        manifest("third", "b", more=OURS),
        OPEN_B,
    ]
    files = {"all.yaml": b"---\n".join(parts)}
    proposal = proposal_of(files, A_TO_B)
    after = proposal.files["all.yaml"]
    kinds = [(d.data["kind"], d.data["metadata"]["name"]) for d in documents_in(after, "all.yaml")]
    assert kinds == [("ConfigMap", "keep"), ("NetworkPolicy", "b")]


def test_policies_that_only_the_cluster_has_are_in_force_and_said():
    only = parse_policy(
        {
            "metadata": {"namespace": "shop", "name": "cluster-only"},
            "spec": {"podSelector": {"matchLabels": {"app": "b"}}, "ingress": [{}]},
        },
        Place("x"),
    )
    proposal = proposal_of({"b.yaml": OPEN_B}, A_TO_B, policies=[only])
    assert any("cluster-only" in note for note in proposal.environments[0].notes)
    assert counts(proposal)[Change.CLOSED] == 0


def test_where_cluster_and_repository_differ_is_said():
    other = parse_policy(
        {"metadata": {"namespace": "shop", "name": "b"}, "spec": {"podSelector": {}, "ingress": []}}, Place("x")
    )
    notes = proposal_of({"b.yaml": OPEN_B}, A_TO_B, policies=[other]).environments[0].notes
    assert any("other versions" in note and "shop/b" in note for note in notes)


def test_missing_only_opens_what_was_seen_and_says_so():
    closed = manifest("b", "b", "policyTypes: [Ingress]")
    proposal = proposal_of({"b.yaml": closed}, A_TO_B, mode=Mode.MISSING_ONLY)
    assert counts(proposal)[Change.OPENED] >= 1
    assert "b.yaml" not in proposal.files


def test_environments_each_have_their_folder_and_evidence():
    files = {"eu/b.yaml": OPEN_B, "us/b.yaml": OPEN_B}
    eu, us = environment(A_TO_B, name="eu", path="eu"), environment(A_TO_B, C_TO_B, name="us", path="us")
    proposal = propose([eu, us], files, target="main")
    assert set(proposal.files) == {"eu/b.yaml", "us/b.yaml"}
    assert proposal.files["eu/b.yaml"] != proposal.files["us/b.yaml"]
    with pytest.raises(OptionError, match="twice"):
        propose([eu, replace(us, name="eu")], files)
    with pytest.raises(InputError, match=r"eu/b\.yaml: two environments"):
        propose([eu, replace(us, path="eu")], files)


def test_the_scope_is_the_branch_and_the_environments_whatever_is_proposed():
    files = {"b.yaml": OPEN_B}
    one, other = proposal_of(files, A_TO_B), proposal_of(files, A_TO_B, C_TO_B)
    assert one.scope == other.scope
    assert one.files != other.files
    assert propose([environment(A_TO_B)], files, target="next").scope != one.scope


def test_the_order_of_records_and_files_changes_no_byte():
    files = {"b.yaml": OPEN_B, "c.yaml": manifest("c", "c", more=OURS)}
    rows = [A_TO_B, B_TO_C, C_TO_B]
    one = proposal_of(files, *rows, mode=Mode.FULL)
    other = proposal_of(dict(reversed(files.items())), *reversed(rows), mode=Mode.FULL, pods=PODS[::-1])
    assert list(one.files.items()) == list(other.files.items())
    assert one.changes == other.changes


def test_owners_of_the_touched_files():
    files = {"CODEOWNERS": b"* @all\n/k8s/ @net\n", "k8s/b.yaml": OPEN_B}
    assert proposal_of(files, A_TO_B).owners == {"k8s/b.yaml": ("@net",)}


def test_a_default_deny_is_proposed_when_asked_for():
    proposal = proposal_of({}, A_TO_B, config=Config(mode=Mode.FULL, default_deny=True))
    assert "shop/default-deny.yaml" in proposal.files
    assert counts(proposal)[Change.BROKEN] == 0


def test_ours_that_selects_more_than_the_workload_it_is_called_by_is_not_written_over():
    """Editing it into a policy for b alone would open a and c."""
    one = manifest("b", "b", "policyTypes: [Egress]", more=OURS)
    wide = one.replace(b"podSelector:\n    matchLabels:\n      app: b\n", b"podSelector: {}\n")
    assert read_tree({"b.yaml": wide}).policies["shop/b"].policy.pod_selector.is_empty
    for mode in Mode:
        proposal = proposal_of({"b.yaml": wide}, A_TO_B, mode=mode)
        assert "shop/b" not in {c.ref for c in proposal.changes}, mode
        opened = [r for r in proposal.environments[0].difference.rows if r.change is Change.OPENED]
        assert {(str(r.src), str(r.dst)) for r in opened} <= {("shop/a[Deployment]", "shop/b[Deployment]")}


def test_a_policy_that_lies_twice_is_left_alone():
    proposal = proposal_of({"a.yaml": OPEN_B, "z.yaml": OPEN_B}, A_TO_B)
    assert proposal.files == {}
    assert ("shop/b", "it lies in z.yaml as well") in {(e.ref, e.reason) for e in proposal.environments[0].left_alone}


def test_a_new_policy_that_kustomizations_would_make_another_one_of_is_refused():
    inner = b"resources: []\n"
    files = {"kustomization.yaml": b"namespace: prod\nresources: [shop]\n", "shop/kustomization.yaml": inner}
    with pytest.raises(InputError, match=r"shop/a\.yaml: .*would not make shop/a of it.*layout"):
        proposal_of(files, A_TO_B, mode=Mode.FULL)
    files = {"kustomization.yaml": b"namePrefix: x-\nresources: []\n"}
    with pytest.raises(InputError, match="namePrefix changes"):
        proposal_of(files, A_TO_B, mode=Mode.FULL)


def test_a_file_of_two_environments_is_changed_for_neither_alone():
    """The other one's flows were replayed through the file as it was."""
    one = environment(A_TO_B, name="one", path="k8s")
    other = environment(A_TO_B, C_TO_B, name="other", path="k8s/b")
    for both in ([one, other], [other, one]):
        with pytest.raises(InputError, match=r"k8s/b/b\.yaml: two environments"):
            propose(both, {"k8s/b/b.yaml": OPEN_B})
    overlay = {"base/kustomization.yaml": b"resources: [b.yaml]\n", "base/b.yaml": OPEN_B}
    overlay["prod/kustomization.yaml"] = b"resources: [../base]\n"
    prod = replace(other, path="prod")
    with pytest.raises(InputError, match=r"base/b\.yaml: two environments"):
        propose([replace(one, path="base"), prod], overlay)


@pytest.mark.parametrize("mode", [Mode.TIGHTEN, Mode.FULL])
def test_what_a_withheld_policy_would_stand_in_for_stays(mode):
    """The policy for b is opted out, so nothing stands in for the one that isolates b's egress."""
    more = OURS + f'  annotations: {{{OPT_OUT}: "false"}}\n'
    files = {
        "b.yaml": manifest("b", "b", more=more),
        "one.yaml": manifest("one", "b", "policyTypes: [Egress]\negress: [{}]", more=OURS),
        "two.yaml": manifest("two", "b", "policyTypes: [Egress]\negress: [{}]", more=OURS),
    }
    proposal = proposal_of(files, A_TO_B, B_TO_C, mode=mode)
    assert {"one.yaml", "two.yaml"}.isdisjoint(proposal.files)
    opened = [r for r in proposal.environments[0].difference.rows if r.change is Change.OPENED]
    assert opened == []
    assert proposal.environments[0].broken == ()
