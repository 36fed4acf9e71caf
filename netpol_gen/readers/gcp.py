"""GCP VPC flow logs: Cloud Logging entries as lines, arrays or Pub/Sub messages, pushed or pulled; BigQuery rows.

Packets are sampled and each direction is a record of its own, seen at the sender (`reporter` SRC), the receiver (DEST)
or both. There are no flags, so who opened a connection is decided later. Where GKE annotates, the names of the pods are
taken; `service` in the annotation lists the Services that a pod is behind, not the one dialled, and is left out.
"""

# Queries are put together from our own constants, numbers and quoted names, never from what a file says.
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from netpol_gen.flowtable import Flows, Reason
from netpol_gen.model import Signal
from netpol_gen.readers import vpc, vpc_json, vpc_lines, vpc_numbers, vpc_periods, vpc_table
from netpol_gen.readers.files import Input
from netpol_gen.readers.rows import Window
from netpol_gen.readers.vpc import ARRIVED, CODE, ODD, SEEN, SENT
from netpol_gen.readers.vpc_table import WHO_SEPARATOR

NAME = "gcp-vpc"
SOURCE = vpc_table.Source(NAME, "", "DENIED")
MEANING = vpc.Meaning(
    ordered=False,
    client_a="false",
    client_b="false",
    signals=(
        f"(CASE WHEN (c & {SEEN}) <> 0 THEN {int(Signal.CLIENT_DATA)} ELSE 0 END + "
        f"CASE WHEN (v & {SEEN}) <> 0 THEN {int(Signal.SERVER_DATA)} ELSE 0 END + {int(Signal.SAMPLED)})"
    ),
    who=True,
    each_way=True,
)


class Shape(NamedTuple):
    """Where the payload lies within an entry.

    `packed`: entries are base64 in Pub/Sub messages; `text`: the payload is JSON within a text, as BigQuery has it
    where the column is one of texts.
    """

    payload: str
    packed: bool = False
    text: bool = False


_PAYLOADS = ("jsonPayload", "json_payload", "")
_PATHS = {
    "src": "connection.src_ip",
    "dst": "connection.dest_ip",
    "sport": "connection.src_port",
    "dport": "connection.dest_port",
    "proto": "connection.protocol",
    "packets": "packets_sent",
    "bytes": "bytes_sent",
    "start": "start_time",
    "stop": "end_time",
    "reporter": "reporter",
    "disposition": "disposition",
    **{
        f"{end}_{name}": f"{long}_gke_details.pod.{path}"
        for end, long in (("src", "src"), ("dst", "dest"))
        for name, path in (
            ("ns", "pod_namespace"),
            ("pod", "pod_name"),
            ("type", "pod_workload.workload_type"),
            ("workload", "pod_workload.workload_name"),
        )
    },
}
_NOTHING = '{"receivedMessages": []}'
_KINDS = {
    "DEPLOYMENT": "Deployment",
    "STATEFULSET": "StatefulSet",
    "DAEMONSET": "DaemonSet",
    "REPLICASET": "ReplicaSet",
    "REPLICATIONCONTROLLER": "ReplicationController",
    "JOB": "Job",
    "CRONJOB": "CronJob",
}


def looks_like(head: bytes, name: str = "") -> bool:  # noqa: ARG001 - what every source is asked
    """Whether a file with this beginning holds such entries."""
    return _shape(head) is not None


def _shape(head: bytes) -> Shape | None:
    for value in vpc_json.first_objects(head):
        if not isinstance(value, dict):
            continue
        if (payload := _payload(value)) is not None:
            return Shape(payload, text=isinstance(value.get(payload), str))
        answer = value.get("receivedMessages")
        for message in answer[:50] if isinstance(answer, list) else [value]:
            entry = vpc_json.loads(_data(message) or b"")
            if isinstance(entry, dict) and (payload := _payload(entry)) is not None:
                return Shape(payload, packed=True, text=isinstance(entry.get(payload), str))
    return None


def _payload(value: dict[str, Any]) -> str | None:
    for name in _PAYLOADS:
        payload = _inner(value, name)
        connection = payload.get("connection") if isinstance(payload, dict) else None
        if isinstance(connection, dict) and "src_ip" in connection and "dest_ip" in connection:
            return name
    return None


def _inner(value: dict[str, Any], name: str) -> Any:
    payload = value.get(name) if name else value
    return vpc_json.loads(payload) if isinstance(payload, str) else payload


def _data(message: Any) -> bytes | None:
    """What a Pub/Sub message holds: of a push or pull (`{"message": {"data": …}}`), or the message alone."""
    import base64  # noqa: PLC0415 - rarely needed

    inner = message.get("message", message) if isinstance(message, dict) else None
    data = inner.get("data") if isinstance(inner, dict) else None
    try:
        return base64.b64decode(data, validate=True) if isinstance(data, str) else None
    except ValueError:
        return None


