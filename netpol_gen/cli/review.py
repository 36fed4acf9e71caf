"""`netpol-gen review`."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from netpol_gen import __version__
from netpol_gen.cli import bot, environments
from netpol_gen.cli import options as o
from netpol_gen.cli.held import Where
from netpol_gen.cli.output import put, say
from netpol_gen.errors import CheckFailedError, OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netpol_gen.inventory import Inventory
    from netpol_gen.prbot.ci import Surroundings
    from netpol_gen.prbot.forge import Check
    from netpol_gen.proposal import Review
    from netpol_gen.propose import ManifestTree
    from netpol_gen.report.parts import Section

CHECK = "netpol-gen review"


class ReviewFormat(StrEnum):
    """Forms of a review."""

    MARKDOWN = "md"
    JSON = "json"
    SARIF = "sarif"


class FailOn(StrEnum):
    """What makes the exit code 1."""

    BREAKS = "breaks"
    OPENS = "opens"
    ANY = "any"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class _Sides:
    """Both sides of the change: trees by environment name, and the paths that differ."""

    before: dict[str, ManifestTree]
    after: dict[str, ManifestTree]
    changed: frozenset[str]
    head: str = ""


def review(
    flows: Annotated[list[str], typer.Option("--flows", metavar="FLOWS", help="Observed flows. Repeatable.")] = [],
    inventory: Annotated[
        list[str],
        typer.Option(
            "-i",
            "--inventory",
            metavar="PATH",
            help="What the cluster held; without it, the workloads among the manifests themselves. Repeatable.",
        ),
    ] = [],
    live: o.Live = False,
    context: o.Context = None,
    kubeconfig: o.Kubeconfig = None,
    repo: bot.Repo = Path(),
    path: Annotated[str, typer.Option("--path", metavar="PATH", help="Folder of the manifests.")] = ".",
    environment: bot.Environments = [],
    base: Annotated[
        str | None, typer.Option("--base", metavar="REV", help="Where the change began; default: the CI environment's.")
    ] = None,
    head: Annotated[
        str | None, typer.Option("--head", metavar="REV", help="The change; default: the CI environment's, or HEAD.")
    ] = None,
    before: Annotated[
        str | None, typer.Option("--before", metavar="FILE", help="Rendered manifests before the change.")
    ] = None,
    after: Annotated[
        str | None, typer.Option("--after", metavar="FILE", help="Rendered manifests after it; - is stdin.")
    ] = None,
    default_namespace: Annotated[
        str, typer.Option("--default-namespace", metavar="NAME", help="Of manifests that name none.")
    ] = "default",
    fail_on: Annotated[FailOn, typer.Option("--fail-on", help="What makes the exit code 1.")] = FailOn.BREAKS,
    apply: Annotated[
        bool, typer.Option("--apply", help="Write the comment and report the check; without it nothing is sent.")
    ] = False,
    remote: Annotated[str, typer.Option("--remote", metavar="NAME", help="The Git remote.")] = "origin",
    forge: bot.ForgeOption = bot.ForgeKind.AUTO,
    forge_repository: bot.ForgeRepository = None,
    forge_url: bot.ForgeUrl = None,
    pull_request: bot.Request = None,
    artifacts: bot.Artifacts = None,
    output: Annotated[ReviewFormat, typer.Option("-o", "--output", help="Form of the review on stdout.")] = (
        ReviewFormat.MARKDOWN
    ),
    source: o.Source = "auto",
    since: o.Since = None,
    until: o.Until = None,
    accept: o.Accept = [],
    min_evidence: o.MinEvidenceOption = None,
    cni: o.CniOption = None,
    pod_cidr: o.PodCidr = [],
    service_cidr: o.ServiceCidr = [],
    strict: o.Strict = False,
    max_bad: o.MaxBad = None,
    max_loss: o.MaxLoss = None,
    config: o.ConfigFile = None,
    quiet: o.Quiet = False,
) -> int:
    """Say what a change of policies in a request does: what would break, what opens and closes, and findings.

    Compares the policies where the change began with those it ends with, by meaning, and replays observed flows. With
    --apply keeps one comment on the request and reports a check.
    """
    settings = o.make_config(
        config,
        since=since,
        until=until,
        accept=accept,
        min_evidence=min_evidence,
        cni=cni,
        pod_cidr=pod_cidr,
        service_cidr=service_cidr,
        strict=strict,
        max_bad=max_bad,
        max_loss=max_loss,
    )
    single = environments.Given(
        "default",
        environments.folder_of(path, "--path"),
        tuple(flows),
        tuple(inventory),
        settings,
        default_namespace=default_namespace,
        source=source,
        cni_given=o.names(config, "cni", cni),
    )
    given = _environments(single, config, environment)
    around = bot.surroundings_of(forge, forge_repository, forge_url)
    if before is not None or after is not None:
        sides = _rendered(given, before, after)
    else:
        sides = _commits(repo, around, remote, given, (base or around.base, head or around.head or "HEAD"))
    where = Where(live, context, kubeconfig)
    reviews = [_review(g, sides, where, quiet=quiet) for g in given]
    return _publish(reviews, sides, around, _Wanted(apply, pull_request, fail_on, output, artifacts, quiet))


@dataclass(frozen=True, slots=True)
class _Wanted:
    apply: bool
    number: int | None
    fail_on: FailOn
    form: ReviewFormat
    artifacts: Path | None
    quiet: bool


def _environments(single: environments.Given, config: Path | None, only: list[str]) -> tuple[environments.Given, ...]:
    """Those of the file, unless options describe one."""
    if single.path or single.flows or single.inventory:
        if only:
            raise OptionError("--environment names one of the file, and --path, --flows or -i describe another")
        return (single,)
    return environments.environments(config, single.config, only) or (single,)


def _rendered(given: Sequence[environments.Given], before: str | None, after: str | None) -> _Sides:
    from netpol_gen.manifests import read_manifests
    from netpol_gen.propose import read_rendered

    if before is None or after is None:
        raise OptionError("--before and --after go together")
    if len(given) > 1:
        raise OptionError("rendered manifests are one environment: name it with --environment")
    g = given[0]
    old, new = (
        read_rendered(read_manifests([path], stdin=sys.stdin.buffer), g.default_namespace) for path in (before, after)
    )
    return _Sides({g.name: old}, {g.name: new}, frozenset({after}))


def _commits(
    directory: Path, around: Surroundings, remote: str, given: Sequence[environments.Given], ends: tuple[str, str]
) -> _Sides:
    from netpol_gen.prbot.remote import Remote
    from netpol_gen.propose import read_tree

    base, head = ends
    if not base:
        raise OptionError("where the change began is not known: --base REV")
    repository = bot.open_repository(directory, around, online=False)
    start, end = repository.resolve(base), repository.resolve(head)
    # What others merged meanwhile is no part of this change. Where all history is there, nobody need be asked for more.
    common = repository.merge_base(start, end)
    if common is None and repository.shallow:
        online = bot.open_repository(directory, around, online=bool(around.token or around.app))
        common = Remote.of(online, remote).merge_base(start, end)
    if common is None:
        raise OptionError(f"{base} and {head} have no history in common")
    roots = [g.path for g in given]
    old, new = bot.snapshot(repository, common, roots), bot.snapshot(repository, end, roots)
    bot.expect_folders([old, new], given)
    return _Sides(
        {g.name: read_tree(old.files, g.path, g.default_namespace) for g in given},
        {g.name: read_tree(new.files, g.path, g.default_namespace) for g in given},
        frozenset(repository.changed(common, end)),
        end,
    )


def _review(given: environments.Given, sides: _Sides, where: Where, *, quiet: bool) -> Review:
    from netpol_gen.propose import Reviewed
    from netpol_gen.propose import review as run

    before, after = sides.before[given.name], sides.after[given.name]
    held, flows, config = bot.observed(given, where, quiet=quiet)
    if not given.inventory and not where.live:
        held, old = (_among(tree, given.default_namespace) for tree in (after, before))
        found = Reviewed(given.name, before, after, held, flows, config, changed=sides.changed, inventory_before=old)
        return run(found)
    return run(Reviewed(given.name, before, after, held, flows, config, changed=sides.changed))


def _among(tree: ManifestTree, default_namespace: str) -> Inventory:
    """The workloads that the manifests themselves describe; their policies are the tree's already."""
    from netpol_gen.inventory import inventory_of
    from netpol_gen.propose.tree import in_namespaces

    return replace(inventory_of(in_namespaces(tree), default_namespace=default_namespace), policies=(), tiers=())


