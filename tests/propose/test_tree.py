"""A folder of manifests as a commit has it: what counts as a policy there, in which namespace, and what is refused."""

from __future__ import annotations

import pytest

from netpol_gen.errors import InputError
from netpol_gen.propose import OPT_OUT, is_manifest, read_tree

POLICY = """apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {name}
{more}spec:
  podSelector: {{matchLabels: {{app: web}}}}
  ingress: []
"""


def policy(name="web", namespace="", more=""):
    return POLICY.format(name=name, more=(f"  namespace: {namespace}\n" if namespace else "") + more).encode()


def kustomization(*lines):
    return "\n".join(lines).encode() + b"\n"


def test_policies_have_their_place():
    content = b"# one\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n---\n" + policy(namespace="shop")
    tree = read_tree({"k8s/a.yaml": content})
    found = tree.policies["shop/web"]
    assert (found.path, found.document, found.index, found.line) == ("k8s/a.yaml", 2, None, 6)
    assert not found.managed


def test_an_item_of_a_list_knows_its_number():
    item = "\n".join("  " + line for line in policy(namespace="shop").decode().splitlines()).lstrip()
    first = "- apiVersion: v1\n  kind: Namespace\n  metadata: {name: shop}\n"
    content = f"apiVersion: v1\nkind: List\nitems:\n{first}- {item}"
    found = read_tree({"all.yaml": content.encode()}).policies["shop/web"]
    assert (found.document, found.index) == (1, 1)


def test_only_the_folder_is_read_and_nothing_hidden_in_it():
    files = {
        "prod/a.yaml": policy("a", "shop"),
        "prod/.cache/b.yaml": policy("b", "shop"),
        "prodx/c.yaml": policy("c", "shop"),
        "prod/d.txt": policy("d", "shop"),
    }
    assert list(read_tree(files, "prod").policies) == ["shop/a"]
    assert list(read_tree({".deploy/a.yaml": policy("a", "shop")}, ".deploy").policies) == ["shop/a"]
    assert not is_manifest(".deploy/a.yaml")


def test_what_is_no_manifest_is_passed_over_and_said():
    files = {"values.yaml": b"replicas: 3\n", "broken.yaml": b"a: [\n", "web.yaml": policy(namespace="shop")}
    tree = read_tree(files)
    assert list(tree.policies) == ["shop/web"]
    assert any("broken.yaml" in note for note in tree.notes)
    assert any("values.yaml" in note for note in tree.notes)


def test_a_template_with_a_policy_in_it_is_an_error_with_the_way_out():
    with pytest.raises(InputError, match=r"charts/np\.yaml:.*--path -"):
        read_tree({"charts/np.yaml": b"kind: NetworkPolicy\nmetadata:\n  name: {{ .Release.Name }}-np\n{{- end }}\n"})


def test_two_versions_of_one_policy_are_an_error_that_names_both():
    other = policy(namespace="shop").replace(b"ingress: []", b"ingress: [{}]")
    with pytest.raises(InputError, match=r"b\.yaml.*lies in a\.yaml:1"):
        read_tree({"a.yaml": policy(namespace="shop"), "b.yaml": other})


def test_a_policy_without_a_namespace_is_in_the_default_one():
    assert list(read_tree({"a.yaml": policy()}, default_namespace="team").policies) == ["team/web"]


def test_the_outermost_kustomization_says_the_namespace():
    files = {
        "base/kustomization.yaml": kustomization("namespace: base", "resources: [web.yaml]"),
        "base/web.yaml": policy(namespace="own"),
        "overlay/kustomization.yaml": kustomization("namespace: prod", "resources:", "- ../base"),
    }
    assert list(read_tree(files).policies) == ["prod/web"]
    assert list(read_tree(files, "base").policies) == ["base/web"]


def test_a_base_of_two_overlays_is_in_force_twice_and_cannot_be_edited():
    files = {
        "base/kustomization.yaml": kustomization("resources: [web.yaml]"),
        "base/web.yaml": policy(),
        "a/kustomization.yaml": kustomization("namespace: a", "resources: [../base]"),
        "b/kustomization.yaml": kustomization("namespace: b", "components: [../base]"),
    }
    found = read_tree(files).policies
    assert list(found) == ["a/web", "b/web"]
    assert all("several kustomizations" in f.fixed for f in found.values())


@pytest.mark.parametrize(
    "setting",
    [
        "namePrefix: x-",
        "commonLabels: {team: a}",
        "labels: [{includeSelectors: true, pairs: {team: a}}]",
        "patches: [{target: {kind: NetworkPolicy}, patch: '- op: remove'}]",
        "patches: [{target: {name: web}, patch: '- op: remove'}]",
        "patches: [{path: patch.yaml}]",
        "patchesStrategicMerge: [patch.yaml]",
    ],
)
def test_a_kustomization_that_changes_policies_is_refused(setting):
    files = {
        "kustomization.yaml": kustomization("resources: [web.yaml]", setting),
        "web.yaml": policy(namespace="shop"),
        "patch.yaml": policy(),
    }
    with pytest.raises(InputError, match=r"kustomization\.yaml: .*changes what NetworkPolicies say.*--path -"):
        read_tree(files)


