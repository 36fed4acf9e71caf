"""What stands behind the addresses that clients dial: pods of Services and node ports; and whose the nodes are.

Lines whose destination is such an address become one line per distinct (workload, port) behind it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from netpol_gen.codes import Lists, coded, numbered
from netpol_gen.flowtable import Reason
from netpol_gen.inventory import Inventory
from netpol_gen.inventory.dialled import Dialled, Targets
from netpol_gen.inventory.objects import Pod
from netpol_gen.lines import Lines
from netpol_gen.model import External, ExternalKind
from netpol_gen.parties import KIND, PROTOCOLS, VIP, WORKLOAD, Book, Times, Vip
from netpol_gen.sets import Address

_LINK_LOCAL = ipaddress.ip_network("169.254.0.0/16")
_NODE, _OWN_NODE, _API = (KIND[k] for k in (ExternalKind.NODE, ExternalKind.OWN_NODE, ExternalKind.API_SERVER))


def behind_vips(lines: Lines, dialled: np.ndarray, times: Times, book: Book) -> Lines:
    """One line per distinct (workload, port) behind a dialled address, as of the time of the flow.

    `dialled` is what `dialled` gives; `times`, of first and last call, are by row of the table.
    """
    chosen = np.flatnonzero((dialled >= 0) & (lines.reason < 0))
    if not len(chosen):
        return lines
    rows = lines.row[chosen]
    keys = [key[chosen] for key in (dialled, lines.dst, lines.dst_pod, lines.protocol, lines.dst_port)]
    moments, first, last = _moments(keys[0], keys[3], keys[4], times.of(rows), book)
    example, group = numbered(*keys, first, last)
    found: list[tuple[int, int, int]] = []
    count = np.zeros(len(example), dtype=np.int64)
    refused: dict[Reason, np.ndarray] = {
        reason: np.zeros(len(example), dtype=bool)
        for reason in (Reason.AMBIGUOUS, Reason.NO_BACKEND, Reason.UNKNOWN_PARTY)
    }
    asked = zip(*(v[example].tolist() for v in (*keys, times.first[rows], times.last[rows])), strict=True)
    for i, (at, dst, dst_pod, protocol, port, begin, end) in enumerate(asked):
        targets = _targets(moments.get((at, protocol, port)), begin, end, book)
        if isinstance(targets, Reason):
            if targets is Reason.AMBIGUOUS or isinstance(book.parties[dst], Vip):
                refused[targets][i] = True
            continue
        if at != dst:
            # The record names the pod; only its port is still the Service's.
            targets = [(code, number, dst_pod) for code, number, pod in targets if code == dst and pod in (-1, dst_pod)]
        found += targets
        count[i] = len(targets)
        if not targets and isinstance(book.parties[dst], Vip):
            refused[Reason.NO_BACKEND][i] = True
    for reason, which in refused.items():
        lines.refuse(_mask(len(lines), chosen[which[group]]), reason)
    return _replaced(lines, chosen, group, count, np.array(found, dtype=np.int64).reshape(-1, 3))


def _moments(
    dialled: np.ndarray, protocol: np.ndarray, port: np.ndarray, times: Times, book: Book
) -> tuple[dict[tuple[int, int, int], Dialled], np.ndarray, np.ndarray]:
    """What is dialled, and for each line between which of its moments its first and last time lie."""
    example, number = numbered(dialled, protocol, port)
    found: dict[tuple[int, int, int], Dialled] = {}
    first, last = np.zeros(len(number), dtype=np.int64), np.zeros(len(number), dtype=np.int64)
    order = np.argsort(number, kind="stable")
    ends = np.cumsum(np.bincount(number, minlength=len(example))).tolist()
    asked = zip(*(values[example].tolist() for values in (dialled, protocol, port)), [0, *ends], ends, strict=False)
    for at, name, wanted, low, high in asked:
        party = book.parties[at]
        if not isinstance(party, External | Vip) or not party.address:
            continue
        address = ipaddress.ip_address(party.address)
        there = found[at, name, wanted] = Dialled(book.inventory, address, wanted, PROTOCOLS[name], times.guard)
        if moments := there.moments:
            mine, steps = order[low:high], np.array(moments, dtype=np.int64)
            first[mine] = np.searchsorted(steps, times.first[mine], side="right")
            last[mine] = np.searchsorted(steps, times.last[mine], side="right")
    return found, first, last


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
    ports = {(number, PROTOCOLS.index(name)) for number, name in (*index.ever_on_nodes, *index.by_host_port)}
    example, party = numbered(nodes)
    there = [book.parties[code] for code in nodes[example].tolist()]
    held = np.array([isinstance(p, External) and p.address in book.vips for p in there], dtype=bool)
    known = np.array([number << 2 | name for number, name in ports], dtype=np.int64)
    result: np.ndarray = held[party] | np.isin(port << 2 | protocol, known)
    return result


def _targets(there: Dialled | None, first: int, last: int, book: Book) -> list[tuple[int, int, int]] | Reason:
    """Party code, port and pod index (-1 unless there is just one pod) behind what is dialled from first to last.

    Pods come and go, and whoever was there when the first or the last call came may have been meant. Of what a Service
    itself says there must be one answer.
    """
    if there is None:
        return []
    answers = there.between(first, last)
    if not any(answer.owned for answer in answers):
        return Reason.UNKNOWN_PARTY
    led: list[set[tuple[int, int]]] = []
    pods: dict[tuple[int, int], set[int]] = {}
    for answer in answers:
        ends: set[tuple[int, int]] = set()
        for options in answer.answers:
            distinct = {frozenset(_ends(option, pods, book)) for option in options}
            if len(distinct) > 1:
                return Reason.AMBIGUOUS
            ends |= distinct.pop()
        led.append(ends)
    if any(answer.forms != answers[0].forms for answer in answers) and any(ends != led[0] for ends in led):
        return Reason.AMBIGUOUS
    one = there.singly
    return [(*end, min(pods[end]) if one and len(pods[end]) == 1 else -1) for end in sorted(set().union(*led))]


def _ends(targets: Targets, pods: dict[tuple[int, int], set[int]], book: Book) -> Iterator[tuple[int, int]]:
    """Party code and port of each target; notes its pod."""
    for target in targets:
        pod = -1
        if target.pod is not None:
            end, pod = (book.code(book.party_of(target.pod)), target.port), book.pod_index(target.pod)
        elif target.address is not None:
            end = (book.code(_endpoint(book.inventory, target.address)), target.port)
        else:
            continue
        pods.setdefault(end, set()).add(pod)
        yield end


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
