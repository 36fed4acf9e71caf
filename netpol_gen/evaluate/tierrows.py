"""Rows under cluster-wide policies: the ordered rules of a tier, for every possible peer at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby

from netpol_gen.evaluate.bits import Bits, Cells, refine
from netpol_gen.evaluate.clauses import Ids, PortReader, Row, cells_of
from netpol_gen.evaluate.match import PodView, Tri
from netpol_gen.evaluate.table import ALL_ID, NONE_ID, ConnectionTable
from netpol_gen.evaluate.tiered import Tiers
from netpol_gen.evaluate.universe import NOBODY, Answer, Universe
from netpol_gen.model import Direction
from netpol_gen.policy import ALL, Peer
from netpol_gen.sets import ConnectionSet
from netpol_gen.tiers import Action, NamesPeer, NodesPeer, Tier, TierPeer, TierPolicy, TierRule

Pair = tuple[ConnectionSet, ConnectionSet]
"""For certain, and perhaps."""
_NOTHING: Pair = (ConnectionSet.NONE, ConnectionSet.NONE)
_EVERYTHING: Pair = (ConnectionSet.ALL, ConnectionSet.ALL)


def _or(a: Pair, b: Pair) -> Pair:
    return (a[0] | b[0], a[1] | b[1])


def _and(a: Pair, b: Pair) -> Pair:
    return (a[0] & b[0], a[1] & b[1])


def _without(a: Pair, b: Pair) -> Pair:
    """What is certain of `a` and surely not in `b`; what may be in `a` and may not be in `b`."""
    return (a[0] - b[1], a[1] - b[0])


@dataclass(frozen=True, slots=True)
class State:
    """How far a tier has got with the peers of one cell: what is open, accepted, denied, and passed on."""

    open: Pair = _EVERYTHING
    accepted: Pair = _NOTHING
    denied: Pair = _NOTHING
    passed: Pair = _NOTHING

    def apply(self, action: Action, matched: Pair) -> State:
        """One more rule."""
        hit, left = _and(self.open, matched), _without(self.open, matched)
        match action:
            case Action.ACCEPT:
                return replace(self, open=left, accepted=_or(self.accepted, hit))
            case Action.DENY:
                return replace(self, open=left, denied=_or(self.denied, hit))
            case Action.PASS:
                return replace(self, open=left, passed=_or(self.passed, hit))

    @property
    def next(self) -> Pair:
        """What the next tier decides."""
        return _or(self.open, self.passed)


class TierRows:
    """The tiers over one universe."""

    def __init__(self, universe: Universe, tiers: Tiers, table: ConnectionTable, reader: PortReader) -> None:
        self._universe = universe
        self._tiers = tiers
        self._table = table
        self._reader = reader
        self._policies = tiers.policies
        self._subjects = [universe.peer(p.subject, None) for p in self._policies]
        self.has_names = any(
            isinstance(port.port, str)
            for p in self._policies
            for rule in p.ingress
            for port in (() if rule.ports is ALL else rule.ports)
        )

    def selecting(self, position: int) -> tuple[tuple[int, bool], ...]:
        """The policies that select a class, and whether for certain."""
        bit = 1 << position
        return tuple((i, bool(sure & bit)) for i, (sure, may) in enumerate(self._subjects) if may & bit)

    def around(
        self, namespaced: Row | None, selecting: tuple[tuple[int, bool], ...], direction: Direction, subject: PodView
    ) -> Row:
        """Admin tier, then NetworkPolicies if any selects the class, else Baseline tier, else allowed."""
        admin = self._tier(Tier.ADMIN, selecting, direction, subject)
        out: Row = []
        if namespaced is not None:
            for bits, state, (sure, may) in refine(admin, namespaced):
                below = (self._table.sets[sure], self._table.sets[may])
                out.append((bits, self._ids(_or(state.accepted, _and(state.next, below)))))
            return out
        for bits, state, base in refine(admin, self._tier(Tier.BASELINE, selecting, direction, subject)):
            below = _or(base.accepted, base.next)
            out.append((bits, self._ids(_or(state.accepted, _and(state.next, below)))))
        return out

    def _ids(self, pair: Pair) -> Ids:
        return self._table.id(pair[0]), self._table.id(pair[1])

    def _tier(
        self, tier: Tier, selecting: tuple[tuple[int, bool], ...], direction: Direction, subject: PodView
    ) -> Cells[State]:
        chosen = [(self._policies[i], sure) for i, sure in selecting if self._policies[i].tier is tier]
        cells: Cells[State] = [(self._universe.everybody, State())]
        for _, equals in groupby(chosen, key=lambda c: c[0].priority):
            group = list(equals)
            each = [self._of_policy(policy, direction, subject, certain=sure) for policy, sure in group]
            together = each[0]
            for other in each[1:]:
                together = [(bits, _tie(a, b)) for bits, a, b in refine(together, other)]
            cells = _joined([(bits, _after(a, b)) for bits, a, b in refine(cells, together)])
        return cells

    def _of_policy(self, policy: TierPolicy, direction: Direction, subject: PodView, *, certain: bool) -> Cells[State]:
        """What one policy alone makes of everything."""
        cells: Cells[State] = [(self._universe.everybody, State())]
        for rule in policy.rules(direction):
            matched = self._matched(rule, direction, subject)
            action = Action.DENY if rule.fails_closed else rule.action
            split: Cells[State] = []
            for bits, state, (sure, may) in refine(cells, matched):
                pair = (self._table.sets[sure] if certain else ConnectionSet.NONE, self._table.sets[may])
                split.append((bits, state.apply(action, pair)))
            cells = _joined(split)
        return cells

    def _matched(self, rule: TierRule, direction: Direction, subject: PodView) -> Row:
        everybody = self._universe.everybody
        if rule.fails_closed:
            return [(everybody, (NONE_ID, NONE_ID) if rule.action is Action.ACCEPT else (ALL_ID, ALL_ID))]
        who = NOBODY
        for peer in rule.peers:
            sure, may = self._peer(peer)
            who = (who[0] | sure, who[1] | may)
        clauses = self._reader.clauses(rule.ports, direction, subject, who, names=True)
        return cells_of(clauses, everybody, self._table)

    def _peer(self, peer: TierPeer) -> Answer:
        match peer:
            case Peer():
                if peer.ip_block is not None:
                    return self._universe.block(peer.ip_block, pods=Tri.YES)
                return self._universe.peer(peer, None)
            case NodesPeer():
                return self._universe.nodes(peer.selector)
            case NamesPeer():
                outside = self._universe.outside | self._universe.hosts
                return (0, outside)
        return NOBODY


def _tie(a: State, b: State) -> State:
    """Two policies of equal priority: what only one decides, or both alike, is decided; the rest is anybody's guess."""
    return State(
        _and(a.open, b.open),
        _agreed(a.accepted, _or(a.denied, a.passed), b.accepted, _or(b.denied, b.passed)),
        _agreed(a.denied, _or(a.accepted, a.passed), b.denied, _or(b.accepted, b.passed)),
        _agreed(a.passed, _or(a.accepted, a.denied), b.passed, _or(b.accepted, b.denied)),
    )


def _agreed(a: Pair, a_otherwise: Pair, b: Pair, b_otherwise: Pair) -> Pair:
    return ((a[0] - b_otherwise[1]) | (b[0] - a_otherwise[1]), a[1] | b[1])


def _after(state: State, then: State) -> State:
    """What policies of lower precedence make of what is still open."""
    return State(
        _and(state.open, then.open),
        _or(state.accepted, _and(state.open, then.accepted)),
        _or(state.denied, _and(state.open, then.denied)),
        _or(state.passed, _and(state.open, then.passed)),
    )


def _joined(cells: Cells[State]) -> Cells[State]:
    out: dict[State, Bits] = {}
    for bits, state in cells:
        out[state] = out.get(state, 0) | bits
    return [(bits, state) for state, bits in out.items()]
