"""What `propose` and `review` share: the repository's files at a commit, the forge, and where results go."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from netpol_gen.cli.environments import Given
from netpol_gen.cli.held import Where, read_held, with_cni
from netpol_gen.cli.output import put, say
from netpol_gen.errors import InputError, OptionError, ReadOnlyError, RemoteError, printable

if TYPE_CHECKING:
    from netpol_gen.config import Config
    from netpol_gen.flowtable import Flows
    from netpol_gen.inventory import Inventory
    from netpol_gen.prbot.ci import Surroundings
    from netpol_gen.prbot.forge import Check, Forge
    from netpol_gen.prbot.git import Repository
    from netpol_gen.report.parts import Section

SUMMARY_LIMIT = 1_000_000
"""Bytes of a job summary; GitHub takes 1 MiB for a step."""
MOST_COMMENTS = 5
"""A text goes on in so many comments at most; the attached version has the rest."""


class ForgeKind(StrEnum):
    """Whose API is spoken to."""

    AUTO = "auto"
    GITHUB = "github"
    GITLAB = "gitlab"


Repo = Annotated[Path, typer.Option("--repo", metavar="DIR", help="The Git repository of manifests.")]
Environments = Annotated[
    list[str], typer.Option("--environment", metavar="NAME", help="Only this environment of --config. Repeatable.")
]
ForgeOption = Annotated[ForgeKind, typer.Option("--forge", help="Whose API; 'auto' tells from the CI environment.")]
ForgeRepository = Annotated[
    str | None,
    typer.Option("--forge-repository", metavar="OWNER/NAME", help="Its name there; default: the CI environment's."),
]
ForgeUrl = Annotated[
    str | None,
    typer.Option("--forge-url", metavar="URL", help="GitHub Enterprise API or self-managed GitLab; default: the CI's."),
]
Artifacts = Annotated[
    Path | None,
    typer.Option("--artifacts", metavar="DIR", help="Also write everything here, unshortened, to be attached."),
]
Request = Annotated[
    int | None, typer.Option("--pull-request", metavar="N", help="Number of the request to comment on.")
]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The files of a commit: `files` has the contents that were asked for, `paths` all there are."""

    commit: str
    files: Mapping[str, bytes]
    paths: frozenset[str]

    def has(self, folder: str) -> bool:
        """Whether there is a file in a folder.

        Raises:
            OptionError: it is a file itself.

        """
        if folder in self.paths:
            raise OptionError(f"--path: {printable(folder)} is a file; the folder that it lies in is wanted")
        return not folder or any(path.startswith(f"{folder}/") for path in self.paths)


def surroundings_of(forge: ForgeKind, repository: str | None, url: str | None) -> Surroundings:
    """The CI environment, with what options say instead."""
    from netpol_gen.prbot.ci import server_of, surroundings

    found = surroundings(os.environ, "" if forge is ForgeKind.AUTO else forge)
    if url:
        # Another forge than the environment's has another server, and that one must not get this token.
        found = replace(found, url=url, server=server_of(found.forge, url))
    return replace(found, repository=repository or found.repository)


def open_repository(directory: Path, around: Surroundings, *, online: bool) -> Repository:
    """The Git repository. Its token is for the forge's own server and for no other that a remote may name.

    Offline it has none: an app's would have to be asked for.
    """
    from netpol_gen.prbot.git import Repository
    from netpol_gen.prbot.process import Login

    login: Login | None = None
    if online:
        asked = open_forge(around).git_login()
        login = Login(asked.token, around.server, asked.user)
    return Repository.open(directory, os.environ, login)


def last_seen_default(repository: Repository, remote: str) -> str:
    """The remote's default branch as the last fetch or clone left it, without asking; empty if it did not say."""
    try:
        ref = repository.line("symbolic-ref", "--quiet", f"refs/remotes/{remote}/HEAD")
    except InputError:
        return ""
    return ref.removeprefix(f"refs/remotes/{remote}/")


def open_forge(around: Surroundings) -> Forge:
    """The forge.

    Raises:
        OptionError: it is not known which, or there is no token.

    """
    from netpol_gen.prbot.calls import AppKey
    from netpol_gen.prbot.connect import Kind
    from netpol_gen.prbot.connect import open_forge as connect

    if not around.forge:
        raise OptionError("which forge is not known: --forge github or gitlab")
    if not around.repository:
        raise OptionError("the repository's name on the forge is not known: --forge-repository OWNER/NAME")
    if around.app is not None:
        key = around.app
        token: str | AppKey = AppKey(key.app_id, key.private_key, key.installation_id)
    elif around.token:
        token = around.token
    else:
        names = "NETPOL_GEN_TOKEN, GITHUB_TOKEN or GH_TOKEN" if around.forge == Kind.GITHUB else "GITLAB_TOKEN"
        raise OptionError(f"no token in the environment: {names}")
    return connect(Kind(around.forge), around.repository, token, url=around.url, job_token=around.job_token)


