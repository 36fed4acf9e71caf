"""Manifests changed in place: what the text is afterwards, byte for byte, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from netpol_gen.emit.edit import (
    NotEditableError,
    add_resource,
    edit_document,
    remove_document,
    remove_resource,
    resources,
)
from netpol_gen.errors import InputError, Place
from netpol_gen.manifests import read_policies
from netpol_gen.policy import dump_policy, parse_policy

HEAD = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: p\n"


def pods(**labels):
    return {"podSelector": {"matchLabels": labels}}


def port(number, protocol="TCP"):
    return {"protocol": protocol, "port": number}


def wanted(spec, name="p", **metadata):
    spec = {"podSelector": {}, "policyTypes": ["Ingress"], **spec}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": "default", **metadata},
        "spec": spec,
    }


def edited(text, spec, number=1, index=None, **metadata):
    content = text if isinstance(text, bytes) else text.encode()
    return edit_document(content, number, index, wanted(spec, **metadata), "p.yaml")


# --- one place, one change --------------------------------------------------------------------------------------------

PEERS = """\
spec:
  podSelector: {}  # everyone
  policyTypes: [Ingress]
  ingress:
    # the shop
    - from:
        # the front
        - podSelector:
            matchLabels: {app: web}   # since 2020
        # nightly
        - podSelector:
            matchLabels:
              app: job
      ports:
        - port: 80   # http
          # not yet: 443

