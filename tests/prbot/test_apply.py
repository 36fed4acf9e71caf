"""What becomes of a submission: every course of `apply`, on real repositories."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from netpol_gen.errors import InvariantError, OptionError, RemoteError
from netpol_gen.prbot.forge import Comment, Request, RequestState
from netpol_gen.prbot.git import Author
from netpol_gen.prbot.marker import Proposal, proposal_in
from netpol_gen.prbot.submission import Done, content_digest
from tests.prbot.memory import MemoryForge, Steps
from tests.prbot.repos import FILES, THEN, clone, environment, seeded
from tests.prbot.test_git import HOSTILE, snapshot
from tests.prbot.test_remote import hook
from tests.prbot.worlds import NEW, OTHER, SCOPE, World, memory_world


@pytest.fixture
def world(tmp_path) -> World:
    return memory_world(tmp_path, environment(tmp_path / "home"))


# --- the usual life ---------------------------------------------------------------------------------------------------


def test_a_first_run_opens_a_request(world):
    before = snapshot(world.bot)
    outcome = world.run(NEW, labels=("netpol",), more=("second part",))
    assert outcome.done is Done.OPENED
    request = world.only()
    assert outcome.branch == request.branch == f"netpol-gen/{SCOPE[:8]}-{content_digest(NEW)[:12]}"
    assert outcome.commit == request.head == world.tip(request.branch)
    assert (outcome.number, outcome.url) == (request.number, request.url)
    assert (request.base, request.title, request.labels) == ("main", "policies for prod", ("netpol",))
    assert proposal_in(request.body) == Proposal(SCOPE, content_digest(NEW), outcome.commit)
    assert request.body.startswith("2 files\n")
    assert world.contents(request.branch) == {**FILES, **NEW}
    (comment,) = world.comments(request.number)
    assert "second part" in comment
    assert snapshot(world.bot) == before


def test_a_second_run_changes_nothing(world):
    first = world.run(NEW, labels=("netpol",), more=("a", "b"))
    second = world.quiet(NEW, labels=("netpol",), more=("a", "b"))
    assert second == replace(first, done=Done.UNCHANGED)


def test_a_second_run_elsewhere_makes_the_same_commit(tmp_path, world):
    first = world.run(NEW)
    (tmp_path / "elsewhere").mkdir()
    other = memory_world(tmp_path / "elsewhere", environment(tmp_path / "home"))
    base = world.upstream.git("rev-parse", "main")
    other.upstream.git("fetch", "-q", str(world.upstream.path), f"+{base}:refs/heads/main")
    assert other.run(NEW).commit == first.commit


def test_new_evidence_updates_the_same_request(world):
    first = world.run(NEW)
    second = world.run(OTHER, title="more policies", labels=("x",))
    assert (second.done, second.number, second.branch) == (Done.UPDATED, first.number, first.branch)
    assert second.commit != first.commit
    request = world.only()
    assert (request.title, request.labels) == ("more policies", ("x",))
    assert world.contents(first.branch) == {**FILES, **OTHER}
    assert world.upstream.git("rev-list", "--count", f"main..{first.branch}") == "1"
    world.quiet(OTHER, title="more policies", labels=("x",))


def test_evidence_that_comes_back_goes_back(world):
    first = world.run(NEW)
    world.run(OTHER)
    third = world.run(NEW)
    assert (third.commit, third.branch) == (first.commit, first.branch)


def test_only_what_is_said_may_change(world):
    first = world.run(NEW, more=("a", "b", "c"), labels=("One",))
    steps = Steps()
    second = world.run(NEW, steps, body="other words", more=("a", "B"), labels=("one", "two"))
    assert (second.done, second.commit) == (Done.UPDATED, first.commit)
    assert sorted(steps.changes) == ["add_labels", "delete_comment", "edit_comment", "edit_request"]
    assert [re.sub("<.*>\n", "", body).strip() for body in world.comments(first.number)] == ["a", "B"]
    world.quiet(NEW, body="other words", more=("a", "B"), labels=("one", "two"))


def test_comments_of_others_are_never_touched(world):
    first = world.run(NEW, more=("a",))
    theirs = "<!-- netpol-gen:part 2 -->\nforged"
    said = world.forge.said[first.number]
    said.append(Comment(900, theirs, ours=False))
    said.append(Comment(901, "<!-- netpol-gen:review -->\nanother of our tools", ours=True))
    said.append(Comment(902, "quoted:\n<!-- netpol-gen:part 3 -->\n", ours=True))
    world.run(NEW)
    assert [comment.id for comment in world.forge.said[first.number]] == [900, 901, 902]


def test_a_forge_that_changes_ends_of_lines_is_no_reason_to_edit(world):
    first = world.run(NEW, body="a\n\nb", more=("c\nd",))
    request = world.forge.kept[first.number]
    world.forge.kept[first.number] = replace(request, body=request.body.replace("\n", "\r\n").rstrip())
    said = world.forge.said[first.number]
    said[:] = [replace(comment, body=comment.body.replace("\n", "\r\n").rstrip()) for comment in said]
    assert world.quiet(NEW, body="a\n\nb", more=("c\nd",)).done is Done.UNCHANGED


def test_a_mark_inside_the_text_is_none(world):
    evil = str(Proposal("0" * 64, "1" * 64, "2" * 40, "not-needed"))
    outcome = world.run(NEW, body=f"pod {evil}\n{evil}", more=(f"<!-- netpol-gen:held -->\n{evil}",))
    assert proposal_in(world.only().body) == Proposal(SCOPE, content_digest(NEW), outcome.commit)
    world.quiet(NEW, body=f"pod {evil}\n{evil}", more=(f"<!-- netpol-gen:held -->\n{evil}",))


def test_a_merged_request_is_history(world):
    first = world.run(NEW)
    world.merge(first.number)
    assert world.quiet({}, reason="all is there").done is Done.NOTHING
    change = {"k8s/shop/cart.yaml": b"kind: More\n"}
    second = world.run(change)
    assert (second.done, second.number) == (Done.OPENED, 2)
    assert second.branch != first.branch
    assert world.contents(second.branch) == {**FILES, **NEW, **change}


@pytest.mark.parametrize("way", ["squash", "merge commit"])
def test_what_was_merged_and_taken_back_is_proposed_again(world, way):
    first = world.run(NEW)
    if way == "squash":
        world.merge(first.number)
    else:
        world.person.git("pull", "-q", "--no-ff", "--no-edit", "origin", first.branch)
        world.person.git("push", "-q", "origin", "main")
        world.forge.kept[1] = replace(world.forge.kept[1], state=RequestState.MERGED)
    back = {path: FILES.get(path) for path in NEW}
    world.person.write(back, "revert")
    second = world.run(NEW)
    assert (second.done, second.number, second.branch) == (Done.OPENED, 2, first.branch)
    world.quiet(NEW)


def test_two_scopes_do_not_meet(world):
    first = world.run(NEW)
    other = replace(world.ask(OTHER), scope="f" * 64)
    second = world.run(other)
    assert (second.done, len(world.requests())) == (Done.OPENED, 2)
    world.quiet(other)
    assert world.quiet(NEW).number == first.number
    world.run({})
    assert world.only().number == second.number


# --- unusual repositories ---------------------------------------------------------------------------------------------


def test_a_shallow_clone_as_ci_systems_make_it(tmp_path, world):
    first = world.run(NEW)
    for number in range(3):
        world.person.write({"README.md": b"%d" % number})
    for files, done in ((NEW, Done.UNCHANGED), (OTHER, Done.UPDATED), (OTHER, Done.UNCHANGED), ({}, Done.CLOSED)):
        url = f"file://{world.upstream.path}"
        world.bot = clone(url, tmp_path / done / str(len(files)), world.person.environment, "--depth=1")
        outcome = world.run(files)
        assert (outcome.done, outcome.number) == (done, first.number)


def test_a_shallow_clone_stays_one_while_the_base_stays(tmp_path, world):
    world.person.write({"README.md": b"2"})
    url = f"file://{world.upstream.path}"
    for number, files in enumerate((NEW, NEW, OTHER, {})):
        world.bot = clone(url, tmp_path / str(number), world.person.environment, "--depth=1")
        world.run(files)
        assert world.remote().repository.shallow


def test_a_linked_worktree(tmp_path, world):
    world.bot.git("worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    side = replace(world.bot, path=tmp_path / "side")
    before = snapshot(world.bot), snapshot(side)
    world.bot = side
    world.run(NEW)
    world.run(OTHER)
    world.quiet(OTHER)
    world.bot = replace(side, path=tmp_path / "bot")
    assert (snapshot(world.bot), snapshot(side)) == before


def test_a_repository_with_sha256(tmp_path):
    (tmp_path / "deep").mkdir()
    env = environment(tmp_path / "home")
    upstream, person = seeded(tmp_path / "deep", env, "--object-format=sha256")
    bot = clone(f"file://{upstream.path}", tmp_path / "bot", env)
    world = World(upstream, person, bot, MemoryForge(upstream))
    assert len(world.run(NEW).commit) == 64
    assert world.run(OTHER).done is Done.UPDATED
    world.quiet(OTHER)
    assert world.run({}).done is Done.CLOSED


def test_names_bytes_and_modes_survive(world):
    files = {
        HOSTILE: bytes(range(256)),
        "-rf": b"",
        "k8s/run.sh": b"#!/bin/sh\r\n",
        "k8s/shop/crlf.yaml": b"a: 1\r\nb: 2\r\n",
        "README.md": None,
    }
    first = world.run(files)
    expected = {**FILES, **files}
    assert world.contents(first.branch) == {path: content for path, content in expected.items() if content is not None}
    assert world.upstream.git("ls-tree", first.commit, "k8s/run.sh").startswith("100755 ")
    world.quiet(files)
    world.person_pushes(first.branch)
    world.run(files)
    assert "\x1b" not in world.comments(first.number)[0]


# --- the base moves ---------------------------------------------------------------------------------------------------


def test_a_base_that_moved_elsewhere_leaves_the_branch(world):
    first = world.run(NEW)
    world.person.write({"README.md": b"new\n"})
    second = world.quiet(NEW)
    assert (second.done, second.commit) == (Done.UNCHANGED, first.commit)


@pytest.mark.parametrize(
    ("change", "again"),
    [
        ({"k8s/shop/cart.yaml": b"theirs\n"}, NEW),
        ({"k8s/shop/cart.yaml": None}, NEW),
        ({"k8s/shop/add.yaml": b"theirs\n"}, NEW),
    ],
)
def test_a_base_that_moved_below_gets_a_new_commit(world, change, again):
    first = world.run(NEW)
    base = world.person.write(change)
    second = world.run(again)
    assert (second.done, second.number, second.branch) == (Done.UPDATED, first.number, first.branch)
    assert world.upstream.git("rev-parse", f"{second.commit}^") == base
    assert proposal_in(world.only().body).commit == second.commit
    world.quiet(again)


def test_a_run_that_saw_an_older_base_does_not_undo_a_newer_one(world):
    old = world.ask(OTHER)
    world.person.write({"k8s/shop/cart.yaml": b"theirs\n"})
    first = world.run(NEW)
    outcome = world.quiet(old)
    assert (outcome.done, outcome.commit) == (Done.UNCHANGED, first.commit)
    assert "newer main" in outcome.notes[0]


def test_a_base_without_that_commit_is_an_error(world):
    asked = world.ask(NEW)
    world.person.git("commit", "-q", "--amend", "--allow-empty", "-m", "other")
    world.person.git("push", "-qf", "origin", "main")
    with pytest.raises(RemoteError, match="run again"):
        world.run(asked)


# --- people -----------------------------------------------------------------------------------------------------------


def diverge_on_top(world, branch):
    world.person_pushes(branch)


def diverge_merge(world, branch):
    world.person.write({"README.md": b"moved\n"})
    world.person.git("fetch", "-q", "origin", f"+refs/heads/{branch}:refs/heads/{branch}")
    world.person.git("switch", "-q", branch)
    world.person.git("merge", "-q", "--no-edit", "main")
    world.person.git("push", "-q", "origin", branch)


def amended(*options: str, path: str = "", content: bytes = b"", **dates: str):
    def amend(world, branch):
        world.person.git("fetch", "-q", "origin", f"+refs/heads/{branch}:refs/heads/{branch}")
        world.person.git("switch", "-q", branch)
        if path:
            (world.person.path / path).write_bytes(content)
            world.person.git("add", path)
        world.person.git("commit", "-q", "--amend", *options, **dates)
        world.person.git("push", "-qf", "origin", branch)

    return amend


def diverge_mode(world, branch):
    """The author, the time and the bytes of ours, and another mode."""
    tip = world.tip(branch)
    index = {**world.person.environment, "GIT_INDEX_FILE": str(world.person.path / ".git/scratch")}
    place = replace(world.person, environment=index)
    place.git("fetch", "-q", "origin", branch)
    place.git("read-tree", tip)
    blob = place.git("rev-parse", f"{tip}:k8s/shop/add.yaml")
    place.git("update-index", "--cacheinfo", f"100755,{blob},k8s/shop/add.yaml")
    raw = place.git("cat-file", "commit", tip).replace(
        place.git("rev-parse", f"{tip}^{{tree}}"), place.git("write-tree")
    )
    made = place.git("hash-object", "-t", "commit", "-w", "--stdin", stdin=(raw + "\n").encode())
    place.git("push", "-qf", "origin", f"{made}:refs/heads/{branch}")


def diverge_reset(world, branch):
    world.person.git("push", "-qf", "origin", f"main:{branch}")


def diverge_below(world, branch):
    """Ours, on a commit that the base lacks."""
    world.person.git("fetch", "-q", "origin", f"+refs/heads/{branch}:refs/heads/{branch}")
    world.person.git("switch", "-q", "--detach", "main")
    world.person.git("commit", "-q", "--allow-empty", "-m", "below")
    below = world.person.git("rev-parse", "HEAD")
    raw = world.person.git("cat-file", "commit", branch).replace(world.upstream.git("rev-parse", "main"), below)
    time = world.person.git("show", "-s", "--format=%ct %cd", "--date=format:%z", below)
    raw = re.sub(r"(?m)^((?:author|committer) .*>) .*$", rf"\1 {time}", raw)
    made = world.person.git("hash-object", "-t", "commit", "-w", "--stdin", stdin=(raw + "\n").encode())
    world.person.git("push", "-qf", "origin", f"{made}:refs/heads/{branch}")


DIVERGED = {
    "a commit on top": (diverge_on_top, "is not one of this proposal"),
    "the base merged in": (diverge_merge, "is a merge"),
    "amended": (amended("--no-edit", path="k8s/shop/add.yaml", content=b"mine"), "was amended"),
    "amended at once": (amended("--no-edit", **THEN), "was amended"),
    "reworded": (amended("-m", "mine"), "is not one of this proposal"),
    "signed off": (amended("--no-edit", "--reset-author"), "was amended"),
    "a mode": (diverge_mode, "has other files than it says"),
    "reset": (diverge_reset, "is not one of this proposal"),
    "a commit below": (diverge_below, "which main does not have"),
}


@pytest.mark.parametrize("files", [NEW, OTHER, {}], ids=["same", "new evidence", "not needed"])
@pytest.mark.parametrize("how", DIVERGED)
def test_a_branch_that_somebody_pushed_to_is_left(world, how, files):
    first = world.run(NEW)
    change, reason = DIVERGED[how]
    change(world, first.branch)
    tip = world.tip(first.branch)
    outcome = world.run(files, reason="the policies are there")
    assert (outcome.done, outcome.number, outcome.commit) == (Done.HELD, first.number, tip)
    assert reason in outcome.notes[0]
    assert world.tip(first.branch) == tip
    (comment,) = world.comments(first.number)
    assert reason in comment
    assert "reset it to " + first.commit in comment
    assert ("the policies are there" in comment) == (not files)
    for content in files.values():
        assert f"+{content.decode().splitlines()[-1]}" in comment.replace("\\r", "")
    world.quiet(files, reason="the policies are there")


def test_a_branch_that_was_handed_back_is_ours_again(world):
    first = world.run(NEW)
    world.person_pushes(first.branch)
    world.run(OTHER)
    world.person.git("push", "-qf", "origin", f"{first.commit}:refs/heads/{first.branch}")
    second = world.run(OTHER)
    assert (second.done, second.number) == (Done.UPDATED, first.number)
    assert world.comments(first.number) == [], "what was said about it is taken back"


def test_a_long_patch_is_cut_and_shows_what_it_has(world):
    first = world.run(NEW)
    world.person_pushes(first.branch)
    evil = b"".join(b"````\n@somebody <b> \x1b[31m\xff %d\n" % number for number in range(200))
    world.run({"k8s/evil.yaml": evil})
    (comment,) = world.comments(first.number)
    assert len(comment) <= world.forge.comment_limit
    assert re.search(r"\n`````diff\n(.*\n)+`````\n\n\(\d+ more lines are left out\.\)\n$", comment)
    assert "\x1b" not in comment


def test_a_hostile_name_in_a_commit_is_text(world):
    first = world.run(NEW)
    person = Author("`<b>@all` [x](http://x)".replace("<b>", ""), "a@b")
    made = world.remote().repository.commit(first.commit, {"x": b"1"}, "m", person)
    world.bot.git("push", "-qf", "origin", f"{made}:refs/heads/{first.branch}")
    world.run(NEW)
    (comment,) = world.comments(first.number)
    assert re.search(r"`its last commit, \w{12} by '@all' \[x\]\(http://x\), is not one of this proposal`", comment)


@pytest.mark.parametrize("delete", [False, True])
def test_what_people_closed_is_not_opened_again(world, delete):
    first = world.run(NEW)
    world.close(first.number)
    if delete:
        world.delete(first.branch)
    outcome = world.quiet(NEW)
    assert (outcome.done, outcome.number) == (Done.DECLINED, first.number)
    assert world.quiet({}).done is Done.NOTHING
    second = world.run(OTHER)
    assert (second.done, second.number) == (Done.OPENED, 2)


def test_what_people_closed_after_an_update_is_not_opened_again(world):
    first = world.run(NEW)
    world.run(OTHER)
    world.close(first.number)
    assert world.quiet(OTHER).done is Done.DECLINED
    again = world.run(NEW)
    assert (again.done, again.number, again.branch) == (Done.OPENED, 2, first.branch)


def test_a_deleted_branch_closes_its_request_and_declines(world):
    first = world.run(NEW)
    world.delete(first.branch)
    assert world.quiet(NEW).done is Done.DECLINED
    second = world.run(OTHER)
    assert (second.done, second.number) == (Done.OPENED, 2)
    assert second.branch != first.branch


def test_a_request_whose_branch_is_gone_gets_it_again(world):
    # A forge other than GitHub leaves such a request open.
    first = world.run(NEW)
    world.forge.refresh = lambda: None
    world.delete(first.branch)
    assert world.run(NEW) == replace(first, done=Done.UPDATED)
    world.delete(first.branch)
    assert world.run({}).done is Done.CLOSED
    assert world.branches() == set()


def test_a_request_that_was_pointed_elsewhere_is_left(world):
    first = world.run(NEW)
    world.upstream.git("branch", "release", "main")
    world.forge.kept[first.number] = replace(world.only(), base="release")
    outcome = world.run(OTHER)
    assert (outcome.done, outcome.commit) == (Done.HELD, first.commit)
    assert "it goes to release now" in world.comments(first.number)[0]
    assert "reset" not in world.comments(first.number)[0]
    world.quiet(OTHER)


@pytest.mark.parametrize("body", ["by hand", str(Proposal("9" * 64, "1" * 64, "2" * 40))])
def test_a_request_that_is_not_marked_as_ours_is_left(world, body):
    first = world.run(NEW)
    world.forge.kept[first.number] = replace(world.only(), body=body)
    outcome = world.run(NEW)
    assert (outcome.done, outcome.number) == (Done.HELD, first.number)
    assert world.only().body == body
    assert world.comments(first.number) == []


@pytest.mark.parametrize("change", [{"own": False}, {"branch": "feature"}])
def test_a_mark_alone_makes_no_request_ours(world, change):
    body = str(Proposal(SCOPE, content_digest(NEW), "2" * 40))
    forged = Request(7, "u", RequestState.OPEN, "t", body, "netpol-gen/x", "main", "0" * 40, own=True)
    world.upstream.git("branch", "feature", "main")
    world.forge.kept[7], world.forge.said[7], world.forge.last = replace(forged, **change), [], 7
    before = world.forge.kept[7]
    assert world.run(NEW).number == 8
    assert world.run({}).number == 8
    assert (world.forge.kept[7].body, world.forge.kept[7].state) == (before.body, before.state)
    assert world.forge.said[7] == []


# --- not needed any more ----------------------------------------------------------------------------------------------


def test_a_request_that_is_not_needed_is_closed_with_the_reason(world):
    first = world.run(NEW, more=("part",))
    outcome = world.run({}, reason="the base has all of it.")
    assert (outcome.done, outcome.number) == (Done.CLOSED, first.number)
    assert world.requests() == []
    assert world.branches() == set()
    part, closed = world.comments(first.number)
    assert "part" in part
    assert "not needed any more: the base has all of it." in closed
    assert proposal_in(world.forge.request(first.number).body).closed == "not-needed"
    assert world.quiet({}).done is Done.NOTHING


def test_what_we_closed_may_be_opened_again(world):
    first = world.run(NEW)
    world.run({})
    second = world.run(NEW)
    assert (second.done, second.number, second.branch) == (Done.OPENED, 2, first.branch)
    world.quiet(NEW)


def test_what_we_closed_and_people_opened_is_live(world):
    first = world.run(NEW)
    world.run({}, reason="gone")
    world.bot.git("push", "-q", "origin", f"{first.commit}:refs/heads/{first.branch}")
    world.forge.kept[first.number] = replace(world.forge.request(first.number), state=RequestState.OPEN)
    assert world.run(NEW).done is Done.UPDATED
    assert proposal_in(world.only().body).closed == ""
    assert world.comments(first.number) == []


def test_nothing_to_propose_and_nothing_open(world):
    outcome = world.quiet({}, reason="no policy is missing")
    assert (outcome.done, outcome.notes) == (Done.NOTHING, ("no policy is missing",))


def test_branches_of_a_killed_run_are_deleted_and_no_others(world):
    repository = world.remote().repository
    run = world.run(NEW)
    world.run({})
    keep = {}
    mine = run.commit
    main = world.upstream.git("rev-parse", "main")
    on_top = repository.commit(mine, {"x": b"y"}, "by hand", Author("P", "p@p"))
    prefix = f"netpol-gen/{SCOPE[:8]}-"
    for name, commit in {
        f"{prefix}{content_digest(NEW)[:12]}": mine,
        f"{prefix}somebodys-copy": mine,
        f"{prefix}0123456789ab": on_top,
        f"{prefix}main": main,
        "netpol-gen/ffffffff-0123456789ab": mine,
        "netpol-gen/x": mine,
    }.items():
        world.bot.git("push", "-q", "origin", f"{commit}:refs/heads/{name}")
        keep[name] = commit
    world.forge.kept.clear()
    world.run({})
    keep.pop(f"{prefix}{content_digest(NEW)[:12]}")
    assert world.branches() == set(keep)


# --- several at once --------------------------------------------------------------------------------------------------


def opened_twice(world) -> tuple[int, int]:
    """What two runs with different input leave that both saw nothing open."""
    first = world.run(NEW)
    kept = world.forge.kept.pop(1)
    second = world.run(OTHER)
    world.forge.kept[1] = kept
    if f"refs/heads/{kept.branch}" not in world.upstream.refs():
        world.bot.git("push", "-q", "origin", f"{first.commit}:refs/heads/{kept.branch}")
    assert len(world.requests()) == 2
    return first.number, second.number


@pytest.mark.parametrize("files", [NEW, OTHER])
def test_of_several_the_oldest_stays(world, files):
    old, new = opened_twice(world)
    outcome = world.run(files)
    assert (outcome.done, outcome.number) == (Done.UPDATED, old)
    assert world.only().number == old
    assert world.contents(world.only().branch) == {**FILES, **files}
    assert world.branches() == {world.only().branch}
    assert "open for the same" in world.comments(new)[0]
    assert proposal_in(world.forge.request(new).body).closed == "duplicate"
    world.quiet(files)
    world.run({})
    assert world.run(OTHER).done is Done.OPENED, "our closing is no declining"


def test_one_of_several_that_somebody_pushed_to_is_left(world):
    old, new = opened_twice(world)
    tip = world.person_pushes(world.forge.request(new).branch)
    outcome = world.run(OTHER)
    assert outcome.number == old
    assert any("is left, because" in note for note in outcome.notes)
    assert world.tip(world.forge.request(new).branch) == tip
    assert len(world.requests()) == 2


def test_several_that_are_not_needed_are_all_closed(world):
    opened_twice(world)
    assert world.run({}).done is Done.CLOSED
    assert world.requests() == []
    assert world.branches() == set()


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_a_protected_branch_is_not_pushed_to(world):
    asked = world.ask(NEW)
    world.protect(asked.branch)
    steps = Steps()
    with pytest.raises(RemoteError, match="is protected"):
        world.run(asked, steps)
    assert steps.changes == []


def test_a_rule_of_the_server_is_an_error_that_names_it(world):
    hook(world.upstream, "pre-receive", "echo 'GH013: no robots'; exit 1")
    with pytest.raises(RemoteError, match=r"does not take netpol-gen/.*GH013: no robots"):
        world.run(NEW)
    assert world.requests() == []


class Overtaken(Steps):
    """Lets somebody else go first."""

    def __init__(self, other, at="push"):
        super().__init__()
        self.other, self.at = other, at

    def take(self, name, call):
        if name == self.at and self.other:
            other, self.other = self.other, None
            other()
        return super().take(name, call)


def test_a_lost_lease_is_read_again(world):
    asked = world.ask(NEW)
    outcome = world.run(asked, Overtaken(lambda: world.run(asked)))
    assert outcome.number == world.only().number == 1
    with pytest.raises(RemoteError, match="at the same time: run again"):
        world.run(OTHER, Overtaken(lambda: world.run({**NEW, "k8s/third": b"3"})))
    with pytest.raises(RemoteError, match="at the same time: run again"):
        world.run(OTHER, Overtaken(lambda: world.person_pushes(outcome.branch)))
    assert world.run(OTHER).done is Done.HELD


def test_a_request_that_is_closed_meanwhile_is_not_edited(world):
    world.run(NEW)
    with pytest.raises(RemoteError, match="was closed at the same time: run again"):
        world.run(OTHER, Overtaken(lambda: world.run({}), at="request"))
    assert proposal_in(world.forge.request(1).body).closed == "not-needed"
    assert world.run(OTHER).done is Done.OPENED


@pytest.mark.parametrize("killed", [False, True])
def test_a_branch_that_somebody_has_a_request_for_stays(world, killed):
    first = world.run(NEW)
    world.upstream.git("branch", "release", "main")
    theirs = world.forge.open_request(first.branch, "release", "backport", "by hand")
    # Older than ours, so that ours is the last of the branch's.
    ours, other = world.forge.kept[first.number], world.forge.kept[theirs.number]
    world.forge.kept = {1: replace(other, number=1), 2: replace(ours, number=2)}
    if killed:
        world.forge.kept[2] = replace(ours, number=2, state=RequestState.CLOSED, body=closed_by_us(ours.body))
    world.run({})
    assert [request.number for request in world.requests()] == [1]
    assert world.branches() == {first.branch}


def closed_by_us(body: str) -> str:
    return body.replace(" -->", " closed=not-needed -->")


def test_a_deletion_that_is_refused_is_left(world):
    world.run(NEW)
    world.upstream.git("config", "receive.denyDeletes", "true")
    assert world.run({}).done is Done.CLOSED
    assert len(world.branches()) == 1


@pytest.mark.parametrize("base", ["netpol-gen/x", f"netpol-gen/{SCOPE[:8]}-{content_digest(NEW)[:12]}"])
def test_no_request_goes_to_a_branch_of_ours(world, base):
    with pytest.raises(OptionError, match="is a branch of ours"):
        world.run(NEW, base=base, base_commit="0" * 40)


@pytest.mark.parametrize("base", ["a..b", "x y", "", "\x1b"])
def test_a_base_that_no_branch_can_be_called(world, base):
    with pytest.raises(OptionError, match="is not a branch name"):
        world.run(NEW, base=base, base_commit="0" * 40)


@pytest.mark.parametrize(
    "broken",
    [
        {"scope": "x"},
        {"content": "0" * 64},
        {"files": {**NEW, "README.md": FILES["README.md"]}},
        {"files": {**NEW, "not there": None}},
        {"body": "x" * 5000},
        {"more": ("x" * 5000,)},
    ],
)
def test_a_submission_that_breaks_its_promise_is_a_bug(world, broken):
    asked = replace(world.ask(NEW), **broken)
    if "files" in broken:
        asked = replace(asked, content=content_digest(asked.files))
    with pytest.raises(InvariantError):
        world.run(asked)


def test_digests_depend_on_paths_and_contents_and_not_on_order():
    digests = [
        content_digest(files)
        for files in (
            {},
            {"a": b""},
            {"a": None},
            {"a": b"b", "c": b""},
            {"a": b"", "b": b"c"},
            {"a": b"bc"},
            {"ab": b"c"},
            {"\udcff": b""},
            {"ÿ": b""},
        )
    ]
    assert len(set(digests)) == len(digests)
    assert content_digest({"a": b"1", "b": None}) == content_digest({"b": None, "a": b"1"})
