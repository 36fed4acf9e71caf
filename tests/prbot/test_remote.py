"""`Remote` against bare repositories: fetching into no branch, pushing with a lease, shallow clones, refusals."""

from __future__ import annotations

import pytest

from netpol_gen.errors import InvariantError, OptionError, RemoteError
from netpol_gen.prbot.git import Repository
from netpol_gen.prbot.remote import Pushed, Refusal, Rejected, Remote
from tests.prbot.repos import BOT, Place, bare, clone, environment, remote_of, seeded
from tests.prbot.test_git import snapshot

BRANCH = "netpol-gen/0123abcd-456789abcdef"


@pytest.fixture
def both(tmp_path):
    return seeded(tmp_path, environment(tmp_path / "home"))


@pytest.fixture
def upstream(both):
    return both[0]


@pytest.fixture
def person(both):
    return both[1]


def hook(place: Place, name: str, script: str) -> None:
    path = place.path / "hooks" / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def one_commit(remote: Remote, content: bytes = b"x") -> str:
    return remote.repository.commit(remote.fetch("main"), {"a": content}, "m", BOT)


def test_the_default_branch_is_what_the_remote_says(upstream, person):
    remote = remote_of(person)
    assert remote.default_branch() == "main"
    upstream.git("symbolic-ref", "HEAD", "refs/heads/none")
    with pytest.raises(RemoteError, match="does not say which branch is its default"):
        remote.default_branch()


def test_fetching_changes_no_ref_and_no_file(tmp_path, upstream, person):
    user = clone(f"file://{upstream.path}", tmp_path / "user", person.environment)
    tip = person.write({"k8s/new.yaml": b"new\n"})
    before = snapshot(user)
    remote = remote_of(user)
    assert remote.fetch("main") == tip
    assert remote.repository.tree(tip, "k8s/new.yaml")
    assert snapshot(user) == before
    with pytest.raises(RemoteError, match="origin has no branch none"):
        remote.fetch("none")


def test_only_branches_of_that_prefix(upstream, person):
    for ref in ("netpol-gen/a", "netpol-gen/b/c", "netpol-genX", "x/refs/heads/netpol-gen/d", "x/refs/heads/y", "y"):
        upstream.git("update-ref", f"refs/heads/{ref}", "main")
    upstream.git("update-ref", "refs/tags/netpol-gen/t", "main")
    remote = remote_of(person)
    assert set(remote.branches("netpol-gen/")) == {"netpol-gen/a", "netpol-gen/b/c"}
    assert remote.head("d") is None
    assert remote.head("y") == remote.fetch("main")


@pytest.mark.parametrize("name", ["", "-x", "a..b", "a b", "x.lock", "a\nb", "a:b", "@{", "a/", "/a", "*", "\x1b"])
def test_names_that_no_branch_can_have(person, name):
    for call in (remote_of(person).head, remote_of(person).fetch):
        if name == "-x":
            assert remote_of(person).head(name) is None
        else:
            with pytest.raises(OptionError, match="is not a branch name"):
                call(name)


@pytest.mark.parametrize("name", ["", "--upload-pack=touch pwned", "none", "a\nb"])
def test_names_that_no_remote_has(person, name):
    with pytest.raises(OptionError, match="is not a remote"):
        remote_of(person, name=name)


def test_a_remote_that_runs_a_program_is_refused(person):
    person.git("config", "protocol.ext.allow", "always")
    person.git("remote", "add", "evil", f"ext::touch {person.path}/pwned")
    with pytest.raises(RemoteError, match="'ext' not allowed"):
        remote_of(person, name="evil").fetch("main")
    assert not (person.path / "pwned").exists()


def test_a_remote_that_pushes_to_two_places_is_refused(person):
    person.git("remote", "set-url", "--add", "--push", "origin", "https://a.example/x")
    person.git("remote", "set-url", "--add", "--push", "origin", "https://b.example/x")
    with pytest.raises(OptionError, match="2 addresses"):
        remote_of(person)