# end
"""
WEB, JOB, API = pods(app="web"), pods(app="job"), pods(app="api")


def rules(*peers, ports=({"protocol": "TCP", "port": 80},)):
    return {"ingress": [{"from": list(peers), **({"ports": list(ports)} if ports else {})}]}


CHANGES = {
    "a peer more, behind the one that it follows": (
        rules(WEB, API, JOB),
        (
            "        # nightly\n",
            "        - podSelector:\n            matchLabels:\n              app: api\n        # nightly\n",
        ),
    ),
    "a peer less, with its comment": (
        rules(WEB),
        (
            "        # nightly\n        - podSelector:\n            matchLabels:\n              app: job\n",
            "",
        ),
    ),
    "the first peer less": (
        rules(JOB),
        (
            "        # the front\n        - podSelector:\n            matchLabels: {app: web}   # since 2020\n",
            "",
        ),
    ),
    "another label, in braces": (rules(pods(app="shop"), JOB), ("{app: web}", "{app: shop}")),
    "a label more, in braces": (rules(pods(app="web", tier="a"), JOB), ("{app: web}", "{app: web, tier: a}")),
    "a label more, in a block": (
        rules(WEB, pods(app="job", tier="a")),
        ("              app: job\n", "              app: job\n              tier: a\n"),
    ),
    "another port, and nothing about its protocol": (rules(WEB, JOB, ports=[port(81)]), ("port: 80 ", "port: 81 ")),
    "another protocol": (
        rules(WEB, JOB, ports=[port(80, "UDP")]),
        ("        - port: 80   # http\n", "        - protocol: UDP\n          port: 80   # http\n"),
    ),
    "a port more, behind what stands inside the first": (
        rules(WEB, JOB, ports=[port(80), port(53, "UDP")]),
        ("not yet: 443\n", "not yet: 443\n        - protocol: UDP\n          port: 53\n"),
    ),
    "all ports": (
        rules(WEB, JOB, ports=()),
        ("      ports:\n        - port: 80   # http\n          # not yet: 443\n", ""),
    ),
    "all peers: the ports move up beside the dash": (
        {"ingress": [{"ports": [port(80)]}]},
        (PEERS[PEERS.index("from:") : PEERS.index("ports:")], ""),
    ),
    "a rule more": (
        {"ingress": [*rules(WEB, JOB)["ingress"], {}]},
        ("not yet: 443\n", "not yet: 443\n    - {}\n"),
    ),
    "all traffic": (
        {"ingress": [{}]},
        (PEERS[PEERS.index("from:") : PEERS.index("\n# end")], "{}\n"),
    ),
    "no rule": ({}, (PEERS[PEERS.index("  ingress") : PEERS.index("\n# end")], "")),
    "a selector where there was none": (
        {**rules(WEB, JOB), **pods(app="db")},
        ("podSelector: {}  # everyone\n", "podSelector:  # everyone\n    matchLabels:\n      app: db\n"),
    ),
    "both directions": (
        {**rules(WEB, JOB), "policyTypes": ["Ingress", "Egress"], "egress": [{}]},
        ("[Ingress]", "[Ingress, Egress]", "not yet: 443\n", "not yet: 443\n  egress:\n    - {}\n"),
    ),
}


@pytest.mark.parametrize(("spec", "changes"), CHANGES.values(), ids=CHANGES.keys())
def test_one_place_changes(spec, changes):
    expected = HEAD + PEERS
    for old, new in zip(changes[::2], changes[1::2], strict=True):
        assert expected.count(old) == 1
        expected = expected.replace(old, new)
    assert edited(HEAD + PEERS, spec).decode() == expected


def test_what_means_the_same_stays():
    text = HEAD + (
        "spec:\n  ingress:\n  - ports:\n    - port: 80\n    from:\n    - podSelector:\n"
        "        matchExpressions: [{key: app, operator: In, values: [web]}]\n"
        "    - ipBlock: {cidr: 10.0.0.1/8, except: []}\n"
    )
    spec = rules(WEB, {"ipBlock": {"cidr": "10.0.0.0/8"}})
    assert edited(text, spec) == text.encode()
    more = {"ingress": [*spec["ingress"], {}]}
    assert edited(text, more).decode() == text + "  - {}\n"


def test_a_list_of_types_that_is_empty_is_not_trusted():
    """Empty, it stands for Egress too once there are egress rules."""
    text = HEAD + "spec:\n  podSelector: {}\n  policyTypes: []\n"
    assert edited(text, {"egress": [{}]}).decode() == (
        HEAD + "spec:\n  podSelector: {}\n  policyTypes:\n  - Ingress\n  egress:\n  - {}\n"
    )


def test_types_that_rules_no_longer_imply_are_written():
    text = HEAD + "spec:\n  podSelector: {}\n  egress:\n  - {}\n"
    assert edited(text, {"policyTypes": ["Egress"], "egress": [{}]}).decode() == text.replace(
        "  egress", "  policyTypes:\n  - Egress\n  egress"
    )
    assert edited(text, {"policyTypes": ["Ingress", "Egress"], "egress": [{}]}) == text.encode()


def test_labels_and_annotations_are_brought_in_and_others_stay():
    text = HEAD + "  labels: {team: a}\n  finalizers: [x]\nspec:\n  podSelector: {}\nstatus: {}\n"
    result = edited(text, {}, labels={"team": "b", "on": "yes"}, annotations={"why": 'a"\n: #😀'})
    assert result.decode() == (
        HEAD + '  labels: {"on": "yes", team: b}\n  annotations:\n    why: "a\\"\\n: #\\U0001F600"\n'
        "  finalizers: [x]\nspec:\n  podSelector: {}\nstatus: {}\n"
    )


def test_the_order_and_the_layout_of_the_file_are_kept():
    text = (
        "kind: NetworkPolicy\nspec:\n    ingress:\n        -   from:\n                -   podSelector:\n"
        "                        matchLabels:\n                            app: web\n    podSelector: {}\n"
        "metadata:\n    name: p\napiVersion: networking.k8s.io/v1\n"
    )
    spec = {"ingress": [{"from": [WEB]}, {"from": [API]}]}
    assert edited(text, spec).decode() == text.replace(
        "app: web\n",
        "app: web\n        -   from:\n                -   podSelector:\n                        matchLabels:\n"
        "                            app: api\n",
    )


def test_a_comment_in_another_column_stays():
    first, second = "  - {ports: [{port: 1}]}\n", "  - {ports: [{port: 2}]}\n"
    text = f"{HEAD}spec:\n  podSelector: {{}}\n  ingress:\n{first}# old\n    # x\n{second}"
    assert edited(text, {"ingress": [{"ports": [port(1)]}]}).decode() == text.replace(second, "")


def test_a_list_that_is_empty_on_purpose_stays():
    text = HEAD + "spec:\n  podSelector: {}\n  egress: []\n  ingress:\n  - from: []\n    ports:\n    - port: 1\n"
    spec = {"policyTypes": ["Ingress"], "ingress": [{"ports": [port(2)]}]}
    assert edited(text, spec).decode() == text.replace("port: 1", "port: 2")


def test_a_rule_that_has_most_in_common_is_the_one_that_changed():
    text = HEAD + (
        "spec:\n  podSelector: {}\n"
        "  ingress:\n  # a\n  - ports:\n    - port: 1\n  # b\n  - ports:\n    - port: 2\n"
        "  # c\n  - from:\n    - podSelector:\n        matchLabels:\n          app: web #x\n    ports:\n    - port: 3\n"
    )
    spec = {"ingress": [{"from": [WEB], "ports": [port(4)]}, {"ports": [port(2)]}, {"from": [JOB]}]}
    more = "  - from:\n    - podSelector:\n        matchLabels:\n          app: job\n"
    assert edited(text, spec).decode() == (
        text.replace("  # a\n  - ports:\n    - port: 1\n", "").replace("port: 3", "port: 4")
    ).replace("  # c\n", f"{more}  # c\n")


def test_odd_brackets_are_written_anew():
    text = HEAD + "spec:\n  podSelector: {matchLabels: {? app : web, tier: a}}\n  ingress: [ports: [port: 80]]\n"
    spec = {**pods(tier="a"), "ingress": [{"ports": [port(81)]}]}
    assert edited(text, spec).decode() == text.replace("? app : web, ", "").replace(
        "ports: [port: 80]", "{ports: [{protocol: TCP, port: 81}]}"
    )


def test_a_tag_goes_with_the_value_that_it_was_about():
    text = PLAIN.replace("port: 80", "port: !!int 80 # web")
    assert edited(text, {"ingress": [{"ports": [port("http")]}]}).decode() == text.replace("!!int 80", "http")


def test_what_follows_block_text_that_keeps_blank_lines_does_not_change_it():
    text = HEAD + "  annotations:\n    a: |+\n      b\n\n    c: |\n      d\n\n# e\nspec:\n  podSelector: {}\n"
    expected = text.replace("      d\n", "      d\n    z: q\n").replace("b\n\n    c", "b\n\n    b: q\n    c")
    assert edited(text, {}, annotations={"a": "b\n\n", "b": "q", "c": "d\n", "z": "q"}).decode() == expected


# --- bytes ------------------------------------------------------------------------------------------------------------

PLAIN = HEAD + "spec:\n  podSelector: {}\n  ingress:\n  - ports:\n    - port: 80"
MORE = rules(ports=[port(80), port(81)])
MORE["ingress"][0].pop("from")


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["", "\n", "\n\n\n", "  # end"])
@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
def test_mark_line_breaks_and_missing_end_are_kept(mark, end, line_break):
    lines = f"{PLAIN}{end}"
    first, rest = (end, "") if "#" in end else ("", end)
    expected = f"{PLAIN}{first}\n    - protocol: TCP\n      port: 81{rest}"
    result = edited(mark + lines.replace("\n", line_break).encode(), MORE)
    assert result == mark + expected.replace("\n", line_break).encode()


def test_directives_and_ends_of_documents_are_kept():
    before = "# licence\n%YAML 1.1\n---\nkind: A\napiVersion: v1\n...\n# second\n--- # here\n"
    after = "\n... # done\n---\nkind: B\napiVersion: v1"
    result = edited(before + PLAIN + after, MORE, 2).decode()
    assert result == before + PLAIN + "\n    - protocol: TCP\n      port: 81" + after


def test_empty_documents_count():
    text = f"---\n# nothing\n---\n{PLAIN}\n"
    assert edited(text, MORE, 2).decode() == text + "    - protocol: TCP\n      port: 81\n"
    with pytest.raises(NotEditableError, match="document 1 is not there, or no object"):
        edited(text, MORE)


# --- anchors ----------------------------------------------------------------------------------------------------------

SHARED = (
    HEAD + "spec:\n  podSelector: {}\n  policyTypes: [Ingress, Egress]\n"
    "  ingress:\n  - ports: &web\n    - port: 80\n  egress:\n  - ports: *web  # the same\n"
)
BOTH = {"policyTypes": ["Ingress", "Egress"]}


def test_an_alias_that_follows_stays_one():
    spec = {**BOTH, "ingress": [{"ports": [port(81)]}], "egress": [{"ports": [port(81)]}]}
    assert edited(SHARED, spec).decode() == SHARED.replace("80", "81")


def test_an_alias_that_must_not_follow_is_written_out():
    spec = {**BOTH, "ingress": [{"ports": [port(81)]}], "egress": [{"ports": [port(80)]}]}
    assert edited(SHARED, spec).decode() == SHARED.replace("80", "81").replace(
        " *web  # the same\n", "  # the same\n    - protocol: TCP\n      port: 80\n"
    )


def test_an_alias_that_changes_alone_is_written_out():
    spec = {**BOTH, "ingress": [{"ports": [port(80)]}], "egress": [{"ports": [port(53, "UDP")]}]}
    assert edited(SHARED, spec).decode() == SHARED.replace(
        " *web  # the same\n", "  # the same\n    - protocol: UDP\n      port: 53\n"
    )


def test_an_alias_whose_anchor_goes_is_written_out():
    spec = {**BOTH, "egress": [{"ports": [port(80)]}]}
    assert edited(SHARED, spec).decode() == SHARED.replace("  ingress:\n  - ports: &web\n    - port: 80\n", "").replace(
        " *web  # the same\n", "  # the same\n    - protocol: TCP\n      port: 80\n"
    )


def test_an_anchored_scalar_keeps_its_anchor():
    text = PLAIN.replace("port: 80", "port: &n 80\n      endPort: *n\n")
    spec = {"ingress": [{"ports": [{**port(81), "endPort": 81}]}]}
    assert edited(text, spec).decode() == text.replace("&n 80", "&n 81")


def test_an_anchor_that_is_given_twice_is_told_apart():
    text = (
        HEAD + "  labels: &a {x: q}\nspec:\n  podSelector:\n    matchLabels: &a {x: r}\n  ingress:\n"
        "  - from:\n    - podSelector:\n        matchLabels: *a\n"
    )
    spec = {**pods(x="s"), "ingress": [{"from": [pods(x="r")]}]}
    assert edited(text, spec).decode() == text.replace("x: r", "x: s").replace(" *a", "\n          x: r")


def test_a_merged_mapping_that_changes_is_written_anew():
    text = HEAD + "  labels: &l\n    app: web\nspec:\n  podSelector:\n    matchLabels:\n      <<: *l\n      tier: a\n"
    assert edited(text, pods(app="web", tier="a")) == text.encode()
    assert edited(text, pods(app="web", tier="b")).decode() == text.replace(
        "      <<: *l\n      tier: a\n", "      app: web\n      tier: b\n"
    )


def test_a_merged_mapping_keeps_its_indentation():
    text = HEAD + (
        "  labels: &l\n    app: web\nspec:\n  podSelector:\n    matchLabels:\n            <<: *l\n  ingress:\n  - {}\n"
    )
    assert edited(text, {**pods(app="db"), "ingress": [{}]}).decode() == text.replace("<<: *l", "app: db")


def test_a_key_that_is_an_alias_is_written_out():
    text = HEAD + (
        "spec:\n  podSelector:\n    matchLabels: {x: &k app}\n  ingress:\n"
        "  - from:\n    - podSelector:\n        matchLabels: {*k : web}\n"
    )
    assert edited(text, {**pods(x="app"), "ingress": [{"from": [WEB]}]}) == text.encode()
    assert edited(text, {**pods(x="job"), "ingress": [{"from": [WEB]}]}).decode() == text.replace(
        "&k app", "&k job"
    ).replace("{*k : web}", "{app: web}")


def test_a_mapping_that_merges_what_changes_is_written_anew():
    text = (
        HEAD + "spec:\n  podSelector: {matchLabels: &l {app: web}}\n  ingress:\n"
        "  - from:\n    - podSelector:\n        matchLabels: {<<: *l, tier: a}\n"
    )
    spec = {**pods(app="db"), "ingress": [{"from": [pods(app="web", tier="a")]}]}
    assert edited(text, spec).decode() == text.replace("&l {app: web}", "&l {app: db}").replace(
        "{<<: *l, tier: a}", "{app: web, tier: a}"
    )


LIST = """\
apiVersion: v1
kind: List
items:
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata: {name: a}
  spec:
    podSelector: &all {}
    ingress: &rules
    - ports:
      - port: 80
