"""A user's repository: what is in it, and new commits in it, by plumbing alone.

Nothing here touches the working tree, the index, HEAD or a branch. Paths are those of the repository, with `/`; bytes
that are not UTF-8 are surrogates in them, as everywhere in Python.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from netpol_gen.errors import InputError, OptionError, Place, printable
from netpol_gen.prbot.process import Finished, Git, Login

SYMLINK = "120000"
SUBMODULE = "160000"
DIRECTORY = "040000"
PLAIN = "100644"
EXECUTABLE = "100755"

# All that a user's configuration could decide about a patch.
PATCH_STYLE = (
    "--no-renames",
    "--no-color",
    "--no-ext-diff",
    "--no-textconv",
    "--text",
    "--full-index",
    "--unified=3",
    "--inter-hunk-context=0",
    "--src-prefix=a/",
    "--dst-prefix=b/",
    "--diff-algorithm=myers",
    "--indent-heuristic",
)

OLDEST_GIT = (2, 31)
"""The first to take settings, and so the token, from GIT_CONFIG_COUNT; an older one would silently do without."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What a tree has at a path: a blob of mode 100644 or 100755, a symlink (120000) or a submodule (160000)."""

    mode: str
    sha: str


@dataclass(frozen=True, slots=True)
class Change:
    """A path whose entry differs between two trees; `None` where it has none."""

    path: str
    old: Entry | None
    new: Entry | None


