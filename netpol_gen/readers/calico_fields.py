"""Calico's flow records, whichever component wrote them, as one value.

Three spellings of the same facts: Enterprise and Cloud `flows.log` (flat, `source_name_aggr`, `-` for none), Goldmane's
proto-JSON (`Key` beside the statistics, 64-bit numbers as text, either case style) and Whisker (flat, RFC 3339,
labels in one text). Names may stand for all pods of a controller: `checkout-598d5b586d-*`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from netpol_gen.model import UNTYPED
from netpol_gen.readers import times
from netpol_gen.readers.hubble_ends import address
from netpol_gen.readers.rows import Endpoint

NOTHING = frozenset({"", "-"})
"""How Calico says that there is none."""
_PROTOCOLS = {
    "6": "TCP",
    "17": "UDP",
    "132": "SCTP",
    "1": "ICMP",
    "58": "ICMPv6",
    "tcp": "TCP",
    "udp": "UDP",
    "sctp": "SCTP",
    "icmp": "ICMP",
    "icmp6": "ICMPv6",
    "icmpv6": "ICMPv6",
    "igmp": "2",
    "ipip": "4",
    "gre": "47",
    "esp": "50",
    "ah": "51",
    "udplite": "136",
}
_TYPES = {
    "workloadendpoint": "wep",
    "hostendpoint": "hep",
    "networkset": "ns",
    "network": "net",
    "1": "wep",
    "2": "hep",
    "3": "ns",
    "4": "net",
}
_ACTIONS = {"1": "allow", "2": "deny", "3": "pass"}
_REPORTERS = {"1": "src", "2": "dst"}
_REPORTER_OF = {"source": "src", "dest": "dst"}
_ORCHESTRATOR = "projectcalico.org/orchestrator"
"""A label that Calico gives to every pod."""
PUBLIC = frozenset({"pub", "PUBLIC NETWORK"})
PRIVATE = frozenset({"pvt", "PRIVATE NETWORK"})
_CAMEL = re.compile(r"(?<=[a-z0-9])([A-Z])")
_SUFFIX = re.compile(r"(?P<owner>.+)-(?P<hash>[bcdfghjklmnpqrstvwxz2456789]{6,10})")
_ENVELOPES = ("_source", "flow", "result", "items", "flows", "hits", "records", "value", "data")
"""Under which a record, or a list of them, may lie: in Elasticsearch, Goldmane, its gateway, Whisker, and exporters."""
_MAX_DEPTH = 4


class FieldError(ValueError):
    """A field that no record can have; the text names it."""


@dataclass(frozen=True, slots=True)
class Record:
    """One flow. Times are nanoseconds since the epoch; counters are None where there are none."""

    src: Endpoint | None
    dst: Endpoint | None
    src_ip: str
    dst_ip: str
    src_port: int | None
    dst_port: int | None
    protocol: str
    action: str
    reporter: str
    first: int
    last: int
    started: int | None
    forward: tuple[int, int] | None
    """Packets and bytes from source to destination."""
    back: tuple[int, int] | None
    service: str
    node: str


def records(value: Any, depth: int = 0) -> Iterator[Any]:
    """The flow records in a decoded JSON value: itself, or what lists and search results hold.

    What is no record is given as it is, for `record` to refuse.
    """
    if isinstance(value, Mapping) and depth < _MAX_DEPTH and not _is_record(value):
        for name in _ENVELOPES:
            inner = value.get(name)
            if isinstance(inner, Mapping):
                yield from records(inner, depth + 1)
                return
            if isinstance(inner, list):
                for each in inner:
                    yield from records(each, depth + 1)
                return
    yield value


def _is_record(value: Mapping[str, Any]) -> bool:
    """Whether it has what no envelope has, whatever an exporter put beside it."""
    key = value.get("Key", value.get("key"))
    return "reporter" in value or (isinstance(key, Mapping) and "reporter" in key)


def record(value: Any) -> Record | None:
    """A flow record from a decoded JSON object; None for an object of another kind.

    Raises:
        FieldError: a field is out of range.

    """
    if not isinstance(value, Mapping):
        return None
    flat = _flat(value)
    if "reporter" not in flat or not ({"source_name", "source_name_aggr"} & flat.keys()) or "action" not in flat:
        return None
    first = _time(flat, "start_time")
    last = max(first, _time(flat, "end_time")) if flat.get("end_time") is not None else first
    reporter = _word(flat, "reporter", _REPORTERS)
    src, dst = _endpoint(flat, "source"), _endpoint(flat, "dest")
    incoming, outgoing = _volume(flat, "in"), _volume(flat, "out")
    at_source = reporter != "dst"
    number = flat.get("num_flows_started", flat.get("num_connections_started", flat.get("num_flows")))
    return Record(
        src=src,
        dst=dst,
        src_ip=_text(flat.get("source_ip")),
        dst_ip=_text(flat.get("dest_ip")),
        src_port=_port(flat, "source_port"),
        dst_port=_port(flat, "dest_port"),
        protocol=_protocol(flat),
        action=_word(flat, "action", _ACTIONS),
        reporter=reporter,
        first=first,
        last=last,
        started=_count(number, "num_flows"),
        forward=outgoing if at_source else incoming,
        back=incoming if at_source else outgoing,
        service=_service(flat),
        node=_text(flat.get("host")),
    )


def _flat(value: Mapping[str, Any]) -> dict[str, Any]:
    """Fields by their snake-case names, those of Goldmane's key among them."""
    key = value.get("Key", value.get("key"))
    both = {**value, **key} if isinstance(key, Mapping) else value
    return {_CAMEL.sub(r"_\1", name).lower(): field for name, field in both.items() if isinstance(name, str)}


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) and value.strip() not in NOTHING else ""