# about p
- apiVersion: networking.k8s.io/v1
  kind: NetworkPolicy
  metadata:
    name: p
  spec:
    podSelector: *all
    ingress: *rules
- {apiVersion: v1, kind: ConfigMap, metadata: {name: c}}
"""


def test_an_item_that_others_hang_on_is_refused():
    with pytest.raises(NotEditableError, match=r"p\.yaml:19: the change would alter something else too"):
        edit_document(LIST.encode(), 1, 0, wanted({"ingress": [{}]}, "a"), "p.yaml")
    with pytest.raises(NotEditableError, match="the change would alter something else too"):
        remove_document(LIST.encode(), 1, 0, "p.yaml")


def test_an_item_that_hangs_on_others_is_written_out():
    assert edited(LIST, {"ingress": [{}]}, 1, 1).decode() == LIST.replace(
        "    ingress: *rules\n", "    ingress:\n    - {}\n"
    )


# --- lists and JSON ---------------------------------------------------------------------------------------------------


def test_removing_an_item_takes_its_comment():
    assert (
        remove_document(LIST.encode(), 1, 1, "p.yaml")
        == (LIST[: LIST.index("# about p")] + LIST[LIST.index("- {apiVersion: v1") :]).encode()
    )


def test_removing_all_items_removes_the_file():
    content = LIST.encode()
    for index in (2, 1):
        content = remove_document(content, 1, index, "p.yaml")
    assert remove_document(content, 1, 0, "p.yaml") is None
    assert remove_document(content + b"---\nkind: A\napiVersion: v1\n", 1, 0, "p.yaml") == (
        b"---\nkind: A\napiVersion: v1\n"
    )


ITEM = (
    "- apiVersion: networking.k8s.io/v1\n  kind: NetworkPolicy\n  spec:\n    podSelector: {{}}\n"
    "  metadata:\n    name: {name}\n    annotations:\n      why: {text}\n"
)


@pytest.mark.parametrize(("gone", "blank"), [([1], "\n\n"), ([2, 1], "\n  \n"), ([2, 1], "\r\n\n")])
def test_blank_lines_behind_items_that_go_are_none_of_the_text_before(gone, blank):
    first = "kind: List\napiVersion: v1\nitems:\n" + ITEM.format(name="a", text="|+\n        b")
    content = first + "".join(ITEM.format(name=f"p{i}", text="c") for i in gone) + blank
    for index in gone:
        assert content is not None
        content = remove_document(content.encode(), 1, index, "p.yaml").decode()
    assert content == first


@pytest.mark.parametrize("after", ["", "\n", "# behind\n", "apiVersion: v1\n"])
def test_a_comment_within_the_last_item_stays_above_what_is_added_to_it(after):
    head = (
        "kind: List\nitems:\n  - apiVersion: networking.k8s.io/v1\n    kind: NetworkPolicy\n    metadata: {name: p}\n"
    )
    text = f"{head}    spec:\n      podSelector: {{}}\n      policyTypes: [Ingress]\n        # none come in\n"
    expected = f"{text}      ingress:\n      - {{}}\n{after}"
    assert edited(text + after, {"ingress": [{}]}, index=0).decode() == expected


def test_a_typed_list_has_items_without_a_type():
    text = (
        "kind: NetworkPolicyList\napiVersion: networking.k8s.io/v1\n"
        "items:\n- metadata: {name: p}\n  spec: {podSelector: {}}\n"
    )
    assert edited(text, {"ingress": [{}]}, 1, 0).decode() == text.replace(
        "{podSelector: {}}", "{podSelector: {}, ingress: [{}]}"
    )


@pytest.mark.parametrize("indent", [None, 2, 4, "\t"])
def test_json_stays_json(indent):
    def objects(spec):
        return {"apiVersion": "v1", "kind": "List", "items": [wanted({}, "a"), wanted(spec), wanted({}, "z")]}

    before, after = rules(WEB), {"ingress": [*rules(WEB, pods(app="\u2028😀é"))["ingress"], {}]}
    after["ingress"][0]["from"][1] = pods(app="x", tier="y")
    content = json.dumps(objects(before), indent=indent).encode()
    result = edited(content, after, 1, 1)
    assert json.loads(result) == objects(after)
    if isinstance(indent, int):
        assert result == json.dumps(objects(after), indent=indent).encode()
    without = remove_document(result, 1, 1, "p.json")
    assert json.loads(without)["items"] == [wanted({}, "a"), wanted({}, "z")]


@pytest.mark.parametrize("indent", [None, 2])
def test_json_labels_are_escaped_so_that_yaml_reads_them_too(indent):
    content = json.dumps(wanted({}, annotations={"a": "b"}), indent=indent).encode()
    value = 'q"\\\u2028\x85\x7f😀\n'
    result = edited(content, {}, annotations={"why": value})
    assert json.loads(result)["metadata"]["annotations"] == {"a": "b", "why": value}


def test_several_json_objects_one_after_another_are_refused():
    content = (json.dumps(wanted({})) + "\n" + json.dumps(wanted({}))).encode()
    with pytest.raises(InputError, match="not YAML"):
        edited(content, {"ingress": [{}]})


# --- documents that go ------------------------------------------------------------------------------------------------

A, B, C = (f"kind: {c}\napiVersion: v1\n" for c in "ABC")
REMOVED = {
    "the first": (f"{A}---\n{B}", 1, f"---\n{B}"),
    "the first, not the licence above it": (f"# licence\n\n# a\n{A}---\n{B}", 1, f"# licence\n\n---\n{B}"),
    "the middle": (f"{A}---\n# b\n{B}# end\n---\n{C}", 2, f"{A}---\n{C}"),
    "the last": (f"{A}---\n{B}", 2, A),
    "the last, which has no line break": (f"{A}---\n{B[:-1]}", 2, A),
    "before a directive": (f"{A}---\n{B}...\n%YAML 1.1\n---\n{C}", 2, f"{A}...\n%YAML 1.1\n---\n{C}"),
    "the first before a directive": (f"{A}...\n%YAML 1.1\n---\n{C}", 1, f"%YAML 1.1\n---\n{C}"),
    "between dots": (f"{A}...\n---\n{B}...\n%YAML 1.1\n---\n{C}", 2, f"{A}...\n%YAML 1.1\n---\n{C}"),
    "the only one": (A, 1, None),
    "the only object": (f"# x\n---\n{A}---\n# y\n---\nkind: List\napiVersion: v1\nitems: []\n", 1, None),
}


@pytest.mark.parametrize(("text", "number", "expected"), REMOVED.values(), ids=REMOVED.keys())
def test_a_document_goes(text, number, expected):
    assert remove_document(text.encode(), number, None, "p.yaml") == (None if expected is None else expected.encode())


def test_block_text_before_a_document_that_goes_keeps_its_line_break():
    text = f"{A}data:\n  x: |\n    y\n---\n{B[:-1]}"
    assert remove_document(text.encode(), 2, None, "p.yaml") == text[: text.index("---")].encode()


# --- what is refused --------------------------------------------------------------------------------------------------

REFUSED = {
    "UTF-16": ((PLAIN).encode("utf-16"), "UTF-16 text is not edited"),
    "another encoding": (b"# \xe4\n" + PLAIN.encode(), "not UTF-8 text"),
    "packed": (b"\x1f\x8b" + PLAIN.encode(), "a packed file"),
    "a template that is no YAML": ("{{- if .x }}\n" + PLAIN + "\n{{- end }}\n", r"a template \(\{\{ \}\}\)"),
    "a template in a text": (PLAIN.replace("port: 80", 'port: "{{ .port }}"'), "p.yaml:9: a template"),
    "a template in a comment": (PLAIN + " # {{ end }}", "a template"),
    "line breaks of old": (PLAIN.replace("\n", "\r"), "line breaks other than LF and CRLF"),
    "line breaks of Unicode": ("# a\u2028b\n" + PLAIN, "line breaks other than LF and CRLF"),
    "tabs": (PLAIN.replace("- port", "-\tport"), "cannot start any token"),
    "a key after a question mark": (PLAIN.replace("  ingress:", "  ? ingress\n  :"), "is not edited"),
    "a key that comes twice": (PLAIN + "\n  ingress: []\n", "key ingress is given twice"),
    "another name": (PLAIN.replace("name: p", "name: q"), "named q, not p"),
    "another kind of the same name": (
        PLAIN.replace("networking.k8s.io", "projectcalico.org"),
        "not a NetworkPolicy of",
    ),
    "another kind": (PLAIN.replace("kind: NetworkPolicy", "kind: Service"), "not a NetworkPolicy of"),
    "merged as a whole": ("<<: {kind: NetworkPolicy}\n" + PLAIN.replace("kind: NetworkPolicy\n", ""), "written anew"),
    "broken": (PLAIN + "\n a: [", "not YAML"),
    "deep": (PLAIN + "\nx: " + "[" * 400 + "]" * 400, "nested more than 300 deep"),
    "aliases that blow up": (
        PLAIN
        + "\na: &a [x,x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 10)}]\n" for i in range(8)),
        "aliases stand for more than",
    ),
    "block text at the end": (PLAIN + "\nx: |\n  y", "block text without a line break"),
}


@pytest.mark.parametrize(("text", "problem"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(text, problem):
    with pytest.raises(InputError, match=problem):
        edited(text, MORE)


def test_another_document_may_nest_deep():
    deep = "x: " + '{"a": ' * 290 + "1" + "}" * 290
    text = f"kind: A\napiVersion: v1\n{deep}\n---\n{PLAIN}"
    assert edited(text, MORE, 2).decode() == f"{text}\n    - protocol: TCP\n      port: 81"


def test_a_template_in_another_document_is_text():
    text = f"kind: ConfigMap\napiVersion: v1\ndata: {{x: '{{{{ $labels.x }}}}'}}\n---\n{PLAIN}"
    assert edited(text, MORE, 2).decode() == f"{text}\n    - protocol: TCP\n      port: 81"


@pytest.mark.parametrize(("number", "index"), [(0, None), (2, None), (1, 3), (1, -1), (1, 0)])
def test_an_object_that_is_not_there(number, index):
    with pytest.raises(NotEditableError):
        edited(PLAIN, MORE, number, index)
    with pytest.raises(NotEditableError):
        remove_document(PLAIN.encode(), number, index, "p.yaml")


def test_a_wanted_policy_that_is_none_is_refused():
    with pytest.raises(InputError, match="0 is not a port"):
        edited(PLAIN, {"ingress": [{"ports": [port(0)]}]})


# --- kustomizations ---------------------------------------------------------------------------------------------------

KUSTOMIZATIONS = {
    "sorted": ("resources:\n- a.yaml # a\n# c\n- c.yaml\n", "resources:\n- a.yaml # a\n- b.yaml\n# c\n- c.yaml\n"),
    "not sorted": ("resources:\n- c.yaml\n- a.yaml\n# end\n", "resources:\n- c.yaml\n- a.yaml\n- b.yaml\n# end\n"),
    "the first": ("resources:\n  - c.yaml\n", "resources:\n  - b.yaml\n  - c.yaml\n"),
    "in brackets": ("resources: [a.yaml, c.yaml]\n", "resources: [a.yaml, b.yaml, c.yaml]\n"),
    "in brackets over lines": ("resources: [\n  a.yaml,\n]\n", "resources: [\n  a.yaml,\n  b.yaml,\n]\n"),
    "empty": ("resources: [] # none\n", "resources: # none\n- b.yaml\n"),
    "nothing": ("resources:\nnamePrefix: x\n", "resources:\n- b.yaml\nnamePrefix: x\n"),
    "missing": (
        "kind: Component\nnamespace: n\npatches: []\n",
        "kind: Component\nnamespace: n\nresources:\n- b.yaml\npatches: []\n",
    ),
    "missing, and no kind": ("# k\nnamePrefix: x\n", "# k\nresources:\n- b.yaml\nnamePrefix: x\n"),
    "no content": ("# k\n", "# k\nresources:\n- b.yaml\n"),
    "no byte": ("", "resources:\n- b.yaml\n"),
    "no line break at the end": ("resources:\r\n- a.yaml", "resources:\r\n- a.yaml\r\n- b.yaml"),
    "there": ("resources: [b.yaml]", "resources: [b.yaml]"),
    "there in another spelling": ("resources: [./b.yaml]", "resources: [./b.yaml]"),
}


@pytest.mark.parametrize(("before", "after"), KUSTOMIZATIONS.values(), ids=KUSTOMIZATIONS.keys())
def test_a_resource_more(before, after):
    assert add_resource(before.encode(), "b.yaml", "kustomization.yaml").decode() == after


def test_a_resource_less():
    text = b"resources:  # these\n- a.yaml # a\n# b\n- ./b.yaml\nnamePrefix: x\n"
    less = remove_resource(text, "b.yaml", "k")
    assert less == b"resources:  # these\n- a.yaml # a\nnamePrefix: x\n"
    assert remove_resource(less, "b.yaml", "k") == less
    assert remove_resource(less, "a.yaml", "k") == b"resources: []  # these\nnamePrefix: x\n"
    assert resources(text, "k") == ("a.yaml", "./b.yaml")
    assert resources(b"kind: Component\n", "k") == ()


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../a.yaml", "a/../b.yaml", "/etc/a.yaml", "a\\b", "https://x/y", "a\nb"]
)
def test_a_resource_that_leads_out(name):
    for change in (add_resource, remove_resource):
        with pytest.raises(NotEditableError, match="leads out"):
            change(b"resources: []\n", name, "k")


@pytest.mark.parametrize(
    "text",
    [
        "kind: Service\n",
        "- a\n",
        "resources: x\n",
        "resources: [{}]\n",
        "resources: [a]\n---\nresources: [b]\n",
        "a: '{{ x }}'\n",
    ],
)
def test_not_a_kustomization(text):
    with pytest.raises(NotEditableError):
        add_resource(text.encode(), "b.yaml", "k")


# --- real files -------------------------------------------------------------------------------------------------------


def test_real_policies_change_in_one_place(shared_data):
    folder = shared_data / "online-boutique" / "policies"
    found = read_policies([folder]).policies
    assert len(found) == 13
    for policy in found:
        content = Path(policy.place.path).read_bytes()
        same = dump_policy(policy.canonical())
        assert edit_document(content, policy.place.document, None, same, policy.place.path) == content
        same["spec"].setdefault("ingress", []).append({"from": [API], "ports": [port(1234)]})
        result = edit_document(content, policy.place.document, None, same, policy.place.path)
        old, new = content.decode().splitlines(), result.decode().splitlines()
        added = [line for line in new if line not in old]
        assert len(new) - len(old) in (7, 8)
        assert [line.strip() for line in added if "1234" in line] == ["port: 1234"]
        assert [line for line in new if line in old or line in added] == new
        kept = [line for line in old if line not in new]
        assert kept == []


def test_a_real_kustomization_grows_and_shrinks(shared_data):
    content = (shared_data / "online-boutique" / "policies" / "kustomization.yaml").read_bytes()
    more = add_resource(content, "network-policy-new.yaml", "k")
    assert more == content + b"- network-policy-new.yaml\n"
    assert remove_resource(more, "network-policy-new.yaml", "k") == content


def test_a_real_manifest_loses_one_document_and_no_other_byte(shared_data):
    content = (shared_data / "bookinfo" / "bookinfo.yaml").read_bytes()
    parts = content.split(b"---\n")
    for number in range(2, len(parts)):
        expected = b"---\n".join([*parts[: number - 1], *parts[number:]])
        assert remove_document(content, number, None, "bookinfo.yaml") == expected


def test_meaning_is_that_of_the_parser():
    content = edited(HEAD + PEERS, rules(API, ports=[port("http")]))
    (document,) = yaml.safe_load_all(content)
    assert (
        parse_policy(document, Place()).canonical().ingress
        == parse_policy(wanted(rules(API, ports=[port("http")])), Place()).canonical().ingress
    )
