"""From flow rows to rows between parties: identity as of the flow's time, direction, and the port behind a Service.

Precedence for an end: pod UID or name in the record, else its labels, else the source's reserved identity, else the
address's owner at that time. An address inside the cluster's ranges that nobody is known to hold stays *unknown*; one
that changed hands too close to the flow is *ambiguous* and its rows are set aside.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from netpol_gen.config import Config
from netpol_gen.direction import EPHEMERAL_FROM, UNDECIDED, evidence_at, orient, port_key
from netpol_gen.flowtable import Flows, Reason
from netpol_gen.identity import Facts, Roster, facts
from netpol_gen.inventory import Inventory
from netpol_gen.inventory.objects import Namespace, Pod
from netpol_gen.inventory.services import backends_of
from netpol_gen.inventory.timeline import Timeline
from netpol_gen.model import DirectionEvidence, External, ExternalKind, Party, Protocol, Signal, Workload
from netpol_gen.parties import AMBIGUOUS, END, PROTOCOLS, Book, Vip
from netpol_gen.sets import Address

if TYPE_CHECKING:
    import pyarrow as pa

_LINK_LOCAL = ipaddress.ip_network("169.254.0.0/16")


@dataclass(frozen=True, slots=True)
class Resolved:
    """Rows between parties, oriented, with backend ports.

    `rows` has one line per (table row, backend): `row` (index into the flow table), `src`, `dst` (codes into
    `parties`, -1 where `reason` is set), `port`, `protocol` (index into `Protocol`), `evidence` (rank), `reason`
    (index into `Reason` or -1), `first` (whether it is the first line of its table row), `src_end`, `dst_end` (codes
    that tell single pods and addresses apart), `flipped` (whether the table row had the server first).
    """

    rows: pd.DataFrame
    parties: tuple[Party, ...]
    inventory: Inventory


_REASONS = tuple(Reason)
REASON_CODE = {reason: code for code, reason in enumerate(_REASONS)}


def reason_at(code: int) -> Reason:
    """The reason of a code."""
    return _REASONS[code]


def resolve(flows: Flows, inventory: Inventory, config: Config) -> Resolved:
    """Resolve every row of `flows` against `inventory` and what the flows themselves tell."""
    frame = _columns(flows.table)
    ends, codes = _distinct_ends(frame)
    said = [facts(*end[1:]) for end in ends]
    roster = Roster(inventory.pods)
    for end, fact in zip(ends, said, strict=True):
        roster.learn(fact, end[0] if not fact.entities else "")
    named = [_named_pod(fact, roster) if fact.named else None for fact in said]
    inventory = inventory.with_observed(roster.observed, _observed_namespaces(said))
    book = Book(inventory, Timeline.build(inventory))
    static = np.array([book.static(e, f, p) for e, f, p in zip(ends, said, named, strict=True)], dtype=np.int64)
    pods = np.array([book.pod_index(p) for p in named], dtype=np.int64)
    lines = pd.DataFrame({"row": np.arange(len(frame)), "protocol": frame["protocol"].map(_PROTOCOL_CODES)})
    # What no policy can name has a code of its own, which `_finish` sets aside.
    lines["protocol"] = lines["protocol"].fillna(len(PROTOCOLS)).astype(np.int64)
    guard = int(config.guard_seconds * 1e9)
    for side in ("src", "dst"):
        at = codes[side]
        party, pod = book.at(ends, at, static[at], frame, guard)
        lines[side], lines[f"{side}_end"] = party, at
        lines[f"{side}_pod"] = np.where(pod >= 0, pod, pods[at])
    lines["src_port"], lines["dst_port"] = _ports(frame["src_port"]), _ports(frame["dst_port"])
    lines["direction"] = frame["direction"]
    lines = _apply_backend(lines, frame, book, guard)
    return _finish(lines, frame, book)


def _named_pod(fact: Facts, roster: Roster) -> Pod:
    return roster.pod(fact) or roster.add_unnamed(fact)


def _columns(table: pa.Table) -> pd.DataFrame:
    wanted = [f"{end}_{c}" for end in ("src", "dst") for c in END]
    wanted += ["src_port", "dst_port", "protocol", "direction", "backend_ip", "backend_port", "signals"]
    frame: pd.DataFrame = table.select(wanted).to_pandas()
    times = table.select(["first_seen", "last_seen"])
    for name in ("first_seen", "last_seen"):
        frame[name] = times.column(name).cast("int64").to_numpy()
    frame["nodes"] = table.column("nodes").to_pylist()
    return frame


def _distinct_ends(frame: pd.DataFrame) -> tuple[list[tuple[str, ...]], dict[str, np.ndarray]]:
    """Every distinct end, and for each row the index of its source and destination."""
    sides = [frame[[f"{end}_{c}" for c in END]].set_axis(list(END), axis=1) for end in ("src", "dst")]
    both = pd.concat(sides, ignore_index=True).fillna("").astype(str)
    grouped = both.groupby(list(END), sort=True)
    code = grouped.ngroup().to_numpy()
    keys = [tuple(k) for k in grouped.size().index]
    return keys, {"src": code[: len(frame)], "dst": code[len(frame) :]}


def _ports(column: pd.Series) -> np.ndarray:
    result: np.ndarray = column.fillna(-1).to_numpy(np.int64)
    return result


_PROTOCOL_CODES = {str(protocol): code for code, protocol in enumerate(PROTOCOLS)}


def _observed_namespaces(said: Sequence[Facts]) -> tuple[Namespace, ...]:
    """Namespaces with the labels that the records carry for them."""
    seen: dict[str, dict[str, str]] = {}
    for fact in said:
        if fact.namespace:
            seen.setdefault(fact.namespace, {}).update(fact.namespace_labels)
    for name, labels in seen.items():
        labels["kubernetes.io/metadata.name"] = name
    return tuple(Namespace(name, tuple(sorted(labels.items()))) for name, labels in sorted(seen.items()))


def _apply_backend(lines: pd.DataFrame, frame: pd.DataFrame, book: Book, guard: int) -> pd.DataFrame:
    """Where the source shows the server after NAT, that is the server."""
    seen = np.flatnonzero(frame["backend_ip"].notna().to_numpy())
    if len(seen):
        addresses = frame["backend_ip"].to_numpy(dtype=object)[seen]
        party, pod = book.by_address(addresses, frame.iloc[seen], guard)
        lines.loc[seen, "dst"], lines.loc[seen, "dst_pod"] = party, pod
        ports = _ports(frame["backend_port"])[seen]
        lines.loc[seen, "dst_port"] = np.where(ports > 0, ports, lines["dst_port"].to_numpy()[seen])
    return lines


def _finish(lines: pd.DataFrame, frame: pd.DataFrame, book: Book) -> Resolved:
    """Orient, look behind VIPs, and give each line its port, its evidence or its reason."""
    listening = book.listening()
    oriented = orient(lines, listening)
    flip = oriented.flip
    for a, b in (("src", "dst"), ("src_port", "dst_port"), ("src_end", "dst_end"), ("src_pod", "dst_pod")):
        lines[a], lines[b] = np.where(flip, lines[b], lines[a]), np.where(flip, lines[a], lines[b])
    lines["evidence"] = oriented.rank
    lines["flipped"] = flip
    lines["reason"] = -1
    _set(lines, oriented.rank == UNDECIDED, Reason.UNDECIDED)
    _set(lines, (lines["src"] == AMBIGUOUS) | (lines["dst"] == AMBIGUOUS), Reason.AMBIGUOUS)
    _set(lines, (lines["src_pod"] >= 0) & (lines["src_pod"] == lines["dst_pod"]), Reason.SELF)
    _set(lines, lines["protocol"] >= len(PROTOCOLS), Reason.OTHER_PROTOCOL)
    _set(lines, lines["dst_port"] <= 0, Reason.BAD_FIELD)
    lines = lines.rename(columns={"dst_port": "port"})
    lines = _behind_vips(lines, frame, book)
    _refuse_ephemeral(lines, frame, book.listening())
    _api_server_ports(lines, book)
    _own_nodes(lines, frame, book)
    _refuse_parties(lines, book)
    lines["first"] = ~lines["row"].duplicated()
    parties = tuple(External(ExternalKind.UNKNOWN, p.address) if isinstance(p, Vip) else p for p in book.parties)
    columns = ["row", "src", "dst", "protocol", "port", "evidence", "reason", "first", "src_end", "dst_end", "flipped"]
    return Resolved(lines[columns].reset_index(drop=True), parties, book.inventory)


def _set(lines: pd.DataFrame, where: pd.Series | np.ndarray, reason: Reason) -> None:
    """Give a reason to lines that have none yet."""
    lines.loc[np.asarray(where) & (lines["reason"].to_numpy() < 0), "reason"] = REASON_CODE[reason]


def _behind_vips(lines: pd.DataFrame, frame: pd.DataFrame, book: Book) -> pd.DataFrame:
    """One line per distinct (workload, port) behind a dialled address, as of the hour of the flow."""
    dialled = _dialled(lines, frame, book)
    chosen = (dialled >= 0) & (lines["reason"].to_numpy() < 0)
    if not chosen.any():
        return lines
    candidates = lines[chosen].assign(dialled=dialled[chosen])
    candidates["time"] = frame["first_seen"].to_numpy()[candidates["row"].to_numpy()]
    candidates["hour"] = candidates["time"] // 3_600_000_000_000
    made: list[pd.DataFrame] = [lines.drop(candidates.index)]
    keys = ["dialled", "dst", "dst_pod", "protocol", "port"]
    for _, group in candidates.groupby([*keys, "hour"], sort=True):
        at, dst, dst_pod, protocol, port = (int(group[c].iloc[0]) for c in keys)
        found = _targets(book, book.parties[at], protocol, port, int(group["time"].min()))
        if at != dst:
            # The record names the pod; only its port is still the Service's.
            found = [(code, number, dst_pod) for code, number, pod in found if code == dst and pod in (-1, dst_pod)]
        if not found:
            nowhere = isinstance(book.parties[dst], Vip)
            made.append(group.assign(reason=REASON_CODE[Reason.NO_BACKEND]) if nowhere else group)
        made += [group.assign(dst=code, port=target_port, dst_pod=pod) for code, target_port, pod in found]
    return pd.concat(made).sort_values(["row", "dst", "port"], kind="stable").reset_index(drop=True)


def _dialled(lines: pd.DataFrame, frame: pd.DataFrame, book: Book) -> np.ndarray:
    """Per line the code of an address that stands for others, -1 where it stands for itself.

    A node's address with a NodePort stands for what is behind it to clients outside. To a pod it does not: its packets
    are judged before another node translates them, so what its egress needs is that node and that port.
    """
    src, dst = lines["src"].to_numpy(), lines["dst"].to_numpy()
    vip = np.array([isinstance(p, Vip) for p in book.parties], dtype=bool)
    node = np.array([isinstance(p, External) and p.kind is ExternalKind.NODE for p in book.parties], dtype=bool)
    workload = np.array([isinstance(p, Workload) for p in book.parties], dtype=bool)
    from_pod, to = (src >= 0) & workload[src], dst >= 0
    out = np.where(to & (vip[dst] | (node[dst] & ~from_pod)), dst, -1)
    named = np.flatnonzero(to & workload[dst] & (lines["reason"].to_numpy() < 0))
    rows = lines["row"].to_numpy()[named]
    named, rows = named[bare := frame["backend_ip"].isna().to_numpy()[rows]], rows[bare]
    flipped = lines["flipped"].to_numpy()[named]
    addresses = np.where(flipped, frame["src_ip"].to_numpy(object)[rows], frame["dst_ip"].to_numpy(object)[rows])
    out[named] = [book.vips.get(address, -1) for address in addresses]
    return out


def _targets(book: Book, party: Party | Vip, protocol: int, port: int, at: int) -> list[tuple[int, int, int]]:
    """Party code, port and pod index (-1 unless there is just one pod) behind an address and port."""
    if not isinstance(party, External | Vip) or not party.address:
        return []
    found = backends_of(book.inventory, ipaddress.ip_address(party.address), port, PROTOCOLS[protocol], at=at)
    out: dict[tuple[int, int], int] = {}
    for target in found:
        if target.pod is not None:
            key, pod = (book.code(book.party_of(target.pod)), target.port), book.pod_index(target.pod)
            out[key] = -1 if key in out else pod
        elif target.address is not None:
            out[book.code(_endpoint(book.inventory, target.address)), target.port] = -1
    return [(code, target_port, pod) for (code, target_port), pod in sorted(out.items())]


def _endpoint(inventory: Inventory, address: Address) -> External:
    """A Service's endpoint that is no pod of the inventory: one missing from the dump is unknown, not the world."""
    if any(address == known for known, _ in inventory.api_server):
        return External(ExternalKind.API_SERVER, str(address))
    if inventory.node_at(address) is not None:
        return External(ExternalKind.NODE, str(address))
    inside = address in inventory.pod_ranges or address in inventory.service_ranges
    return External(ExternalKind.UNKNOWN if inside else ExternalKind.WORLD, str(address))


