"""What stands behind the addresses that clients dial: pods of Services and node ports; and whose the nodes are.

Lines whose destination is such an address become one line per distinct (workload, port) behind it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from netpol_gen.codes import Lists, coded, numbered
from netpol_gen.flowtable import Reason
from netpol_gen.inventory import Inventory
from netpol_gen.inventory.objects import Pod
from netpol_gen.inventory.services import backends_of
from netpol_gen.lines import Lines
from netpol_gen.model import External, ExternalKind, Party
from netpol_gen.parties import KIND, PROTOCOLS, VIP, WORKLOAD, Book, Vip
from netpol_gen.sets import Address

_LINK_LOCAL = ipaddress.ip_network("169.254.0.0/16")
_HOUR = 3_600_000_000_000
_NODE, _OWN_NODE, _API = (KIND[k] for k in (ExternalKind.NODE, ExternalKind.OWN_NODE, ExternalKind.API_SERVER))


def behind_vips(lines: Lines, dialled: np.ndarray, first_seen: np.ndarray, book: Book) -> Lines:
    """One line per distinct (workload, port) behind a dialled address, as of the hour of the flow.

    `dialled` is what `dialled` gives; `first_seen` is by row of the table.
    """
    chosen = np.flatnonzero((dialled >= 0) & (lines.reason < 0))
    if not len(chosen):
        return lines
    time = first_seen[lines.row[chosen]]
    keys = (dialled, lines.dst, lines.dst_pod, lines.protocol, lines.dst_port)
    example, group = numbered(*(key[chosen] for key in keys), time // _HOUR)
    earliest = np.full(len(example), np.iinfo(np.int64).max)
    np.minimum.at(earliest, group, time)
    found: list[tuple[int, int, int]] = []
    count = np.zeros(len(example), dtype=np.int64)
    nowhere = np.zeros(len(example), dtype=bool)
    asked = zip(*(key[chosen[example]].tolist() for key in keys), earliest.tolist(), strict=True)
    for i, (at, dst, dst_pod, protocol, port, when) in enumerate(asked):
        targets = _targets(book, book.parties[at], protocol, port, when)
        if at != dst:
            # The record names the pod; only its port is still the Service's.
            targets = [(code, number, dst_pod) for code, number, pod in targets if code == dst and pod in (-1, dst_pod)]
        found += targets
        count[i] = len(targets)
        nowhere[i] = not targets and isinstance(book.parties[dst], Vip)
    lines.refuse(_mask(len(lines), chosen[nowhere[group]]), Reason.NO_BACKEND)
    return _replaced(lines, chosen, group, count, np.array(found, dtype=np.int64).reshape(-1, 3))


def _mask(size: int, at: np.ndarray) -> np.ndarray:
    out = np.zeros(size, dtype=bool)
    out[at] = True
    return out


def _replaced(lines: Lines, chosen: np.ndarray, group: np.ndarray, count: np.ndarray, found: np.ndarray) -> Lines:
    """Each chosen line once for every target of its group; those of a group without any stay as they are."""
    start = (np.cumsum(count) - count)[group]
    often = count[group]
    again = np.repeat(np.arange(len(chosen)), often)
    number = np.arange(len(again)) - np.repeat(np.cumsum(often) - often, often)
    target = found[start[again] + number]
    rest = np.flatnonzero(~_mask(len(lines), chosen[often > 0]))
    out = lines.take(np.concatenate([rest, chosen[again]]))
    out.dst[len(rest) :], out.dst_port[len(rest) :], out.dst_pod[len(rest) :] = target.T
    return out


def dialled(lines: Lines, vip_of_end: np.ndarray, plain: np.ndarray, book: Book) -> np.ndarray:
    """Per line the code of an address that stands for others, -1 where it stands for itself.

    A node's address with a NodePort stands for what is behind it to clients outside. To a pod it does not: its packets
    are judged before another node translates them, so what its egress needs is that node and that port.
    `vip_of_end` is by end the code of its address as a Service's, `plain` by row whether it shows no backend.
    """
    kinds = book.kinds()
    src, dst = kinds[lines.src], kinds[lines.dst]
    src[lines.src < 0] = dst[lines.dst < 0] = -1
    forwards = (dst == _NODE) & (src != WORKLOAD)
    forwards[forwards] = _forwarded(lines.dst[forwards], lines.protocol[forwards], lines.dst_port[forwards], book)
    out = np.where((dst == VIP) | forwards, lines.dst, -1)
    named = np.flatnonzero((dst == WORKLOAD) & (lines.reason < 0) & plain[lines.row])
    out[named] = vip_of_end[lines.dst_end[named]]
    return out


def _forwarded(nodes: np.ndarray, protocol: np.ndarray, port: np.ndarray, book: Book) -> np.ndarray:
    """Whether a node may lead on from its port: anybody's node port or host port, or its address is a Service's too."""
    index = book.inventory.index
    ports = {(number, PROTOCOLS.index(name)) for number, name in (*index.node_ports, *index.by_host_port)}
    example, party = numbered(nodes)
    there = [book.parties[code] for code in nodes[example].tolist()]
    held = np.array([isinstance(p, External) and p.address in book.vips for p in there], dtype=bool)
    known = np.array([number << 2 | name for number, name in ports], dtype=np.int64)
    result: np.ndarray = held[party] | np.isin(port << 2 | protocol, known)
    return result


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


def api_server_ports(lines: Lines, book: Book) -> None:
    """The API server's address on another port is its node: a kubelet, a node exporter."""
    known = {(str(address), port) for address, port in book.inventory.api_server}
    if not known:
        return
    at = np.flatnonzero((lines.dst >= 0) & (book.kinds()[lines.dst] == _API))
    example, number = numbered(lines.dst[at], lines.dst_port[at])
    codes = []
    for code, port in zip(lines.dst[at][example].tolist(), lines.dst_port[at][example].tolist(), strict=True):
        server = book.parties[code]
        assert isinstance(server, External)  # noqa: S101 - by its kind
        elsewhere = (server.address, port) not in known
        codes.append(book.code(External(ExternalKind.NODE, server.address)) if elsewhere else code)
    lines.dst[at] = np.array(codes, dtype=np.int64)[number]


