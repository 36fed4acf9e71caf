"""Everybody who can be a peer, as bit positions.

First come classes of pods that nothing in play tells apart, then pieces of the address space. Selectors, ipBlocks and
port names become sets of positions.

Each question has two answers, `(sure, may)`: who matches for certain, and who may match; `sure` lies within `may`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from netpol_gen.evaluate.bits import Bits, bits_of, span
from netpol_gen.evaluate.match import OutsideView, PodView, Tri, View, named_ports, selector_matches
from netpol_gen.inventory.objects import Labels, Node
from netpol_gen.model import Protocol
from netpol_gen.policy import IPBlock, Peer
from netpol_gen.selectors import LabelSelector, Operator, Requirement
from netpol_gen.sets import Address, AddressSet, Interval, PortSet

Answer = tuple[Bits, Bits]
"""Who matches for certain, and who may."""

NOBODY: Answer = (0, 0)


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of addresses that every CIDR in play covers wholly or not at all."""

    version: int
    low: int
    high: int


def pieces_of(cuts: tuple[tuple[int, ...], tuple[int, ...]]) -> tuple[Piece, ...]:
    """The address space, IPv4 first, cut before each of these addresses."""
    out: list[Piece] = []
    for version, size, inner in ((4, 1 << 32, cuts[0]), (6, 1 << 128, cuts[1])):
        edges = [0, *(c for c in inner if 0 < c < size), size]
        out += [Piece(version, low, high - 1) for low, high in pairwise(edges)]
    return tuple(out)


