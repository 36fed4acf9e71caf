"""Hubble records for tests, as short as they can be, and reading them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from netpol_gen.config import Config
from netpol_gen.flowtable import Flows
from netpol_gen.model import Signal
from netpol_gen.readers import read_flows

TIME = "2024-05-06T07:08:09.123456789Z"
HOUR = 476_383
"""Hours from 1970 to 2024-05-06T07."""
NANOSECONDS = 1_714_979_289_123_456_789

WEB = {"identity": 101, "namespace": "shop", "labels": ["k8s:app=web"], "pod_name": "web-1"}
DB = {"identity": 102, "namespace": "shop", "labels": ["k8s:app=db"], "pod_name": "db-0"}
WORLD = {"identity": 2, "labels": ["reserved:world"]}


def flow(**fields: Any) -> dict[str, Any]:
    """web (10.0.0.1:40000) opens db (10.0.0.2:5432): a forwarded trace event; `None` takes a field away."""
    made: dict[str, Any] = {
        "time": TIME,
        "verdict": "FORWARDED",
        "IP": {"source": "10.0.0.1", "destination": "10.0.0.2", "ipVersion": "IPv4"},
        "l4": tcp(40000, 5432, "ACK"),
        "source": WEB,
        "destination": DB,
        "Type": "L3_L4",
        "node_name": "node-1",
        "event_type": {"type": 4},
        "trace_observation_point": "TO_ENDPOINT",
        "is_reply": False,
    }
    made |= fields
    return {name: value for name, value in made.items() if value is not None}


def reply(**fields: Any) -> dict[str, Any]:
    """db answers web."""
    return flow(
        **{
            "IP": {"source": "10.0.0.2", "destination": "10.0.0.1", "ipVersion": "IPv4"},
            "l4": tcp(5432, 40000, "ACK"),
            "source": DB,
            "destination": WEB,
            "is_reply": True,
            **fields,
        }
    )


def tcp(source: int, destination: int, *flags: str) -> dict[str, Any]:
    ports: dict[str, Any] = {"source_port": source, "destination_port": destination}
    if flags:
        ports["flags"] = dict.fromkeys(flags, True)
    return {"TCP": ports}


def udp(source: int, destination: int) -> dict[str, Any]:
    return {"UDP": {"source_port": source, "destination_port": destination}}


def ip(source: str, destination: str) -> dict[str, Any]:
    return {"source": source, "destination": destination}


def wrapped(record: dict[str, Any]) -> dict[str, Any]:
    return {"flow": record, "node_name": record.get("node_name", ""), "time": record.get("time", "")}


def lines(*records: dict[str, Any] | str | bytes) -> bytes:
    """One record a line, as `hubble observe -o jsonpb` writes them; text stays as it is."""
    out = []
    for record in records:
        if isinstance(record, bytes):
            out.append(record)
        elif isinstance(record, str):
            out.append(record.encode())
        else:
            out.append(json.dumps(wrapped(record), separators=(",", ":")).encode())
    return b"".join(line + b"\n" for line in out)


def read_bytes(directory: Path, data: bytes, *, name: str = "flows.jsonl", **options: Any) -> Flows:
    """Read these bytes as a file; check what always holds."""
    path = directory / name
    path.write_bytes(data)
    options.setdefault("processes", 1)
    settings = {key: options.pop(key) for key in ("since", "until", "strict", "max_bad", "max_loss") if key in options}
    flows = read_flows([path], config=Config(**settings), **options)
    records = sum(row["records"] for row in flows.table.to_pylist())
    assert flows.ledger.read == records + sum(flows.ledger.set_aside.values())
    assert flows.ledger.read == sum(flows.ledger.files.values())
    return flows


def rows(directory: Path, *records: dict[str, Any] | str | bytes, **options: Any) -> list[dict[str, Any]]:
    return list(read_bytes(directory, lines(*records), **options).table.to_pylist())


def row(directory: Path, *records: dict[str, Any] | str | bytes, **options: Any) -> dict[str, Any]:
    """The only row that these records make."""
    found = rows(directory, *records, **options)
    assert len(found) == 1, found
    return found[0]


def asides(flows: Flows) -> dict[str, int]:
    """Reason names and counts."""
    return {reason.name: count for reason, count in flows.ledger.set_aside.items()}


def place(flows: Flows, reason: Any) -> list[str]:
    """Places without the directory."""
    return [text[text.index("flows.jsonl") :] for text in flows.ledger.places.get(reason, [])]


def signals(*names: str) -> int:
    return int(sum(Signal[name] for name in names))