def _refuse_ephemeral(lines: pd.DataFrame, frame: pd.DataFrame, listening: np.ndarray) -> None:
    """A TCP server port in the ephemeral range needs a SYN or a declaration; anything less is a mistaken reply."""
    rank, port, protocol = (lines[c].to_numpy() for c in ("evidence", "port", "protocol"))
    proven = np.isin(rank, [r for r in range(UNDECIDED) if evidence_at(r) in _PROOF])
    syn = (frame["signals"].fillna(0).to_numpy(np.int64)[lines["row"].to_numpy()] & int(Signal.SYN)) != 0
    declared = np.isin(port_key(lines["dst"].to_numpy(), protocol, port), listening)
    weak = (port >= EPHEMERAL_FROM) & ~declared & ~proven & ~syn
    _set(lines, weak & ((protocol != PROTOCOLS.index(Protocol.UDP)) | (rank >= _WEAK_FROM)), Reason.UNDECIDED)


_PROOF = {
    DirectionEvidence.SYN,
    DirectionEvidence.POLICY_VERDICT,
    DirectionEvidence.CONNTRACK,
    DirectionEvidence.INITIATOR,
}
_WEAK_FROM = next(r for r in range(UNDECIDED) if not evidence_at(r).strong)


def _api_server_ports(lines: pd.DataFrame, book: Book) -> None:
    """The API server's address on another port is its node: a kubelet, a node exporter."""
    known = {(str(address), port) for address, port in book.inventory.api_server}
    if not known:
        return
    servers = {c: p for c, p in enumerate(book.parties) if isinstance(p, External) and p.kind is _API}
    at = lines[lines["dst"].isin(servers)]
    for code, port in sorted(set(zip(at["dst"], at["port"], strict=True))):
        if (servers[code].address, port) not in known:
            node = book.code(External(ExternalKind.NODE, servers[code].address))
            lines.loc[(lines["dst"] == code) & (lines["port"] == port), "dst"] = node


