"""From flow rows to rows between parties: identity as of the flow's time, direction, and the port behind a Service.

Precedence for an end: pod UID or name in the record, else its labels, else the source's reserved identity, else the
address's owner at that time. An address inside the cluster's ranges that nobody is known to hold stays *unknown*; one
that changed hands too close to the flow is *ambiguous* and its rows are set aside. Where a source tells an end alone,
that time is all in which the packets can have been sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from netpol_gen import behind
from netpol_gen.codes import Columns, known, lists, numbered, numbers, picked, texts, within
from netpol_gen.config import Config
from netpol_gen.direction import EPHEMERAL_FROM, RANK, UNDECIDED, evidence_at, orient, port_key
from netpol_gen.flowtable import Flows, Reason
from netpol_gen.handovers import earliest
from netpol_gen.identity import Facts, Roster, facts
from netpol_gen.inventory import Inventory
from netpol_gen.inventory.objects import Namespace, Pod
from netpol_gen.inventory.timeline import Timeline
from netpol_gen.lines import Lines
from netpol_gen.model import DirectionEvidence, External, ExternalKind, Party, Protocol, Signal
from netpol_gen.parties import AMBIGUOUS, END, KIND, PROTOCOLS, WORKLOAD, Book, Times, Vip

if TYPE_CHECKING:
    import pyarrow as pa

End = tuple[str, ...]
"""What the columns `END` say."""
_OUTSIDE = END.index("entities")


@dataclass(frozen=True, slots=True)
class Resolved:
    """Lines between parties (codes into `parties`), oriented, with backend ports as `dst_port`."""

    lines: Lines
    parties: tuple[Party, ...]
    inventory: Inventory


def resolve(flows: Flows, inventory: Inventory, config: Config) -> Resolved:
    """Resolve every row of `flows` against `inventory` and what the flows themselves tell."""
    table = flows.table
    ends, codes = _distinct_ends(flows.columns)
    # Many ends differ in nothing but their address, and of that only a look-up by time can tell.
    memo: dict[End, Facts] = {}
    said = [memo[end[1:]] if end[1:] in memo else memo.setdefault(end[1:], facts(*end[1:])) for end in ends]
    roster = Roster(inventory.pods)
    for end, fact in zip(ends, said, strict=True):
        roster.learn(fact, end[0] if not fact.entities else "")
    named = [_named_pod(fact, roster) if fact.named else None for fact in said]
    inventory = inventory.with_observed(roster.observed, _observed_namespaces(said))
    book = Book(inventory, Timeline.of(inventory))
    static = np.array([book.static(e, f, p) for e, f, p in zip(ends, said, named, strict=True)], dtype=np.int64)
    pods = np.array([book.pod_index(p) for p in named], dtype=np.int64)
    first, last = (numbers(table.column(name)) for name in ("first_seen", "last_seen"))
    times = Times(earliest(first, numbers(table.column("signals"))), last, config.guard_ns)
    lines = _lines(flows.columns, ends, codes, static, pods, times, book)
    _apply_backend(lines, table, times, book)
    return _finish(lines, flows.columns, [end[0] for end in ends], times, book)


def _lines(
    columns: Columns,
    ends: Sequence[End],
    codes: Mapping[str, np.ndarray],
    static: np.ndarray,
    pods: np.ndarray,
    times: Times,
    book: Book,
) -> Lines:
    """A line per row, between the parties that held its addresses, as the source has it."""
    table, addresses = columns.table, [end[0] for end in ends]
    outside = np.array(["world" in end[_OUTSIDE] for end in ends], dtype=bool)
    parties, held = {}, {}
    for side, which in codes.items():
        parties[side], pod = book.at(addresses, outside, which, static, times)
        held[side] = np.where(pod >= 0, pod, pods[which])
    return Lines(
        row=np.arange(table.num_rows),
        src=parties["src"],
        dst=parties["dst"],
        src_end=codes["src"],
        dst_end=codes["dst"],
        src_pod=held["src"],
        dst_pod=held["dst"],
        src_port=numbers(table.column("src_port"), -1),
        dst_port=numbers(table.column("dst_port"), -1),
        # What no policy can name has a code of its own, which `_finish` sets aside.
        protocol=columns.texts("protocol").mapped(_PROTOCOL_CODES, len(PROTOCOLS)),
        evidence=np.full(table.num_rows, UNDECIDED),
        flipped=np.zeros(table.num_rows, dtype=bool),
        reason=np.full(table.num_rows, -1),
    )


_PROTOCOL_CODES = {str(protocol): code for code, protocol in enumerate(PROTOCOLS)}


def _named_pod(fact: Facts, roster: Roster) -> Pod | None:
    # What may be no pod is one only where somebody else knows a pod of that name.
    return roster.pod(fact) or (None if fact.untyped else roster.add_unnamed(fact))


def _distinct_ends(columns: Columns) -> tuple[list[End], dict[str, np.ndarray]]:
    """Every distinct end in order, and for each row the index of its source and destination."""
    parts = [columns.texts(f"src_{c}", f"dst_{c}") for c in END]
    example, number = numbered(*(part.codes for part in parts))
    # Null and empty are one.
    said = [[*part.values, ""] for part in parts]
    cells = zip(*(part.codes[example].tolist() for part in parts), strict=True)
    made = [tuple(values[code] for values, code in zip(said, codes, strict=True)) for codes in cells]
    ends = sorted(set(made))
    place = {end: i for i, end in enumerate(ends)}
    code = np.array([place[end] for end in made], dtype=np.int64)[number]
    rows = columns.table.num_rows
    return ends, {"src": code[:rows], "dst": code[rows:]}


def _observed_namespaces(said: Sequence[Facts]) -> tuple[Namespace, ...]:
    """Namespaces with the labels that the records carry for them."""
    seen: dict[str, dict[str, str]] = {}
    for fact in said:
        if fact.namespace:
            seen.setdefault(fact.namespace, {}).update(fact.namespace_labels)
    for name, labels in seen.items():
        labels["kubernetes.io/metadata.name"] = name
    return tuple(Namespace(name, tuple(sorted(labels.items()))) for name, labels in sorted(seen.items()))


def _apply_backend(lines: Lines, table: pa.Table, times: Times, book: Book) -> None:
    """Where the source shows the server after NAT, that is the server."""
    column = table.column("backend_ip")
    seen = np.flatnonzero(known(column))
    if len(seen):
        backend = texts(column)
        lines.dst[seen], lines.dst_pod[seen] = book.by_address(backend.values, backend.codes[seen], times.of(seen))
        ports = numbers(table.column("backend_port"), -1)[seen]
        lines.dst_port[seen] = np.where(ports > 0, ports, lines.dst_port[seen])


def _finish(lines: Lines, columns: Columns, addresses: Sequence[str], times: Times, book: Book) -> Resolved:
    """Orient, look behind VIPs, and give each line its port, its evidence or its reason."""
    table = columns.table
    itself = _to_itself(lines, addresses, table.column("backend_ip"), book)
    said = columns.texts("direction").mapped(RANK, UNDECIDED)
    oriented = orient(lines, said, book.listening)
    lines.flip(oriented.flip)
    lines.evidence = oriented.rank
    lines.refuse(lines.evidence == UNDECIDED, Reason.UNDECIDED)
    lines.refuse((lines.src == AMBIGUOUS) | (lines.dst == AMBIGUOUS), Reason.AMBIGUOUS)
    lines.refuse((lines.src_pod >= 0) & (lines.src_pod == lines.dst_pod), Reason.SELF)
    lines.refuse(itself, Reason.SELF)
    lines.refuse(lines.protocol >= len(PROTOCOLS), Reason.OTHER_PROTOCOL)
    lines.refuse(lines.dst_port <= 0, Reason.BAD_FIELD)
    vips = np.array([book.vips.get(address, -1) for address in addresses], dtype=np.int64)
    dialled = behind.dialled(lines, vips, ~known(table.column("backend_ip")), book)
    # A connection that lasted goes on to the pod that it began with, if it is known when it began.
    once = (numbers(table.column("flows")) == 1) & (times.first == numbers(table.column("first_seen")))
    calls = Times(times.first, np.where(once, times.first, times.last), times.guard)
    lines = behind.behind_vips(lines, dialled, calls, book)
    _refuse_ephemeral(lines, numbers(table.column("signals")), book.listening)
    behind.api_server_ports(lines, book)
    behind.own_nodes(lines, lists(table.column("nodes")), book)
    _refuse_parties(lines, book)
    parties = tuple(External(ExternalKind.UNKNOWN, p.address) if isinstance(p, Vip) else p for p in book.parties)
    return Resolved(lines, parties, _with_timelines(book))


def _with_timelines(book: Book) -> Inventory:
    """The inventory, and what its timeline has to say: two living pods with one address."""
    found = book.timeline.diagnostics
    if not found:
        return book.inventory
    return replace(book.inventory, diagnostics=tuple(sorted({*book.inventory.diagnostics, *found})))


def _to_itself(lines: Lines, addresses: Sequence[str], backends: pa.ChunkedArray, book: Book) -> np.ndarray:
    """Whether both ends are one address of a workload, where nobody knows which of its pods had it."""
    at = np.flatnonzero((lines.src >= 0) & (lines.src == lines.dst) & (lines.src_pod < 0))
    at = at[book.kinds()[lines.src[at]] == WORKLOAD]
    out = np.zeros(len(lines), dtype=bool)
    if len(at):
        ends = zip(lines.src_end[at].tolist(), lines.dst_end[at].tolist(), picked(backends, at), strict=True)
        out[at] = [addresses[src] == (backend or addresses[dst]) for src, dst, backend in ends]
    return out


def _refuse_ephemeral(lines: Lines, signals: np.ndarray, listening: np.ndarray) -> None:
    """A TCP server port in the ephemeral range needs a SYN or a declaration; anything less is a mistaken reply."""
    at = np.flatnonzero(lines.dst_port >= EPHEMERAL_FROM)
    rank, protocol = lines.evidence[at], lines.protocol[at]
    syn = (signals[lines.row[at]] & int(Signal.SYN)) != 0
    declared = within(port_key(lines.dst[at], protocol, lines.dst_port[at]), listening)
    weak = ~declared & ~np.isin(rank, _PROOF) & ~syn
    weak &= (protocol != PROTOCOLS.index(Protocol.UDP)) | (rank >= _WEAK_FROM)
    refused = np.zeros(len(lines), dtype=bool)
    refused[at[weak]] = True
    lines.refuse(refused, Reason.UNDECIDED)


_PROOF = [
    evidence.rank
    for evidence in (
        DirectionEvidence.SYN,
        DirectionEvidence.POLICY_VERDICT,
        DirectionEvidence.CONNTRACK,
        DirectionEvidence.INITIATOR,
    )
]
_WEAK_FROM = next(r for r in range(UNDECIDED) if not evidence_at(r).strong)


def _refuse_parties(lines: Lines, book: Book) -> None:
    """Set aside what has no pod at either end, or an end that is nobody's."""
    kinds = book.kinds()
    src, dst = kinds[lines.src], kinds[lines.dst]
    # Negative codes are no parties.
    ok = (lines.src >= 0) & (lines.dst >= 0)
    unknown = (src == KIND[ExternalKind.UNKNOWN]) | (dst == KIND[ExternalKind.UNKNOWN])
    external = (src != WORKLOAD) & (dst != WORKLOAD)
    lines.refuse(ok & external & ~unknown, Reason.NODE_TO_NODE)
    lines.refuse(ok & unknown, Reason.UNKNOWN_PARTY)