def test_a_push_needs_the_branch_to_be_where_it_was(upstream, person):
    remote = remote_of(person)
    first, second = one_commit(remote), one_commit(remote, b"y")
    before = snapshot(person)
    assert remote.push(first, BRANCH, None) == Pushed()
    assert remote.push(first, BRANCH, None) == Pushed(), "it has it already"
    for expect in (None, second):
        found = remote.push(second, BRANCH, expect)
        assert isinstance(found, Rejected)
        assert found.reason is Refusal.STALE
    assert upstream.refs()[f"refs/heads/{BRANCH}"] == first
    assert snapshot(person) == before
    assert remote.push(second, BRANCH, first) == Pushed()
    assert isinstance(remote.delete(BRANCH, first), Rejected)
    assert remote.delete(BRANCH, second) == Pushed()
    assert f"refs/heads/{BRANCH}" not in upstream.refs()
    assert isinstance(remote.push(first, BRANCH, second), Rejected), "deleted by somebody"
    assert snapshot(person) == before


def test_only_branches_of_ours_are_pushed_to(upstream, person):
    remote = remote_of(person)
    before = upstream.refs()
    for branch in ("main", "netpol-gen", "netpol-genx", "x/netpol-gen/y"):
        with pytest.raises(InvariantError):
            remote.push(one_commit(remote), branch, None)
        with pytest.raises(InvariantError):
            remote.delete(branch, one_commit(remote))
    assert upstream.refs() == before


@pytest.mark.parametrize(
    ("name", "script"),
    [
        ("pre-receive", "echo 'GH006: Protected branch \033[31mupdate failed'; exit 1"),
        ("update", "echo 'GH013: Repository rule violations' >&2; exit 1"),
    ],
)
def test_a_rule_of_the_server_is_named(upstream, person, name, script):
    hook(upstream, name, script)
    remote = remote_of(person)
    found = remote.push(one_commit(remote), BRANCH, None)
    assert isinstance(found, Rejected)
    assert found.reason is Refusal.DECLINED
    assert "hook declined" in found.said
    assert "GH0" in found.said
    assert found.said.isprintable()


def test_deleting_may_be_forbidden(upstream, person):
    remote = remote_of(person)
    commit = one_commit(remote)
    remote.push(commit, BRANCH, None)
    upstream.git("config", "receive.denyDeletes", "true")
    found = remote.delete(BRANCH, commit)
    assert isinstance(found, Rejected)
    assert found.reason is Refusal.DECLINED


def test_two_at_the_same_moment_are_a_race_and_not_a_rule(upstream, person):
    remote = remote_of(person)
    (upstream.path / "refs/heads/netpol-gen").mkdir()
    (upstream.path / f"refs/heads/{BRANCH}.lock").touch()
    found = remote.push(one_commit(remote), BRANCH, None)
    assert isinstance(found, Rejected)
    assert found.reason is Refusal.STALE


def test_no_remote_at_all_is_a_remote_error(tmp_path, person):
    person.git("remote", "set-url", "origin", f"file://{tmp_path}/none")
    with pytest.raises(RemoteError, match=r"origin: .*does not"):
        remote_of(person).fetch("main")
    with pytest.raises(RemoteError, match="origin: "):
        remote_of(person).push("0" * 40, BRANCH, None)


def test_hooks_of_the_clone_do_not_run(tmp_path, person):
    remote = remote_of(person)
    for name in ("pre-push", "reference-transaction", "post-index-change"):
        path = person.path / ".git/hooks" / name
        path.write_text(f"#!/bin/sh\ntouch {tmp_path}/hooked\nexit 1\n")
        path.chmod(0o755)
    assert remote.push(one_commit(remote), BRANCH, None) == Pushed()
    assert not (tmp_path / "hooked").exists()


# --- shallow clones ---------------------------------------------------------------------------------------------------


@pytest.fixture
def history(person):
    return [person.write({"n": b"%d" % number}) for number in range(6)]


@pytest.fixture
def shallow(tmp_path, upstream, person, history):
    return clone(f"file://{upstream.path}", tmp_path / "shallow", person.environment, "--depth=1")


def commits(place: Place) -> int:
    return int(place.git("rev-list", "--count", "HEAD"))