def read(items: Sequence[Input], options: vpc.Options) -> Flows:
    """Read all inputs of this source into one table.

    Raises:
        InputError: a file that cannot be read.

    """
    names = [item.name for item in items]
    account = vpc_table.Account()
    shapes = [_shape(item.head) or Shape(_PAYLOADS[0]) for item in items]
    with vpc.Engine(threads=options.threads) as engine:
        queries = []
        for index, shape in enumerate(dict.fromkeys(shapes)):
            lines = f"input_{index}"
            files = [(number, item) for number, item in enumerate(items) if shapes[number] == shape]
            batches = vpc_json.Json(account, count=not shape.packed).batches(files)
            engine.stream(lines, vpc_lines.schema(), batches)
            if shape.packed:
                lines = vpc_json.unpack(engine, account, f"unpacked_{index}", _unpack_sql(lines))
            queries.append(_records(shape, lines, options.window))
        handovers = vpc_periods.relevant(options.handovers, (item.head for item in items if item.head))
        result = engine.query(vpc_periods.fold(engine, vpc.union(queries), MEANING, handovers))
        table = vpc_table.gather(result, SOURCE, names, account, explain)
    return vpc_table.finish(table, account, SOURCE, names, ())


def _unpack_sql(lines: str) -> str:
    """One line per Pub/Sub message: its entry, or the message itself where it holds none.

    An answer to a pull has all its messages in one object; `{}` is one that has none.
    """
    found = "json_extract(line, '$.receivedMessages[*]')"
    data = ", ".join(f"json_extract_string(message, '$.{path}')" for path in ("message.data", "data"))
    return f"""
SELECT place, CASE WHEN json_valid(entry) THEN entry ELSE message END AS line
FROM (SELECT place, message, CASE WHEN json_valid(message) THEN try(decode(from_base64(coalesce({data})))) END AS entry
    FROM (SELECT place, unnest(CASE WHEN len(found) > 0 THEN found
            WHEN regexp_full_match(line, '\\s*\\{{\\s*\\}}\\s*') THEN ['{_NOTHING}'] ELSE [line] END) AS message
        FROM (SELECT place, line, CASE WHEN json_valid(line) THEN {found}::VARCHAR[] ELSE [] END AS found
            FROM {lines})))"""


def _time(column: str) -> str:
    """Nanoseconds of an RFC 3339 time, or of one as BigQuery writes it. DuckDB has nanoseconds for UTC only."""
    text = f"replace({column}, ' UTC', 'Z')"
    return (
        f"CASE WHEN {column} IS NULL THEN NULL WHEN {text} LIKE '%Z' THEN epoch_ns(try_cast({text} AS TIMESTAMP_NS)) "
        f"ELSE epoch_ns(try_cast({column} AS TIMESTAMPTZ)) END"
    )


def _who(end: str) -> str:
    def clean(name: str) -> str:
        return f"replace(coalesce({end}_{name}, ''), chr({ord(WHO_SEPARATOR)}), '')"

    kinds = " ".join(f"WHEN '{written}' THEN '{kind}'" for written, kind in _KINDS.items())
    kind = f"CASE replace(upper({end}_type), '_', '') {kinds} END"
    workload = f"coalesce({kind} || '/' || nullif({clean('workload')}, ''), '')"
    sep = f"chr({ord(WHO_SEPARATOR)})"
    return (
        f"CASE WHEN {end}_pod <> '' AND {end}_ns <> '' "
        f"THEN {clean('ns')} || {sep} || {clean('pod')} || {sep} || {workload} END"
    )


