"""`netpol-gen verify`, `explain`, `list` and `diff`."""

from __future__ import annotations

from typing import Annotated

import typer

from netpol_gen.cli import options as o
from netpol_gen.cli.output import put, say

Policies = Annotated[list[str], typer.Argument(metavar="POLICIES...", help="Policy manifests: files or directories.")]
ObservedFlows = Annotated[list[str], typer.Option("--flows", metavar="FLOWS", help="Observed flows. Repeatable.")]


def verify(
    policies: Policies,
    flows: ObservedFlows,
    inventory: o.Inventories = [],
    source: o.Source = "auto",
    aws_format: o.AwsFormat = None,
    out: o.Out = "-",
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
) -> int:
    """Replay observed flows through policies. Exit code 1 if an accepted flow would be denied."""
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
    from netpol_gen import api, verify as library
    from netpol_gen.report.summary import ledger_text, replay_text

    rules = api.read_policies(policies)
    held = api.read_inventory(inventory, pod_cidrs=settings.pod_cidrs, service_cidrs=settings.service_cidrs)
    found = api.find_edges(api.load_flows(flows, source=source, config=settings, aws_format=aws_format), held, settings)
    replay = library.replay(rules, found.inventory, found.accepted, tiers=found.inventory.tiers)
    put(replay_text(replay), out)
    if not quiet:
        say(ledger_text(found.ledger, found.sources))
    return 0 if replay.holds else 1