@dataclass(frozen=True, slots=True)
class Author:
    """Who a commit is by."""

    name: str
    email: str

    def __post_init__(self) -> None:
        """Git would quietly leave these characters out, and the commit would be by another name."""
        for text in (self.name, self.email):
            if not text.strip() or not text.isprintable() or set(text) & set("<>"):
                raise OptionError(f"{printable(text) or 'an empty text'} cannot be part of a commit's author")

    @property
    def ident(self) -> str:
        """As a commit has it."""
        return f"{self.name} <{self.email}>"


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit. `author` and `committer` are whole lines: name, address, seconds, time zone."""

    sha: str
    parents: tuple[str, ...]
    author: str
    committer: str
    message: str

    @property
    def time(self) -> str:
        """Seconds and time zone of the committer's line."""
        return " ".join(self.committer.rsplit(" ", 2)[-2:])


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository with a working tree, reached through `git`; make one with `Repository.open`."""

    git: Git

    @classmethod
    def open(cls, directory: Path, environment: Mapping[str, str], login: Login | None = None) -> Repository:
        """The repository that `directory` lies in; an `OptionError` if there is none, or no usable `git`."""
        git = Git(directory, login.hidden(environment) if login else environment, login)
        version = re.search(r"(\d+)\.(\d+)", text(git.run(["version"]).out))
        if version is None or (int(version[1]), int(version[2])) < OLDEST_GIT:
            raise OptionError(f"git {'.'.join(map(str, OLDEST_GIT))} or later is needed")
        found = git.run(["rev-parse", "--show-toplevel"])
        if found.code:
            raise OptionError(f"{printable(directory)} is not in a git repository with files: {found.why}")
        return cls(replace(git, directory=Path(text(found.out).removesuffix("\n"))))

    @property
    def top(self) -> Path:
        """The directory that paths are relative to."""
        return self.git.directory

    @property
    def shallow(self) -> bool:
        """Whether history is cut off, as CI systems do."""
        return self.line("rev-parse", "--is-shallow-repository") == "true"

    def out(self, *arguments: str, stdin: bytes = b"", extra: Mapping[str, str] | None = None) -> bytes:
        """What a local call printed; an `InputError` if it failed."""
        done = self.git.run(arguments, stdin=stdin, extra=extra)
        if done.code:
            raise failed(arguments[0], done)
        return done.out

    def line(self, *arguments: str, stdin: bytes = b"", extra: Mapping[str, str] | None = None) -> str:
        """The one line that a local call printed."""
        return text(self.out(*arguments, stdin=stdin, extra=extra)).removesuffix("\n")

    def resolve(self, ref: str) -> str:
        """The commit that a name stands for."""
        done = self.git.run(["rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}"])
        if done.code:
            raise InputError(f"{printable(ref)} is not a commit of {printable(self.top)}")
        return text(done.out).strip()

    def has(self, commit: str) -> bool:
        """Whether a commit is here."""
        return self.git.run(["cat-file", "-e", f"{commit}^{{commit}}"]).code == 0

    def read_commit(self, sha: str) -> Commit:
        """A commit as it was written: its parents also where a shallow clone says that it has none."""
        head, _, message = text(self.out("cat-file", "commit", sha)).partition("\n\n")
        fields = [line.partition(" ") for line in head.split("\n")]
        first = {name: value for name, _, value in reversed(fields)}
        parents = tuple(value for name, _, value in fields if name == "parent")
        return Commit(sha, parents, first["author"], first["committer"], message)

    def tree(self, commit: str, path: str = "") -> dict[str, Entry]:
        """Everything below `path` (or at it), by path: files, symlinks and submodules, not directories."""
        return self._entries(["-r", "--end-of-options", commit, *([path] if path else [])])

    def entries_at(self, commit: str, paths: Iterable[str], extra: Mapping[str, str] | None = None) -> dict[str, Entry]:
        """What `commit` has at exactly these paths, directories (040000) among them."""
        wanted = sorted(set(paths))
        found: dict[str, Entry] = {}
        # Paths go as arguments, of which a system takes so many bytes.
        for start in range(0, len(wanted), 100):
            chunk = wanted[start : start + 100]
            found |= self._entries(["-t", "--end-of-options", commit, *chunk], extra)
        return {path: entry for path, entry in found.items() if path in set(wanted)}

    def _entries(self, arguments: Sequence[str], extra: Mapping[str, str] | None = None) -> dict[str, Entry]:
        found = {}
        for record in records(self.out("ls-tree", "-z", "--full-tree", *arguments, extra=extra)):
            about, _, path = record.partition("\t")
            mode, _, sha = about.split(" ")
            found[path] = Entry(mode, sha)
        return found

    def blobs(self, shas: Iterable[str]) -> dict[str, bytes]:
        """The contents of blobs, by name."""
        wanted = sorted(set(shas))
        stream = self.out("cat-file", "--batch", stdin="".join(f"{sha}\n" for sha in wanted).encode())
        found, start = {}, 0
        for sha in wanted:
            end = stream.index(b"\n", start)
            header = text(stream[start:end]).split(" ")
            if header[1:2] != ["blob"]:
                raise InputError(f"{printable(sha)} is not a file's content: {printable(' '.join(header[1:]))}")
            start = end + 1 + int(header[2]) + 1
            found[sha] = stream[end + 1 : start - 1]
        return found

    def changes(self, old: str, new: str, path: str = "", extra: Mapping[str, str] | None = None) -> tuple[Change, ...]:
        """What differs between two commits or trees, below `path`, sorted. A renamed file is two changes."""
        limit = ["--", path] if path else []
        style = ("-r", "-z", "--no-renames", "--raw", "--end-of-options")
        stream = records(self.out("diff-tree", *style, old, new, *limit, extra=extra))
        found = []
        for about, name in zip(stream[::2], stream[1::2], strict=True):
            old_mode, new_mode, old_sha, new_sha, _ = about.removeprefix(":").split(" ")
            sides = ((old_mode, old_sha), (new_mode, new_sha))
            found.append(Change(name, *(Entry(mode, sha) if int(mode) else None for mode, sha in sides)))
        return tuple(sorted(found, key=lambda change: change.path))

    def changed(self, old: str, new: str, path: str = "") -> tuple[str, ...]:
        """The paths of `changes`."""
        return tuple(change.path for change in self.changes(old, new, path))

    def merge_base(self, one: str, other: str) -> str | None:
        """The best common ancestor, if there is one (and it is here: see `Remote.merge_base` for shallow clones)."""
        done = self.git.run(["merge-base", one, other])
        if done.code > 1:
            raise failed("merge-base", done)
        return text(done.out).split("\n")[0] or None

    def dirty(self, path: str = "") -> tuple[str, ...]:
        """Paths below `path` that differ from HEAD in the index or the working tree, new ones among them."""
        # A filter of the user's configuration (LFS, say) may run here; the token is none of its business.
        quiet = Repository(replace(self.git, login=None))
        limit = ["--", path] if path else []
        arguments = ["--porcelain=v1", "-z", "--no-renames", "--untracked-files=all", "--ignore-submodules=dirty"]
        return tuple(sorted({record[3:] for record in records(quiet.out("status", *arguments, *limit))}))

    def preview(self, base: str, files: Mapping[str, bytes | None]) -> str:
        """The patch that would make `files` of `base`. Writes nothing into the repository."""
        with tempfile.TemporaryDirectory() as scratch:
            # A directory of objects for this once; what is there already is read through the alternates.
            kept = self.line("rev-parse", "--path-format=absolute", "--git-path", "objects")
            quoted = kept.replace("\\", "\\\\").replace('"', '\\"')
            extra = {"GIT_OBJECT_DIRECTORY": scratch, "GIT_ALTERNATE_OBJECT_DIRECTORIES": f'"{quoted}"'}
            return self._patch(base, self._tree_of(base, files, extra), extra)

    def diff(self, old: str, new: str) -> str:
        """The patch between two commits or trees, the same whatever the user's configuration."""
        return self._patch(old, new, {})

    def _patch(self, old: str, new: str, extra: Mapping[str, str]) -> str:
        patch = self.out("diff-tree", "-r", "-p", *PATCH_STYLE, "--end-of-options", old, new, extra=extra)
        return patch.decode("utf-8", "replace")

    def commit(self, base: str, files: Mapping[str, bytes | None], message: str, author: Author) -> str:
        """A commit of `files` (`None`: goes) on `base`, on no branch. Modes stay as they are; new files are 100644.

        The same arguments give the same commit: its time is that of `base`.
        """
        tree = self._tree_of(base, files, {})
        when = f"@{self.read_commit(base).time}"
        extra = {"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when}
        for role in ("AUTHOR", "COMMITTER"):
            extra |= {f"GIT_{role}_NAME": author.name, f"GIT_{role}_EMAIL": author.email}
        said = message.replace("\0", "").rstrip() + "\n"
        return self.line("commit-tree", tree, "-p", base, stdin=said.encode("utf-8", "replace"), extra=extra)

    def _tree_of(self, base: str, files: Mapping[str, bytes | None], extra: Mapping[str, str]) -> str:
        old = self._replaceable(base, files)
        new = {path: content for path, content in sorted(files.items()) if content is not None}
        with tempfile.TemporaryDirectory() as scratch:
            extra = {**extra, "GIT_INDEX_FILE": str(Path(scratch, "index"))}
            shas = self._write_blobs(list(new.values()), Path(scratch), extra)
            nothing = "0" * len(base)
            # What goes must go first: a file may make room for a directory of its name, or the other way round.
            lines = [f"0 {nothing}\t{path}" for path in sorted(files) if files[path] is None]
            lines += [f"{old.get(path, PLAIN)} {sha}\t{path}" for path, sha in zip(new, shas, strict=True)]
            self.out("read-tree", base, extra=extra)
            index = b"".join(os.fsencode(line) + b"\0" for line in lines)
            self.out("update-index", "-z", "--index-info", stdin=index, extra=extra)
            tree = self.line("write-tree", extra=extra)
        self._as_asked(base, tree, files, dict(zip(new, shas, strict=True)), extra)
        return tree

    def _as_asked(
        self, base: str, tree: str, files: Iterable[str], new: Mapping[str, str], extra: Mapping[str, str]
    ) -> None:
        """An `InputError` unless `tree` differs from `base` in `files` alone, and has what was written there.

        Git passes over a path that some file system would take for `.git`, and drops a file that a directory of its
        name comes instead of; it says so on the side, and goes on.
        """
        changes = {change.path: change.new for change in self.changes(base, tree, extra=extra)}
        for path in sorted(changes.keys() - set(files)):
            raise InputError("would have to go for another file", Place(path))
        for path, sha in sorted(new.items()):
            if path in changes and getattr(changes[path], "sha", "") != sha:
                raise InputError("is in the way of another file", Place(path))
        missing = sorted(new.keys() - changes.keys())
        there = self.entries_at(tree, missing, extra=extra)
        for path in missing:
            if path not in there or there[path].sha != new[path]:
                raise InputError("is a path that git does not take", Place(path))

    def _write_blobs(self, contents: Sequence[bytes], scratch: Path, extra: Mapping[str, str]) -> list[str]:
        """Through files of our own, so that one call does for all of them."""
        names = [scratch / str(number) for number in range(len(contents))]
        for name, content in zip(names, contents, strict=True):
            name.write_bytes(content)
        listed = b"".join(os.fsencode(name) + b"\n" for name in names)
        return text(self.out("hash-object", "-w", "--no-filters", "--stdin-paths", stdin=listed, extra=extra)).split()

    def _replaceable(self, base: str, paths: Iterable[str]) -> dict[str, str]:
        """The modes of the files that are there; an `InputError` for a path that is not a plain file's in the tree."""
        whole = {path: prefixes(path) for path in paths}
        entries = self.entries_at(base, (prefix for each in whole.values() for prefix in each))
        modes = {}
        for path, each in whole.items():
            for prefix in each:
                kind = {SYMLINK: "a symlink", SUBMODULE: "a submodule"}.get(getattr(entries.get(prefix), "mode", ""))
                if kind:
                    raise InputError(f"leads through {kind}, {printable(prefix)}", Place(path))
            if (entry := entries.get(path)) and entry.mode != DIRECTORY:
                modes[path] = entry.mode
        return modes


def prefixes(path: str) -> list[str]:
    """`a`, `a/b`, `a/b/c` of `a/b/c`; an `InputError` if it leads out of the tree, or into Git's own files."""
    parts = path.split("/")
    try:
        os.fsencode(path)
    except UnicodeEncodeError as error:
        raise InputError("is not a name that a file can have", Place(path)) from error
    for part in parts:
        # Git refuses the spellings of other file systems (`.git.`, `GIT~1`, ignored characters) itself.
        if part in {"", ".", ".."} or part.lower() == ".git" or "\0" in part:
            raise InputError("is not the path of a file in a repository", Place(path))
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]


def failed(command: str, done: Finished) -> InputError:
    """The error of a local call."""
    return InputError(f"git {command}: {done.why}")


def text(raw: bytes) -> str:
    """Output with paths in it: every byte survives the way back."""
    return raw.decode("utf-8", "surrogateescape")


def records(raw: bytes) -> list[str]:
    """The NUL-terminated records of an output."""
    return text(raw).split("\0")[:-1]
