"""Killed at every step: the next run ends where an undisturbed one would have.

A step is a call that reaches the remote, of the forge's API or a push; a run is ended before it and after it (the
server has done it, and nobody heard). Local calls change nothing that a later run could see.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from netpol_gen.prbot.submission import Done
from tests.prbot.memory import Abort, Steps
from tests.prbot.repos import environment
from tests.prbot.test_apply import opened_twice
from tests.prbot.worlds import NEW, OTHER, World, memory_world

pytestmark = pytest.mark.slow

TALK = {"labels": ("netpol", "bot"), "more": ("second", "third")}


def nothing(world: World) -> None:
    """Nothing is open."""


def is_open(world: World) -> None:
    world.run(NEW, **TALK)


def was_closed(world: World) -> None:
    is_open(world)
    world.run({}, reason="not needed")


def was_held(world: World) -> None:
    is_open(world)
    good = world.tip(world.only().branch)
    world.person_pushes(world.only().branch)
    world.run(OTHER)
    world.person.git("push", "-qf", "origin", f"{good}:refs/heads/{world.only().branch}")


def somebody_pushed(world: World) -> None:
    is_open(world)
    world.person_pushes(world.only().branch)


def base_moved(world: World) -> None:
    is_open(world)
    world.person.write({"k8s/shop/cart.yaml": b"theirs\n"})


def two_open(world: World) -> None:
    opened_twice(world)


def an_orphan(world: World) -> None:
    """A branch that a killed run pushed, with other evidence."""
    steps = Steps()
    world.run(NEW, steps)
    world.forge.kept.clear()
    world.forge.last = 0


CASES = {
    "open": (nothing, NEW, TALK),
    "update": (is_open, OTHER, {"labels": ("more",), "more": ("2nd",)}),
    "close": (is_open, {}, {"reason": "the base has it"}),
    "open again": (was_closed, NEW, TALK),
    "hand back": (was_held, OTHER, TALK),
    "hold": (somebody_pushed, OTHER, TALK),
    "hold what is not needed": (somebody_pushed, {}, {"reason": "the base has it"}),
    "base moved": (base_moved, NEW, TALK),
    "duplicates": (two_open, OTHER, TALK),
    "duplicates not needed": (two_open, {}, {}),
    "orphan": (an_orphan, OTHER, TALK),
    "orphan not needed": (an_orphan, {}, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_killed_at_every_step(tmp_path, case):
    before, files, other = CASES[case]
    env = environment(tmp_path / "home")

    def fresh(name: str) -> World:
        (tmp_path / name).mkdir()
        world = memory_world(tmp_path / name, env)
        before(world)
        return world

    undisturbed, steps = fresh("undisturbed"), Steps()
    undisturbed.run(files, steps, **other)
    wanted = undisturbed.state()
    assert undisturbed.quiet(files, **other).done is not Done.UPDATED
    assert steps.changes
    # Ending before a step is ending after the one before it, as far as the remote goes, unless nothing was done yet.
    moments = [(number, "after") for number, name in enumerate(steps.names) if name in steps.changes]
    for number, when in [(0, "before"), *moments]:
        world = fresh(f"{number}-{when}")
        with pytest.raises(Abort):
            world.run(files, Steps(number, when), **other)
        world.run(files, **other)
        assert world.state() == wanted, f"killed {when} {steps.names[number]}, step {number}"
        world.quiet(files, **other)


@pytest.mark.parametrize("when", ["before", "after", "during"])
def test_a_process_that_is_killed_while_it_pushes(tmp_path, when):
    """A real process and SIGKILL: what it had locked or written stands in nobody's way."""
    world = memory_world(tmp_path, environment(tmp_path / "home"))
    real = subprocess.run(["which", "git"], capture_output=True, text=True, check=True).stdout.strip()
    wrapper = tmp_path / "bin" / "git"
    wrapper.parent.mkdir()
    kill = 'kill -9 $(cat "$VICTIM")'
    doing = {"before": f"{kill}; exit 1", "after": f'{real} "$@"; {kill}', "during": f'{real} "$@" & {kill}; wait'}
    wrapper.write_text(f'#!/bin/sh\nif [ "$1" = push ]; then\n{doing[when]}\nelse\nexec {real} "$@"\nfi\n')
    wrapper.chmod(0o755)
    program = tmp_path / "program.py"
    program.write_text(
        "import os, sys\n"
        "from pathlib import Path\n"
        "from dataclasses import replace\n"
        "from tests.prbot.memory import MemoryForge\n"
        "from tests.prbot.repos import Place\n"
        "from tests.prbot.worlds import NEW, World\n"
        "root = Path(sys.argv[1])\n"
        "Path(os.environ['VICTIM']).write_text(str(os.getpid()))\n"
        "places = [Place(root / name, dict(os.environ)) for name in ('upstream.git', 'person', 'bot')]\n"
        "World(*places, MemoryForge(places[0])).run(NEW)\n"
    )
    killed = dict(world.bot.environment) | {
        "PATH": f"{wrapper.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "VICTIM": str(tmp_path / "victim"),
    }
    ran = subprocess.run([sys.executable, str(program), str(tmp_path)], env=killed, capture_output=True, check=False)
    assert ran.returncode == -signal.SIGKILL, ran.stderr.decode()
    assert world.run(NEW).done is Done.OPENED
    assert world.branches() == {world.only().branch}
    world.quiet(NEW)
