"""Two runs at the same time: after one more run there is one request, and it says what that run said."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from netpol_gen.errors import RemoteError
from netpol_gen.prbot.apply import apply
from netpol_gen.prbot.submission import Done, Outcome
from tests.prbot.memory import SteppedForge, Steps
from tests.prbot.repos import BOT, clone, environment
from tests.prbot.worlds import NEW, OTHER, World, memory_world

pytestmark = pytest.mark.slow

TALK = {"labels": ("netpol",), "more": ("second",)}


@pytest.fixture
def world(tmp_path) -> World:
    return memory_world(tmp_path, environment(tmp_path / "home"))


class Meeting(Steps):
    """Waits for the other run before a step of this name, once."""

    def __init__(self, barrier: threading.Barrier, at: str):
        super().__init__()
        self.barrier, self.at = barrier, at

    def take(self, name, call):
        if name == self.at:
            self.at = ""
            # The barrier breaks when the other run ended before: it had nothing to do there, or was refused.
            with contextlib.suppress(threading.BrokenBarrierError):
                self.barrier.wait(5)
        return super().take(name, call)


def both(world: World, tmp_path, files: list, at: str, *, one_clone: bool = False) -> list[Outcome | RemoteError]:
    asked = [world.ask(each, **TALK) for each in files]
    places = [world.bot, world.bot]
    if not one_clone:
        places[1] = clone(f"file://{world.upstream.path}", tmp_path / "second", world.bot.environment)
    barrier = threading.Barrier(2)

    def go(number: int):
        steps = Meeting(barrier, at)
        remote = world.remote(steps, places[number])
        try:
            return apply(remote, SteppedForge(world.forge, steps), asked[number], BOT)
        except RemoteError as error:
            return error
        finally:
            barrier.abort()

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(go, range(2)))


STEPS = ["open_requests", "protected", "push", "open_request", "comments", "add_comment"]


@pytest.mark.parametrize("one_clone", [False, True], ids=["two clones", "one clone"])
@pytest.mark.parametrize("at", STEPS)
def test_same_input(tmp_path, world, at, one_clone):
    outcomes = both(world, tmp_path, [NEW, NEW], at, one_clone=one_clone)
    assert all(isinstance(outcome, Outcome) for outcome in outcomes), outcomes
    assert {outcome.number for outcome in outcomes} == {1}
    world.run(NEW, **TALK)
    assert world.quiet(NEW, **TALK).done is Done.UNCHANGED
    assert len(world.comments(1)) == 1
    assert world.branches() == {world.only().branch}


@pytest.mark.parametrize("opened", [False, True], ids=["nothing open", "one open"])
@pytest.mark.parametrize("at", STEPS)
def test_different_input(tmp_path, world, at, opened):
    if opened:
        world.run({"k8s/first.yaml": b"1"}, **TALK)
    outcomes = both(world, tmp_path, [NEW, OTHER], at)
    assert any(isinstance(outcome, Outcome) for outcome in outcomes), outcomes
    world.run(OTHER, **TALK)
    assert world.quiet(OTHER, **TALK).number == world.only().number
    assert world.contents(world.only().branch).items() >= OTHER.items()
    assert world.branches() == {world.only().branch}


@pytest.mark.parametrize("at", STEPS)
def test_one_proposes_while_the_other_withdraws(tmp_path, world, at):
    world.run(NEW, **TALK)
    both(world, tmp_path, [OTHER, {}], at)
    world.run(OTHER, **TALK)
    assert world.quiet(OTHER, **TALK).number == world.only().number
    assert world.branches() == {world.only().branch}
