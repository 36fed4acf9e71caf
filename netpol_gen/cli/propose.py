"""`netpol-gen propose`."""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from netpol_gen.cli import bot, environments, publish
from netpol_gen.cli import options as o
from netpol_gen.cli.held import Where
from netpol_gen.cli.output import say
from netpol_gen.config import Mode
from netpol_gen.errors import NetpolGenError, OptionError, printable

if TYPE_CHECKING:
    from netpol_gen.prbot.ci import Surroundings
    from netpol_gen.prbot.git import Repository
    from netpol_gen.proposal import Proposal
    from netpol_gen.propose import ManifestTree


def propose(
    flows: Annotated[
        list[str], typer.Argument(metavar="[FLOWS...]", help="Flow exports; none: those of --config's environments.")
    ] = [],
    inventory: o.Inventories = [],
    live: o.Live = False,
    context: o.Context = None,
    kubeconfig: o.Kubeconfig = None,
    repo: bot.Repo = Path(),
    path: Annotated[
        str, typer.Option("--path", metavar="PATH", help="Folder of the manifests; - reads rendered ones from stdin.")
    ] = ".",
    environment: bot.Environments = [],
    mode: Annotated[
        Mode | None, typer.Option("--mode", help="How the result relates to what is there; default: tighten.")
    ] = None,
    adopt: Annotated[bool, typer.Option("--adopt", help="Also edit policies that netpol-gen did not write.")] = False,
    allow_breaking: Annotated[
        bool, typer.Option("--allow-breaking", help="Propose even what would deny an observed connection.")
    ] = False,
    layout: Annotated[
        str | None, typer.Option("--layout", metavar="PATH", help="Where new policies go: {namespace}/{policy}.yaml.")
    ] = None,
    default_namespace: Annotated[
        str, typer.Option("--default-namespace", metavar="NAME", help="Of manifests that name none.")
    ] = "default",
    apply: Annotated[
        bool, typer.Option("--apply", help="Push a branch and open or update the request; without it nothing is sent.")
    ] = False,
    base: Annotated[
        str | None, typer.Option("--base", metavar="BRANCH", help="Where the request goes; default: the remote's own.")
    ] = None,
    remote: Annotated[str, typer.Option("--remote", metavar="NAME", help="The Git remote.")] = "origin",
    author: Annotated[str, typer.Option("--author", metavar="'NAME <MAIL>'", help="Who commits.")] = publish.AUTHOR,
    forge: bot.ForgeOption = bot.ForgeKind.AUTO,
    forge_repository: bot.ForgeRepository = None,
    forge_url: bot.ForgeUrl = None,
    pull_request: bot.Request = None,
    artifacts: bot.Artifacts = None,
    output: Annotated[publish.ProposeFormat, typer.Option("-o", "--output", help="Form of the proposal on stdout.")] = (
        publish.ProposeFormat.MARKDOWN
    ),
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit 1 if anything is proposed.")] = False,
    source: o.Source = "auto",
    namespace: o.Namespaces = [],
    all_namespaces: o.AllNamespaces = False,
    since: o.Since = None,
    until: o.Until = None,
    accept: o.Accept = [],
    min_evidence: o.MinEvidenceOption = None,
    cni: o.CniOption = None,
    max_extra_addresses: Annotated[
        int | None,
        typer.Option("--max-extra-addresses", help="Addresses that CIDRs may cover beyond those seen (default 0)."),
    ] = None,
    default_deny: Annotated[
        bool, typer.Option("--default-deny", help="Also propose one default-deny policy per namespace.")
    ] = False,
    pod_cidr: o.PodCidr = [],
    service_cidr: o.ServiceCidr = [],
    strict: o.Strict = False,
    max_bad: o.MaxBad = None,
    max_loss: o.MaxLoss = None,
    templates: Annotated[
        Path | None, typer.Option("--templates", metavar="DIR", help="Templates that frame new policies.")
    ] = None,
    config: o.ConfigFile = None,
    quiet: o.Quiet = False,
) -> int:
    """Propose tighter policies for a Git repository of manifests, as one pull or merge request.

    Prints the text of the request and the patch; with --apply pushes a branch and opens or updates the request. Never
    merges, never touches the working tree. A second run with the same input changes nothing.
    """
    settings = o.make_config(
        config,
        mode=mode,
        namespace=namespace,
        all_namespaces=all_namespaces,
        since=since,
        until=until,
        accept=accept,
        min_evidence=min_evidence,
        cni=cni,
        max_extra_addresses=max_extra_addresses,
        default_deny=default_deny,
        pod_cidr=pod_cidr,
        service_cidr=service_cidr,
        strict=strict,
        max_bad=max_bad,
        max_loss=max_loss,
    )
    if not o.names(config, "mode", mode):
        settings = replace(settings, mode=Mode.TIGHTEN)
    single = environments.Given(
        "default",
        environments.folder_of(path, "--path"),
        tuple(flows),
        tuple(inventory),
        settings,
        layout or "",
        default_namespace,
        adopt,
        source,
        o.names(config, "cni", cni),
    )
    given = _environments(single, config, environment)
    around = bot.surroundings_of(forge, forge_repository, forge_url)
    where = Where(live, context, kubeconfig)
    wanted = publish.Wanted(apply, allow_breaking, exit_code, author, output, artifacts, quiet)
    if any(g.rendered for g in given):
        return _rendered(given, around, where, wanted, pull_request)
    if pull_request is not None:
        raise OptionError("--pull-request is for rendered output (--path -); a request of its own is found by itself")
    repository = bot.open_repository(repo, around, online=apply)
    target, commit = _base(repository, remote, base, apply=apply)
    taken = bot.snapshot(repository, commit, [g.path for g in given])
    # The other modes may begin a folder; there is nothing to tighten in one that is not there.
    bot.expect_folders([taken], [g for g in given if g.config.mode is Mode.TIGHTEN])
    proposal = _propose(given, where, templates, taken, target, quiet=quiet)
    if changed := [path for g in given for path in repository.dirty(g.path)]:
        say(f"not looked at, because they are not committed: {', '.join(map(printable, changed[:5]))}")
    return publish.publish(proposal, repository, remote, around, wanted)


