"""Small fields of a Hubble record, from the raw JSON that the typed structs keep of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from netpol_gen.flowtable import Reason
from netpol_gen.readers.hubble_ends import address
from netpol_gen.readers.hubble_meaning import SCTP, UDP, is_number
from netpol_gen.readers.hubble_records import Flow, Ports
from netpol_gen.sets import MAX_PORT


def flag_names(flags: bytes) -> frozenset[str]:
    """Names of the TCP flags that are set."""
    value = _value(flags) if flags not in {UDP, SCTP} else None
    if not isinstance(value, dict):
        return frozenset()
    return frozenset(str(name).upper() for name, on in value.items() if on is True)


def may_name_node(text: bytes) -> bool:
    """Whether the name of a node may stand anywhere in a record; a name of a field may be written with escapes."""
    return b"node_name" in text or b"nodeName" in text or b"\\u" in text


def detail(flow: Flow, reason: Reason) -> str:
    """What to say of a record set aside, beside the reason."""
    if reason is Reason.NO_VERDICT and flow.verdict not in {None, "", 0, "VERDICT_UNKNOWN"}:
        return f"verdict {flow.verdict}"
    return ""


def ports_problem(flow: Flow) -> str:
    """What is wrong with the ports."""
    l4 = flow.l4
    ports = (l4.tcp or l4.udp or l4.sctp or Ports()) if l4 is not None else Ports()
    for name, port in (("source_port", ports.source_port), ("destination_port", ports.destination_port)):
        if not 0 <= port <= MAX_PORT:
            return f"{name} {port} is not a port"
    return f"source_port {ports.source_port}, destination_port {ports.destination_port}: one is missing"


def _value(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw) if raw else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def text_of(raw: bytes) -> str:
    """A JSON string; empty for anything else."""
    value = _value(raw)
    return value if isinstance(value, str) else ""


def texts(raw: bytes) -> list[str]:
    """DNS names of a list, without the dot at the end."""
    value = _value(raw)
    if not isinstance(value, list):
        return []
    return [name.rstrip(".") for name in value if isinstance(name, str) and name.strip(".")]


def service(raw: bytes) -> str:
    """`namespace/name` of a Service; empty where it is not told."""
    value = _value(raw)
    if not isinstance(value, dict):
        return ""
    name, namespace = value.get("name"), value.get("namespace")
    return f"{namespace}/{name}" if isinstance(name, str) and isinstance(namespace, str) and name and namespace else ""


def aggregated(raw: bytes) -> int:
    """How many flows a line stands for."""
    value = _value(raw)
    counts = value.values() if isinstance(value, dict) else ()
    numbers = [int(n) if isinstance(n, str) and is_number(n) else n for n in counts]
    return max([1, *(n for n in numbers if isinstance(n, int) and n < 1 << 40)])


def answers(raw: bytes) -> Iterable[tuple[str, str]]:
    """Addresses in a DNS answer, each with the name that was asked for."""
    value = _value(raw)
    if not isinstance(value, dict) or value.get("rcode") not in {None, 0}:
        return
    query, ips = value.get("query"), value.get("ips")
    if isinstance(query, str) and query.strip(".") and isinstance(ips, list):
        for text in ips:
            ip, reason = address(text) if isinstance(text, str) else (None, None)
            if ip is not None and reason is None:
                yield ip, query.rstrip(".")
