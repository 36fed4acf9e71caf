"""`netpol-gen snapshot`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from netpol_gen.cli import options as o
from netpol_gen.cli.output import put, say
from netpol_gen.errors import OptionError

if TYPE_CHECKING:
    from netpol_gen.cluster import Snapshot


class SnapshotFormat(StrEnum):
    """Forms of a snapshot."""

    JSON = "json"
    YAML = "yaml"


def snapshot(
    output: Annotated[
        SnapshotFormat | None,
        typer.Option("-o", "--output", help="json (one object a line, quick to read) or yaml; by the name of --out."),
    ] = None,
    out: o.Out = "-",
    append: Annotated[
        Path | None,
        typer.Option("--append", metavar="HISTORY", help="Add what changed to a history (.json, .json.gz) instead."),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="With --append: go on until stopped, so that pod lifetimes are exact.")
    ] = False,
    flush: Annotated[
        float, typer.Option("--flush", metavar="SECONDS", help="With --watch: write changes this often.", min=0.1)
    ] = 10.0,
    namespace: Annotated[
        list[str], typer.Option("-n", "--namespace", help="Read only this namespace. Repeatable.")
    ] = [],
    context: o.Context = None,
    kubeconfig: o.Kubeconfig = None,
    page: Annotated[int, typer.Option("--page", help="Objects asked for at a time.", min=1)] = 500,
    quiet: o.Quiet = False,
) -> None:
    """Read the live cluster, and nothing but read, into an inventory file.

    Kept is what identity, ports and policies depend on: no environment, no secrets, no annotations. What could not be
    read for lack of permission is named in the file and on stderr. The ClusterRole it needs is in docs/rbac.yaml.
    """
    if watch and append is None:
        raise OptionError("--watch needs --append HISTORY")
    if append is not None and (out != "-" or output is not None):
        raise OptionError("--append writes a history of its own form: leave out --out and --output")
    from netpol_gen import cluster

    api = cluster.Api(cluster.Access(kubeconfig, context))
    tell = (lambda _: None) if quiet else say
    try:
        if append is not None and watch:
            with o.stop_on_signals() as stop:
                cluster.watch(api, append, stop, namespaces=namespace, flush_seconds=flush, limit=page, tell=tell)
            return
        taken = cluster.take_snapshot(api, namespace, limit=page)
    finally:
        api.close()
    _say_about(taken, quiet=quiet)
    if append is not None:
        changes = cluster.append(append, taken)
        tell(f"{append}: {changes}")
    else:
        put(taken.to_yaml() if _format(output, out) is SnapshotFormat.YAML else taken.to_json(), out)


def _format(output: SnapshotFormat | None, out: str) -> SnapshotFormat:
    if output is not None:
        return output
    return SnapshotFormat.YAML if out.endswith((".yaml", ".yml")) else SnapshotFormat.JSON


def _say_about(taken: Snapshot, *, quiet: bool) -> None:
    """What was found; what was not read is said even to those who want quiet."""
    if not quiet:
        say(", ".join(f"{count:,} {kind}" for kind, count in taken.counts().items()))
    for missed in taken.not_read:
        say(f"not read: {missed}")
    if taken.skew:
        say(f"this machine's clock is {taken.skew:+.0f} s off the API server's, whose time the snapshot bears")
