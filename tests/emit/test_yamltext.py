"""Strings stay strings, for readers of every version of YAML."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from netpol_gen.emit import yamltext
from netpol_gen.emit.yamltext import DuplicateKeyError, dump, load, same

PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=12)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=12,
)


@pytest.mark.parametrize(
    "word",
    [
        *("on", "off", "yes", "no", "y", "n", "true", "null", "~", "", "NULL", "Off", "nan", ".inf", "-"),
        *("1e3", "0123", "0x1F", "0b1", "0o7", "1_000", "12:30:45", "2026-11-02", "1.5", "+1", "<<", "=", "!x", "&a"),
        *(
            "*a",
            "#c",
            "a: b",
            "a #c",
            "[a]",
            "{a}",
            "- a",
            "|",
            ">",
            "%a",
            "@a",
            "`a`",
            "a\nb",
            "é",
            "\x1b[31m",
            "::1/128",
        ),
    ],
)
def test_quoted(word):
    assert dump({"v": word}).startswith('v: "')
    assert load(dump({"v": word})) == [{"v": word}]


@pytest.mark.parametrize(
    "word", ["web", "app.kubernetes.io/name", "kube-dns", "v1", "10.0.0.0/8", "e3", "Ingress", "_x"]
)
def test_bare(word):
    assert dump({"v": word}) == f"v: {word}"


def test_numbers_stay_numbers():
    assert dump({"port": 8443}) == "port: 8443"


def test_keys_are_quoted_too():
    assert dump({"on": "x"}) == '"on": x'


@given(PLAIN)
def test_load_undoes_dump(value):
    assert load(dump([value])) == [[value]]


@given(PLAIN)
def test_pyyaml_agrees(value):
    assert yaml.safe_load(dump([value])) == [value]


def test_no_aliases():
    twice = {"a": "b"}
    assert "*" not in dump([twice, twice])


def test_a_key_that_comes_twice():
    with pytest.raises(DuplicateKeyError, match="line 1"):
        load("a: 1\na: 2\n")


@pytest.mark.parametrize(("a", "b"), [(1, True), (1, 1.0), ("1", 1), (None, ""), ([], {}), ({"a": 1}, {"a": "1"})])
def test_unlike(a, b):
    assert not same(a, b)


def test_alike_in_any_order():
    assert same({"a": 1, "b": [2]}, {"b": [2], "a": 1})


class _Pure(yaml.SafeDumper):
    def ignore_aliases(self, _data):
        return True


_Pure.add_representer(str, yamltext._string)


# What a manifest holds: keys are never empty, text is ASCII.
_KEYS = st.from_regex(r"([a-z0-9.-]{1,250}/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", fullmatch=True)
_MANIFEST = st.recursive(
    st.one_of(st.integers(0, 65535), st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=80)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_KEYS, inner, max_size=4)),
    max_leaves=20,
)


@given(_MANIFEST)
def test_the_same_bytes_without_libyaml(value):
    pure = yaml.dump([value], Dumper=_Pure, sort_keys=False, default_flow_style=False, width=yamltext.WIDTH)
    assert dump([value]) == pure.removesuffix("\n")


def test_long_text_stays_on_its_line():
    long = "word " * 4000
    assert "\n" not in dump({"v": long})
