"""The library twin of every command: pandas in, pandas out, no global state.

```python
import netpol_gen as ng

inventory = ng.read_inventory("inventory.yaml")
flows = ng.read_flows("flows.jsonl.gz", inventory=inventory)
ng.edges(flows, inventory)                 # what talked to what, and why anything was left out
plan = ng.generate(flows, inventory)
print(ng.to_yaml(plan))
plan.to_frame()                            # one line per accepted edge, with the verdict
```
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from netpol_gen.config import Cni, Config, MinEvidence, Mode, NamedPorts, SnatClients
from netpol_gen.errors import InputError, OptionError, Place, printable
from netpol_gen.flowtable import TIMES, Flows, Ledger, Reason, filled_times, schema, with_null_times
from netpol_gen.policy import NetworkPolicy

if TYPE_CHECKING:
    import pandas as pd

    from netpol_gen.coverage import Coverage
    from netpol_gen.edges import Edges
    from netpol_gen.inventory import Inventory
    from netpol_gen.lint import LintSettings
    from netpol_gen.manifests import PolicySet
    from netpol_gen.plan import Plan
    from netpol_gen.sets import Network

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

_LEDGER = "netpol_gen.ledger"
_SOURCES = "netpol_gen.sources"
_NOTES = "netpol_gen.notes"


def _paths(paths: Paths) -> list[str | os.PathLike[str]]:
    return [paths] if isinstance(paths, str | os.PathLike) else list(paths)


def read_flows(
    paths: Paths,
    *,
    source: str = "auto",
    config: Config | None = None,
    inventory: Inventory | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """Flow exports as one canonical table.

    Args:
        paths: files, directories or globs, as on the command line.
        source: `auto`, or a source's name.
        inventory: what the cluster held. Where a source knows only addresses, a row is then of one holder of each;
            otherwise it may be of all that had an address within the hour, and is ambiguous.
        config: settings; fields of `Config` can also be given by name (`since=…`).
        **settings: fields of `Config`.

    Returns:
        One row per conversation with the columns and dtypes of `netpol_gen.flowtable`, Arrow-backed. The ledger travels
        in `frame.attrs` and stays right when rows are filtered out; with it, in `netpol_gen.notes`, what there is to
        know about the input, such as files that were left out.

    Raises:
        InputError: a file that cannot be read or is no flow log, or a directory that has none.

    """
    return flows_to_frame(load_flows(paths, source=source, config=config, inventory=inventory, **settings))


def load_flows(
    paths: Paths,
    *,
    source: str = "auto",
    config: Config | None = None,
    aws_format: str | None = None,
    inventory: Inventory | None = None,
    **settings: Any,
) -> Flows:
    """The same as `read_flows`, as the value that the other layers use: an Arrow table with its ledger."""
    from netpol_gen.readers import read_flows as read

    files, config = [os.fspath(p) for p in _paths(paths)], _config(config, settings)
    handovers = None
    if inventory is not None:
        from netpol_gen.inventory import Timeline

        handovers = Timeline.of(inventory).handovers(config.guard_ns)
    return read(files, source=source, config=config, aws_format=aws_format, handovers=handovers)


def flows_to_frame(flows: Flows) -> pd.DataFrame:
    """A flow table as a pandas frame with Arrow-backed dtypes."""
    import pandas as pd

    frame: pd.DataFrame = with_null_times(flows.table).to_pandas(types_mapper=pd.ArrowDtype)
    frame.attrs[_LEDGER] = _ledger_to_dict(flows.ledger)
    frame.attrs[_SOURCES] = dict(flows.sources)
    frame.attrs[_NOTES] = list(flows.notes)
    return frame


def frame_to_flows(frame: pd.DataFrame) -> Flows:
    """Back again. Rows that were filtered out since `read_flows` are set aside under a reason of their own.

    Raises:
        InputError: a column is missing or has values that do not fit its dtype.

    """
    import pyarrow as pa

    wanted = schema()
    if missing := [name for name in wanted.names if name not in frame.columns]:
        raise InputError(f"column {missing[0]} is missing", Place("flows"))
    bare = frame[wanted.names]
    # Arrow would write the attributes into the schema, and warns of keys that JSON does not have.
    bare.attrs = {}
    try:
        table = pa.Table.from_pandas(bare, schema=wanted, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError) as error:
        raise InputError(f"values do not fit the flow table: {error}", Place("flows")) from None
    table = table.replace_schema_metadata(None)
    for name, column in zip(TIMES, filled_times(*(table.column(name) for name in TIMES)), strict=True):
        table = table.set_column(wanted.get_field_index(name), wanted.field(name), column)
    records = int(sum(table.column("records").to_pylist()))
    ledger = _ledger_from_dict(frame.attrs.get(_LEDGER) or {})
    left_out = ledger.read - ledger.accounted - records
    if left_out > 0:
        ledger.aside(Reason.FILTERED, left_out)
    elif left_out < 0:
        # Rows that no reader counted: the caller made or multiplied them.
        ledger.read -= left_out
    sources = frame.attrs.get(_SOURCES) or {}
    told = dict(sources) or {str(s): 0 for s in set(table.column("source").to_pylist()) if s}
    return Flows(table, ledger, told, tuple(frame.attrs.get(_NOTES) or ()))


def _ledger_to_dict(ledger: Ledger) -> dict[str, Any]:
    return {f.name: getattr(ledger, f.name) for f in fields(Ledger)}


def _ledger_from_dict(data: dict[str, Any]) -> Ledger:
    ledger = Ledger()
    ledger.merge(Ledger(**data))
    return ledger


def read_inventory(
    paths: Paths = (), *, pod_cidrs: Sequence[Network] = (), service_cidrs: Sequence[Network] = ()
) -> Inventory:
    """What the cluster held, from object dumps; of nothing where no path is given.

    Args:
        paths: `kubectl get … -o yaml|json` dumps, files or directories.
        pod_cidrs: ranges that pods get addresses from, where no object tells.
        service_cidrs: ranges of Service addresses.

    Raises:
        InputError: a file, document or field that cannot be used.

    """
    from netpol_gen.inventory import empty, load_inventory
    from netpol_gen.sets import AddressSet

    items = _paths(paths)
    if items:
        return load_inventory([os.fspath(p) for p in items], pod_cidrs=pod_cidrs, service_cidrs=service_cidrs)
    return replace(empty(), pod_ranges=AddressSet.of(*pod_cidrs), service_ranges=AddressSet.of(*service_cidrs))


def read_policies(paths: Paths) -> PolicySet:
    """Policies from manifests: `policies` are NetworkPolicies, `tiers` cluster-wide ones, `other` counts the rest.

    Raises:
        InputError: a file, document or field that the API server would not take either.

    """
    from netpol_gen.manifests import read_policies as read

    return read([os.fspath(p) for p in _paths(paths)])


def find_edges(
    flows: Flows | pd.DataFrame,
    inventory: Inventory | None = None,
    config: Config | None = None,
    *,
    left_out: bool = False,
) -> Edges:
    """Edges as values, with the closed ledger.

    `left_out` as in `edges`.
    """
    from netpol_gen.edges import find_edges as find
    from netpol_gen.inventory import empty

    return find(_flows(flows), inventory or empty(), config, left_out=left_out)


def edges(
    flows: Flows | pd.DataFrame,
    inventory: Inventory | None = None,
    config: Config | None = None,
    *,
    left_out: bool = False,
    **settings: Any,
) -> pd.DataFrame:
    """One row per observed edge; `status` is `accepted` or why it is not. Columns: `netpol_gen.edges.COLUMNS`.

    `left_out` adds what came to no edge between known parties: an address that is nobody's or whose holder cannot be
    told, a Service without a backend, a client that cannot be told from the server.
    """
    return find_edges(flows, inventory, _config(config, settings), left_out=left_out).to_frame()


def generate(
    flows: Flows | pd.DataFrame,
    inventory: Inventory | None = None,
    config: Config | None = None,
    existing: Iterable[NetworkPolicy] | None = None,
    **settings: Any,
) -> Plan:
    """Policies with their proof. `plan.check()` raises if an accepted edge would be denied."""
    from netpol_gen.inventory import empty
    from netpol_gen.pipeline import generate as run

    return run(_flows(flows), inventory or empty(), _config(config, settings), existing)


def coverage(
    flows: Flows | pd.DataFrame, inventory: Inventory | None = None, config: Config | None = None, **settings: Any
) -> pd.DataFrame:
    """How much was seen: one row for the whole, each namespace, each workload and direction.

    Columns: `netpol_gen.coverage.COLUMNS`.
    """
    return measure_coverage(
        find_edges(flows, inventory, _config(config, settings)), _config(config, settings)
    ).to_frame()


def measure_coverage(edges: Edges, config: Config | None = None) -> Coverage:
    """The same as a value, with what the sources of these edges cannot show, losses, jobs and what no flow named."""
    from netpol_gen.coverage import measure
    from netpol_gen.readers.cards import CARDS

    used = [card for card in CARDS if card.source in edges.sources]
    blind = {card.source: (f"looks at {card.sampling}", *card.unseen) for card in used}
    return measure(edges, config, blind_spots=blind)


def ports(
    flows: Flows | pd.DataFrame,
    inventory: Inventory | None = None,
    policies: Iterable[NetworkPolicy] | None = None,
    config: Config | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """The port inventory: one row per workload, protocol and port. Columns: `netpol_gen.ports.COLUMNS`.

    `policies` decide what is allowed; `None` takes those of the inventory.
    """
    from netpol_gen.ports import collect

    config = _config(config, settings)
    return collect(find_edges(flows, inventory, config), config, policies).to_frame()


def lint(
    policies: Paths | Iterable[NetworkPolicy],
    inventory: Inventory | None = None,
    flows: Flows | pd.DataFrame | None = None,
    config: Config | None = None,
    rules: LintSettings | None = None,
    **settings: Any,
) -> pd.DataFrame:
    """Findings about policies, given as paths of manifests or as values. Columns: `netpol_gen.lint.COLUMNS`.

    Raises:
        InputError: a file that cannot be read; an invalid policy in it is a finding.

    """
    from netpol_gen.lint import LintSettings, Material, policy_documents, read_documents, run
    from netpol_gen.manifests import read_manifests

    config = _config(config, settings)
    if isinstance(policies, str | os.PathLike):
        policies = [policies]
    given = list(policies)
    values = [p for p in given if isinstance(p, NetworkPolicy)]
    paths = [os.fspath(p) for p in given if not isinstance(p, NetworkPolicy)]
    documents = (*policy_documents(values), *(read_documents(read_manifests(paths)) if paths else ()))
    edges = None if flows is None else find_edges(flows, inventory, config)
    return run(Material(documents, inventory, edges, config, rules or LintSettings())).to_frame()


def to_yaml(plan: Plan, namespace: str | None = None) -> str:
    """The policies of a plan, or those of one namespace, as one YAML stream."""
    from netpol_gen.emit import render_stream

    chosen = [p for p in plan.policies if namespace in (None, p.namespace)]
    return render_stream(chosen, plan.notes)


def summary(plan: Plan, *, verbose: bool = False) -> str:
    """What `generate` prints: policies, replay, ledger, gaps and notes on one screen."""
    from netpol_gen.report.summary import summary as text

    return text(plan, verbose=verbose)


def _flows(flows: Flows | pd.DataFrame) -> Flows:
    return flows if isinstance(flows, Flows) else frame_to_flows(flows)


_CHOICES: Mapping[str, type[StrEnum]] = {
    "cni": Cni,
    "min_evidence": MinEvidence,
    "mode": Mode,
    "named_ports": NamedPorts,
    "snat_clients": SnatClients,
}


def _config(config: Config | None, settings: dict[str, Any]) -> Config:
    """Settings by name over a `Config`; what the command line spells as a word may be a word here too."""
    if unknown := sorted(set(settings) - {f.name for f in fields(Config)}):
        raise OptionError(f"{printable(unknown[0])} is no setting; see netpol_gen.Config")
    given = {name: _choice(name, value) for name, value in settings.items()}
    return replace(config or Config(), **given)


def _choice(name: str, value: Any) -> Any:
    kind = _CHOICES.get(name)
    if kind is None or isinstance(value, kind):
        return value
    if value not in tuple(kind):
        raise OptionError(f"{name}: {printable(value)} is not one of {', '.join(kind)}")
    return kind(value)