def _publish(reviews: Sequence[Review], sides: _Sides, around: Surroundings, wanted: _Wanted) -> int:
    from netpol_gen.report.review import review_json, review_sections
    from netpol_gen.report.sarif_changes import review_sarif

    sections = review_sections(reviews)
    forms = {
        "review.md": bot.whole(sections),
        "review.json": review_json(reviews),
        "review.sarif": review_sarif(reviews, tool_version=__version__),
    }
    bot.attach(wanted.artifacts, forms, quiet=wanted.quiet)
    put(forms[f"review.{wanted.form}"], "-")
    bot.summarise(around, sections)
    found = _counts(reviews)
    failed = _failed(reviews, wanted.fail_on)
    bot.output(around, {"outcome": "failed" if failed else "passed", **found})
    if wanted.apply:
        number = wanted.number or around.number
        if not number:
            raise OptionError("--apply comments on a request: --pull-request N")
        bot.sticky(around, number, "review", sections)
        if sides.head:
            check = _check(reviews, sections, sides.head, around, failed=failed)
            for note in bot.report_check(bot.open_forge(around), check):
                say(note)
    if failed:
        raise CheckFailedError(f"{found['broken']} would break, {found['opened']} open, {found['closed']} close")
    return 0


def _counts(reviews: Sequence[Review]) -> dict[str, object]:
    from netpol_gen.diff import Change

    rows = [row for r in reviews for row in r.difference.rows]
    counts = {str(kind): sum(r.change is kind for r in rows) for kind in (Change.BROKEN, Change.OPENED, Change.CLOSED)}
    return {"changes": len(rows), **counts, "findings": sum(len(r.findings) for r in reviews)}


