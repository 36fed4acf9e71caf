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
from netpol_gen.inventory.timeline import Owner, Timeline
from netpol_gen.model import DirectionEvidence, External, ExternalKind, Party, Protocol, Signal

if TYPE_CHECKING:
    import pyarrow as pa

_END = ("ip", "namespace", "pod", "labels", "workload", "entities", "uid")
_PROTOCOLS = tuple(Protocol)


@dataclass(frozen=True, slots=True, order=True)
class Vip:
    """A Service's address, not yet resolved to what stands behind it."""

    address: str


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


AMBIGUOUS = -2
"""Party code of an address whose holder cannot be told."""
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
    book = _Book(inventory, Timeline.build(inventory))
    static = np.array([book.static(e, f, p) for e, f, p in zip(ends, said, named, strict=True)], dtype=np.int64)
    pods = np.array([book.pod_index(p) for p in named], dtype=np.int64)
    lines = pd.DataFrame({"row": np.arange(len(frame)), "protocol": frame["protocol"].map(_protocol_code)})
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
    wanted = [f"{end}_{c}" for end in ("src", "dst") for c in _END]
    wanted += ["src_port", "dst_port", "protocol", "direction", "backend_ip", "backend_port", "signals"]
    frame: pd.DataFrame = table.select(wanted).to_pandas()
    times = table.select(["first_seen", "last_seen"])
    for name in ("first_seen", "last_seen"):
        frame[name] = times.column(name).cast("int64").to_numpy()
    frame["nodes"] = table.column("nodes").to_pylist()
    return frame


def _distinct_ends(frame: pd.DataFrame) -> tuple[list[tuple[str, ...]], dict[str, np.ndarray]]:
    """Every distinct end, and for each row the index of its source and destination."""
    sides = [frame[[f"{end}_{c}" for c in _END]].set_axis(list(_END), axis=1) for end in ("src", "dst")]
    both = pd.concat(sides, ignore_index=True).fillna("").astype(str)
    grouped = both.groupby(list(_END), sort=True)
    code = grouped.ngroup().to_numpy()
    keys = [tuple(k) for k in grouped.size().index]
    return keys, {"src": code[: len(frame)], "dst": code[len(frame) :]}


def _ports(column: pd.Series) -> np.ndarray:
    result: np.ndarray = column.fillna(-1).to_numpy(np.int64)
    return result


def _protocol_code(name: str) -> int:
    return _PROTOCOLS.index(Protocol(name)) if name in tuple(Protocol) else 3


def _observed_namespaces(said: Sequence[Facts]) -> tuple[Namespace, ...]:
    """Namespaces with the labels that the records carry for them."""
    seen: dict[str, dict[str, str]] = {}
    for fact in said:
        if fact.namespace:
            seen.setdefault(fact.namespace, {}).update(fact.namespace_labels)
    for name, labels in seen.items():
        labels["kubernetes.io/metadata.name"] = name
    return tuple(Namespace(name, tuple(sorted(labels.items()))) for name, labels in sorted(seen.items()))


