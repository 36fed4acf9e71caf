"""`netpol-gen propose`."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from netpol_gen.cli import bot, environments
from netpol_gen.cli import options as o
from netpol_gen.cli.held import Where
from netpol_gen.cli.output import put, say
from netpol_gen.config import Config, Mode
from netpol_gen.errors import CheckFailedError, OptionError, ReadOnlyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netpol_gen.prbot.ci import Surroundings
    from netpol_gen.prbot.git import Repository
    from netpol_gen.prbot.remote import Remote
    from netpol_gen.prbot.submission import Outcome
    from netpol_gen.proposal import Proposal
    from netpol_gen.report.parts import Section

LABEL = "netpol-gen"
AUTHOR = "netpol-gen <noreply@netpol-gen.invalid>"


class ProposeFormat(StrEnum):
    """Forms of a proposal."""

    MARKDOWN = "md"
    PATCH = "patch"
    JSON = "json"
    SARIF = "sarif"


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
    author: Annotated[str, typer.Option("--author", metavar="'NAME <MAIL>'", help="Who commits.")] = AUTHOR,
    forge: bot.ForgeOption = bot.ForgeKind.AUTO,
    forge_repository: bot.ForgeRepository = None,
    forge_url: bot.ForgeUrl = None,
    pull_request: bot.Request = None,
    artifacts: bot.Artifacts = None,
    output: Annotated[ProposeFormat, typer.Option("-o", "--output", help="Form of the proposal on stdout.")] = (
        ProposeFormat.MARKDOWN
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
    if any(g.rendered for g in given):
        return _rendered(given, around, where, pull_request, artifacts, apply=apply, code=exit_code, quiet=quiet)
    repository, at = _open(repo, around, remote)
    target, commit = _base(repository, at, base, remote, apply=apply)
    proposal = _propose(given, repository, commit, target, where, templates, quiet=quiet)
    _warn_of_changes(repository, given)
    return _finish(
        proposal,
        repository,
        at,
        around,
        _Wanted(apply, allow_breaking, exit_code, author, output, artifacts, quiet),
    )
