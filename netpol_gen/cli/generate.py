"""`netpol-gen generate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from netpol_gen.cli import options as o
from netpol_gen.cli.held import Where, read_with_existing, with_cni
from netpol_gen.cli.output import put, say
from netpol_gen.config import Mode, NamedPorts, SnatClients


def generate(
    flows: o.Flows,
    inventory: o.Inventories = [],
    live: o.Live = False,
    context: o.Context = None,
    kubeconfig: o.Kubeconfig = None,
    out: o.Out = "-",
    source: o.Source = "auto",
    aws_format: o.AwsFormat = None,
    existing: Annotated[
        list[str],
        typer.Option(
            "--existing",
            metavar="PATH",
            help="Policies in force; 'live' are the cluster's; default: the inventory's. Repeatable.",
        ),
    ] = [],
    mode: Annotated[Mode | None, typer.Option("--mode", help="How the result relates to policies in force.")] = None,
    namespace: o.Namespaces = [],
    all_namespaces: o.AllNamespaces = False,
    since: o.Since = None,
    until: o.Until = None,
    accept: o.Accept = [],
    min_evidence: o.MinEvidenceOption = None,
    scan_threshold: Annotated[
        int | None, typer.Option("--scan-threshold", help="So many doors tried once make a scan; 0: no check.")
    ] = None,
    cni: o.CniOption = None,
    named_ports: Annotated[NamedPorts | None, typer.Option("--named-ports", help="Use container port names.")] = None,
    snat_clients: Annotated[
        SnatClients | None, typer.Option("--snat-clients", help="What to admit for clients hidden by source NAT.")
    ] = None,
    max_extra_addresses: Annotated[
        int | None,
        typer.Option("--max-extra-addresses", help="Addresses that CIDRs may cover beyond those seen (default 0)."),
    ] = None,
    default_deny: Annotated[
        bool, typer.Option("--default-deny", help="Add one default-deny policy per namespace, in its own file.")
    ] = False,
    pod_cidr: o.PodCidr = [],
    service_cidr: o.ServiceCidr = [],
    strict: o.Strict = False,
    max_bad: o.MaxBad = None,
    max_loss: o.MaxLoss = None,
    evidence: Annotated[
        str | None, typer.Option("--evidence", metavar="FILE", help="Write evidence and ledger as JSON.")
    ] = None,
    templates: Annotated[
        Path | None, typer.Option("--templates", metavar="DIR", help="Templates that frame the policies.")
    ] = None,
    config: o.ConfigFile = None,
    verbose: o.Verbose = False,
    quiet: o.Quiet = False,
) -> None:
    """Turn flows into least-privilege, port-scoped policies, each proved against the flows it came from.

    Every accepted flow is replayed through existing and generated policies before a byte is written; if one would be
    denied, nothing is written and the exit code is 1.
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
        scan_threshold=scan_threshold,
        cni=cni,
        named_ports=named_ports,
        snat_clients=snat_clients,
        max_extra_addresses=max_extra_addresses,
        default_deny=default_deny,
        pod_cidr=pod_cidr,
        service_cidr=service_cidr,
        strict=strict,
        max_bad=max_bad,
        max_loss=max_loss,
    )
    from netpol_gen import api
    from netpol_gen.emit import earlier_files, render_stream, render_tree, write_tree
    from netpol_gen.report.evidence import evidence_json
    from netpol_gen.report.summary import summary

    held = read_with_existing(inventory, settings, Where(live, context, kubeconfig), existing)
    settings = with_cni(settings, held.inventory, given=o.names(config, "cni", cni), quiet=quiet)
    table = api.load_flows(flows, source=source, config=settings, aws_format=aws_format, inventory=held.inventory)
    plan = api.generate(table, held.inventory, settings, held.existing)
    if not quiet or not plan.replay.holds:
        say(summary(plan, verbose=verbose))
    plan.check()
    if out == "-":
        put(render_stream(plan.policies, plan.notes, templates), out)
    else:
        # What stays in force by the plan stays in the directory too: only `full` is all there is to be.
        stays = settings.mode is not Mode.FULL
        beside = earlier_files(plan.policies, Path(out), plan.replaces) if stays else {}
        written = write_tree(render_tree(plan.policies, plan.notes, templates, beside), Path(out))
        if not quiet:
            say(f"wrote {len(written)} files to {out}")
    if evidence:
        put(evidence_json(plan), evidence)
