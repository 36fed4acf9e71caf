"""The words of the field as values: workloads, external parties, edges, evidence, directions, verdicts.

Everything here is frozen and ordered by its whole identity, so that what is written from it has one order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntFlag, StrEnum
from typing import NamedTuple

UNTYPED = "untyped"
"""Stands among the entities of an end that the source names without saying what it is: it may be no pod."""


class Protocol(StrEnum):
    """The protocols that a NetworkPolicy can name. ICMP and the rest are reported, never made into edges."""

    TCP = "TCP"
    UDP = "UDP"
    SCTP = "SCTP"


class Direction(StrEnum):
    """Which way, as seen from the pod that a policy selects."""

    INGRESS = "Ingress"
    EGRESS = "Egress"

    @property
    def rules_key(self) -> str:
        """Name of the rule list in `spec`."""
        return "ingress" if self is Direction.INGRESS else "egress"

    @property
    def peers_key(self) -> str:
        """Name of the peer list in a manifest rule."""
        return "from" if self is Direction.INGRESS else "to"


class ObservedVerdict(StrEnum):
    """What the log said about a flow, normalised over all sources."""

    FORWARDED = "forwarded"
    DROPPED = "dropped"
    """Denied, by policy or by the network's own firewall (`flowtable.FIREWALLS`); no other drop reaches an edge."""
    AUDIT = "audit"
    """Forwarded only because policy audit mode is on: would be denied if enforced."""
    UNKNOWN = "unknown"


class Decision(StrEnum):
    """What the evaluator says about a connection."""

    ALLOW = "allow"
    DENY = "deny"
    UNKNOWN = "unknown"


class DirectionEvidence(StrEnum):
    """What decided which end is the client, strongest first. The last four are weak."""

    SYN = "syn"
    POLICY_VERDICT = "policy-verdict"
    IS_REPLY = "is-reply"
    L7 = "l7"
    CONNTRACK = "conntrack"
    INITIATOR = "initiator"
    """The source's own format puts the initiator first (Azure tuples, Calico)."""
    PAIR = "pair"
    """Another record of the same two parties and port decided it."""
    LISTENING = "listening-port"
    VOTE = "many-clients"
    PORT_ORDER = "port-order"
    NONE = "none"

    @property
    def rank(self) -> int:
        """0 is the strongest."""
        return _RANKS[self]

    @property
    def strong(self) -> bool:
        """Whether the evidence decides by itself, without a guess about ports."""
        return self.rank <= _RANKS[DirectionEvidence.PAIR]


_RANKS = {evidence: rank for rank, evidence in enumerate(DirectionEvidence)}


class Signal(IntFlag):
    """What was seen of a conversation, OR-ed over its records. Needed to tell a call from a knock on the door."""

    SYN = 1
    """Client sent SYN without ACK."""
    SYN_ACK = 2
    """Server accepted."""
    SERVER_DATA = 4
    """Server sent something other than SYN-ACK or RST (for UDP: it answered)."""
    CLIENT_DATA = 8
    """Client sent ACK without SYN or RST: the handshake was completed (for UDP: it sent)."""
    RESET = 16
    """Server answered with RST (refused, or ended hard)."""
    L7 = 32
    """An application request or response was seen by a proxy."""
    POLICY_VERDICT = 64
    """The policy engine's own event for a new connection."""
    TRACE = 128
    """A datapath trace event: replies would be visible in the same way."""
    DELIVERED = 256
    """Seen arriving at the destination endpoint itself."""
    SAMPLED = 512
    """The source samples or aggregates packets: the absence of other signals says nothing."""
    UNREACHABLE = 1024
    """ICMP said that nobody listens."""
    EXPIRED = 2048
    """Told only by the end of an entry in a connection tracker: the packets may be older than `first_seen`."""
    FORGOTTEN = 4096
    """The same of an entry that may have idled for days before it ended."""

    @property
    def answered(self) -> bool:
        """Whether the server demonstrably took part."""
        return bool(self & (Signal.SYN_ACK | Signal.SERVER_DATA | Signal.L7))


OUTLIVES = {Signal.EXPIRED: 300 * 1_000_000_000, Signal.FORGOTTEN: 432_300 * 1_000_000_000}
"""For how long an entry is kept after its last packet, in nanoseconds.

Linux' defaults: an established TCP connection 432,000 s, all that is closing or not yet open 120 s, UDP 180 s; and the
collector of what has expired passes by every two minutes at most.
"""