def _failed(reviews: Sequence[Review], fail_on: FailOn) -> bool:
    from netpol_gen.diff import Change

    kinds = {row.change for r in reviews for row in r.difference.rows}
    if fail_on is FailOn.NEVER:
        return False
    if fail_on is FailOn.ANY:
        return bool(kinds)
    # Without flows, what is newly allowed is `added` or `changed`.
    opening = {Change.OPENED, Change.ADDED, Change.CHANGED} if fail_on is FailOn.OPENS else set()
    return bool(kinds & {Change.BROKEN, *opening})


def _check(
    reviews: Sequence[Review], sections: Sequence[Section], head: str, around: Surroundings, *, failed: bool
) -> Check:
    from netpol_gen.model import Severity
    from netpol_gen.prbot.forge import Annotation, Check, Conclusion, Level
    from netpol_gen.report.review import review_title

    levels = {Severity.ERROR: Level.FAILURE, Severity.WARNING: Level.WARNING, Severity.INFO: Level.NOTICE}
    annotations = tuple(
        Annotation(
            f.place.path, max(1, f.place.line), levels[f.severity], f"{f.rule} {f.name}", f"{f.message}. {f.fix}"
        )
        for review in reviews
        for f in review.findings
    )
    conclusion = Conclusion.FAILURE if failed else Conclusion.SUCCESS
    summary = bot.texts(sections, 60_000, around)[0]
    return Check(CHECK, head, conclusion, review_title(reviews), summary, annotations)
