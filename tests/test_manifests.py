"""Reading objects: what kubectl accepts is read as it reads it, everything else is an error that says where."""

from __future__ import annotations

import gzip
import io
import json
import tracemalloc
from contextlib import suppress

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from netpol_gen.errors import InputError
from netpol_gen.manifests import PARSERS, read_manifests, read_policies
from netpol_gen.manifests.yamltext import MAX_ALIAS_NODES, MAX_DEPTH, resolve

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}


def read(text: str | bytes):
    content = text.encode() if isinstance(text, str) else text
    return list(read_manifests(["-"], stdin=io.BytesIO(content)))


def fails(text: str | bytes) -> str:
    with pytest.raises(InputError) as caught:
        read(text)
    return str(caught.value)


def names(manifests) -> list[str]:
    return [m.data["metadata"]["name"] for m in manifests]


def pod_yaml(name: str) -> str:
    return f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\n"


# --- forms of one and the same ----------------------------------------------------------------------------------------


def test_yaml_documents_with_empty_ones_between():
    found = read(f"# only a comment\n---\n{pod_yaml('a')}---\n---\n# nothing\n---\n{pod_yaml('b')}...\n")
    assert names(found) == ["a", "b"]
    assert [(m.place.line, m.place.document) for m in found] == [(3, 1), (10, 4)]


@pytest.mark.parametrize("indent", [None, 4])
def test_json_list_expands_with_lines(indent):
    listed = {"apiVersion": "v1", "items": [POD, {**POD, "metadata": {"name": "b"}}], "kind": "List", "metadata": {}}
    found = read("\n\n" + json.dumps(listed, indent=indent))
    assert names(found) == ["a", "b"]
    assert found[1].place.field == "items[1]"
    assert [m.place.line for m in found] == ([3, 3] if indent is None else [6, 13])


def test_yaml_list_expands_with_lines():
    text = (
        "apiVersion: v1\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata: {name: a}\n- apiVersion: v1\n  kind: Pod\n"
    )
    found = read(text + "  metadata: {name: b}\nkind: List\n")
    assert names(found) == ["a", "b"]
    assert [(m.place.line, m.place.field) for m in found] == [(3, "items[0]"), (6, "items[1]")]


@pytest.mark.parametrize("form", [json.dumps, lambda data: json.dumps(data, indent=1)])
def test_items_of_a_typed_list_lack_their_type(form):
    listed = {
        "kind": "PodList",
        "apiVersion": "v1",
        "metadata": {"resourceVersion": "7"},
        "items": [{"metadata": {"name": "a"}}],
    }
    (found,) = read(form(listed))
    assert (found.kind, found.group, found.list_kind) == ("Pod", "", "PodList")
    assert found.list_metadata["resourceVersion"] == "7"


def test_lists_within_lists():
    inner = {"apiVersion": "v1", "kind": "List", "items": [POD]}
    assert names(read(json.dumps({"apiVersion": "v1", "kind": "List", "items": [inner, POD]}))) == ["a", "a"]


@pytest.mark.parametrize("between", ["", " ", "\n", "\n\n  "])
@pytest.mark.parametrize("indent", [None, 2])
def test_json_documents_one_after_another(between, indent):
    one, two = json.dumps(POD, indent=indent), json.dumps({**POD, "metadata": {"name": "b"}}, indent=indent)
    found = read(one + between + two + "\n")
    assert names(found) == ["a", "b"]
    assert found[1].place.line == 1 + one.count("\n") + between.count("\n")
    assert [m.place.document for m in found] == [1, 2]


def test_a_brace_and_a_line_break_inside_a_string_is_no_border():
    note = "}\n{"
    found = read(json.dumps([1])[:0] + json.dumps({**POD, "metadata": {"name": "a", "annotations": {"n": note}}}))
    assert found[0].data["metadata"]["annotations"]["n"] == note


def test_json_within_a_yaml_stream_and_flow_yaml():
    assert names(read(json.dumps(POD) + "\n---\n" + json.dumps(POD))) == ["a", "a"]
    assert names(read("{apiVersion: v1, kind: Pod, metadata: {name: a}}")) == ["a"]


def test_a_resource_that_is_only_called_a_list():
    body = {
        "apiVersion": "example.org/v1",
        "kind": "AllowList",
        "spec": {"items": [1, {"a": 2}]},
        "items": [1, {"a": 2}],
    }
    (found,) = read(json.dumps(body))
    assert found.full_kind == "AllowList.example.org"
    assert found.data == body