def test_a_shallow_clone_stays_shallow_while_it_can(upstream, person, shallow, history):
    remote = remote_of(shallow)
    made = remote.repository.commit(remote.fetch("main"), {"a": b"x"}, "m", BOT)
    assert remote.push(made, BRANCH, None) == Pushed()
    assert remote.is_ancestor(history[-1], made)
    moved = person.write({"n": b"moved"})
    assert remote.fetch("main") == moved
    assert remote.repository.changed(history[-1], moved) == ("n",)
    assert remote.repository.shallow
    assert commits(shallow) == 1
    assert upstream.git("rev-parse", f"{BRANCH}~1") == history[-1]


def test_a_shallow_clone_is_deepened_when_history_is_asked_for(shallow, history):
    remote = remote_of(shallow)
    base = remote.fetch("main")
    assert remote.is_ancestor(history[0], base)
    assert not remote.repository.shallow
    assert remote.merge_base(history[0], base) == history[0]


def test_a_commit_outside_a_shallow_clone_knows_its_parent(upstream, person, shallow, history):
    made = remote_of(person).repository.commit(history[2], {"a": b"x"}, "m", BOT)
    remote_of(person).push(made, BRANCH, None)
    remote = remote_of(shallow)
    remote.fetch_commit(made)
    assert remote.repository.read_commit(made).parents == (history[2],)
    remote.fetch_commit(history[2])
    assert remote.repository.changed(history[2], made) == ("a",)
    assert remote.repository.shallow
    assert not remote.repository.has(history[1]), "nothing that was not asked for"


def test_pushing_from_a_shallow_clone_whose_base_has_moved(upstream, person, shallow, history):
    remote = remote_of(shallow)
    base = remote.fetch("main")
    person.write({"n": b"moved"})
    person.write({"n": b"twice"})
    made = remote.repository.commit(base, {"a": b"x"}, "m", BOT)
    assert remote.push(made, BRANCH, None) == Pushed()


def test_fetching_does_not_shorten_what_is_there(tmp_path, upstream, person, history):
    some = clone(f"file://{upstream.path}", tmp_path / "some", person.environment, "--depth=4")
    made = remote_of(person).repository.commit(history[-2], {"a": b"x"}, "m", BOT)
    remote_of(person).push(made, BRANCH, None)
    before = commits(some)
    remote = remote_of(some)
    remote.fetch_commit(made)
    remote.fetch_commit(history[-2])
    assert commits(some) == before == 4


def test_a_partial_clone_fetches_what_it_lacks(tmp_path, upstream, person):
    upstream.git("config", "uploadpack.allowFilter", "true")
    partial = clone(
        f"file://{upstream.path}", tmp_path / "p", person.environment, "--filter=blob:none", "--no-checkout"
    )
    repository = Repository.open(partial.path, partial.environment)
    tree = repository.tree("HEAD", "README.md")
    assert repository.blobs([tree["README.md"].sha]).popitem()[1] == b"# shop\n"


def test_unrelated_histories_have_no_merge_base(tmp_path, upstream, person):
    root = person.git("commit-tree", "-m", "root", person.git("rev-parse", "HEAD^{tree}"))
    remote = remote_of(person)
    assert remote.merge_base(root, remote.fetch("main")) is None
    assert not remote.is_ancestor(root, remote.fetch("main"))


def test_sha256_is_pushed_and_fetched(tmp_path):
    (tmp_path / "deep").mkdir()
    upstream, person = seeded(tmp_path / "deep", environment(tmp_path / "home"), "--object-format=sha256")
    remote = remote_of(person)
    made = one_commit(remote)
    assert remote.push(made, BRANCH, None) == Pushed()
    user = clone(f"file://{upstream.path}", tmp_path / "user", person.environment)
    assert remote_of(user).head(BRANCH) == made
    assert remote_of(user).delete(BRANCH, made) == Pushed()


def test_a_remote_may_be_an_address(tmp_path, upstream, person):
    other = bare(tmp_path / "other.git", person.environment)
    remote = remote_of(person, name=str(other.path))
    assert remote.push(remote.repository.resolve("HEAD"), BRANCH, None) == Pushed()
    assert f"refs/heads/{BRANCH}" in other.refs()
