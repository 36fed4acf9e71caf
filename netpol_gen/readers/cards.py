"""What each source can show and what it never can: one card per source.

What a source cannot see is not idle. A report over a source prints its card, and no conclusion from silence ("nobody
calls this", "this rule is not used") may be drawn where the card has a blind spot.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Card:
    """The capabilities of one source, as sentences for people.

    `sampling`: which part of the traffic is looked at. `sees`: what is there when it happened. `blind_spots`: traffic
    that may be missing, and when. `never_shows`: what is missing always. `notes`: how to read what is there.
    """

    source: str
    sampling: str
    sees: tuple[str, ...]
    blind_spots: tuple[str, ...]
    never_shows: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def unseen(self) -> tuple[str, ...]:
        """Everything that may not be taken for idle: what is never shown, then what may be missing."""
        return self.never_shows + self.blind_spots


CARDS: tuple[Card, ...] = (
    Card(
        "hubble",
        "every new connection and changes of TCP flags; packets in between at most once per interval (monitor "
        "aggregation, `medium` by default)",
        (
            "pods by name, labels and identity, at both ends where Cilium runs",
            "the backend behind a Service; verdicts of policies, in audit mode too",
            "DNS names of peers outside the cluster where a DNS proxy rule is in force",
        ),
        (
            (
                "events lost in full buffers (`lost_events`, 4095 flows per node by default): on busy nodes most "
                "may be gone before they are read"
            ),
            "nodes whose export, relay or agent was not up",
            "fields that an exporter's field mask or filter took away",
            "the ClusterIP dialled, with the socket load balancer: translation happens before the first packet",
        ),
        ("traffic between pods of the host network that no Cilium endpoint takes part in",),
        (
            "`traffic_direction` tells where a packet was seen, not who called",
            "a capture may begin in the middle of a connection, without SYN",
            "one connection is told several times: policy verdict, trace points, proxy, and on both nodes",
        ),
    ),
    Card(
        "aws-vpc",
        "every packet, summed per window of up to 10 minutes (1 minute on Nitro instances or when asked for)",
        (
            "addresses and ports of traffic that crosses a network interface, each direction as a record of its own",
            "pods' own addresses in `pkt-srcaddr` and `pkt-dstaddr`, from version 3 on",
            "what security groups and network ACLs rejected",
        ),
        (
            (
                "pods on EKS in formats without `pkt-srcaddr` and `pkt-dstaddr`, the default one among them: only "
                "interfaces of nodes are seen"
            ),
            "clients behind source NAT: calls to the outside show the node's address unless external SNAT is off",
            "windows that were skipped (`SKIPDATA`)",
            "who opened a connection, in formats without `tcp-flags` and in windows without SYN",
        ),
        (
            "pods of the same node with each other: that traffic never leaves the interface",
            "DNS to the Amazon resolver, so that DNS has to be allowed without evidence",
            (
                "instance metadata (169.254.169.254), time (169.254.169.123), DHCP, Windows activation, mirrored "
                "traffic, the router's reserved address, and traffic between endpoint and load balancer interfaces"
            ),
            "names of pods; verdicts of NetworkPolicies",
        ),
        (
            "`flow-direction` is as seen from the interface, not who called",
            "REJECT is the verdict of a security group or network ACL, not of a NetworkPolicy",
            "bytes and packets may count both interfaces of a connection in formats without `flow-direction`",
            "the ClusterIP dialled is not seen: records have the backend's address and port",
        ),
    ),
    Card(
        "gcp-vpc",
        "about 1 in 30 packets, and of the resulting records the configured share; counts are scaled up",
        (
            "addresses and ports, each direction as a record of its own, at the sender, the receiver or both",
            "names of pods and workloads on GKE, where annotation is on",
            "the backend behind a ClusterIP",
        ),
        (
            "short or rare connections: none of their packets may have been sampled",
            "pods of the same node with each other, unless intranode visibility is on",
            "which of two was answered: the other direction may have been left out by sampling",
            "annotations, which may be missing or incorrect",
        ),
        (
            "ingress that a firewall rule denied: sampling comes after the firewall there, and before it for egress",
            "TCP flags: who opened a connection is told from ports and counterparts",
            "verdicts of NetworkPolicies",
        ),
        ("the Services in an annotation are those that the pod is behind, not the one dialled",),
    ),
    Card(
        "azure-vnet",
        "every flow, told when it begins, every few minutes while it lasts, and when it ends",
        (
            "who opened a connection: the source of a tuple is the initiator",
            "what security rules denied",
            "whether anything came back, from version 2 on",
        ),
        (
            "pods on AKS with overlay networking or kubenet: their traffic has the node's address",
            "answers and counts in version 1",
            "the last minutes of a file that was still being written",
        ),
        (
            "pods of the same node with each other, on AKS",
            "pods with each other inside an overlay",
            "names of pods; verdicts of NetworkPolicies",
        ),
        (
            "a denial is that of a network security group, not of a NetworkPolicy",
            "both network interfaces tell the same connection",
        ),
    ),
    Card(
        "conntrack",
        "every connection that the kernel tracks; a dump shows those alive at that moment, an event stream all",
        (
            "who opened a connection: the original direction of an entry",
            "the backend behind a Service, and source NAT: both tuples are in the entry",
            "whether anything came back",
        ),
        (
            "connections between two dumps of a table",
            (
                "pods under Cilium's kube-proxy replacement or another eBPF datapath, which goes past the kernel's "
                "table: it may hold none of them"
            ),
            "traffic that rules exempt from tracking (`NOTRACK`)",
            "other nodes: each node has a table of its own, and the client's and the server's differ where NAT is",
            "events that the netlink buffer could not hold",
        ),
        ("names of pods; verdicts of policies; packets that a policy dropped before an entry was made",),
        (
            "a dump has no start times unless timestamps are on (`nf_conntrack_timestamp`)",
            "entries outlive their connection, for UDP by minutes",
        ),
    ),
    Card(
        "calico",
        "every connection, summed per interval; Calico decides how much of its identity is summed away",
        (
            "pods or their owners by name, namespace and labels, at both ends",
            "verdicts of policies, and which policy decided",
            "who opened a connection",
        ),
        (
            "single pods and source ports, which are summed away from aggregation level 1 on",
            "addresses outside the cluster, where they are summed to `pub` and `pvt`",
            "intervals that an agent could not deliver",
            "the reporter at one end, where Calico runs on one of the two nodes only",
        ),
        ("packets within a connection, so that an unanswered call looks like any other",),
        ("with a denial at one end only, both ends tell the connection, with different verdicts",),
    ),
    Card(
        "flows",
        "what the source that wrote the table looked at",
        ("what the source named in each row could show",),
        ("everything that the card of that source names; rows that were filtered out before",),
        (),
    ),
)
"""One card for each name in `sniff.SOURCES`."""


def card(source: str) -> Card:
    """The card of a source.

    Raises:
        KeyError: no such source.

    """
    for each in CARDS:
        if each.source == source:
            return each
    raise KeyError(source)


def blind_spots(sources: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """For each source, in order, the sentences on what it may not have seen."""
    known = {each.source: each for each in CARDS}
    return {source: known[source].unseen for source in sorted(set(sources)) if source in known}
