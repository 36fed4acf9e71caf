"""Several objects of one file changed at once: the same bytes, or the same refusal, as one after the other."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netpol_gen.emit.edit import (
    NotEditableError,
    edit_document,
    edit_documents,
    remove_document,
    remove_documents,
    tree,
)
from tests.emit.styles import Hand
from tests.emit.test_edit_laws import CONFIG, listed, meaning, near, values, wanted, written

EXAMPLES = settings(max_examples=100, deadline=None)
SEEDS = st.integers(0, 2**40)

SEPARATORS = (
    "---\n",
    "--- # next\n",
    "---\t# after a tab\n",
    "---\n\n# about the next\n",
    "# about the next\n---\n",
    "\n\n---\n\n",
    "... # end\n\n# about the next\n\n---\n",
    "...\n---\n",
    "...\n...\n---\n",
    "...\n# x\n---\n",
    "...\n# x\n%YAML 1.1\n---\n",
    "...\n%TAG !y! tag:yaml.org,2002:\n# x\n---\n",
    "---\n---\n",
    "---\n# nothing\n---\n",
    "---\n...\n---\n",
    "...\n---\n~\n...\n---\n",
)


def file_of(r, parts):
    """Documents between all kinds of separators, with what only whole files have."""
    out = r.choice(("", "", "# licence\n", "---\n", "%YAML 1.1\n---\n", "# licence\n\n---\n", "---\n---\n"))
    for i, part in enumerate(parts):
        out += (r.choice(SEPARATORS) if i else "") + part
    out += r.choice(("", "", "# end\n", "...\n", "---\n", "\n\n", "...\n# end\n", "---\n# end\n"))
    if r.random() < 0.3:
        out = out.removesuffix("\n")
    if r.random() < 0.3:
        out = out.replace("\n", "\r\n")
    return (b"\xef\xbb\xbf" if r.random() < 0.2 else b"") + out.encode()


def part(r, number, objects):
    """One document; the policies in it are added to `objects`, `None` in place of a document number."""
    kind = r.random()
    if kind < 0.15:
        return CONFIG
    if kind < 0.3:
        items = [written(r, f"p{number}-{i}") for i in range(r.randrange(1, 4))]
        objects += [(number, i, item) for i, item in enumerate(items)]
        return Hand(r, anchors=r.random() < 0.3).document({"apiVersion": "v1", "kind": "List", "items": items})
    manifest = written(r, f"p{number}")
    objects.append((number, None, manifest))
    if kind < 0.4:
        return json.dumps(manifest, indent=r.choice((None, 2))) + "\n"
    # The same names of anchors in every document: they end with it.
    return Hand(r, anchors=kind < 0.7).document(manifest)


def many(r):
    """A file and its policies: document, index, manifest."""
    objects = []
    parts = [part(r, number, objects) for number in range(r.randrange(2, 6))]
    content = file_of(r, parts)
    places = {}
    for number, document in values(content).items():
        items = document.get("items") if document["kind"] == "List" else None
        for index, each in enumerate(items or [document]):
            places[each["metadata"]["name"]] = (number, None if items is None else index)
    return content, {places[manifest["metadata"]["name"]]: manifest for _, _, manifest in objects}


def some(r, spots):
    """A part of them, in any order."""
    ordered = sorted(spots, key=str)
    return r.sample(ordered, r.randrange(1, len(ordered) + 1)) if ordered else []


def from_the_end(spots):
    return sorted(spots, key=lambda spot: (spot[0], -1 if spot[1] is None else spot[1]), reverse=True)


def outcome(call):
    try:
        return call()
    except NotEditableError as error:
        return error.problem


def edited_one_by_one(content, targets):
    for spot in from_the_end(targets):
        content = edit_document(content, *spot, targets[spot], "p.yaml")
    return content


def removed_one_by_one(content, spots):
    for spot in from_the_end(spots):
        if content is not None:
            content = remove_document(content, *spot, "p.yaml")
    return content


@EXAMPLES
@given(SEEDS)
def test_edits_at_once_are_edits_one_after_the_other(seed):
    r = random.Random(seed)
    content, policies = many(r)
    targets = {spot: changed(r, policies[spot]) for spot in some(r, policies)}
    assert outcome(lambda: edit_documents(content, targets, "p.yaml")) == outcome(
        lambda: edited_one_by_one(content, targets)
    )


def changed(r, manifest):
    name = manifest["metadata"]["name"]
    return near(r, manifest, name) if r.random() < 0.6 else wanted(r, name)


@EXAMPLES
@given(SEEDS)
def test_removals_at_once_are_removals_one_after_the_other(seed):
    r = random.Random(seed)
    content, policies = many(r)
    spots = some(r, policies)
    assert outcome(lambda: remove_documents(content, spots, "p.yaml")) == outcome(
        lambda: removed_one_by_one(content, spots)
    )


@EXAMPLES
@given(SEEDS)
def test_all_that_was_wanted_is_there_and_all_else_is_what_it_was(seed):
    r = random.Random(seed)
    content, policies = many(r)
    targets = {spot: changed(r, policies[spot]) for spot in some(r, policies)}
    try:
        result = edit_documents(content, targets, "p.yaml")
    except NotEditableError:
        return
    before, after = flat(content), flat(result)
    assert before.keys() == after.keys()
    for spot, value in after.items():
        if spot in targets:
            assert meaning(value) == meaning({**targets[spot], "metadata": before[spot]["metadata"]})
        else:
            assert value == before[spot]


def flat(content):
    """All objects by where they are."""
    out = {}
    for number, document in values(content).items():
        if document["kind"] == "List":
            out |= {(number, i): item for i, item in enumerate(document["items"])}
        else:
            out[number, None] = document
    return out


@EXAMPLES
@given(SEEDS, st.booleans())
def test_items_at_once_are_items_from_the_last_to_the_first(seed, as_json):
    """Also where they share anchors: what becomes of one hangs on what became of those behind it."""
    r = random.Random(seed)
    content, items = listed(r, r.randrange(2, 5), anchors=True, as_json=as_json)
    spots = [(1, i) for i in range(len(items)) if r.random() < 0.7]
    targets = {spot: changed(r, items[spot[1]]) for spot in spots}
    assert outcome(lambda: edit_documents(content, targets, "p")) == outcome(
        lambda: edited_one_by_one(content, targets)
    )
    assert outcome(lambda: remove_documents(content, spots, "p")) == outcome(lambda: removed_one_by_one(content, spots))


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("stop", ["\n", "\r\n"])
def test_no_separator_moves(separator, stop):
    """Every policy of a file gets another port, and no other byte changes."""
    count = 4
    parts = [POLICY.format(name=f"p{i}", port=80 + i) for i in range(count)]
    content = f"# licence\n---\n{separator.join(parts)}# end".replace("\n", stop).encode()
    spots = from_the_end(flat_policies(content))[::-1]
    targets = {}
    for i, spot in enumerate(spots):
        targets[spot] = {"metadata": {"name": f"p{i}"}, "spec": spec(9080 + i)}
    expected = content
    for i in range(count):
        expected = expected.replace(f"port: {80 + i}".encode(), f"port: {9080 + i}".encode())
    assert edit_documents(content, targets, "p.yaml") == expected


POLICY = (
    "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}}}\n"
    "spec:\n  podSelector: {{}}\n  policyTypes: [Ingress]\n  ingress:\n  - ports:\n"
    "    - port: {port}  # why\n      # within\n  # behind\n"
)


def spec(port):
    ports = [{"protocol": "TCP", "port": port}]
    return {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"ports": ports}]}


def flat_policies(content):
    return [(number, None) for number, value in values(content).items() if value is not None]


def test_a_file_goes_with_the_last_of_its_objects():
    content = ("---\n" + "---\n# x\n".join(POLICY.format(name=f"p{i}", port=80) for i in range(3))).encode()
    assert remove_documents(content, [(2, None), (1, None), (3, None)], "p.yaml") is None
    left = remove_documents(content, [(3, None), (1, None)], "p.yaml")
    assert left is not None
    assert [v["metadata"]["name"] for v in values(left).values()] == ["p1"]


def test_a_list_goes_with_the_last_of_its_items():
    items = [written(random.Random(1), f"p{i}") for i in range(3)]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items}) + "\n---\n" + CONFIG
    left = remove_documents(text.encode(), [(1, 2), (1, 0), (1, 1)], "p.yaml")
    assert left is not None
    assert [v["kind"] for v in values(left).values()] == ["ConfigMap"]


def test_one_that_cannot_be_edited_stops_all():
    texts = [POLICY.format(name=f"p{i}", port=80) for i in range(2)]
    content = ("---\n".join([*texts, "# {{ x }}\n" + POLICY.format(name="p2", port=80)])).encode()
    targets = {(i + 1, None): {"metadata": {"name": f"p{i}"}, "spec": spec(443)} for i in range(3)}
    with pytest.raises(NotEditableError, match="template"):
        edit_documents(content, targets, "p.yaml")


@pytest.mark.parametrize("form", ["documents", "items"])
def test_a_file_is_read_as_often_for_many_objects_as_for_two(form, monkeypatch):
    """What made a file of hundreds of policies take minutes."""
    assert readings(form, 2, monkeypatch) == readings(form, 20, monkeypatch) > 0


def readings(form, count, monkeypatch):
    head = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    manifests = [{**head, "metadata": {"name": f"p{i}"}, "spec": spec(80)} for i in range(count)]
    if form == "items":
        content = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}, indent=1).encode()
        spots = [(1, i) for i in range(count)]
    else:
        content = "\n---\n".join(json.dumps(m, indent=1) for m in manifests).encode()
        spots = [(i + 1, None) for i in range(count)]
    read = []
    parse = tree.CParser
    with monkeypatch.context() as patched:
        patched.setattr(tree, "CParser", lambda text: read.append(text) or parse(text))
        edit_documents(content, {s: {**manifests[i], "spec": spec(443)} for i, s in enumerate(spots)}, "p.yaml")
        remove_documents(content, spots[1:], "p.yaml")
    return len(read)
