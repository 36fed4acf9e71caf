"""A text that has to fit: nothing is lost between its parts, no row is cut, no part is too long."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from netpol_gen.report.parts import MORE, Section, pack, size

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\n\r"), max_size=40)
SECTIONS = st.lists(
    st.builds(
        Section,
        TEXT.map(lambda t: f"## {t}\n"),
        st.lists(TEXT.map(lambda t: f"- {t}"), max_size=12).map(tuple),
        st.sampled_from(["", "| a |\n| --- |\n"]),
        st.sampled_from(["", "rows"]),
    ),
    max_size=6,
)


@given(SECTIONS, st.integers(700, 4000))
def test_every_row_is_in_one_part_and_in_order(sections, limit):
    parts = pack(sections, limit)
    assert all(size(part) <= limit for part in parts)
    assert all(part.endswith(MORE) for part in parts[:-1])
    lines = [line for part in parts for line in part.split("\n")]
    rows = [row for section in sections for row in section.rows]
    assert [line for line in lines if line.startswith("- ")] == rows
    assert [line for line in lines if line.startswith("## ")] == [s.head[:-1] for s in sections]


@given(SECTIONS)
def test_without_a_limit_there_is_one_part(sections):
    assert len(pack(sections, 1 << 62)) == 1


def test_a_table_that_goes_on_has_its_columns_again():
    section = Section("## T\n", tuple(f"| {i:04} |" for i in range(200)), "| n |\n| --- |\n", "200 rows")
    parts = pack([section], 800)
    assert len(parts) > 2
    assert all(part.count("| n |") == 1 and part.count("</details>") == 1 for part in parts)


def test_a_row_too_long_for_any_part_is_left_out_and_said():
    parts = pack([Section("## T\n", ("- " + "x" * 5000, "- y"))], 1000)
    assert "too long to be shown" in "".join(parts)
    assert "- y" in "".join(parts)
    assert all(size(part) <= 1000 for part in parts)
