"""The user's repository through `Repository`: what it reads, the commits it makes, and what it leaves alone."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from netpol_gen.errors import InputError, OptionError
from netpol_gen.prbot.git import Author, Entry, Repository, prefixes
from tests.prbot.repos import BOT, FILES, Place, bare, clone, environment, seeded

HOSTILE = 'k8s/it\'s "new"\n\t\x1b[31m$(x) --end\udcff.yaml'


@pytest.fixture
def person(tmp_path):
    return seeded(tmp_path, environment(tmp_path / "home"))[1]


@pytest.fixture
def repository(person):
    return Repository.open(person.path, person.environment)


def snapshot(place: Place) -> dict[str, object]:
    """All that is the user's: refs, HEAD, index, FETCH_HEAD, configuration, the working tree with times."""
    git = Path(place.git("rev-parse", "--absolute-git-dir"))
    own = {
        name: (git / name).read_bytes() for name in ("HEAD", "index", "config", "FETCH_HEAD") if (git / name).exists()
    }
    logs = {path: path.read_bytes() for path in sorted((git / "logs").rglob("*")) if path.is_file()}
    files = {
        path: (path.lstat().st_mtime_ns, path.lstat().st_mode)
        for path in sorted(place.path.rglob("*"))
        if ".git" not in path.parts
    }
    return {**own, "refs": place.refs(), "logs": logs, "files": files}


def objects(place: Place) -> set[str]:
    listed = place.git("cat-file", "--batch-all-objects", "--batch-check=%(objectname)")
    return set(listed.splitlines())


def test_a_directory_inside_opens_the_whole_repository(person):
    assert Repository.open(person.path / "k8s", person.environment).top == person.path


@pytest.mark.parametrize("where", ["none", "bare", "missing"])
def test_no_repository_with_files_is_an_option_error(tmp_path, where):
    env = environment(tmp_path / "home", GIT_CEILING_DIRECTORIES=str(tmp_path))
    (tmp_path / "none").mkdir()
    bare(tmp_path / "bare", env)
    with pytest.raises(OptionError, match=where):
        Repository.open(tmp_path / where, env)


def test_no_git_and_an_old_git_are_option_errors(tmp_path):
    env = environment(tmp_path / "home")
    with pytest.raises(OptionError, match="cannot run git"):
        Repository.open(tmp_path, env | {"PATH": str(tmp_path / "home")})
    old = tmp_path / "home" / "git"
    old.write_text("#!/bin/sh\necho git version 2.30.9\n")
    old.chmod(0o755)
    with pytest.raises(OptionError, match=r"2\.31 or later"):
        Repository.open(tmp_path, env | {"PATH": str(tmp_path / "home")})


def test_variables_that_point_elsewhere_are_not_followed(tmp_path, person):
    other = environment(tmp_path / "home") | {
        "GIT_DIR": str(tmp_path / "nowhere"),
        "GIT_INDEX_FILE": str(tmp_path / "index"),
        "GIT_OBJECT_DIRECTORY": str(tmp_path / "objects"),
        "GIT_TRACE": str(tmp_path / "trace"),
    }
    repository = Repository.open(person.path, other)
    repository.commit(repository.resolve("HEAD"), {"a": b"x"}, "m", BOT)
    assert {path.name for path in tmp_path.iterdir()} == {"home", "person", "upstream.git"}


def test_a_tree_tells_files_symlinks_and_submodules_apart(person, repository):
    (person.path / "k8s/link.yaml").symlink_to("shop/cart.yaml")
    person.git("add", "-A")
    person.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},k8s/vendor")
    person.git("commit", "-qm", "more")
    tree = repository.tree(repository.resolve("HEAD"), "k8s")
    assert {path: entry.mode for path, entry in tree.items()} == {
        "k8s/link.yaml": "120000",
        "k8s/run.sh": "100755",
        "k8s/shop/cart.yaml": "100644",
        "k8s/shop/crlf.yaml": "100644",
        "k8s/vendor": "160000",
    }
    plain = [path for path, entry in tree.items() if entry.mode.startswith("100")]
    contents = repository.blobs(tree[path].sha for path in plain)
    assert {path: contents[tree[path].sha] for path in plain} == {p: FILES[p] for p in plain}


