"""`netpol-gen verify`, `explain`, `list` and `diff`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from netpol_gen.cli import options as o
from netpol_gen.cli.held import Where, read_held, with_cni
from netpol_gen.cli.output import put, say, say_notes

if TYPE_CHECKING:
    from netpol_gen.inventory import Inventory
    from netpol_gen.manifests import PolicySet
    from netpol_gen.tiers import TierPolicy


class ReportFormat(StrEnum):
    """Forms of a result."""

    TEXT = "text"
    CSV = "csv"
    JSON = "json"
    MARKDOWN = "md"


class GraphFormat(StrEnum):
    """Forms of a result that can also be drawn."""

    TEXT = "text"
    CSV = "csv"
    JSON = "json"
    MARKDOWN = "md"
    DOT = "dot"


class ProseFormat(StrEnum):
    """Forms of an explanation."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "md"


Policies = Annotated[
    str, typer.Argument(metavar="POLICIES", help="Policy manifests: a file or directory, - for stdin.")
]
ObservedFlows = Annotated[list[str], typer.Option("--flows", metavar="FLOWS", help="Observed flows. Repeatable.")]
Report = Annotated[ReportFormat, typer.Option("-o", "--output", help="Form of the result.")]
Inventories = Annotated[
    list[str],
    typer.Option(
        "-i",
        "--inventory",
        metavar="PATH",
        help="What the cluster held; without it, the workloads among the policies' own manifests. Repeatable.",
    ),
]


_NONE = "none"
"""Stands for a set without policies, in `diff`."""