_API = ExternalKind.API_SERVER


def _own_nodes(lines: pd.DataFrame, frame: pd.DataFrame, book: Book) -> None:
    """Tell a pod's own node from other nodes, where objects or reporters say which node it is on."""
    nodes = {c: p for c, p in enumerate(book.parties) if isinstance(p, External) and p.kind in _NODES}
    if not nodes:
        return
    for end, other in (("src", "dst"), ("dst", "src")):
        at = lines[lines[end].isin(nodes) & (lines["reason"] < 0)]
        if at.empty:
            continue
        reporters: list[list[str] | None] = frame["nodes"].tolist()
        new = {
            index: book.code(_which_node(nodes[code], book.inventory.pods[pod], reporters[row], book))
            for index, code, pod, row in zip(at.index, at[end], at[f"{other}_pod"], at["row"], strict=True)
            if pod >= 0
        }
        changed = pd.Series(new, dtype=np.int64)
        lines.loc[changed.index, end] = changed


_NODES = (ExternalKind.NODE, ExternalKind.OWN_NODE)


def _which_node(node: External, pod: Pod, reporters: Sequence[str] | None, book: Book) -> External:
    """`node` as the pod's own node or another one."""
    address = ipaddress.ip_address(node.address) if node.address else None
    if address is not None and address in _LINK_LOCAL:
        # Every node has it: a DNS cache, the metadata service. Not all plug-ins take it for the node itself.
        return External(ExternalKind.NODE, node.address)
    found = book.timeline.node_of(address) if address is not None else None
    if found is not None and pod.node:
        if found.name == pod.node:
            return External(ExternalKind.OWN_NODE)
        return External(ExternalKind.NODE, book.node_address(node.address))
    if node.kind is ExternalKind.NODE:
        return node
    # Cilium's identity 1 is the reporting node's own host: it is the pod's node unless objects say otherwise.
    seen_by = {name.rpartition("/")[2] for name in reporters or ()}
    elsewhere = bool(pod.node) and bool(seen_by) and pod.node not in seen_by
    return External(ExternalKind.NODE, node.address) if elsewhere else External(ExternalKind.OWN_NODE)


def _refuse_parties(lines: pd.DataFrame, book: Book) -> None:
    """Set aside what has no pod at either end, or an end that is nobody's."""
    external = np.array([isinstance(p, External | Vip) for p in book.parties], dtype=bool)
    nobody = np.array([isinstance(p, External) and p.kind is ExternalKind.UNKNOWN for p in book.parties], dtype=bool)
    src, dst = lines["src"].to_numpy(), lines["dst"].to_numpy()
    ok = (src >= 0) & (dst >= 0)
    _set(lines, ok & external[src] & external[dst] & ~nobody[src] & ~nobody[dst], Reason.NODE_TO_NODE)
    _set(lines, ok & (nobody[src] | nobody[dst]), Reason.UNKNOWN_PARTY)