def test_names_that_look_like_options_or_patterns_are_names(person, repository):
    names = ["-x", "--help", ":(glob)*", "*", "k8s/[ab]", HOSTILE]
    base = repository.resolve("HEAD")
    made = repository.commit(base, dict.fromkeys(names, b"x\n"), "m", BOT)
    assert set(repository.changed(base, made)) == set(names)
    for name in names:
        assert set(repository.tree(made, name)) == {name}
        assert repository.changed(base, made, name) == (name,)
    assert set(repository.entries_at(made, [*names, "k8s"])) == {*names, "k8s"}
    for name in ("--help", "-x", "HEAD:k8s", "main --", "@{-1}x", "no\nsuch"):
        with pytest.raises(InputError, match="not a commit"):
            repository.resolve(name)
    for name in ("a\0b", "\ud800"):
        with pytest.raises(OptionError, match="cannot be asked about such a name"):
            repository.resolve(name)


def test_a_commit_keeps_modes_and_bytes(repository):
    base = repository.resolve("HEAD")
    files = {
        "k8s/run.sh": b"#!/bin/sh\nexit\n",
        "k8s/shop/crlf.yaml": b"a\r\nb\r\n",
        "k8s/new.bin": bytes(range(256)),
        "k8s/empty": b"",
        "README.md": None,
    }
    made = repository.commit(base, files, "subject\n\nbody", BOT)
    tree = repository.tree(made)
    assert tree["k8s/run.sh"].mode == "100755"
    assert tree["k8s/new.bin"].mode == "100644"
    blobs = repository.blobs(entry.sha for entry in tree.values())
    assert {path: blobs[entry.sha] for path, entry in tree.items()} == {
        **{path: content for path, content in {**FILES, **files}.items() if content is not None},
    }
    assert set(repository.changed(base, made)) == set(files)


def test_attributes_and_settings_do_not_change_what_is_written(person):
    person.write({".gitattributes": b"*.yaml text eol=crlf filter=f\n*.bin -diff\n"})
    person.git("config", "core.autocrlf", "true")
    person.git("config", "filter.f.clean", "touch cleaned; cat")
    person.git("config", "i18n.commitEncoding", "latin1")
    repository = Repository.open(person.path, person.environment)
    made = repository.commit(repository.resolve("HEAD"), {"a.yaml": b"x\r\ny\n"}, "é", BOT)
    assert person.show(made, "a.yaml") == b"x\r\ny\n"
    assert "encoding" not in person.git("cat-file", "commit", made)
    assert not (person.path / "cleaned").exists()


def test_a_file_may_make_room_for_a_directory_and_back(repository):
    base = repository.resolve("HEAD")
    deep = repository.commit(base, {"README.md": None, "README.md/a": b"x"}, "m", BOT)
    back = repository.commit(deep, {"README.md": b"y", "README.md/a": None}, "m", BOT)
    assert repository.blobs([repository.tree(back)["README.md"].sha]).popitem()[1] == b"y"
    with pytest.raises(InputError, match=r"README\.md: would have to go"):
        repository.commit(base, {"README.md/a": b"x"}, "m", BOT)
    with pytest.raises(InputError, match=r"^k8s.*: would have to go"):
        repository.commit(base, {"k8s": b"x"}, "m", BOT)
    with pytest.raises(InputError, match="new"):
        repository.commit(base, {"new": b"x", "new/a": b"x"}, "m", BOT)


