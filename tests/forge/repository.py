"""A bare Git repository as a forge keeps it: served over HTTP by Git's own `git http-backend`, branches protected."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ZERO = "0" * 40
# Neither the machine's configuration nor its clock, so that commits have the same ids on every run.
ENVIRONMENT = {
    "PATH": os.environ.get("PATH", ""),
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Tester",
    "GIT_AUTHOR_EMAIL": "tester@example.com",
    "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
    "GIT_COMMITTER_NAME": "Tester",
    "GIT_COMMITTER_EMAIL": "tester@example.com",
    "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
}

HOOK = """#!/bin/sh
# One refusal refuses the whole push, as on the real forges.
while read -r old new ref; do
  if grep -qxF "${ref#refs/heads/}" "$GIT_DIR/protected-branches"; then
    echo "error: GH006: Protected branch update failed for $ref." >&2
    exit 1
  fi
done
"""


@functools.cache
def template(files: tuple[tuple[str, str], ...]) -> Path:
    """A repository to copy: many tests begin with the same, and making it takes longer than most of them."""
    root = Path(tempfile.mkdtemp(prefix="netpol-gen-forge-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    made = Bare(root, "template")
    made.make(dict(files))
    return made.path


@dataclass(frozen=True)
class Bare:
    """The repository `OWNER/NAME` below `root`, at `root/OWNER/NAME.git`."""

    root: Path
    name: str

    @property
    def path(self) -> Path:
        return self.root / f"{self.name}.git"

    def create(self, files: Mapping[str, str]) -> None:
        """Make it, with a first commit on `main`."""
        shutil.copytree(template(tuple(sorted(files.items()))), self.path)

    def make(self, files: Mapping[str, str]) -> None:
        self.path.mkdir(parents=True)
        self.git("init", "--quiet", "--bare", "--initial-branch=main")
        # http-backend offers pushing only where it is told to; who may push is checked before it is asked.
        self.git("config", "http.receivepack", "true")
        (self.path / "protected-branches").touch()
        hook = self.path / "hooks" / "pre-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(HOOK, encoding="utf-8")
        hook.chmod(0o755)
        self.commit("main", files, "first")

    def git(self, *arguments: str, data: bytes | None = None, **environment: str) -> str:
        ran = subprocess.run(
            ["git", *arguments],
            cwd=self.path,
            env=ENVIRONMENT | environment,
            input=data,
            capture_output=True,
            check=False,
        )
        if ran.returncode:
            raise RuntimeError(f"git {' '.join(arguments)}: {ran.stderr.decode(errors='replace')}")
        return ran.stdout.decode("utf-8", "surrogateescape").strip()

    def commit(self, branch: str, files: Mapping[str, str | bytes | None], message: str, *, parent: str = "") -> str:
        """A commit on top of a branch, or on `parent` for a new branch; None deletes a file. Returns its id."""
        top = self.head(branch) or parent
        index = {"GIT_INDEX_FILE": str(self.path / "index.tmp")}
        if top:
            self.git("read-tree", top, **index)
        for path, content in files.items():
            if content is None:
                self.git("rm", "--cached", "--quiet", "--", path, GIT_WORK_TREE=str(self.path), **index)
                continue
            raw = content.encode() if isinstance(content, str) else content
            blob = self.git("hash-object", "-w", "--stdin", data=raw)
            self.git("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}", **index)
        tree = self.git("write-tree", **index)
        (self.path / "index.tmp").unlink(missing_ok=True)
        made = self.git("commit-tree", tree, "-m", message, *(["-p", top] if top else []))
        self.git("update-ref", f"refs/heads/{branch}", made)
        return made

    def head(self, branch: str) -> str:
        """The commit of a branch, empty if there is none."""
        return self.heads().get(branch, "")

    def heads(self) -> dict[str, str]:
        lines = self.git("for-each-ref", "--format=%(objectname) %(refname)", "refs/heads/").splitlines()
        return {ref.removeprefix("refs/heads/"): sha for sha, _, ref in (line.partition(" ") for line in lines)}

    def delete(self, branch: str) -> None:
        self.git("update-ref", "-d", f"refs/heads/{branch}")

    def contains(self, branch: str, commit: str) -> bool:
        """Whether a branch has a commit already: then there is nothing to merge."""
        return self.git("rev-list", "--count", commit, f"^refs/heads/{branch}") == "0"

    def merge(self, commit: str, into: str) -> str:
        """A merge commit on a branch. Returns its id."""
        tree = self.git("merge-tree", "--write-tree", f"refs/heads/{into}", commit).splitlines()[0]
        made = self.git("commit-tree", tree, "-m", f"Merge {commit[:7]}", "-p", self.head(into), "-p", commit)
        self.git("update-ref", f"refs/heads/{into}", made)
        return made

    def files(self, branch: str) -> dict[str, str]:
        """What a branch holds, by path."""
        names = self.git("ls-tree", "-r", "-z", "--name-only", f"refs/heads/{branch}").split("\0")
        return {name: self.git("show", f"refs/heads/{branch}:{name}") for name in names if name}

    @property
    def protected(self) -> frozenset[str]:
        return frozenset((self.path / "protected-branches").read_text(encoding="utf-8").splitlines())

    def protect(self, branch: str) -> None:
        """Refuse pushes to a branch from now on, whether it exists or not."""
        names = sorted(self.protected | {branch})
        (self.path / "protected-branches").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
