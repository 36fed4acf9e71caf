"""Hubble records as `hubble observe -o jsonpb` prints them: zero values left out, 64-bit numbers as text."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from maker.cluster import SEEN, Pod

Obj = dict[str, Any]

POINTS = {"TO_ENDPOINT": 0, "TO_PROXY": 1, "TO_HOST": 2, "TO_STACK": 3, "TO_OVERLAY": 4, "TO_NETWORK": 11}
FIELDS = (
    "time", "verdict", "drop_reason", "IP", "l4", "source", "destination", "Type", "node_name", "source_names",
    "destination_names", "l7", "reply", "event_type", "source_service", "destination_service", "traffic_direction",
    "policy_match_type", "trace_observation_point", "trace_reason", "drop_reason_desc", "is_reply", "sock_xlate_point",
    "socket_cookie", "Summary", "egress_allowed_by", "ingress_allowed_by", "egress_denied_by", "ingress_denied_by",
)  # fmt: skip


@dataclass(frozen=True)
class Outside:
    """An end that is no local pod: `labels` are what Hubble prints for it, `said` further fields of the endpoint."""

    ip: str
    labels: tuple[str, ...] = ("reserved:world",)
    identity: int = 2
    names: tuple[str, ...] = ()
    said: tuple[tuple[str, Any], ...] = ()


def host(ip: str) -> Outside:
    return Outside(ip, ("reserved:host",), 1)


def remote(ip: str) -> Outside:
    return Outside(ip, ("reserved:remote-node",), 6)


def world(ip: str, *names: str) -> Outside:
    return Outside(ip, names=names)


End = Pod | Outside


FILTERED = ("controller-revision-hash", "pod-template-generation", "pod-template-hash")
"""Cilium leaves these out of a pod's identity by default."""


def labels_of(pod: Pod) -> list[str]:
    own = {
        **{key: value for key, value in pod.labels.items() if key not in FILTERED},
        "io.cilium.k8s.policy.cluster": "demo",
        "io.cilium.k8s.policy.serviceaccount": "default",
        "io.kubernetes.pod.namespace": pod.namespace,
        **{f"io.cilium.k8s.namespace.labels.{k}": v for k, v in pod.namespace_labels.items()},
    }
    return [f"k8s:{key}={own[key]}" for key in sorted(own)]


def endpoint(end: End, node: str) -> Obj:
    """An end as the agent of `node` knows it: ID and workloads only where the pod is local."""
    if isinstance(end, Outside):
        return {"identity": end.identity, "labels": list(end.labels), **dict(end.said)}
    labels = labels_of(end)
    # Pods with the same labels share an identity.
    out: Obj = {"identity": 1000 + zlib.crc32("".join(labels).encode()) % 60000, "namespace": end.namespace}
    out |= {"labels": labels, "pod_name": end.name}
    if end.node == node:
        out = {"ID": 1 + zlib.crc32(end.name.encode()) % 4000, **out}
        if end.owner:
            out["workloads"] = [{"name": end.owner[1], "kind": end.owner[0]}]
    return out


