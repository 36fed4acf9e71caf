"""Real repositories for the tests: a bare one that plays the forge's, and clones of it that play the users'."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from netpol_gen.prbot.git import Author, Repository
from netpol_gen.prbot.process import Login
from netpol_gen.prbot.remote import Remote

BOT = Author("netpol-gen", "netpol-gen@example.invalid")

# Some time ago, so that what is amended in a test is amended later; always the same, so that states can be compared.
THEN = dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), "2026-01-01T00:00:00Z")

FILES = {
    "k8s/shop/cart.yaml": b"kind: NetworkPolicy\nspec:\n  podSelector: {}\n",
    "k8s/shop/crlf.yaml": b"kind: NetworkPolicy\r\nspec: {}\r\n",
    "k8s/run.sh": b"#!/bin/sh\n",
    "README.md": b"# shop\n",
}


def environment(home: Path, **extra: str) -> dict[str, str]:
    """An environment without anybody's configuration."""
    home.mkdir(exist_ok=True)
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": str(home / "gitconfig"),
        **extra,
    }


@dataclass(frozen=True)
class Place:
    """A repository that a person works in (or the bare one), with the `git` of a person: configuration, hooks, all."""

    path: Path
    environment: Mapping[str, str]

    def git(self, *arguments: str, stdin: bytes = b"", check: bool = True, **extra: str) -> str:
        person = {
            f"GIT_{role}_{what}": value
            for role in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", "Person"), ("EMAIL", "person@example.invalid"))
        }
        ran = subprocess.run(
            ["git", "-C", str(self.path), *arguments],
            env={**self.environment, **person, **extra},
            input=stdin,
            capture_output=True,
            check=False,
        )
        assert not check or ran.returncode == 0, ran.stderr.decode()
        return ran.stdout.decode("utf-8", "surrogateescape").strip()

    def write(self, files: Mapping[str, bytes | None], message: str = "by hand", branch: str = "main") -> str:
        """Commit files on a branch as a person does, and push."""
        self.git("switch", "-q", branch)
        for name, content in files.items():
            target = self.path / name
            if content is None:
                target.unlink()
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
            self.git("add", "-A", "--", name)
        self.git("commit", "-q", "--no-gpg-sign", "-m", message, **THEN)
        self.git("push", "-q", "origin", f"HEAD:refs/heads/{branch}")
        return self.git("rev-parse", "HEAD")

    def refs(self) -> dict[str, str]:
        lines = self.git("for-each-ref", "--format=%(refname) %(objectname)").splitlines()
        return dict(line.split(" ") for line in lines)

    def show(self, commit: str, path: str) -> bytes:
        ran = subprocess.run(
            ["git", "-C", str(self.path), "show", f"{commit}:{path}"],
            env=dict(self.environment),
            capture_output=True,
            check=True,
        )
        return ran.stdout


def bare(directory: Path, env: Mapping[str, str], *options: str) -> Place:
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", *options, str(directory)], env=dict(env), check=True)
    return Place(directory, env)


def clone(url: str, directory: Path, env: Mapping[str, str], *options: str) -> Place:
    subprocess.run(["git", "clone", "-q", *options, url, str(directory)], env=dict(env), check=True)
    return Place(directory, env)


def seeded(directory: Path, env: Mapping[str, str], *options: str) -> tuple[Place, Place]:
    """A bare repository with FILES on main, and a person's clone of it."""
    upstream = bare(directory / "upstream.git", env, *options)
    person = Place(directory / "person", env)
    subprocess.run(["git", "init", "-q", "-b", "main", *options, str(person.path)], env=dict(env), check=True)
    person.git("remote", "add", "origin", f"file://{upstream.path}")
    person.git("commit", "-q", "--allow-empty", "-m", "start", **THEN)
    (person.path / "k8s").mkdir()
    (person.path / "k8s/run.sh").touch(mode=0o755)
    person.write(FILES, "seed")
    return upstream, person


def remote_of(place: Place, login: Login | None = None, name: str = "origin") -> Remote:
    """What the product makes of a clone."""
    return Remote.of(Repository.open(place.path, place.environment, login), name)