@pytest.mark.parametrize(
    "text", ['{"apiVersion":"v1","kind":"List","items":[]}', "apiVersion: v1\nkind: PodList\nitems:\n"]
)
def test_an_empty_list_is_not_nothing(text):
    (found,) = read(text)
    assert found.empty_list


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
@pytest.mark.parametrize("text", [pod_yaml("a"), json.dumps(POD)], ids=["yaml", "json"])
def test_packed(pack, text, tmp_path):
    path = tmp_path / "pods.yaml.packed"
    path.write_bytes(pack(text.encode()))
    assert names(read_manifests([path])) == ["a"]
    assert names(read(pack(text.encode()))) == ["a"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("text", [pod_yaml("ä".encode("idna").decode()), json.dumps(POD)], ids=["yaml", "json"])
def test_marked_encodings(encoding, text):
    mark = b"\xff\xfe" if encoding == "utf-16-le" else b""
    assert len(read(mark + text.encode(encoding))) == 1


def test_standard_input_stays_open():
    stream = io.BytesIO(pod_yaml("a").encode())
    list(read_manifests(["-"], stdin=stream))
    assert not stream.closed


# --- directories ------------------------------------------------------------------------------------------------------


def test_directories_are_read_in_order_without_hidden_and_other_files(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / ".git").mkdir()
    for name in ("b.yaml", "a.yml", "sub/c.json", ".git/d.yaml", ".hidden.yaml", "notes.txt", "sub/e.yaml"):
        (tmp_path / name).write_text(json.dumps(POD))
    (tmp_path / "sub" / "e.yaml").write_text("# empty\n")
    assert [m.place.path.removeprefix(f"{tmp_path}/") for m in read_manifests([tmp_path])] == [
        "a.yml",
        "b.yaml",
        "sub/c.json",
    ]


def test_a_link_back_is_followed_once(tmp_path):
    (tmp_path / "a.yaml").write_text(pod_yaml("a"))
    (tmp_path / "loop").symlink_to(tmp_path)
    assert names(read_manifests([tmp_path])) == ["a"]


def test_a_kustomization_is_counted_not_refused(tmp_path):
    (tmp_path / "kustomization.yaml").write_text("resources: [a.yaml]\n")
    (tmp_path / "a.yaml").write_text(pod_yaml("a"))
    assert [m.full_kind for m in read_manifests([tmp_path])] == ["Pod", "Kustomization.kustomize.config.k8s.io"]


def test_nothing_to_read_is_an_error(tmp_path):
    for make, problem in (
        (lambda: tmp_path, "no .yaml, .yml or .json file in this directory"),
        (lambda: tmp_path / "absent.yaml", "cannot be opened: no such file or directory"),
        (lambda: tmp_path / "nul\0.yaml", "cannot be opened"),
    ):
        with pytest.raises(InputError, match=problem):
            list(read_manifests([make()]))
    (tmp_path / "comment.yaml").write_text("# nothing here\n")
    for path in (tmp_path, tmp_path / "comment.yaml"):
        with pytest.raises(InputError, match="holds no object"):
            list(read_manifests([path]))
    with pytest.raises(InputError, match="no manifest file given"):
        list(read_manifests([]))


# --- what is refused, and where ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1,\n", "-:2: document 1: not YAML: "),
        ("a: b\n c: d\n", "-:2: document 1: not YAML: mapping values are not allowed"),
        ("- a\n- b\n", "-:1: document 1: a document is a mapping, not a list"),
        ("just text\n", "a document is a mapping, not text"),
        ("[1, 2]", "a document is a mapping, not a list"),
        ('["a"]', "a document is a mapping, not a list"),
        ("a: 1\n", "-:1: document 1: no kind: this is no Kubernetes object"),
        ("kind: Pod\n", "no apiVersion"),
        ("kind: Pod\napiVersion: 1\n", "document 1: apiVersion: 1 is not a apiVersion"),
        ("kind: {{ .Values.kind }}\napiVersion: v1\n", "-:1: document 1: "),
        (pod_yaml("a") + "kind: Pod\n", "-:4: document 1: key kind is given twice"),
        ("true: 1\ntrue: 2\n", "-:2: document 1: key true is given twice"),
        ("? [a]\n: b\n", "a key is neither text nor"),
        ("a: !!python/object:os.system x\n", "tag tag:yaml.org,2002:python/object:os.system is not supported"),
        ("a: !thing {}\n", "tag !thing is not supported"),
        ("a: &x [*x]\n", "alias x lies within what it names"),
        ("a: *x\n", "alias x names nothing"),
        (pod_yaml("a") + "x: &x 1\n---\nb: *x\n", "-:6: document 2: alias x names nothing"),
        ('{"kind": "Pod", "kind": "Pod"}', "-:1: document 1: key kind is given twice"),
        ('{"kind":"List","apiVersion":"v1","items":[{}],\n"items":[{}]}', "key items is given twice"),
        ('{"apiVersion":"v1",\n"kind":"List","items":[\n{"a":1,"a":2}]}', "-:3: document 1: key a is given twice"),
        ('{"kind": "Pod",\n "apiVersion": "v1"', "-:2: document 1: not JSON: expecting ',' delimiter"),
        ('{"kind": NaN}', "NaN is not JSON"),
        (json.dumps(POD) + " x", "-:1: document 2: not JSON: expecting value"),
        ('{"a": ' + "9" * 5000 + "}", "a number is too long"),
        (b'{"kind": "P\xff"}', "-:1: not UTF-8 text"),
        (b"kind: P\xff\n", "not YAML text: invalid leading UTF-8 octet"),
        (b"\x00\x01\x02\x03", "not YAML text: control characters are not allowed"),
        (b"\x7fELF\x02\x01\x01" + bytes(64), "not YAML text: "),
        (b"\xff\xfe\x00", "neither UTF-8 nor UTF-16"),
        (gzip.compress(pod_yaml("a").encode() * 999)[:-20], "cannot be read: "),
        (b"\x1f\x8bnot gzip at all", "cannot be read: "),
        (b"\x28\xb5\x2f\xfdnot zstd", "cannot be read: "),
        ('{"kind":"List","apiVersion":"v1","items":{}}', "items: items is a list, not a mapping"),
        ('{"kind":"List","apiVersion":"v1","items":[1]}', "items[0]: an item is a mapping, not a number"),
        ('{"kind":"List","apiVersion":"v1","items":[{"kind":"Pod"}]}', "items[0]: no apiVersion"),
        (
            "kind: List\napiVersion: v1\nitems: [{kind: Pod, apiVersion: v1}, null]\n",
            "items[1]: an item is a mapping, not nothing",
        ),
        ('{"kind":"List","apiVersion":"v1","metadata":[],"items":[]}', "metadata is a mapping, not a list"),
    ],
)
def test_refused_with_its_place(text, message):
    assert message in fails(text)


