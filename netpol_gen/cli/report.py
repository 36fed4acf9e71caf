"""`netpol-gen report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from netpol_gen.cli import options as o
from netpol_gen.cli.held import Where, read_with_existing
from netpol_gen.cli.output import put, say
from netpol_gen.config import Mode


def report(
    flows: o.Flows,
    inventory: o.Inventories = [],
    live: o.Live = False,
    context: o.Context = None,
    kubeconfig: o.Kubeconfig = None,
    out: Annotated[str, typer.Option("--out", metavar="FILE", help="The page; - is stdout.")] = "report.html",
    plots: Annotated[
        Path | None,
        typer.Option("--plots", metavar="DIR", help="Also draw the plots, as SVG and PNG (needs netpol-gen[plots])."),
    ] = None,
    title: Annotated[str, typer.Option("--title", help="The page's heading.")] = "Network policy report",
    source: o.Source = "auto",
    aws_format: o.AwsFormat = None,
    existing: Annotated[
        list[str],
        typer.Option("--existing", metavar="PATH", help="Policies in force, or 'live'; default: the inventory's."),
    ] = [],
    mode: Annotated[Mode | None, typer.Option("--mode", help="How the result relates to policies in force.")] = None,
    namespace: o.Namespaces = [],
    all_namespaces: o.AllNamespaces = False,
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
) -> None:
    """Write one self-contained HTML page: who calls whom, what policies allow, what would change, and the proof.

    The page needs no network and sends nothing: open it from disk, print it, share it with its view in the link.
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
        pod_cidr=pod_cidr,
        service_cidr=service_cidr,
        strict=strict,
        max_bad=max_bad,
        max_loss=max_loss,
    )
    from netpol_gen import api, judged

    held = read_with_existing(inventory, settings, Where(live, context, kubeconfig), existing)
    table = api.load_flows(flows, source=source, config=settings, aws_format=aws_format, inventory=held.inventory)
    plan = api.generate(table, held.inventory, settings, held.existing)
    page = judged.report(plan, settings, title=title)
    put(page.html, out)
    if plots is not None:
        from netpol_gen.plots import draw_all

        written = draw_all(plan, settings, plots)
        if not quiet:
            say(f"wrote {len(written)} plots to {plots}")
    if not quiet and out != "-":
        say(f"wrote {out}, {len(page.html.encode()) / 1e6:.1f} MB")