class ExternalKind(StrEnum):
    """Parties that no podSelector can name."""

    API_SERVER = "kube-apiserver"
    OWN_NODE = "own-node"
    """The node that the pod at the other end runs on: kubelet probes. Always allowed, never needs a rule."""
    NODE = "node"
    """Another node's address: hostNetwork pods, or a client hidden by source NAT."""
    INGRESS_PROXY = "ingress-proxy"
    """The CNI's own ingress or gateway proxy (Cilium `reserved:ingress`)."""
    WORLD = "world"
    UNKNOWN = "unknown"
    """Inside the cluster's ranges but nobody's; or hidden by the source. Never becomes an ipBlock."""


@dataclass(frozen=True, slots=True, order=True)
class Workload:
    """The stable owner of pods. Two releases of one chart are two workloads; a CronJob's runs are one."""

    namespace: str
    kind: str
    name: str

    def __str__(self) -> str:
        """`ns/name[Kind]`, the form that users of other analysers know."""
        return f"{self.namespace}/{self.name}[{self.kind}]"


@dataclass(frozen=True, slots=True, order=True)
class External:
    """A party outside the pods. `address` is canonical text (`203.0.113.7`, `2001:db8::1`) or empty when hidden."""

    kind: ExternalKind
    address: str = ""

    def __str__(self) -> str:
        """`world 203.0.113.7`, `node 10.0.0.4`, `kube-apiserver`."""
        return f"{self.kind} {self.address}" if self.address else str(self.kind)


Party = Workload | External


def party_key(party: Party) -> tuple[int, str, str, str]:
    """Total order over both kinds of party: workloads first."""
    if isinstance(party, Workload):
        return (0, party.namespace, party.kind, party.name)
    return (1, party.kind, party.address, "")


@dataclass(frozen=True, slots=True)
class Edge:
    """`src` was seen opening `protocol`/`port` on `dst`, at least once.

    The protocol is part of the identity: DNS is two edges, not one. The port is the *backend* port: what the server's
    pod listens on, never a Service port.
    """

    src: Party
    dst: Party
    protocol: Protocol
    port: int

    @property
    def key(self) -> tuple[tuple[int, str, str, str], tuple[int, str, str, str], str, int]:
        """Total order."""
        return (party_key(self.src), party_key(self.dst), self.protocol, self.port)

    def __lt__(self, other: Edge) -> bool:
        """Order by whole identity."""
        return self.key < other.key

    def __str__(self) -> str:
        """`a/b[Deployment] -> c/d[Deployment] TCP 8443`."""
        return f"{self.src} -> {self.dst} {self.protocol} {self.port}"


UNKNOWN_TIME = 2**62 - 1
"""The time of a record whose source gives none: the last nanosecond that an inventory's history tells apart (2116).

A dump without times shows what is alive now, and whoever holds an address at the end of the history holds it now."""


class Evidence(NamedTuple):
    """What stands behind an edge.

    `flows` counts connections, `records` the log records folded into them, `replies` those of them that were answers.
    Times are nanoseconds since the epoch, UTC, `UNKNOWN_TIME` where no record had one. `hours` are hours since the
    epoch in which the edge was seen.
    `names` are DNS names known for the external end; `samples` are places of records (`file:line`).
    """

    flows: int
    records: int
    replies: int
    first_seen: int
    last_seen: int
    direction: DirectionEvidence
    signals: Signal
    bytes: int | None = None
    packets: int | None = None
    hours: tuple[int, ...] = ()
    nodes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    samples: tuple[str, ...] = ()
    vips: tuple[str, ...] = ()
    """Forms in which clients dialled it (`10.96.0.30:5432`, `ns/service:80`): provenance only."""

    @property
    def strong(self) -> bool:
        """Whether the client is known without a guess."""
        return self.direction.strong

    @property
    def timed(self) -> bool:
        """Whether any record said when."""
        return self.first_seen != UNKNOWN_TIME

    @property
    def days(self) -> int:
        """Distinct UTC days in which the edge was seen."""
        return len({hour // 24 for hour in self.hours})


class Severity(StrEnum):
    """How much a diagnostic matters."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, order=True)
class Diagnostic:
    """A stable code (`NPG1xx` input, `2xx` identity, `3xx` policy, `4xx` verification), its subject and a sentence."""

    code: str
    subject: str
    message: str
    severity: Severity = field(default=Severity.WARNING, compare=True)