def test_the_same_input_makes_the_same_commit(tmp_path, person, repository):
    base = repository.resolve("HEAD")
    other = Repository.open(
        clone(f"file://{tmp_path}/upstream.git", tmp_path / "b", person.environment).path,
        {
            **environment(tmp_path / "home2"),
            "TZ": "Asia/Tokyo",
            "GIT_AUTHOR_NAME": "x",
            "GIT_COMMITTER_DATE": "1 +0000",
        },
    )
    files = {"a": b"1", "k8s/run.sh": None}
    made = repository.commit(base, files, "m", BOT)
    assert other.commit(base, dict(reversed(files.items())), "m", BOT) == made
    commit = repository.read_commit(made)
    assert commit.time == repository.read_commit(base).time
    assert commit.author == commit.committer == f"{BOT.ident} {commit.time}"
    assert commit.message == "m\n"


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "../x",
        "a/../../x",
        "a//b",
        "./a",
        "a/",
        ".git/config",
        ".GIT/hooks/x",
        "a/.git/x",
        "a\0b",
        "a\ud800",
        ".git /x",
        "git~1/config",
        ".g\u200cit/config",
        ".git::$INDEX_ALLOCATION/x",
    ],
)
def test_paths_that_lead_out_are_refused(repository, path):
    with pytest.raises(InputError):
        repository.commit(repository.resolve("HEAD"), {path: b"x"}, "m", BOT)


def test_prefixes():
    assert prefixes("a/b/c") == ["a", "a/b", "a/b/c"]


@pytest.mark.parametrize("path", ["link", "link/x", "vendor", "vendor/x", "dirlink/shop/cart.yaml"])
def test_nothing_is_written_through_a_symlink_or_a_submodule(person, repository, path):
    (person.path / "link").symlink_to("/etc/passwd")
    (person.path / "dirlink").symlink_to("k8s")
    person.git("add", "-A")
    person.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},vendor")
    person.git("commit", "-qm", "links")
    for content in (b"x", None):
        with pytest.raises(InputError, match=r"leads through a (symlink|submodule)"):
            repository.commit(repository.resolve("HEAD"), {path: content}, "m", BOT)


@pytest.mark.parametrize("name", ["", " ", "a\nb", "a <b", "x\x1b[1m"])
def test_an_author_that_a_commit_cannot_have_is_refused(name):
    with pytest.raises(OptionError):
        Author(name, "a@b")


def test_changes_have_both_sides(repository):
    base = repository.resolve("HEAD")
    made = repository.commit(base, {"README.md": None, "k8s/new": b"n", "k8s/run.sh": b"r"}, "m", BOT)
    old, new = repository.tree(base), repository.tree(made)
    assert [(c.path, c.old, c.new) for c in repository.changes(base, made)] == [
        ("README.md", old["README.md"], None),
        ("k8s/new", None, new["k8s/new"]),
        ("k8s/run.sh", old["k8s/run.sh"], Entry("100755", new["k8s/run.sh"].sha)),
    ]
    assert repository.changed(base, made, "k8s") == ("k8s/new", "k8s/run.sh")


def test_dirty_says_what_differs_and_refreshes_nothing(person, repository):
    assert repository.dirty() == ()
    (person.path / "k8s/shop/cart.yaml").write_bytes(b"changed")
    (person.path / "k8s/-new\n.yaml").write_bytes(b"new")
    (person.path / "README.md").unlink()
    person.git("mv", "k8s/run.sh", "k8s/walk.sh")
    os.utime(person.path / "k8s/shop/crlf.yaml", (1, 1))
    before = snapshot(person)
    assert repository.dirty("k8s") == ("k8s/-new\n.yaml", "k8s/run.sh", "k8s/shop/cart.yaml", "k8s/walk.sh")
    assert "README.md" in repository.dirty()
    assert snapshot(person) == before


def test_a_preview_applies_and_leaves_no_object(person, repository):
    base = repository.resolve("HEAD")
    files = {"k8s/shop/cart.yaml": b"kind: New\n", "k8s/shop/crlf.yaml": None, "k8s/add.yaml": b"no newline"}
    before = objects(person)
    patch = repository.preview(base, files)
    assert objects(person) == before
    assert patch == repository.diff(base, repository.commit(base, files, "m", BOT))
    person.git("apply", stdin=patch.encode())
    assert (person.path / "k8s/add.yaml").read_bytes() == b"no newline"
    assert not (person.path / "k8s/shop/crlf.yaml").exists()