def _word(flat: Mapping[str, Any], name: str, numbers: Mapping[str, str]) -> str:
    text = str(flat.get(name)).strip().lower()
    return numbers.get(text, text)


def _number(value: Any) -> int | None:
    """A whole number, as JSON has it or as text; None for none.

    Raises:
        FieldError: it is something else.

    """
    if value is None or (isinstance(value, str) and value.strip() in NOTHING):
        return None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdecimal() and len(value) <= 20:
        return int(value)
    raise FieldError(f"{str(value)[:40]!r} is no number")


def _port(flat: Mapping[str, Any], name: str) -> int | None:
    number = _number(flat.get(name))
    if number is not None and not 0 <= number <= 65535:
        raise FieldError(f"{name}: {number} is not a port")
    return number or None


def _count(value: Any, name: str) -> int | None:
    number = _number(value)
    if number is not None and not 0 <= number < 2**53:
        raise FieldError(f"{name}: {number} is no count")
    return number


def _volume(flat: Mapping[str, Any], way: str) -> tuple[int, int] | None:
    packets, octets = _count(flat.get(f"packets_{way}"), "packets"), _count(flat.get(f"bytes_{way}"), "bytes")
    return None if packets is None else (packets, octets or 0)


def _time(flat: Mapping[str, Any], name: str) -> int:
    """Seconds, milliseconds … since the epoch, or RFC 3339."""
    value = flat.get(name)
    if isinstance(value, str) and not value.strip().isdecimal():
        found = times.parse(value)
        if found is None:
            raise FieldError(f"{name}: {value[:40]!r} is no time")
        return found
    number = _number(value)
    if number is None or number <= 0:
        raise FieldError(f"{name} is missing")
    while number < 10**17:
        number *= 1000 if number >= 10**11 else 10**9 if number < 10**10 else 1000
    if number >= times.nanoseconds(f"{times.LAST_YEAR}-01-01T00:00:00"):
        raise FieldError(f"{name}: a time that is out of range")
    return number


def _protocol(flat: Mapping[str, Any]) -> str:
    text = str(flat.get("proto", flat.get("protocol"))).strip().lower()
    if text in _PROTOCOLS:
        return _PROTOCOLS[text]
    if text.isascii() and text.isdecimal() and int(text) < 256:
        return str(int(text))
    raise FieldError(f"{text[:20]!r} is no protocol")