def test_terminal_escapes_do_not_reach_the_terminal():
    assert "\x1b" not in fails('{"kind": "\x1b[31mPod", "apiVersion": "v1"}'.replace("\x1b", "\\u001b"))


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_deep_nesting_is_refused(form):
    deep = 100_000
    said = fails("a: " + "[" * deep if form == "yaml" else '{"a": ' + "[" * deep + "]" * deep + "}")
    # libyaml 0.2.6 has a limit of its own, 1,000 levels, and reads ahead of us.
    assert "deep" in said or "nesting depth" in said
    assert names(read(pod_yaml("a") + "spec: " + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1))) == ["a"]


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, levels)]
    return "\n".join(lines) + "\n"


def test_aliases_that_blow_up_are_refused():
    tracemalloc.start()
    assert f"aliases stand for more than {MAX_ALIAS_NODES} nodes" in fails(bomb(9))
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()
    assert names(read(bomb(3) + pod_yaml("a"))) == ["a"]


def test_anchors_and_merge_keys_mean_what_kubectl_makes_of_them():
    text = "x: &base {a: 1, b: 2}\ny: &more {b: 3, c: 4}\n"
    (found,) = read(text + "one: {<<: *base, b: 9}\ntwo: {<<: [*base, *more]}\nagain: *base\n" + pod_yaml("a"))
    assert found.data["one"] == {"a": 1, "b": 9}
    assert found.data["two"] == {"a": 1, "b": 2, "c": 4}
    assert found.data["again"] == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", True), ("No", False), ("on", True), ("y", True), ("n", False), ("yEs", "yEs"),
        ("~", None), ("null", None), ("", None),
        ("8080", 8080), ("0644", 420), ("0o17", 15), ("0x1F", 31), ("0b101", 5), ("1_000", 1000), ("-3", -3), ("0", 0),
        ("08", 8.0), ("1.5", 1.5), ("1e3", 1000.0), (".5", 0.5), ("5.", 5.0), ("-.inf", float("-inf")),
        ("1:30", "1:30"), ("2026-11-22T22:00:00Z", "2026-11-22T22:00:00Z"), ("2026-11-22", "2026-11-22"),
        ("1.2.3", "1.2.3"), ("10.0.0.1", "10.0.0.1"), ("-", "-"), ("+", "+"), (".", "."), ("_1", "_1"), ("1a", "1a"),
        ("9" * 65, "9" * 65),
    ],
)  # fmt: skip
def test_plain_scalars(text, value):
    found = resolve(text)
    assert (found, type(found)) == (value, type(value))