def test_a_preview_of_a_repository_with_an_odd_name(tmp_path):
    odd = tmp_path / 'a:b "c"\\d'
    odd.mkdir()
    person = seeded(odd, environment(tmp_path / "home"))[1]
    repository = Repository.open(person.path, person.environment)
    assert "+x" in repository.preview(repository.resolve("HEAD"), {"a": b"x"})


def test_a_patch_does_not_depend_on_configuration(person, repository):
    base = repository.resolve("HEAD")
    files = {"k8s/shop/cart.yaml": b"kind: New\n", "k8s/add.yaml": FILES["k8s/shop/cart.yaml"]}
    before = repository.preview(base, files)
    (person.path / ".gitattributes").write_text("*.yaml diff=evil -text\n")
    for key, value in {
        "diff.external": "touch pwned", "diff.evil.textconv": "touch pwned", "diff.evil.command": "touch pwned",
        "diff.noprefix": "true", "diff.renames": "copies", "diff.context": "9", "color.ui": "always",
        "diff.algorithm": "patience", "core.pager": "touch pwned", "diff.mnemonicPrefix": "true",
        "core.fsmonitor": "touch pwned", "core.quotePath": "false",
    }.items():  # fmt: skip
        person.git("config", key, value)
    assert repository.preview(base, files) == before
    assert not (person.path / "pwned").exists()


def test_nothing_of_the_users_is_touched(person, repository):
    (person.path / "k8s/shop/cart.yaml").write_bytes(b"half-finished work")
    (person.path / "staged").write_bytes(b"x")
    person.git("add", "staged")
    for hook in ("post-index-change", "reference-transaction", "pre-commit", "post-commit"):
        path = person.path / ".git/hooks" / hook
        path.write_text(f"#!/bin/sh\ntouch {person.path}/hooked\n")
        path.chmod(0o755)
    before = snapshot(person)
    base = repository.resolve("HEAD")
    made = repository.commit(base, {"k8s/shop/cart.yaml": b"x", "staged": b"y"}, "m", BOT)
    repository.preview(base, {"k8s/shop/cart.yaml": b"z"})
    repository.diff(base, made)
    repository.dirty()
    assert snapshot(person) == before


def test_a_linked_worktree_is_a_repository_of_its_own_branch(tmp_path, person):
    person.git("worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    side = Place(tmp_path / "side", person.environment)
    before = snapshot(person), snapshot(side)
    repository = Repository.open(side.path / "k8s", side.environment)
    assert repository.top == side.path
    made = repository.commit(repository.resolve("side"), {"a": b"x"}, "m", BOT)
    assert person.show(made, "a") == b"x"
    assert (snapshot(person), snapshot(side)) == before


def test_sha256(tmp_path):
    env = environment(tmp_path / "home")
    person = seeded(tmp_path, env, "--object-format=sha256")[1]
    repository = Repository.open(person.path, env)
    base = repository.resolve("HEAD")
    made = repository.commit(base, {"README.md": None, "a": b"x"}, "m", BOT)
    assert len(made) == 64
    assert repository.changed(base, made) == ("README.md", "a")


def test_many_files_in_few_calls(repository):
    files = {f"k8s/{number % 50}/{'n' * 150}{number}.yaml": b"%d" % number for number in range(3000)}
    base = repository.resolve("HEAD")
    made = repository.commit(base, files, "m", BOT)
    assert set(repository.changed(base, made)) == set(files)


def test_interrupted_calls_leave_no_child(tmp_path):
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    slow.write_text(f"#!/bin/sh\nsleep 60 & echo $! > {tmp_path}/child\nwait\n")
    slow.chmod(0o755)
    from netpol_gen.errors import RemoteError
    from netpol_gen.prbot.process import Git

    git = Git(tmp_path, {"PATH": f"{slow.parent}:{os.environ['PATH']}"})
    with pytest.raises(RemoteError, match="longer than 1 seconds"):
        git.run(["fetch"], seconds=1)
    child = (tmp_path / "child").read_text().strip()
    state = subprocess.run(["ps", "-o", "stat=", "-p", child], capture_output=True, text=True, check=False).stdout
    assert not state.strip() or state.startswith("Z")