def own_nodes(lines: Lines, reporters: Lists, book: Book) -> None:
    """Tell a pod's own node from other nodes, where objects or reporters say which node it is on."""
    for end, pods in ((lines.src, lines.dst_pod), (lines.dst, lines.src_pod)):
        kind = book.kinds()[end]
        at = np.flatnonzero(((kind == _NODE) | (kind == _OWN_NODE)) & (end >= 0) & (lines.reason < 0) & (pods >= 0))
        if not len(at):
            continue
        which, seen_by = _reporters(reporters, lines.row[at])
        example, number = numbered(end[at], pods[at], which)
        asked = zip(*(values[example].tolist() for values in (end[at], pods[at], which)), strict=True)
        codes = [
            book.code(_which_node(node, book.inventory.pods[pod], seen_by[by], book))
            for code, pod, by in asked
            if isinstance(node := book.parties[code], External)
        ]
        end[at] = np.array(codes, dtype=np.int64)[number]


def _reporters(nodes: Lists, rows: np.ndarray) -> tuple[np.ndarray, list[tuple[str, ...]]]:
    """For each row the number of a set of names, and the sets."""
    owner, at = nodes.of(rows)
    if not len(owner):
        return np.zeros(len(rows), dtype=np.int64), [()]
    names = coded(nodes.items)
    codes, ends = names.codes[at].tolist(), [0, *np.cumsum(nodes.length[rows]).tolist()]
    known: dict[tuple[int, ...], int] = {}
    which = [known.setdefault(tuple(codes[a:b]), len(known)) for a, b in pairwise(ends)]
    return np.array(which, dtype=np.int64), [tuple(names.values[c] for c in found) for found in known]


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