def verify(
    policies: Policies,
    flows: ObservedFlows,
    inventory: o.Inventories = [],
    live: o.Live = False,
    context: o.Context = None,
    kubeconfig: o.Kubeconfig = None,
    output: Report = ReportFormat.TEXT,
    out: o.Out = "-",
    source: o.Source = "auto",
    aws_format: o.AwsFormat = None,
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
    """Replay observed flows through policies. Exit code 1 if an accepted flow would be denied."""
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
    from netpol_gen import api
    from netpol_gen.report import verdicts
    from netpol_gen.report.summary import found_text
    from netpol_gen.verify import replay

    rules = api.read_policies([policies])
    held = read_held(inventory, settings, Where(live, context, kubeconfig))
    settings = with_cni(settings, held, given=o.names(config, "cni", cni), quiet=quiet)
    found = api.find_edges(
        api.load_flows(flows, source=source, config=settings, aws_format=aws_format, inventory=held), held, settings
    )
    replayed = replay(
        rules.policies,
        found.inventory,
        found.accepted,
        tiers=_tiers(rules, held),
        ipblock_matches_pods=settings.cni.ipblock_matches_pods,
    )
    render = {
        ReportFormat.TEXT: verdicts.replay_text,
        ReportFormat.CSV: verdicts.replay_csv,
        ReportFormat.JSON: verdicts.replay_json,
        ReportFormat.MARKDOWN: verdicts.replay_markdown,
    }
    put(render[output](replayed), out)
    if not quiet:
        say(found_text(found))
    return 0 if replayed.holds else 1


def explain(
    policies: Policies,
    src: Annotated[str, typer.Argument(metavar="SRC", help="Client: ns/workload, ns/workload[Kind], ns/pod, address.")],
    dst: Annotated[str, typer.Argument(metavar="DST", help="Server, in the same forms.")],
    port: Annotated[str, typer.Argument(metavar="PORT[/PROTO]", help="Port of the server's pod; TCP unless said.")],
    inventory: Inventories = [],
    live: o.Live = False,
    context: o.Context = None,
    kubeconfig: o.Kubeconfig = None,
    output: Annotated[ProseFormat, typer.Option("-o", "--output", help="Form of the result.")] = ProseFormat.TEXT,
    out: o.Out = "-",
    cni: o.CniOption = None,
    config: o.ConfigFile = None,
) -> int:
    """Say why a connection is allowed, denied or unknown, at both ends. Exit code 1 if it is denied."""
    settings = o.make_config(config, cni=cni)
    from netpol_gen import api
    from netpol_gen import explain as library
    from netpol_gen.report import verdicts

    rules = api.read_policies([policies])
    held = read_held(inventory, settings, Where(live, context, kubeconfig), otherwise=[policies])
    settings = with_cni(settings, held, given=o.names(config, "cni", cni))
    protocol, number = library.parse_port(port)
    explanation = library.explain(
        rules.policies,
        held,
        library.find_end(src, held),
        library.find_end(dst, held),
        protocol,
        number,
        tiers=_tiers(rules, held),
        ipblock_matches_pods=settings.cni.ipblock_matches_pods,
    )
    render = {
        ProseFormat.TEXT: verdicts.explain_text,
        ProseFormat.JSON: verdicts.explain_json,
        ProseFormat.MARKDOWN: verdicts.explain_markdown,
    }
    put(render[output](explanation), out)
    return 1 if explanation.denied else 0


def list_connections(
    policies: Policies,
    inventory: Inventories = [],
    live: o.Live = False,
    context: o.Context = None,
    kubeconfig: o.Kubeconfig = None,
    output: Annotated[GraphFormat, typer.Option("-o", "--output", help="Form of the result.")] = GraphFormat.TEXT,
    out: o.Out = "-",
    exposure: Annotated[
        bool, typer.Option("--exposure", help="Also what pods and namespaces that do not exist yet could reach.")
    ] = False,
    cni: o.CniOption = None,
    config: o.ConfigFile = None,
) -> None:
    """List every connection that policies allow, between workloads and with address ranges outside."""
    settings = o.make_config(config, cni=cni)
    from netpol_gen import api, connectivity
    from netpol_gen.report import connectivity as report

    rules = api.read_policies([policies])
    held = read_held(inventory, settings, Where(live, context, kubeconfig), otherwise=[policies])
    settings = with_cni(settings, held, given=o.names(config, "cni", cni))
    tiers, matches = _tiers(rules, held), settings.cni.ipblock_matches_pods
    found = connectivity.connections(rules.policies, held, tiers=tiers, ipblock_matches_pods=matches)
    exposed = (
        connectivity.exposure(rules.policies, held, tiers=tiers, ipblock_matches_pods=matches) if exposure else None
    )
    if output is GraphFormat.CSV:
        put(report.list_csv(found), out)
        return
    render = {
        GraphFormat.TEXT: report.list_text,
        GraphFormat.JSON: report.list_json,
        GraphFormat.MARKDOWN: report.list_markdown,
        GraphFormat.DOT: report.list_dot,
    }
    put(render[output](found, exposed), out)


def diff(
    old: Annotated[str, typer.Argument(metavar="OLD", help="Policies before: a file or directory, or 'none'.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Policies after, likewise.")],
    inventory: Inventories = [],
    live: o.Live = False,
    context: o.Context = None,
    kubeconfig: o.Kubeconfig = None,
    flows: ObservedFlows = [],
    output: Report = ReportFormat.TEXT,
    out: o.Out = "-",
    source: o.Source = "auto",
    aws_format: o.AwsFormat = None,
    since: o.Since = None,
    until: o.Until = None,
    accept: o.Accept = [],
    min_evidence: o.MinEvidenceOption = None,
    cni: o.CniOption = None,
    strict: o.Strict = False,
    max_bad: o.MaxBad = None,
    max_loss: o.MaxLoss = None,
    config: o.ConfigFile = None,
) -> int:
    """Show what changes in meaning between two policy sets. Exit code 1 if they differ.

    With --flows: broken (observed and newly denied), opened, closed. Without: added, removed, changed.
    """
    settings = o.make_config(
        config,
        since=since,
        until=until,
        accept=accept,
        min_evidence=min_evidence,
        cni=cni,
        strict=strict,
        max_bad=max_bad,
        max_loss=max_loss,
    )
    from netpol_gen import api
    from netpol_gen.diff import compare
    from netpol_gen.manifests import PolicySet
    from netpol_gen.report import difference
    from netpol_gen.report.summary import identity_text

    before, after = (PolicySet() if p == _NONE else api.read_policies([p]) for p in (old, new))
    if inventory or live or context or kubeconfig:
        held = [read_held(inventory, settings, Where(live, context, kubeconfig))] * 2
    else:
        # The workloads that stand beside the policies; an empty set borrows those of the other side.
        held = [api.read_inventory([p for p in sides if p != _NONE][:1]) for sides in ((old, new), (new, old))]
    settings = with_cni(settings, held[1], given=o.names(config, "cni", cni))
    seen = None
    if flows:
        table = api.load_flows(flows, source=source, config=settings, aws_format=aws_format, inventory=held[1])
        say_notes(table.notes)
        found = api.find_edges(table, held[1], settings)
        if notes := identity_text(found):
            say(notes)
        # Pods that only the flows know take part on both sides, so that no workload seems new because of them.
        observed = [p for p in found.inventory.pods if p.observed]
        held = [h.with_observed(observed, found.inventory.namespaces.values()) for h in held]
        seen = found.accepted
    result = compare(
        before.policies,
        after.policies,
        held[0],
        held[1],
        seen,
        tiers_old=_tiers(before, held[0]),
        tiers_new=_tiers(after, held[1]),
        ipblock_matches_pods=settings.cni.ipblock_matches_pods,
    )
    render = {
        ReportFormat.TEXT: difference.diff_text,
        ReportFormat.CSV: difference.diff_csv,
        ReportFormat.JSON: difference.diff_json,
        ReportFormat.MARKDOWN: difference.diff_markdown,
    }
    put(render[output](result), out)
    return 0 if result.same else 1


def _tiers(rules: PolicySet, held: Inventory) -> tuple[TierPolicy, ...]:
    """Cluster-wide policies: those among the policies, else those in force."""
    return rules.tiers or held.tiers