def test_quoted_scalars_and_tags():
    (found,) = read(pod_yaml("a") + "a: 'yes'\nb: \"8080\"\nc: |\n  1\nd: !!str 7\ne: !!int '7'\nf: ! 8\n1: x\non: y\n")
    assert [found.data[key] for key in "abcdef"] == ["yes", "8080", "1\n", "7", 7, "8"]
    assert found.data["1"] == "x"
    assert found.data["true"] is True


# --- memory and hostility ---------------------------------------------------------------------------------------------


class Endless(io.RawIOBase):
    """Many documents, made as they are read."""

    def __init__(self, document: bytes, count: int) -> None:
        self.rest, self.document, self.count = b"", document, count

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        while len(self.rest) < len(buffer) and self.count:
            self.rest += self.document * min(self.count, 64)
            self.count -= min(self.count, 64)
        part, self.rest = self.rest[: len(buffer)], self.rest[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)


def test_yaml_documents_do_not_pile_up():
    document = ("---\n" + pod_yaml("a") + "spec: " + json.dumps({f"k{i}": "v" * 50 for i in range(40)}) + "\n").encode()
    tracemalloc.start()
    count = sum(1 for _ in read_manifests(["-"], stdin=Endless(document, 1_500)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 1_500
    assert peak < 1_000_000 < len(document) * 1_500


def test_a_json_list_is_not_decoded_at_once():
    item = {**POD, "spec": {f"k{i}": [i] for i in range(200)}}
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": [item] * 2_000}).encode()
    tracemalloc.start()
    count = sum(1 for _ in read_manifests(["-"], stdin=io.BytesIO(text)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 2_000
    assert peak < 3 * len(text)  # decoded, it would be some twelve times the text


@given(st.binary(max_size=200))
def test_no_bytes_crash(content):
    with suppress(InputError):
        read(content)


TEXT = st.text(max_size=20)  # YAML ends a key after 1,024 characters, escapes included
KEYS = st.sampled_from(["items", "spec", "a"]) | TEXT
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=50)
@given(st.lists(st.dictionaries(KEYS, JSON, max_size=4), min_size=1, max_size=4), st.sampled_from([None, 1]))
def test_json_and_yaml_agree(bodies, indent):
    objects = [{**body, "apiVersion": "v1", "kind": "Pod"} for body in bodies]
    alone = "\n".join(json.dumps(o, indent=indent) for o in objects)
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}, indent=indent)
    streamed = "".join(f"---\n{json.dumps(o, indent=indent)}\n" for o in objects)
    assert [m.data for m in read(alone)] == objects
    assert [m.data for m in read(listed)] == objects
    surrogates = any("\\ud" in json.dumps(o) for o in objects)
    if not surrogates:  # YAML has no escaped pairs
        assert [m.data for m in read(streamed)] == objects


# --- policies ---------------------------------------------------------------------------------------------------------

POLICY = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: %s}\nspec: {podSelector: {}}\n"


def policies(text: str, **options):
    return read_policies(["-"], stdin=io.BytesIO(text.encode()), **options)


def test_policies_and_what_is_none():
    text = (
        POLICY % "b"
        + "---\n"
        + POLICY % "a"
        + "---\n"
        + pod_yaml("p")
        + "---\n"
        + (POLICY % "c").replace("networking.k8s.io", "crd.projectcalico.org")
    )
    found = policies(text, default_namespace="shop")
    assert [p.ref for p in found.policies] == ["shop/a", "shop/b"]
    assert dict(found.other) == {"NetworkPolicy.crd.projectcalico.org": 1, "Pod": 1}


def test_the_same_policy_twice_is_one_and_another_of_its_name_an_error():
    assert len(policies(POLICY % "a" + "---\n" + POLICY % "a").policies) == 1
    with pytest.raises(
        InputError, match="-:6: document 2: a different NetworkPolicy default/a was given before, at -:1"
    ):
        policies(POLICY % "a" + "---\n" + (POLICY % "a").replace("{}", "{matchLabels: {a: b}}"))


def test_an_invalid_policy_says_where():
    with pytest.raises(InputError, match=r"-:1: document 1: spec\.podSelector: "):
        policies((POLICY % "a").replace("{}", "[]"))


def test_cluster_wide_policies():
    text = "apiVersion: policy.networking.k8s.io/v1alpha1\nkind: AdminNetworkPolicy\nmetadata: {name: a}\n"
    found = policies(text + "spec: {priority: 5, subject: {namespaces: {}}}\n")
    assert [t.ref for t in found.tiers] == ["AdminNetworkPolicy/a"]
    assert len(PARSERS) == 4


def test_real_manifests(shared_data):
    found = read_policies([shared_data / "online-boutique"])
    assert len(found.policies) == 13
    assert dict(found.other) == {
        "Component.kustomize.config.k8s.io": 1,
        "Deployment.apps": 12,
        "Service": 12,
        "ServiceAccount": 11,
    }
