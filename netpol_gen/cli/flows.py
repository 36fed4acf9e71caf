"""`netpol-gen flows` and `netpol-gen edges`."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from netpol_gen.cli import options as o
from netpol_gen.cli.held import Where, read_held
from netpol_gen.cli.output import put, say
from netpol_gen.errors import OptionError, printable


class TableFormat(StrEnum):
    """Forms of a table."""

    TEXT = "text"
    CSV = "csv"
    JSON = "json"
    MARKDOWN = "md"
    PARQUET = "parquet"


OutputFormat = Annotated[TableFormat, typer.Option("-o", "--output", help="Form of the data.")]


def edges(
    flows: o.Flows,
    inventory: o.Inventories = [],
    live: o.Live = False,
    context: o.Context = None,
    kubeconfig: o.Kubeconfig = None,
    output: OutputFormat = TableFormat.TEXT,
    out: o.Out = "-",
    source: o.Source = "auto",
    aws_format: o.AwsFormat = None,
    all_edges: Annotated[
        bool,
        typer.Option(
            "--all", help="Also what was set aside, with the reason, as far as it had ends, a protocol and a port."
        ),
    ] = False,
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
    quiet: o.Quiet = False,
) -> None:
    """Show the aggregated edges: client workload, server workload or outside, protocol, backend port, evidence."""
    settings = o.make_config(
        config,
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
    from netpol_gen.report.edges import render_edges
    from netpol_gen.report.summary import found_text

    held = read_held(inventory, settings, Where(live, context, kubeconfig))
    table = api.load_flows(flows, source=source, config=settings, aws_format=aws_format, inventory=held)
    found = api.find_edges(table, held, settings, left_out=all_edges)
    shown = found.everything if all_edges else tuple(o for o in found.observations if o.reason is None)
    if output is TableFormat.PARQUET:
        if out == "-":
            raise OptionError("--output parquet needs --out FILE")
        packed = io.BytesIO()
        replace(found, observations=shown, left_out=()).to_frame().to_parquet(packed, index=False)
        put(packed.getvalue(), out)
    else:
        put(render_edges(shown, output), out)
    if not quiet:
        say(found_text(found))


def flows(
    flows: o.Flows,
    out: o.Out = "-",
    output: Annotated[
        TableFormat | None, typer.Option("-o", "--output", help="csv, json (one object per line) or parquet.")
    ] = None,
    source: o.Source = "auto",
    aws_format: o.AwsFormat = None,
    since: o.Since = None,
    until: o.Until = None,
    strict: o.Strict = False,
    max_bad: o.MaxBad = None,
    max_loss: o.MaxLoss = None,
    config: o.ConfigFile = None,
    quiet: o.Quiet = False,
) -> None:
    """Convert any flow export into the canonical flow table (CSV, JSON lines or Parquet).

    The columns, and what becomes of the ledger: docs/flow-table.md.
    """
    settings = o.make_config(config, since=since, until=until, strict=strict, max_bad=max_bad, max_loss=max_loss)
    from netpol_gen import api
    from netpol_gen.flowio import beside, is_stream, write_flows
    from netpol_gen.report.summary import flows_text

    table = api.load_flows(flows, source=source, config=settings, aws_format=aws_format)
    form = _flow_format(output, out)
    write_flows(table, sys.stdout.buffer if out == "-" else out, form)
    if quiet:
        return
    say(flows_text(table))
    if form == "parquet":
        say("the ledger and the notes are within the table")
    elif out == "-" or is_stream(Path(out)):
        say("the ledger and the notes are not in what was written: --out FILE keeps them, beside the table")
    else:
        say(f"the ledger and the notes are beside the table, in {printable(beside(out))}")


def _flow_format(output: TableFormat | None, out: str) -> str:
    """What was asked for, else what the file's name says, else CSV."""
    names = {TableFormat.CSV: "csv", TableFormat.JSON: "jsonl", TableFormat.PARQUET: "parquet"}
    if output is not None:
        if output not in names:
            raise OptionError(f"--output: {output} is not csv, json or parquet")
        return names[output]
    for ending, form in ((".parquet", "parquet"), (".jsonl", "jsonl"), (".json", "jsonl"), (".csv", "csv")):
        if out.endswith(ending):
            return form
    return "csv"