class Universe:
    """Positions `0..len(views)-1` are classes of pods, the rest pieces of the address space."""

    def __init__(
        self, views: Sequence[View], pieces: Sequence[Piece], matches_pods: Tri, nodes: Iterable[Node] = ()
    ) -> None:
        self.views = tuple(views)
        self._nodes = tuple(nodes)
        self.pieces = tuple(pieces)
        self.size = len(self.views)
        self.everybody = span(0, self.size + len(self.pieces))
        self.outside = self.everybody ^ span(0, self.size)
        self._matches_pods = matches_pods
        self._selectors: dict[LabelSelector, Answer] = {}
        self._namespaces: dict[LabelSelector, Answer] = {}
        self._blocks: dict[tuple[IPBlock, Tri], Answer] = {}
        self._names: dict[tuple[str, Protocol], tuple[list[tuple[PortSet, Bits]], Bits]] = {}
        self._ranges: dict[Bits, AddressSet] = {}

    # --- tables -------------------------------------------------------------------------------------------------------

    @cached_property
    def pods(self) -> Bits:
        """Positions that selectors can name."""
        return bits_of(i for i, v in enumerate(self.views) if isinstance(v, PodView))

    @cached_property
    def hosts(self) -> Bits:
        """Pods on their node's network."""
        return bits_of(i for i, v in enumerate(self.views) if isinstance(v, OutsideView))

    @cached_property
    def incomplete(self) -> Bits:
        """Pods whose labels are not all known."""
        return bits_of(i for i, v in enumerate(self.views) if isinstance(v, PodView) and not v.labels_known)

    @cached_property
    def _by_label(self) -> tuple[Mapping[tuple[str, str], Bits], Mapping[str, Bits]]:
        pairs: dict[tuple[str, str], Bits] = {}
        keys: dict[str, Bits] = {}
        for i, view in enumerate(self.views):
            for pair in view.labels if isinstance(view, PodView) else ():
                pairs[pair] = pairs.get(pair, 0) | 1 << i
                keys[pair[0]] = keys.get(pair[0], 0) | 1 << i
        return pairs, keys

    @cached_property
    def _by_namespace(self) -> Mapping[tuple[str, Labels, bool], Bits]:
        out: dict[tuple[str, Labels, bool], Bits] = {}
        for i, view in enumerate(self.views):
            if isinstance(view, PodView):
                key = (view.namespace, view.namespace_labels, view.namespace_known)
                out[key] = out.get(key, 0) | 1 << i
        return out

    @cached_property
    def _in_namespace(self) -> Mapping[str, Bits]:
        out: dict[str, Bits] = {}
        for (namespace, _, _), bits in self._by_namespace.items():
            out[namespace] = out.get(namespace, 0) | bits
        return out

    @cached_property
    def _by_addresses(self) -> Mapping[tuple[bool, tuple[Address, ...]], Bits]:
        out: dict[tuple[bool, tuple[Address, ...]], Bits] = {}
        for i, view in enumerate(self.views):
            key = (isinstance(view, PodView), view.addresses)
            out[key] = out.get(key, 0) | 1 << i
        return out

    # --- questions ----------------------------------------------------------------------------------------------------

    def in_namespace(self, namespace: str) -> Bits:
        """Pods of a namespace."""
        return self._in_namespace.get(namespace, 0)

    def selected(self, selector: LabelSelector) -> Answer:
        """Pods of all namespaces that a selector matches."""
        found = self._selectors.get(selector)
        if found is None:
            sure = may = self.pods
            requirements = [Requirement(k, Operator.IN, (v,)) for k, v in selector.match_labels]
            for requirement in (*requirements, *selector.match_expressions):
                s, m = self._required(requirement)
                sure, may = sure & s, may & m
            found = self._selectors[selector] = (sure, may)
        return found

    def _required(self, requirement: Requirement) -> Answer:
        pairs, keys = self._by_label
        have = keys.get(requirement.key, 0)
        match requirement.operator:
            case Operator.EXISTS:
                sure = have
            case Operator.DOES_NOT_EXIST:
                sure = self.pods & ~have
            case Operator.IN | Operator.NOT_IN:
                sure = 0
                for value in requirement.values:
                    sure |= pairs.get((requirement.key, value), 0)
                if requirement.operator is Operator.NOT_IN:
                    sure = self.pods & ~sure
        open_ = self.incomplete & ~have
        return sure & ~open_, sure | open_

    def in_namespaces(self, selector: LabelSelector) -> Answer:
        """Pods of the namespaces that a selector matches."""
        found = self._namespaces.get(selector)
        if found is None:
            sure = may = 0
            for (name, labels, known), bits in self._by_namespace.items():
                match selector_matches(selector, labels, complete=known, of=name).tri:
                    case Tri.YES:
                        sure, may = sure | bits, may | bits
                    case Tri.MAYBE:
                        may |= bits
            found = self._namespaces[selector] = (sure, may)
        return found

    def peer(self, peer: Peer, own_namespace: str | None) -> Answer:
        """Pods that the selectors of a peer match; `own_namespace` is None where policies have none."""
        if peer.namespace_selector is not None:
            sure, may = self.in_namespaces(peer.namespace_selector)
        elif own_namespace is not None:
            sure = may = self.in_namespace(own_namespace)
        else:
            sure = may = self.pods
        if peer.pod_selector is not None:
            s, m = self.selected(peer.pod_selector)
            sure, may = sure & s, may & m
        return sure, may

    def block(self, block: IPBlock, *, pods: Tri | None = None) -> Answer:
        """Whom an ipBlock covers. `pods` says whether it matches pod addresses, by default as the CNI does."""
        matches_pods = self._matches_pods if pods is None else pods
        found = self._blocks.get((block, matches_pods))
        if found is None:
            found = self._blocks[block, matches_pods] = self._block(block, matches_pods)
        return found

    def _block(self, block: IPBlock, matches_pods: Tri) -> Answer:
        sure = self._pieces_in(block)
        may = sure
        covered = block.addresses
        for (is_pod, addresses), bits in self._by_addresses.items():
            if is_pod and matches_pods is Tri.NO:
                continue
            inside = [a in covered for a in addresses]
            if inside and not any(inside):
                continue
            may |= bits
            if inside and all(inside) and (not is_pod or matches_pods is Tri.YES):
                sure |= bits
        return sure, may

    def _pieces_in(self, block: IPBlock) -> Bits:
        out = self._span_of(int(block.cidr.network_address), int(block.cidr.broadcast_address), block.cidr.version)
        for inner in block.except_:
            out &= ~self._span_of(int(inner.network_address), int(inner.broadcast_address), inner.version)
        return out

    @cached_property
    def _starts(self) -> Mapping[tuple[int, int], int]:
        return {(p.version, p.low): self.size + i for i, p in enumerate(self.pieces)}

    @cached_property
    def _ends(self) -> Mapping[tuple[int, int], int]:
        return {(p.version, p.high): self.size + i + 1 for i, p in enumerate(self.pieces)}

    def _span_of(self, low: int, high: int, version: int) -> Bits:
        return span(self._starts[version, low], self._ends[version, high])

    def nodes(self, selector: LabelSelector) -> Answer:
        """Nodes that a selector matches: their addresses, and the pods on their networks."""
        sure = may = 0
        for i, view in enumerate(self.views):
            if isinstance(view, OutsideView) and view.node is None:
                may |= 1 << i
            elif isinstance(view, OutsideView) and view.node and selector.matches(dict(view.node.labels)):
                sure |= 1 << i
        for node in self._nodes:
            if selector.matches(dict(node.labels)):
                for address in node.addresses:
                    sure |= self._span_of(int(address), int(address), address.version)
        return sure, sure | may

    def named(self, name: str, protocol: Protocol) -> tuple[list[tuple[PortSet, Bits]], Bits]:
        """Pods by what a port name stands for on them (those without it are left out), and pods that do not say."""
        found = self._names.get((name, protocol))
        if found is None:
            resolved: dict[PortSet, Bits] = {}
            silent = 0
            for i, view in enumerate(self.views):
                if isinstance(view, OutsideView):
                    continue
                if not view.ports_known:
                    silent |= 1 << i
                elif ports := named_ports(name, protocol, view.ports):
                    resolved[ports] = resolved.get(ports, 0) | 1 << i
            found = self._names[name, protocol] = (list(resolved.items()), silent)
        return found

    def addresses(self, bits: Bits) -> AddressSet:
        """The addresses of the pieces among `bits`."""
        own = bits >> self.size
        found = self._ranges.get(own)
        if found is None:
            found = self._ranges[own] = self._addresses(own)
        return found

    def _addresses(self, own: Bits) -> AddressSet:
        sides: dict[int, list[Interval]] = {4: [], 6: []}
        # Runs of neighbours: far fewer than pieces.
        position = 0
        while own:
            skip = (own & -own).bit_length() - 1
            own >>= skip
            position += skip
            run = (~own & (own + 1)).bit_length() - 1
            for version, low, high in self._run(position, position + run - 1):
                sides[version].append((low, high))
            own >>= run
            position += run
        return AddressSet(tuple(sides[4]), tuple(sides[6]))

    def _run(self, first: int, last: int) -> Iterable[tuple[int, int, int]]:
        a, b = self.pieces[first], self.pieces[last]
        if a.version == b.version:
            return ((a.version, a.low, b.high),)
        return ((4, a.low, (1 << 32) - 1), (6, 0, b.high))
