"""`netpol-gen coverage`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from netpol_gen.cli import options as o
from netpol_gen.cli.held import Where, read_held
from netpol_gen.cli.output import put, say, say_notes
from netpol_gen.errors import CheckFailedError


class CoverageFormat(StrEnum):
    """Forms of the statement."""

    TEXT = "text"
    JSON = "json"


def coverage(
    flows: o.Flows,
    inventory: o.Inventories = [],
    live: o.Live = False,
    context: o.Context = None,
    kubeconfig: o.Kubeconfig = None,
    output: Annotated[
        CoverageFormat, typer.Option("-o", "--output", help="Form of the statement.")
    ] = CoverageFormat.TEXT,
    out: o.Out = "-",
    require: Annotated[
        str | None,
        typer.Option("--require", metavar="STATE", help="Exit 1 unless all is 'stable', or at least 'stabilizing'."),
    ] = None,
    plot: Annotated[
        str | None, typer.Option("--plot", metavar="FILE", help="Draw the accumulation curve into an SVG file.")
    ] = None,
    source: o.Source = "auto",
    aws_format: o.AwsFormat = None,
    namespace: o.Namespaces = [],
    all_namespaces: o.AllNamespaces = False,
    since: o.Since = None,
    until: o.Until = None,
    accept: o.Accept = [],
    min_evidence: o.MinEvidenceOption = None,
    pod_cidr: o.PodCidr = [],
    service_cidr: o.ServiceCidr = [],
    strict: o.Strict = False,
    max_bad: o.MaxBad = None,
    max_loss: o.MaxLoss = None,
    config: o.ConfigFile = None,
    verbose: o.Verbose = False,
) -> None:
    """Say how much of the traffic was seen: unseen-edge estimate, blind spots, losses, what never ran.

    Per workload and direction, per namespace and whole: Learning, Stabilizing or Stable, each with its reason.
    """
    settings = o.make_config(
        config,
        namespace=namespace,
        all_namespaces=all_namespaces,
        since=since,
        until=until,
        accept=accept,
        min_evidence=min_evidence,
        pod_cidr=pod_cidr,
        service_cidr=service_cidr,
        strict=strict,
        max_bad=max_bad,
        max_loss=max_loss,
    )
    from netpol_gen import api
    from netpol_gen.coverage import parse_level
    from netpol_gen.report.coverage import coverage_json, coverage_svg, coverage_text
    from netpol_gen.report.summary import identity_text

    level = parse_level(require) if require else None
    held = read_held(inventory, settings, Where(live, context, kubeconfig))
    table = api.load_flows(flows, source=source, config=settings, aws_format=aws_format, inventory=held)
    say_notes(table.notes)
    edges = api.find_edges(table, held, settings)
    found = api.measure_coverage(edges, settings)
    if plot:
        put(coverage_svg(found), plot)
    put(coverage_json(found) if output is CoverageFormat.JSON else coverage_text(found, verbose=verbose), out)
    if notes := identity_text(edges):
        say(notes)
    if level is not None and (short := found.short_of(level)):
        for line in short[:20]:
            say(f"  {line.name}: {line.state}: {line.reason}")
        raise CheckFailedError(f"{len(short)} of {len(found.lines)} lines are below {level}")
