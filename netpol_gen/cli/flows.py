"""`netpol-gen flows` and `netpol-gen edges`."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from netpol_gen.cli import options as o
from netpol_gen.cli.output import put, say
from netpol_gen.errors import OptionError

if TYPE_CHECKING:
    import pandas as pd


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
    output: OutputFormat = TableFormat.TEXT,
    out: o.Out = "-",
    source: o.Source = "auto",
    aws_format: o.AwsFormat = None,
    all_edges: Annotated[bool, typer.Option("--all", help="Also what was set aside, with the reason.")] = False,
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
    from netpol_gen.edges import ACCEPTED
    from netpol_gen.report.summary import ledger_text

    held = api.read_inventory(inventory, pod_cidrs=settings.pod_cidrs, service_cidrs=settings.service_cidrs)
    table = api.load_flows(flows, source=source, config=settings, aws_format=aws_format)
    found = api.find_edges(table, held, settings)
    frame = found.to_frame()
    if not all_edges:
        frame = frame[frame["status"] == ACCEPTED]
    put_frame(frame, output, out)
    if not quiet:
        say(ledger_text(found.ledger, found.sources))


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
    """Convert any flow export into the canonical flow table (CSV, JSON lines or Parquet)."""
    settings = o.make_config(config, since=since, until=until, strict=strict, max_bad=max_bad, max_loss=max_loss)
    from netpol_gen import api
    from netpol_gen.flowio import write_flows

    table = api.load_flows(flows, source=source, config=settings, aws_format=aws_format)
    write_flows(table, out, _flow_format(output, out))
    if not quiet:
        say(f"{table.table.num_rows:,} conversations from {table.ledger.read:,} records")


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


_TEXT_COLUMNS = ("client", "server", "protocol", "port", "flows", "last_seen", "direction", "status")


def put_frame(frame: pd.DataFrame, output: TableFormat, out: str) -> None:
    """Write an edge frame in the form asked for."""
    from netpol_gen.report.text import csv_text, markdown_table, table

    if output is TableFormat.PARQUET:
        if out == "-":
            raise OptionError("parquet needs --out FILE")
        frame.to_parquet(out, index=False)
    elif output is TableFormat.JSON:
        put(frame.to_json(orient="records", date_format="iso", date_unit="ns", lines=True), out)
    elif output is TableFormat.CSV:
        rows = frame.astype(object).where(frame.notna(), None).itertuples(index=False)
        put(csv_text(list(frame.columns), rows), out)
    else:
        shown = [
            (
                _end(row.src_namespace, row.src_name, row.src_kind),
                _end(row.dst_namespace, row.dst_name, row.dst_kind),
                row.protocol,
                row.port,
                row.flows,
                str(row.last_seen)[:19],
                row.direction,
                row.status,
            )
            for row in frame.itertuples(index=False)
        ]
        put((table if output is TableFormat.TEXT else markdown_table)(_TEXT_COLUMNS, shown), out)


def _end(namespace: object, name: object, kind: object) -> str:
    """`ns/name[Kind]`, or an external's kind and address."""
    import pandas as pd

    if not pd.isna(namespace):  # type: ignore[call-overload]
        return f"{namespace}/{name}[{kind}]"
    return str(kind) if pd.isna(name) else f"{kind} {name}"  # type: ignore[call-overload]
