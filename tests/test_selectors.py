"""Label selectors: matching as the API server does it, one normal form, and errors that name the field."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netpol_gen.errors import InputError, Place
from netpol_gen.selectors import (
    LabelSelector,
    Operator,
    Requirement,
    parse_selector,
    valid_label_key,
    valid_label_value,
)

KEYS, VALUES = ["a", "b", "example.org/c"], ["x", "y", ""]
labels = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES))
requirements = st.one_of(
    st.builds(
        Requirement,
        st.sampled_from(KEYS),
        st.sampled_from([Operator.IN, Operator.NOT_IN]),
        st.lists(st.sampled_from(VALUES), min_size=1, max_size=2, unique=True).map(lambda v: tuple(sorted(v))),
    ),
    st.builds(Requirement, st.sampled_from(KEYS), st.sampled_from([Operator.EXISTS, Operator.DOES_NOT_EXIST])),
)
selectors = st.builds(
    lambda match, expressions: LabelSelector(tuple(sorted(match.items())), tuple(expressions)),
    labels,
    st.lists(requirements, max_size=3),
)


@given(selectors, labels)
def test_a_normalised_selector_matches_the_same(selector, given_labels):
    assert selector.normalised().matches(given_labels) == selector.matches(given_labels)
    assert selector.normalised().normalised() == selector.normalised()


@given(selectors)
def test_reading_what_was_written_gives_the_same(selector):
    assert parse_selector(selector.dump(), Place()) == selector


@given(selectors, labels, labels)
def test_only_its_keys_decide(selector, given_labels, others):
    seen = {k: v for k, v in given_labels.items() if k in selector.keys}
    noise = {k: v for k, v in others.items() if k not in selector.keys}
    assert selector.matches(given_labels) == selector.matches({**noise, **seen})


@given(labels, labels)
def test_match_labels_are_a_subset_relation(wanted, given_labels):
    assert LabelSelector.of(wanted).matches(given_labels) == (wanted.items() <= given_labels.items())


def test_empty_selects_everything():
    assert parse_selector({}, Place()).matches({})
    assert parse_selector(None, Place()).is_empty
    assert parse_selector({"matchLabels": {}, "matchExpressions": []}, Place()).is_empty
    assert str(LabelSelector()) == "<all>"


def test_a_single_in_is_a_label_and_contradictions_stay():
    one = parse_selector({"matchExpressions": [{"key": "a", "operator": "In", "values": ["x"]}]}, Place())
    assert one.normalised() == LabelSelector.of({"a": "x"})
    contradiction = LabelSelector((("a", "x"),), (Requirement("a", Operator.IN, ("y",)),))
    assert not any(contradiction.normalised().matches({"a": v}) for v in VALUES)


@pytest.mark.parametrize(
    ("operator", "values", "matching"),
    [
        (Operator.IN, ("x",), [{"a": "x"}]),
        (Operator.NOT_IN, ("x",), [{"a": "y"}, {}]),
        (Operator.EXISTS, (), [{"a": "x"}, {"a": "y"}]),
        (Operator.DOES_NOT_EXIST, (), [{}]),
    ],
)
def test_operators(operator, values, matching):
    requirement = Requirement("a", operator, values)
    assert [given for given in ({"a": "x"}, {"a": "y"}, {}) if requirement.matches(given)] == matching


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "a label selector is a mapping, not a list"),
        ({"app": "web"}, "unknown field app"),
        ({"matchLabels": []}, "matchLabels: matchLabels is a mapping"),
        ({"matchLabels": {"a": 1}}, "quote it"),
        ({"matchLabels": {"a": None}}, "quote it"),
        ({"matchLabels": {"a b": "x"}}, "is not a label key"),
        ({"matchLabels": {"a": "x" * 64}}, "is not a label value"),
        ({"matchLabels": {"UPPER.example/a": "x"}}, "is not a label key"),
        ({"matchExpressions": {}}, "matchExpressions is a list"),
        ({"matchExpressions": ["a"]}, r"matchExpressions\[0\]: a requirement is a mapping"),
        ({"matchExpressions": [{"key": "a"}]}, r"matchExpressions\[0\].operator"),
        ({"matchExpressions": [{"key": "a", "operator": "Equals"}]}, "is not In, NotIn, Exists or DoesNotExist"),
        ({"matchExpressions": [{"key": "a", "operator": "In"}]}, "In needs values"),
        ({"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["x"]}]}, "Exists takes no values"),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": "x"}]}, "values is a list of strings"),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": [1]}]}, "values is a list of strings"),
        ({"matchExpressions": [{"operator": "Exists"}]}, "key is missing"),
        ({"matchExpressions": [{"key": "a", "operator": "Exists", "vals": []}]}, "unknown field vals"),
    ],
)
def test_what_the_api_server_rejects(data, message):
    with pytest.raises(InputError, match=message) as caught:
        parse_selector(data, Place("file.yaml", 3, field="spec.podSelector"))
    assert str(caught.value).startswith("file.yaml:3: spec.podSelector")


@pytest.mark.parametrize(
    ("key", "valid"),
    [
        ("a", True),
        ("app.kubernetes.io/name", True),
        ("A-b_c.d", True),
        ("", False),
        ("/a", False),
        ("a/", False),
        ("a/b/c", False),
        ("-a", False),
        ("a-", False),
        ("x" * 63, True),
        ("x" * 64, False),
        ("é", False),
        ("a\n", False),
        ("a.example/" + "x" * 63, True),
        ("x" * 254 + "/a", False),
    ],
)
def test_label_keys(key, valid):
    assert valid_label_key(key) is valid


@pytest.mark.parametrize(("value", "valid"), [("", True), ("1.0", True), ("a b", False), ("-", False), ("x\n", False)])
def test_label_values(value, valid):
    assert valid_label_value(value) is valid