def _records(shape: Shape, lines: str, window: Window) -> str:
    root = f"$.{shape.payload}." if shape.payload and not shape.text else "$."
    paths = [f"{root}{path}" for path in _PATHS.values()]
    listed = ", ".join(f"'{path}'" for path in paths)
    fields = f"json_extract_string(line, [{listed}, '$.timestamp'])"
    if shape.text:
        # What is no text is its own.
        payload = f"json_extract_string(line, '$.{shape.payload}')"
        stamp = "json_extract_string(line, ['$.timestamp'])"
        fields = f"CASE WHEN json_valid({payload}) THEN json_extract_string({payload}, [{listed}]) || {stamp} END"
    texts = [name for name in _PATHS if name not in _NUMBERS]
    at = {name: number + 1 for number, name in enumerate(_PATHS)}
    numbers = [f"{vpc_numbers.whole(f'f[{at[name]}]')} AS {name}" for name in _NUMBERS]
    odd = " OR ".join(vpc_numbers.odd(f"f[{at[name]}]", name) for name in ("packets", "bytes"))
    columns = ", ".join([*numbers, *(f"f[{at[name]}] AS {name}" for name in texts)])
    reporter = f"CASE WHEN reporter LIKE 'SRC%' THEN {SENT} WHEN reporter LIKE 'DEST%' THEN {ARRIVED} ELSE 0 END"
    return f"""
SELECT place, kind, CASE WHEN kind = {ODD} THEN line END AS note, src, dst,
    try_cast(sport AS INTEGER) AS sport, try_cast(dport AS INTEGER) AS dport, try_cast(proto AS INTEGER) AS proto,
    CASE WHEN upper(coalesce(disposition, '')) IN ('DENIED', 'DENY') THEN 1 ELSE 0 END AS verdict,
    first, greatest(first, coalesce(last, first)) AS last, packets, bytes, ({SEEN} | {reporter})::UINTEGER AS bits,
    {_who("src")} AS who_src, {_who("dst")} AS who_dst
FROM (SELECT *, CASE
        WHEN f IS NULL OR src IS NULL OR dst IS NULL OR proto IS NULL OR first IS NULL
            OR first NOT BETWEEN 0 AND {vpc.LAST} OR NOT coalesce(packets, 0) BETWEEN 0 AND {vpc.MAX_COUNT}
            OR NOT coalesce(bytes, 0) BETWEEN 0 AND {vpc.MAX_COUNT} OR {odd} THEN {ODD}
        WHEN {vpc.outside(window)} THEN {CODE[Reason.OUT_OF_WINDOW]}
        WHEN proto IN (1, 58) THEN {CODE[Reason.ICMP]}
        WHEN proto NOT BETWEEN 0 AND 255 THEN {ODD}
        WHEN proto NOT IN (6, 17, 132) THEN {CODE[Reason.OTHER_PROTOCOL]}
        WHEN sport IS NULL OR dport IS NULL OR sport NOT BETWEEN 0 AND 65535 OR dport NOT BETWEEN 0 AND 65535 THEN {ODD}
        WHEN sport = 0 AND dport = 0 THEN {CODE[Reason.NO_L4]}
        ELSE 0 END AS kind
    FROM (SELECT *, coalesce({_time("start")}, {_time("stamp")}) AS first, {_time("stop")} AS last
        FROM (SELECT place, line, f, {columns}, f[{len(paths) + 1}] AS stamp
            FROM (SELECT place, line, CASE WHEN json_valid(line) THEN {fields} END AS f
                FROM {lines}))))"""


_NUMBERS = ("sport", "dport", "proto", "packets", "bytes")
_PORTS = {"src_port": 65535, "dest_port": 65535, "protocol": 255}


def explain(text: str) -> tuple[Reason, str]:
    """Why an entry could not be used."""
    value = vpc_json.loads(text)
    if not isinstance(value, dict):
        return Reason.MALFORMED, "no JSON object" if value is None else "not an entry"
    name = _payload(value)
    if name is None:
        return _no_entry(value)
    payload = _inner(value, name)
    connection = payload["connection"]
    for key, high in _PORTS.items():
        number = connection.get(key)
        if number is None:
            return Reason.NO_L4, f"no {key}"
        if not 0 <= _number(number) <= high:
            return Reason.BAD_FIELD, f"{key} {number}"
    for key in ("src_ip", "dest_ip"):
        if not isinstance(connection.get(key), str):
            return Reason.NO_ENDPOINT, f"no {key}"
    for key in ("bytes_sent", "packets_sent"):
        number = payload.get(key)
        if not vpc_numbers.absent(number) and not 0 <= _number(number) <= vpc.MAX_COUNT:
            return Reason.BAD_FIELD, f"{key} {number}"
    return Reason.BAD_FIELD, f"start_time {payload.get('start_time', 'missing')}"


def _no_entry(value: dict[str, Any]) -> tuple[Reason, str]:
    """What is wrong with an object without a flow: a Pub/Sub message without an entry, or an entry of another log."""
    if value.get("receivedMessages") == []:
        return Reason.CONTROL, "no messages"
    message = value.get("message")
    if "ackId" not in value and not isinstance(message, dict) and "data" not in value:
        return Reason.NOT_A_FLOW, "no connection"
    inner = value if "data" in value else message if isinstance(message, dict) else {}
    number = inner.get("messageId")
    which = f"Pub/Sub message {number}" if isinstance(number, str) else "Pub/Sub message"
    field = "data" if inner is value else "message.data"
    if not inner and message is None:
        return Reason.MALFORMED, f"{which}: no message"
    if inner.get("data") is None:
        return Reason.MALFORMED, f"{which}: no {field}"
    return Reason.MALFORMED, f"{which}: {field} {'is no base64' if _data(value) is None else 'holds no JSON'}"


def _number(value: Any) -> int:
    """A number that has to be one; below all that are good where it is none."""
    number = vpc_numbers.read(value)
    return -1 if number is None else number