class Capture:
    """Lines in the order in which they are added, a millisecond apart."""

    def __init__(self, start: str = SEEN) -> None:
        self.lines: list[str] = []
        self.now = datetime.fromisoformat(start)
        self.port = 40000

    def at(self, when: str) -> None:
        """Go on from another time."""
        self.now = datetime.fromisoformat(when)

    def wait(self, **span: float) -> None:
        self.now += timedelta(**span)

    def raw(self, line: str) -> None:
        self.lines.append(line)

    def sport(self) -> int:
        """A client port that was not used before."""
        self.port += 7
        return self.port

    def record(
        self,
        src: End,
        dst: End,
        sport: int,
        dport: int,
        node: str,
        *,
        proto: str = "TCP",
        flags: str = "",
        point: str | None = "TO_ENDPOINT",
        event: int | None = None,
        reply: bool | None = False,
        direction: str | None = "INGRESS",
        verdict: str = "FORWARDED",
        ips: tuple[str, str] | None = None,
        once_reply: bool | None = None,
        **more: Any,
    ) -> Obj:
        """Add one record of a packet; `None` leaves a field out. `flags` are written `"SYN ACK"`.

        `once_reply` is the field `reply` of Cilium up to 1.9, which is left out where it is false.
        """
        kind = (4 if point else 5) if event is None else event
        source, destination = ips or (_ip(src, dst), _ip(dst, src))
        values: Obj = {
            "verdict": verdict,
            "IP": {
                "source": source,
                "destination": destination,
                "ipVersion": "IPv6" if ":" in destination else "IPv4",
            },
            "l4": _layer4(proto, sport, dport, flags),
            "source": endpoint(src, node),
            "destination": endpoint(dst, node),
            "Type": "L3_L4",
            "node_name": f"demo/{node}",
            "source_names": list(src.names) if isinstance(src, Outside) else [],
            "destination_names": list(dst.names) if isinstance(dst, Outside) else [],
            "event_type": {"type": kind, **({"sub_type": POINTS[point]} if point and POINTS[point] else {})},
            "trace_observation_point": point,
            "traffic_direction": direction,
            "is_reply": reply,
            "reply": once_reply,
            "Summary": f"TCP Flags: {', '.join(flags.split())}" if flags else proto,
        }
        return self.add({**values, **more})

    def add(self, values: Obj) -> Obj:
        """Add a flow made by hand; it gets the time."""
        self.now += timedelta(milliseconds=1)
        stamp = self.now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"
        values = {"time": stamp, **values}
        names = [*FIELDS, *(k for k in values if k not in FIELDS)]
        flow = {k: values[k] for k in names if values.get(k) not in (None, [], "")}
        line = {"flow": flow, "node_name": flow.get("node_name"), "time": flow["time"]}
        self.lines.append(dumped(line))
        return flow

    # --- whole conversations ---

    def call(
        self,
        client: End,
        server: End,
        port: int,
        *,
        proto: str = "TCP",
        times: int = 1,
        view: str = "both",
        **more: Any,
    ) -> None:
        """A call that is answered, as the nodes of both ends report it; `view` leaves one of them out."""
        for _ in range(times):
            sport = self.sport()
            if proto == "TCP":
                self._packet(client, server, sport, port, proto, "SYN", view, **more)
                self._packet(server, client, port, sport, proto, "SYN ACK", view, reply=True, **more)
                self._packet(client, server, sport, port, proto, "PSH ACK", view, **more)
                self._packet(server, client, port, sport, proto, "PSH ACK", view, reply=True, **more)
            else:
                self._packet(client, server, sport, port, proto, "", view, **more)
                self._packet(server, client, port, sport, proto, "", view, reply=True, **more)

    def knock(self, client: End, server: End, port: int, *, answer: str = "", proto: str = "TCP") -> None:
        """A first packet, unanswered or answered by `answer` (`"RST ACK"`)."""
        sport = self.sport()
        self._packet(client, server, sport, port, proto, "SYN" if proto == "TCP" else "", "both")
        if answer:
            self._packet(server, client, port, sport, proto, answer, "both", reply=True)

    def _packet(
        self,
        src: End,
        dst: End,
        sport: int,
        dport: int,
        proto: str,
        flags: str,
        view: str,
        *,
        reply: bool = False,
        **more: Any,
    ) -> None:
        client, server = (dst, src) if reply else (src, dst)
        skipped = {"client": server, "server": client}.get(view)
        outward, inward = ("INGRESS", "EGRESS") if reply else ("EGRESS", "INGRESS")
        common = {"proto": proto, "flags": flags, "reply": reply, **more}
        if isinstance(src, Pod) and src is not skipped and getattr(dst, "node", "") != src.node:
            point = "TO_OVERLAY" if isinstance(dst, Pod) else "TO_STACK"
            self.record(src, dst, sport, dport, src.node, point=point, direction=outward, **common)
        if isinstance(dst, Pod) and dst is not skipped:
            self.record(src, dst, sport, dport, dst.node, point="TO_ENDPOINT", direction=inward, **common)


def _ip(end: End, other: End) -> str:
    """The end's address in the family of the other one."""
    if isinstance(end, Outside):
        return end.ip
    want = ":" in (other.ip if isinstance(other, Outside) else end.ip)
    return next(a for a in end.ips if (":" in a) == want)


def _layer4(proto: str, sport: int, dport: int, flags: str) -> Obj:
    if proto.startswith("ICMP"):
        return {proto: {"type": sport} if sport else {}}
    ports = {k: v for k, v in (("source_port", sport), ("destination_port", dport)) if v}
    return {proto: {**ports, "flags": dict.fromkeys(flags.split(), True)} if flags else ports}


def dumped(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def dns(query: str, *, answer: Sequence[str] = (), rcode: int = 0) -> Obj:
    """The `l7` of a look-up, or of its answer."""
    body: Obj = {"query": query, "observation_source": "proxy", "qtypes": ["A"]}
    if answer or rcode:
        body |= {"ips": list(answer), "ttl": 30, "rrtypes": ["A"]}
        if rcode:
            body |= {"rcode": rcode, "ttl": 4294967295}
        return {"type": "RESPONSE", "latency_ns": "999958359", "dns": body}
    return {"type": "REQUEST", "dns": body}