class _Book:
    """Parties by code, and the ways from an end to its party."""

    def __init__(self, inventory: Inventory, timeline: Timeline) -> None:
        self.inventory = inventory
        self.timeline = timeline
        self.parties: list[Party | Vip] = []
        self._codes: dict[Party | Vip, int] = {}
        self._pod_party = np.array([self.code(self.party_of(pod)) for pod in inventory.pods], dtype=np.int64)
        self._pod_index = {_pod_key(pod): i for i, pod in enumerate(inventory.pods)}

    def code(self, party: Party | Vip) -> int:
        """The code of a party, a new one if need be."""
        if party not in self._codes:
            self._codes[party] = len(self.parties)
            self.parties.append(party)
        return self._codes[party]

    def pod_index(self, pod: Pod | None) -> int:
        """Index into the inventory's pods, -1 for none."""
        return -1 if pod is None else self._pod_index.get(_pod_key(pod), -1)

    def party_of(self, pod: Pod) -> Party:
        """The pod's workload, or its node if it shares the node's network."""
        if pod.host_network:
            # No podSelector matches it: it is its node (semantics 4.1 no. 17).
            return External(ExternalKind.NODE, str(pod.addresses[0]) if pod.addresses else "")
        return pod.workload

    def static(self, end: tuple[str, ...], fact: Facts, pod: Pod | None) -> int:
        """The party's code where it does not depend on time, else -1 (look the address up)."""
        address = end[0]
        if pod is not None:
            return self.code(self.party_of(pod))
        entities = fact.entities
        if "host" in entities:
            return self.code(External(ExternalKind.OWN_NODE, address))
        if "kube-apiserver" in entities:
            return self.code(External(ExternalKind.API_SERVER, address))
        if "remote-node" in entities:
            return self.code(External(ExternalKind.NODE, self._node_address(address)))
        if "ingress" in entities:
            return self.code(External(ExternalKind.INGRESS_PROXY, address))
        if not address:
            kind = ExternalKind.WORLD if any(e.startswith("world") for e in entities) else ExternalKind.UNKNOWN
            return self.code(External(kind))
        return -1

    def _node_address(self, address: str) -> str:
        """The node's own address where the record shows another of its addresses (router, tunnel)."""
        node = self.timeline.node_of(ipaddress.ip_address(address)) if address else None
        return str(node.addresses[0]) if node is not None and node.addresses else address

    def at(
        self, ends: Sequence[tuple[str, ...]], at: np.ndarray, static: np.ndarray, frame: pd.DataFrame, guard: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Party code (`AMBIGUOUS`: the address changed hands too close to the flow) and pod index per row."""
        out, pods = static.copy(), np.full(len(static), -1, dtype=np.int64)
        todo = np.flatnonzero(static < 0)
        if len(todo):
            addresses = np.array([end[0] for end in ends], dtype=object)[at[todo]]
            out[todo], pods[todo] = self.by_address(addresses, frame.iloc[todo], guard)
        return out, pods

    def by_address(self, addresses: np.ndarray, frame: pd.DataFrame, guard: int) -> tuple[np.ndarray, np.ndarray]:
        """Owners of addresses over each row's whole time span: party code and pod index."""
        first, last = frame["first_seen"].to_numpy(), frame["last_seen"].to_numpy()
        owner = self.timeline.owners_between(addresses, first, last, guard)
        out = np.full(len(owner), AMBIGUOUS, dtype=np.int64)
        pods = owner >= 0
        out[pods] = self._pod_party[owner[pods]]
        for value in (Owner.UNKNOWN_INSIDE, Owner.NODE, Owner.VIP, Owner.OUTSIDE):
            mask = owner == int(value)
            text, inverse = np.unique(addresses[mask].astype(str), return_inverse=True)
            made = np.array([self.code(self._address_party(Owner(value), a)) for a in text], dtype=np.int64)
            out[mask] = made[inverse]
        return out, np.where(pods, owner, -1)

    def _address_party(self, owner: Owner, address: str) -> Party | Vip:
        ip = ipaddress.ip_address(address)
        if any(ip == known for known, _ in self.inventory.api_server):
            return External(ExternalKind.API_SERVER, address)
        match owner:
            case Owner.VIP:
                return Vip(address)
            case Owner.NODE:
                return External(ExternalKind.NODE, self._node_address(address))
            case Owner.OUTSIDE:
                return External(ExternalKind.WORLD, address)
            case _:
                return External(ExternalKind.UNKNOWN, address)

    def listening(self) -> np.ndarray:
        """Keys of the ports that parties declare or that Services lead to."""
        keys: set[tuple[int, int, int]] = set()
        for pod in self.inventory.pods:
            owner = self.code(self.party_of(pod))
            keys |= {(owner, _PROTOCOLS.index(p.protocol), p.number) for p in pod.ports}
        for service in self.inventory.services:
            for address in (*service.cluster_ips, *service.external_ips):
                vip = self.code(Vip(str(address)))
                keys |= {(vip, _PROTOCOLS.index(p.protocol), p.port) for p in service.ports}
        for backend in self.inventory.backends:
            namespace, _, name = backend.pod.partition("/")
            target = self.inventory.pod(namespace, name) if backend.pod else None
            if target is not None:
                keys.add((self.code(self.party_of(target)), _PROTOCOLS.index(backend.protocol), backend.port))
        table = np.array(sorted(keys), dtype=np.int64).reshape(-1, 3)
        return port_key(table[:, 0], table[:, 1], table[:, 2])


def _apply_backend(lines: pd.DataFrame, frame: pd.DataFrame, book: _Book, guard: int) -> pd.DataFrame:
    """Where the source shows the server after NAT, that is the server."""
    seen = np.flatnonzero(frame["backend_ip"].notna().to_numpy())
    if len(seen):
        addresses = frame["backend_ip"].to_numpy(dtype=object)[seen]
        party, pod = book.by_address(addresses, frame.iloc[seen], guard)
        lines.loc[seen, "dst"], lines.loc[seen, "dst_pod"] = party, pod
        ports = _ports(frame["backend_port"])[seen]
        lines.loc[seen, "dst_port"] = np.where(ports > 0, ports, lines["dst_port"].to_numpy()[seen])
    return lines


def _finish(lines: pd.DataFrame, frame: pd.DataFrame, book: _Book) -> Resolved:
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
    _set(lines, lines["protocol"] >= len(_PROTOCOLS), Reason.OTHER_PROTOCOL)
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


def _behind_vips(lines: pd.DataFrame, frame: pd.DataFrame, book: _Book) -> pd.DataFrame:
    """One line per distinct (workload, port) behind a VIP or NodePort, as of the hour of the flow."""
    vip_codes = {c for c, p in enumerate(book.parties) if isinstance(p, Vip)}
    node_codes = {c for c, p in enumerate(book.parties) if isinstance(p, External) and p.kind is ExternalKind.NODE}
    candidates = lines[lines["dst"].isin(vip_codes | node_codes) & (lines["reason"] < 0)].copy()
    if candidates.empty:
        return lines
    candidates["time"] = frame["first_seen"].to_numpy()[candidates["row"].to_numpy()]
    candidates["hour"] = candidates["time"] // 3_600_000_000_000
    made: list[pd.DataFrame] = [lines.drop(candidates.index)]
    for _, group in candidates.groupby(["dst", "protocol", "port", "hour"], sort=True):
        dst, protocol, port = (int(group[c].iloc[0]) for c in ("dst", "protocol", "port"))
        found = _targets(book, book.parties[dst], protocol, port, int(group["time"].min()))
        if not found:
            made.append(group.assign(reason=REASON_CODE[Reason.NO_BACKEND]) if dst in vip_codes else group)
        made += [group.assign(dst=code, port=target_port, dst_pod=pod) for code, target_port, pod in found]
    return pd.concat(made).sort_values(["row", "dst", "port"], kind="stable").reset_index(drop=True)


def _targets(book: _Book, party: Party | Vip, protocol: int, port: int, at: int) -> list[tuple[int, int, int]]:
    """Party code, port and pod index (-1 unless there is just one pod) behind an address and port."""
    if not isinstance(party, External | Vip) or not party.address:
        return []
    found = backends_of(book.inventory, ipaddress.ip_address(party.address), port, _PROTOCOLS[protocol], at=at)
    out: dict[tuple[int, int], int] = {}
    for target in found:
        if target.pod is not None:
            key, pod = (book.code(book.party_of(target.pod)), target.port), book.pod_index(target.pod)
            out[key] = -1 if key in out else pod
        elif target.address is not None:
            known = any(target.address == a for a, _ in book.inventory.api_server)
            kind = ExternalKind.API_SERVER if known else ExternalKind.WORLD
            out[book.code(External(kind, str(target.address))), target.port] = -1
    return [(code, target_port, pod) for (code, target_port), pod in sorted(out.items())]


def _refuse_ephemeral(lines: pd.DataFrame, frame: pd.DataFrame, listening: np.ndarray) -> None:
    """A TCP server port in the ephemeral range needs a SYN or a declaration; anything less is a mistaken reply."""
    rank, port, protocol = (lines[c].to_numpy() for c in ("evidence", "port", "protocol"))
    proven = np.isin(rank, [r for r in range(UNDECIDED) if evidence_at(r) in _PROOF])
    syn = (frame["signals"].fillna(0).to_numpy(np.int64)[lines["row"].to_numpy()] & int(Signal.SYN)) != 0
    declared = np.isin(port_key(lines["dst"].to_numpy(), protocol, port), listening)
    weak = (port >= EPHEMERAL_FROM) & ~declared & ~proven & ~syn
    _set(lines, weak & ((protocol != _PROTOCOLS.index(Protocol.UDP)) | (rank >= _WEAK_FROM)), Reason.UNDECIDED)


_PROOF = {
    DirectionEvidence.SYN,
    DirectionEvidence.POLICY_VERDICT,
    DirectionEvidence.CONNTRACK,
    DirectionEvidence.INITIATOR,
}
_WEAK_FROM = next(r for r in range(UNDECIDED) if not evidence_at(r).strong)


def _api_server_ports(lines: pd.DataFrame, book: _Book) -> None:
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


def _own_nodes(lines: pd.DataFrame, frame: pd.DataFrame, book: _Book) -> None:
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


def _which_node(node: External, pod: Pod, reporters: Sequence[str] | None, book: _Book) -> External:
    """`node` as the pod's own node or another one."""
    if node.kind is ExternalKind.OWN_NODE:
        # Cilium's identity 1 is the reporting node's own host: it is the pod's node unless objects say otherwise.
        seen_by = {name.rpartition("/")[2] for name in reporters or ()}
        elsewhere = bool(pod.node) and bool(seen_by) and pod.node not in seen_by
        return External(ExternalKind.NODE, node.address) if elsewhere else External(ExternalKind.OWN_NODE)
    found = book.timeline.node_of(ipaddress.ip_address(node.address)) if node.address else None
    own = found is not None and found.name == pod.node
    return External(ExternalKind.OWN_NODE) if own else node


def _refuse_parties(lines: pd.DataFrame, book: _Book) -> None:
    """Set aside what has no pod at either end, or an end that is nobody's."""
    external = np.array([isinstance(p, External | Vip) for p in book.parties], dtype=bool)
    nobody = np.array([isinstance(p, External) and p.kind is ExternalKind.UNKNOWN for p in book.parties], dtype=bool)
    src, dst = lines["src"].to_numpy(), lines["dst"].to_numpy()
    ok = (src >= 0) & (dst >= 0)
    _set(lines, ok & external[src] & external[dst] & ~nobody[src] & ~nobody[dst], Reason.NODE_TO_NODE)
    _set(lines, ok & (nobody[src] | nobody[dst]), Reason.UNKNOWN_PARTY)


def _pod_key(pod: Pod) -> tuple[str, str, str, int]:
    return (pod.namespace, pod.name, pod.uid, pod.started or 0)
