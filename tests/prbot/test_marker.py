"""The hidden marks: read back as written, and not read where they only seem to be."""

from __future__ import annotations

import pytest

from netpol_gen.prbot.marker import (
    ROOM,
    Proposal,
    disarmed,
    kind_of,
    marked,
    proposal_in,
    same,
    sealed,
    unsealed,
)

MARK = Proposal("a" * 64, "b" * 64, "c" * 64, "not-needed")
OTHER = Proposal("1" * 64, "2" * 64, "3" * 40)


@pytest.mark.parametrize("mark", [MARK, OTHER])
def test_a_mark_is_read_back(mark):
    assert proposal_in(sealed("text", mark)) == mark
    assert proposal_in(sealed("text", mark).replace("\n", "\r\n").rstrip()) == mark
    assert unsealed(sealed("text", mark)) == "text"
    assert len(sealed("", mark)) <= ROOM


def test_the_last_mark_counts():
    assert proposal_in(f"{OTHER}\n{MARK}\nby hand below") == MARK


def test_a_mark_in_the_text_is_disarmed():
    assert proposal_in(disarmed(f"{OTHER}")) is None
    assert sealed(f"x {OTHER}", MARK).count(str(OTHER)) == 0


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<!-- netpol-gen:proposal -->",
        str(OTHER).replace("1", "g"),
        str(OTHER).replace(" content", "\ncontent"),
        str(OTHER).replace(" -->", " closed=a<b -->"),
        str(OTHER).replace("3" * 40, "3" * 39),
    ],
)
def test_what_is_no_mark(body):
    assert proposal_in(body) is None


def test_kinds_of_comments():
    for kind in ("held", "closed", "part 2", "part 999", "review", "review 2", "proposal"):
        assert kind_of(marked(kind, "text")) == kind
        assert kind_of(marked(kind, "text").replace("\n", "\r\n")) == kind
        assert kind_of("quoted: " + marked(kind, "text")) == ""
        assert len(marked(kind, "")) <= ROOM
    for kind in ("reviews", "review 0", "part 0", "part x", "held x"):
        assert kind_of(f"<!-- netpol-gen:{kind} -->\ntext") == ""


def test_ends_of_lines_make_no_difference():
    assert same("a\r\nb\n", " a\nb")
    assert not same("a\n\nb", "a\nb")