def snapshot(repository: Repository, commit: str, roots: Sequence[str]) -> Snapshot:
    """Manifests below the folders, what kustomizations there take in, and CODEOWNERS.

    Links and submodules are no files.
    """
    from netpol_gen.owners import PLACES
    from netpol_gen.propose import is_manifest
    from netpol_gen.propose.kustomize import NAMES, parse_kustomization, taken_in
    from netpol_gen.propose.tree import below

    entries = repository.tree(commit)
    plain = {path: entry.sha for path, entry in entries.items() if entry.mode.startswith("100")}
    inside = {p for p in entries for root in roots if below(root, p) and is_manifest(p[len(root) :].lstrip("/"))}
    new = {path for path in plain if path in PLACES or path in inside}
    files: dict[str, bytes] = {}
    while new:
        contents = repository.blobs(plain[path] for path in new)
        files |= {path: contents[plain[path]] for path in new}
        found = [parse_kustomization(files[p], p) for p in sorted(new) if posixpath.basename(p) in NAMES]
        new = taken_in((k for k in found if k is not None), plain) - set(files)
    links = {p for p in inside if p not in plain}
    links |= {p for p, e in entries.items() if e.mode == "160000" and any(below(root, p) for root in roots)}
    if links:
        shown = ", ".join(printable(path) for path in sorted(links)[:5])
        say(f"not looked at, because they are links or submodules: {shown}")
    return Snapshot(commit, files, frozenset(entries))


def expect_folders(sides: Sequence[Snapshot], given: Sequence[Given]) -> None:
    """A folder that no side has a file in was mistyped more often than not, and everything would be said to be well.

    Raises:
        OptionError: there is such a folder, or it is a file.

    """
    for environment in given:
        if not any(side.has(environment.path) for side in sides):
            raise OptionError(f"{printable(environment.path)}: the commit has no file there")


def observed(given: Given, where: Where, *, quiet: bool) -> tuple[Inventory, Flows | None, Config]:
    """Inventory and flows of an environment, and its settings for the CNI that the inventory shows."""
    from netpol_gen import api

    held = read_held(given.inventory, given.config, where)
    config = with_cni(given.config, held, given=given.cni_given, quiet=quiet)
    if not given.flows:
        return held, None, config
    return held, api.load_flows(list(given.flows), source=given.source, config=config, inventory=held), config


def texts(sections: Sequence[Section], limit: int, around: Surroundings) -> tuple[str, tuple[str, ...]]:
    """A body within the limit and its continuations, the last of which says where the rest is."""
    from netpol_gen.report.parts import pack

    parts = pack(sections, limit)
    body, more = parts[0], parts[1:]
    if len(more) > MOST_COMMENTS:
        where = f"[attached to the run]({around.run_url})" if around.run_url else "in what --artifacts wrote"
        more = (*more[: MOST_COMMENTS - 1], f"*{len(more) - MOST_COMMENTS + 1} more parts are {where}.*\n")
    return body, more


def whole(sections: Sequence[Section]) -> str:
    """The text without any limit."""
    from netpol_gen.report.parts import pack

    return pack(sections, 1 << 62)[0]


def attach(directory: Path | None, contents: Mapping[str, str], *, quiet: bool) -> None:
    """Write every result whole into a directory, for the CI to keep."""
    if directory is None:
        return
    for name, text in contents.items():
        put(text, str(directory / name))
    if not quiet:
        say(f"wrote {len(contents)} files to {directory}")


def summarise(around: Surroundings, sections: Sequence[Section]) -> None:
    """Append the text to the job's summary, as far as it fits there."""
    if around.summary:
        from netpol_gen.report.parts import pack

        with Path(around.summary).open("a", encoding="utf-8") as file:
            file.write(pack(sections, SUMMARY_LIMIT)[0] + "\n")


def output(around: Surroundings, values: Mapping[str, object]) -> None:
    """Outputs of the step, one line each; none of them comes from a log or a manifest."""
    if around.outputs:
        with Path(around.outputs).open("a", encoding="utf-8") as file:
            file.writelines(f"{key}={' '.join(str(value).split())}\n" for key, value in values.items())


def sticky(around: Surroundings, number: int, kind: str, sections: Sequence[Section]) -> None:
    """Have one comment of a kind on a request, edited when there is another one to be said.

    A token that may only read is no error: the text is in the job's summary, and attached.
    """
    from netpol_gen.prbot import comments
    from netpol_gen.prbot.marker import ROOM

    forge = open_forge(around)
    body, more = texts(sections, forge.comment_limit - ROOM, around)
    parts = {kind: body} | {f"{kind} {i}": text for i, text in enumerate(more, 2)}
    try:
        changed = comments.put(forge, number, parts, surplus={kind})
    except ReadOnlyError as error:
        say(f"no comment was written: {error}")
        return
    say(f"comment on {number} {'written' if changed else 'unchanged'}")


def report_check(forge: Forge, check: Check) -> Iterable[str]:
    """Report a check; what the token may not is said and no error, because the text is there all the same."""
    try:
        forge.report_check(check)
    except ReadOnlyError as error:
        yield f"no check was reported: {error}"
    except RemoteError as error:
        yield f"the check could not be reported: {error}"
