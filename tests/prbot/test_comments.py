"""One comment of each kind, and families of them that leave each other alone."""

from __future__ import annotations

import pytest

from netpol_gen.prbot import comments
from tests.prbot.repos import environment
from tests.prbot.worlds import NEW, World, memory_world


@pytest.fixture
def world(tmp_path) -> World:
    return memory_world(tmp_path, environment(tmp_path / "home"))


@pytest.mark.parametrize("kind", ["review", "proposal"])
def test_a_second_run_edits_its_comment(world, kind):
    number = world.run(NEW).number
    assert comments.put(world.forge, number, {kind: "one", f"{kind} 2": "two"}, surplus={kind})
    assert comments.put(world.forge, number, {kind: "other"}, surplus={kind})
    (said,) = world.comments(number)
    assert "other" in said
    assert not comments.put(world.forge, number, {kind: "other"}, surplus={kind})


def test_a_proposal_and_its_review_stand_side_by_side(world):
    number = world.run(NEW, more=("second part",)).number
    comments.put(world.forge, number, {"review": "looked at"}, surplus={"review"})
    before = world.comments(number)
    assert len(before) == 2
    world.quiet(NEW, more=("second part",))
    assert not comments.put(world.forge, number, {"review": "looked at"}, surplus={"review"})
    assert world.comments(number) == before
