"""`netpol-gen ports`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from netpol_gen.cli import options as o
from netpol_gen.cli.held import Where, read_held
from netpol_gen.cli.output import put, say
from netpol_gen.errors import CheckFailedError, InputError, OptionError, Place


class PortsFormat(StrEnum):
    """Forms of the inventory."""

    TEXT = "text"
    MARKDOWN = "md"
    CSV = "csv"
    JSON = "json"


def ports(
    flows: o.Flows,
    inventory: o.Inventories = [],
    live: o.Live = False,
    context: o.Context = None,
    kubeconfig: o.Kubeconfig = None,
    output: Annotated[PortsFormat, typer.Option("-o", "--output", help="Form of the inventory.")] = PortsFormat.TEXT,
    out: o.Out = "-",
    policies: Annotated[
        list[str],
        typer.Option("--policies", metavar="PATH", help="Policies in force; default: the inventory's. Repeatable."),
    ] = [],
    diff: Annotated[
        str | None, typer.Option("--diff", metavar="OLD", help="Show what changed since OLD, written with -o json.")
    ] = None,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="With --diff: exit 1 if anything changed.")] = False,
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
    quiet: o.Quiet = False,
) -> None:
    """List every port that workloads listen on: declared, served by a Service, used and by whom, allowed or not."""
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
    from netpol_gen.ports import changes, collect, snapshot
    from netpol_gen.report import ports as report
    from netpol_gen.report.summary import found_text

    if exit_code and diff is None:
        raise OptionError("--exit-code needs --diff")
    old = None if diff is None else report.read_snapshot(_read(diff), diff)
    held = read_held(inventory, settings, Where(live, context, kubeconfig))
    table = api.load_flows(flows, source=source, config=settings, aws_format=aws_format, inventory=held)
    found = api.find_edges(table, held, settings)
    listed = collect(found, settings, api.read_policies(policies).policies if policies else None)
    if not quiet:
        say(found_text(found))
    if old is None:
        forms = {
            PortsFormat.TEXT: report.ports_text,
            PortsFormat.MARKDOWN: report.ports_markdown,
            PortsFormat.CSV: report.ports_csv,
            PortsFormat.JSON: report.ports_json,
        }
        put(forms[output](listed), out)
        return
    changed = changes(old, snapshot(listed))
    shown = {
        PortsFormat.TEXT: report.changes_text,
        PortsFormat.MARKDOWN: report.changes_markdown,
        PortsFormat.CSV: report.changes_csv,
        PortsFormat.JSON: report.changes_json,
    }
    put(shown[output](changed), out)
    if exit_code and changed:
        raise CheckFailedError(f"{len(changed)} changes since {diff}")


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise InputError(f"cannot be read: {reason}", Place(path)) from None