def _environments(single: environments.Given, config: Path | None, only: list[str]) -> tuple[environments.Given, ...]:
    """Those of the file if no flows are given, else the one that the options describe."""
    if single.flows:
        if only:
            raise OptionError("--environment names flows of the file, and flows are given as well")
        return (single,)
    found = environments.environments(config, single.config, only)
    if not found:
        raise OptionError("no flows: give some, or --config with [[propose.environment]]")
    if single.path or single.inventory or single.layout:
        raise OptionError("--path, -i and --layout go with flows; the file's environments have their own")
    if missing := [e.name for e in found if not e.flows]:
        raise OptionError(f"environment {printable(missing[0])} has no flows")
    return tuple(replace(e, adopt=e.adopt or single.adopt) for e in found)


def _base(repository: Repository, remote: str, base: str | None, *, apply: bool) -> tuple[str, str]:
    """The branch that the request goes to, and its commit: the remote's, or as it was last seen if nothing is sent."""
    from netpol_gen.prbot.remote import Remote

    if apply:
        at = Remote.of(repository, remote)
        branch = base or at.default_branch()
        return branch, at.fetch(branch)
    branch = base or bot.last_seen_default(repository, remote)
    # `HEAD` is where the clone stands, and not the remote's default branch, which has the same name there.
    if branch and branch != "HEAD":
        with suppress(NetpolGenError):
            return branch, repository.resolve(f"refs/remotes/{remote}/{branch}")
    return base or "HEAD", repository.resolve(base or "HEAD")


def _propose(
    given: tuple[environments.Given, ...],
    where: Where,
    templates: Path | None,
    taken: bot.Snapshot,
    target: str,
    *,
    quiet: bool,
    rendered: ManifestTree | None = None,
) -> Proposal:
    from netpol_gen.propose import LAYOUT, Environment, propose

    found = []
    for g in given:
        held, flows, config = bot.observed(g, where, quiet=quiet)
        assert flows is not None  # noqa: S101 - environments without flows were refused
        layout, path = g.layout or LAYOUT, "" if rendered is not None else g.path
        found.append(
            Environment(g.name, path, flows, held, config, layout, g.default_namespace, g.adopt, templates, rendered)
        )
    return propose(found, taken.files, target=target, base=taken.commit, everything=taken.paths)


def _rendered(
    given: tuple[environments.Given, ...],
    around: Surroundings,
    where: Where,
    wanted: publish.Wanted,
    number: int | None,
) -> int:
    """Rendered output has no files to edit: what would be proposed is said, and with --apply said on a request."""
    from netpol_gen.manifests import read_manifests
    from netpol_gen.propose import read_rendered

    if len(given) > 1:
        raise OptionError("rendered output on standard input is one environment")
    tree = read_rendered(read_manifests(["-"], stdin=sys.stdin.buffer), given[0].default_namespace)
    proposal = _propose(given, where, None, bot.Snapshot("", {}, frozenset()), "", quiet=wanted.quiet, rendered=tree)
    return publish.comment(proposal, around, wanted, number or around.number)