@pytest.mark.parametrize(
    "setting",
    [
        "labels: [{pairs: {team: a}}]",
        "images: [{name: x, newTag: y}]",
        "patches: [{target: {kind: Deployment}, patch: '- op: remove'}]",
        "patches: [{path: deploy.yaml}]",
        "components: [https://example.invalid/base]",
    ],
)
def test_a_kustomization_that_leaves_policies_alone_is_read(setting):
    files = {
        "kustomization.yaml": kustomization("resources: [web.yaml]", setting),
        "web.yaml": policy(namespace="shop"),
        "deploy.yaml": b"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 3}\n",
    }
    assert list(read_tree(files).policies) == ["shop/web"]


def test_a_kustomization_without_an_ending_counts():
    files = {"Kustomization": kustomization("resources: [web.yaml]", "namePrefix: x-"), "web.yaml": policy()}
    with pytest.raises(InputError, match="Kustomization: namePrefix changes what NetworkPolicies say"):
        read_tree(files)


@pytest.mark.parametrize(("value", "fixed"), [("false", True), ("never", True), ("", True), ("true", False)])
def test_an_annotation_opts_out_and_doubt_counts_as_that(value, fixed):
    content = policy(namespace="shop", more=f'  annotations: {{{OPT_OUT}: "{value}"}}\n')
    found = read_tree({"a.yaml": content}).policies["shop/web"]
    assert bool(found.fixed) == fixed


def test_a_policy_that_the_api_server_would_reject_is_an_error_with_its_field():
    with pytest.raises(InputError, match=r"a\.yaml:1: document 1: spec\.ingress\[0\]: unknown field form"):
        read_tree({"a.yaml": policy(namespace="shop").replace(b"ingress: []", b"ingress: [{form: []}]")})


COMPONENT = ("apiVersion: kustomize.config.k8s.io/v1alpha1", "kind: Component")


@pytest.mark.parametrize(
    "setting",
    [
        "patches: [{target: {kind: Network.*}, patch: '- op: remove'}]",
        "patches: [{target: {kind: 'Deployment|NetworkPolicy'}, patch: '- op: remove'}]",
        "labels: [{pairs: {team: a}, fields: [{path: spec/podSelector/matchLabels, create: true}]}]",
        "patches: [{path: ../elsewhere.yaml}]",
    ],
)
def test_a_setting_that_may_mean_policies_is_refused(setting):
    """A kind is a regular expression, a label goes where it is told to, and a patch that is not there may say all."""
    files = {"k/kustomization.yaml": kustomization("resources: [web.yaml]", setting), "k/web.yaml": policy()}
    with pytest.raises(InputError, match="changes what NetworkPolicies say"):
        read_tree(files, "k")


def test_a_component_changes_the_policies_of_those_who_use_it():
    files = {
        "kustomization.yaml": kustomization("resources: [web.yaml]", "components: [a, b]"),
        "web.yaml": policy(namespace="own"),
        "a/kustomization.yaml": kustomization(*COMPONENT, "namespace: one"),
        "b/kustomization.yaml": kustomization(*COMPONENT, "namespace: two"),
    }
    assert list(read_tree(files).policies) == ["two/web"]
    outer = {**files, "kustomization.yaml": files["kustomization.yaml"] + b"namespace: prod\n"}
    assert list(read_tree(outer).policies) == ["prod/web"]
    prefix = {**files, "b/kustomization.yaml": kustomization(*COMPONENT, "namePrefix: x-", "components: [../a, .]")}
    with pytest.raises(InputError, match=r"b/kustomization\.yaml: namePrefix changes"):
        read_tree(prefix)


def test_what_an_overlay_takes_in_from_outside_is_in_force_and_cannot_be_edited():
    files = {
        "base/Kustomization": kustomization("resources: [web.yaml]"),
        "base/web.yaml": policy(),
        "base/other.yaml": policy("other"),
        "prod/kustomization.yaml": kustomization("namespace: prod", "resources: [../base]"),
    }
    tree = read_tree(files, "prod")
    assert [(ref, found.path) for ref, found in tree.policies.items()] == [("prod/web", "base/web.yaml")]
    assert "outside" in tree.policies["prod/web"].fixed


def test_a_policy_that_the_kustomization_beside_it_does_not_list_is_not_in_force():
    files = {"kustomization.yaml": kustomization("resources: []"), "web.yaml": policy(namespace="shop")}
    tree = read_tree(files)
    assert tree.policies == {}
    assert any("web.yaml" in note and "no resource" in note for note in tree.notes)
    flux = kustomization("apiVersion: kustomize.toolkit.fluxcd.io/v1", "kind: Kustomization", "metadata: {name: x}")
    assert list(read_tree({**files, "kustomization.yaml": flux}).policies) == ["shop/web"]


@pytest.mark.parametrize("namespace", ["$(id)", "<b>", "@team", "../../.github", "a.b", "A"])
def test_a_namespace_of_a_kustomization_is_one(namespace):
    files = {"kustomization.yaml": kustomization(f"namespace: '{namespace}'", "resources: [web.yaml]")}
    with pytest.raises(InputError, match=r"kustomization\.yaml: namespace: .* is no namespace"):
        read_tree({**files, "web.yaml": policy()})


def test_a_policy_that_lies_in_two_files_cannot_be_edited():
    """Whichever is edited, the other says what the policy was."""
    found = read_tree({"a.yaml": policy(namespace="shop"), "b.yaml": policy(namespace="shop")}).policies["shop/web"]
    assert (found.path, found.fixed) == ("a.yaml", "it lies in b.yaml as well")
