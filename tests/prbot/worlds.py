"""A forge, its bare repository, a person's clone and a clone for the bot: what the scenarios of `apply` play in."""

from __future__ import annotations

import functools
import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from netpol_gen.prbot.apply import apply
from netpol_gen.prbot.forge import Forge, Request
from netpol_gen.prbot.git import Repository
from netpol_gen.prbot.process import Login
from netpol_gen.prbot.remote import Remote
from netpol_gen.prbot.submission import Outcome, Submission, content_digest
from tests.prbot.memory import MemoryForge, SteppedForge, Steps, stepped
from tests.prbot.repos import BOT, Place, clone, environment, seeded

_SCRATCH = tempfile.TemporaryDirectory()
SCOPE = hashlib.sha256(b"main\0prod").hexdigest()
NEW = {
    "k8s/shop/cart.yaml": b"kind: NetworkPolicy\nspec:\n  podSelector: {app: cart}\n",
    "k8s/shop/add.yaml": b"kind: NetworkPolicy\n",
}
OTHER = {**NEW, "k8s/shop/crlf.yaml": b"kind: NetworkPolicy\r\nspec: {x: 1}\r\n"}


@dataclass
class World:
    upstream: Place
    person: Place
    bot: Place
    forge: Forge
    login: Login | None = None

    def remote(self, steps: Steps | None = None, place: Place | None = None) -> Remote:
        place = place or self.bot
        repository = Repository.open(place.path, place.environment, self.login)
        if steps:
            repository = replace(repository, git=stepped(repository.git, steps))
        return Remote.of(repository, "origin")

    def ask(self, files: Mapping[str, bytes | None], **other) -> Submission:
        """A submission made from the base as it is now."""
        base = other.pop("base", "main")
        commit = other.pop("base_commit", "") or self.upstream.git("rev-parse", base)
        usual = {"title": "policies for prod", "body": f"{len(files)} files", "message": "netpol: tighten"}
        return Submission(SCOPE, content_digest(files), base, commit, files, **{**usual, **other})

    def run(self, files: Mapping[str, bytes | None] | Submission, steps: Steps | None = None, **other) -> Outcome:
        submission = files if isinstance(files, Submission) else self.ask(files, **other)
        forge = SteppedForge(self.forge, steps) if steps else self.forge
        return apply(self.remote(steps), forge, submission, BOT)

    def quiet(self, files: Mapping[str, bytes | None] | Submission, **other) -> Outcome:
        """Run, and see that nothing remote was changed, nor asked to be."""
        before = self.state()
        steps = Steps()
        outcome = self.run(files, steps, **other)
        assert steps.changes == []
        assert self.state() == before
        return outcome

    def requests(self) -> list[Request]:
        return list(self.forge.open_requests())

    def only(self) -> Request:
        (request,) = self.requests()
        return request

    def comments(self, number: int) -> list[str]:
        return [comment.body for comment in self.forge.comments(number)]

    def tip(self, branch: str) -> str:
        return self.upstream.refs()[f"refs/heads/{branch}"]

    def branches(self) -> set[str]:
        return {name.removeprefix("refs/heads/") for name in self.upstream.refs() if "/netpol-gen/" in name}

    def contents(self, branch: str) -> dict[str, bytes]:
        names = self.upstream.git("ls-tree", "-r", "-z", "--name-only", self.tip(branch)).split("\0")
        return {name: self.upstream.show(self.tip(branch), name) for name in names if name}

    def state(self) -> dict[str, object]:
        """All that is remote, in a form that can be compared."""
        refs = {name: sha for name, sha in self.upstream.refs().items() if name.startswith("refs/heads/")}
        numbers = range(1, self.last() + 1)
        found = [self.forge.request(number) for number in numbers]
        return {"refs": refs, "requests": [(each, self.comments(each.number)) for each in found]}

    def last(self) -> int:
        assert isinstance(self.forge, MemoryForge)
        return self.forge.last

    def person_pushes(self, branch: str, path: str = "k8s/shop/add.yaml", content: bytes = b"mine\n") -> str:
        """A commit on top of the bot's branch."""
        self.person.git("fetch", "-q", "origin", f"+refs/heads/{branch}:refs/heads/{branch}")
        return self.person.write({path: content}, "fix by hand", branch)

    def close(self, number: int) -> None:
        self.forge.close_request(number)

    def merge(self, number: int) -> None:
        self._merge(number)
        self.person.git("switch", "-q", "main")
        self.person.git("pull", "-q", "origin", "main")

    def _merge(self, number: int) -> None:
        assert isinstance(self.forge, MemoryForge)
        self.forge.merge(number)

    def protect(self, branch: str) -> None:
        assert isinstance(self.forge, MemoryForge)
        self.forge.rules.add(branch)

    def delete(self, branch: str) -> None:
        self.upstream.git("update-ref", "-d", f"refs/heads/{branch}")


@functools.cache
def _template(directory: Path) -> Path:
    """Upstream, person and bot, made once per session: a test gets copies."""
    made = directory / "template"
    made.mkdir()
    upstream, _ = seeded(made, environment(directory / "home"))
    clone(f"file://{upstream.path}", made / "bot", environment(directory / "home"))
    return made


def memory_world(directory: Path, env: Mapping[str, str]) -> World:
    upstream, person, bot = places(directory, env)
    return World(upstream, person, bot, MemoryForge(upstream))


def places(directory: Path, env: Mapping[str, str]) -> list[Place]:
    """A bare repository with FILES on main, a person's clone of it and the bot's."""
    template = _template(Path(_SCRATCH.name))
    for name in ("upstream.git", "person", "bot"):
        shutil.copytree(template / name, directory / name, symlinks=True)
    for name in ("person", "bot"):
        config = directory / name / ".git/config"
        config.write_text(config.read_text().replace(str(template), str(directory)))
        Place(directory / name, env).git("update-index", "-q", "--refresh")
    return [Place(directory / name, env) for name in ("upstream.git", "person", "bot")]