def _service(flat: Mapping[str, Any]) -> str:
    namespace, name = _text(flat.get("dest_service_namespace")), _text(flat.get("dest_service_name"))
    return f"{namespace}/{name}" if namespace and name else ""


# --- ends -------------------------------------------------------------------------------------------------------------


def _kind(flat: Mapping[str, Any], side: str) -> str:
    """`wep` (a pod), `hep` (a node), `ns` (a set of networks), `net`, `UNTYPED` (a pod or such a set), or nothing."""
    text = str(flat.get(f"{side}_type") or "").strip().lower()
    if text:
        return _TYPES.get(text, text)
    # Whisker leaves the type out.
    name, aggregated = _text(flat.get(f"{side}_name")), _text(flat.get(f"{side}_name_aggr"))
    namespace = _text(flat.get(f"{side}_namespace"))
    if (name or aggregated) in PUBLIC | PRIVATE:
        return "net"
    if not (name or aggregated) or not namespace or namespace == "Global":
        return ""
    # A NetworkSet may be in a namespace, too. It stands for no others, reports nothing, and no orchestrator made it.
    summed = name.endswith("*") or aggregated.endswith("*")
    reports = _word(flat, "reporter", _REPORTERS) == _REPORTER_OF[side]
    return "wep" if summed or reports or _ORCHESTRATOR in _labels(flat.get(f"{side}_labels")) else UNTYPED


def _endpoint(flat: Mapping[str, Any], side: str) -> Endpoint | None:
    """What is said of an end; None where nothing is."""
    kind = _kind(flat, side)
    name, aggregated = _text(flat.get(f"{side}_name")), _text(flat.get(f"{side}_name_aggr"))
    namespace = _text(flat.get(f"{side}_namespace"))
    if kind in {"wep", UNTYPED} and namespace:
        found = _pod(namespace, name or aggregated, _labels(flat.get(f"{side}_labels")))
        return found._replace(entities=UNTYPED) if kind == UNTYPED else found
    if kind == "hep":
        return Endpoint(entities="remote-node")
    if kind == "net" and (name or aggregated) in PUBLIC:
        domains = flat.get(f"{side}_domains")
        said = (
            {text.rstrip(".").lower() for each in domains if (text := _text(each))} if isinstance(domains, list) else ()
        )
        return Endpoint(entities="world", names=tuple(sorted(said)))
    return Endpoint() if kind or name or aggregated or flat.get(f"{side}_ip") else None


def _pod(namespace: str, name: str, labels: dict[str, str]) -> Endpoint:
    text = msgspec.json.encode(dict(sorted(labels.items()))).decode() if labels else None
    if name and not name.endswith("*"):
        return Endpoint(namespace=namespace, pod=name, labels=text)
    prefix = name.removesuffix("*").removesuffix("-")
    return Endpoint(namespace=namespace, labels=text, workload=_owner(prefix, labels))


def _owner(prefix: str, labels: Mapping[str, str]) -> str | None:
    """The owner of pods whose names begin with `prefix-`, where that tells it.

    The prefix of a Deployment's pods ends with its ReplicaSet's hash. Other controllers give theirs no mark, and there
    labels tell more than a guess would.
    """
    job = labels.get("batch.kubernetes.io/job-name") or labels.get("job-name")
    if job:
        return f"Job/{job}"
    template_hash = labels.get("pod-template-hash")
    if prefix and ((template_hash and prefix.endswith(f"-{template_hash}")) or _SUFFIX.fullmatch(prefix)):
        return f"ReplicaSet/{prefix}"
    return f"Unknown/{prefix}" if prefix and not labels else None


def _labels(value: Any) -> dict[str, str]:
    """`{"labels": ["a=b"]}`, `["a=b"]` or `"a=b | c=d"`."""
    if isinstance(value, Mapping):
        value = value.get("labels")
    if isinstance(value, str):
        value = value.split(" | ")
    if not isinstance(value, list):
        return {}
    pairs = (each.strip().partition("=") for each in value if isinstance(each, str) and each.strip() not in NOTHING)
    return {key: text for key, _, text in pairs if key}


__all__ = ["FieldError", "Record", "address", "record", "records"]
