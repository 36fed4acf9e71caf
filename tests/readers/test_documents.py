"""JSON that is not one value per line."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netpol_gen.readers.documents import Layout, elements, layout

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.sampled_from(['"', "\\", "}{][", '\\"', "\n"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.text(max_size=4).filter(lambda key: key != "number")
OBJECTS = st.lists(st.dictionaries(KEYS, VALUES, max_size=3), min_size=1, max_size=5)
SHAPES = {
    "array": json.dumps,
    "pretty array": lambda values: json.dumps(values, indent=2),
    "pretty objects": lambda values: "\n".join(json.dumps(value, indent=1) for value in values),
    "objects": lambda values: "".join(json.dumps(value, ensure_ascii=False) for value in values),
    "two arrays": lambda values: json.dumps(values[:1]) + "\n" + json.dumps(values[1:]),
}


def split(text, size):
    return list(elements(text[at : at + size] for at in range(0, len(text), size)))


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=40)
@given(values=OBJECTS, size=st.integers(1, 60))
def test_every_element_is_found_whatever_the_pieces(shape, values, size):
    values = [{"number": number} | value for number, value in enumerate(values)]
    text = SHAPES[shape](values).encode()
    found = split(text, size)
    assert [element.problem for element in found] == [""] * len(values)
    assert [json.loads(element.data) for element in found] == values
    assert all(b"\n" not in element.data for element in found)
    starts = [text.rindex(b"{", 0, text.index(b'"number": %d' % number)) for number in range(len(values))]
    assert [element.line for element in found] == [text.count(b"\n", 0, start) + 1 for start in starts]


@given(data=st.binary(max_size=200), size=st.integers(1, 30))
def test_no_bytes_crash_it_and_pieces_do_not_matter(data, size):
    assert split(data, size) == split(data, 1000)


def test_what_stands_between_elements_is_told():
    found = split(b'[{"a":1},\n7, {"b":2}] tail', 1000)
    assert [(e.data, e.line, e.problem) for e in found] == [
        (b'{"a":1}', 1, ""),
        (b"7", 2, "no JSON value"),
        (b'{"b":2}', 2, ""),
        (b"tail", 2, "no JSON value"),
    ]


def test_a_cut_end_is_told_with_its_line():
    found = split(b'[\n{"a":1},\n{"b":\n', 5)
    assert [(e.line, e.problem) for e in found] == [(2, ""), (3, "ends in the middle of a record")]


def test_an_element_too_long_is_not_held():
    found = list(elements([b'[{"a":1},{"b":"', *[b"x" * 50] * 10, b'"},{"c":3}]'], limit=100))
    assert [(e.data[:6], e.problem) for e in found] == [(b'{"a":1', ""), (b'{"b":"', "too long"), (b'{"c":3', "")]


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b'{"a":1}\n{"b":2}', Layout.LINES),
        (b'{"a":1}', Layout.LINES),
        (b"{\n", Layout.DOCUMENTS),
        (b'{ "a":\n  1 }', Layout.DOCUMENTS),
        (b'{"a":\n"b"}', Layout.DOCUMENTS),
        (b'{"cut off\n{"b":2}', Layout.LINES),
        (b'{"a": "longer than the head', Layout.LINES),
        (b'[{"a":1}', Layout.DOCUMENTS),
        (b"[\n", Layout.DOCUMENTS),
        (b"[]", Layout.DOCUMENTS),
        (b"[10.0.0.1] text", Layout.LINES),
        (b"text", Layout.LINES),
        (b"", Layout.LINES),
        (b'\xef\xbb\xbf\n [{"a":1}]', Layout.DOCUMENTS),
    ],
)
def test_layout(head, expected):
    assert layout(head) is expected
