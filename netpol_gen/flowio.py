"""Writing flow tables: CSV, JSON lines and Parquet, with the columns of `flowtable`, and reading back what was read.

Every format gives the table back exactly (`netpol_gen.readers.canonical`). Times are RFC 3339 with nine digits, lists
are JSON text in CSV, a null is an empty field in CSV (an empty text is `""`) and, but for times, an absent key in JSON.

The ledger. A table's rows are records still pending; what the first reading set aside is in no row. Parquet keeps that
ledger, and the notes, in its metadata, and reading the file again goes on with it, so that a converted log accounts for
the same records as the log itself. CSV and JSON lines have no place for it that other tools would not take for a row:
there it lies beside the table (`beside`), with the table's digest, and counts for that table alone. A stream has
neither: the rows' `records` are all that was read.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from netpol_gen.errors import InputError, OptionError, Place, printable
from netpol_gen.flowtable import TIMES, Flows, Ledger, Reason, with_null_times

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS = ("parquet", "csv", "jsonl")
LEDGER_KEY = b"netpol_gen.ledger"
BESIDE = ".ledger.json"
VERSION = 1
MAX_LEDGER = 256 * 1024 * 1024
"""Bytes of a ledger that lies beside its table: it has a line per input file, node and hour."""
_LAST_HOUR = (2**63 - 1) // (3600 * 1_000_000_000)
"""Since the epoch: the last of which a flow table could have a time (2262)."""
TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
_ENDINGS = {".parquet": "parquet", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"}
_BATCH = 8192


def format_of(path: str) -> str:
    """The format that a file name asks for.

    Raises:
        OptionError: its ending names none.

    """
    ending = Path(path).suffix.lower()
    if ending not in _ENDINGS:
        known = ", ".join(sorted(_ENDINGS))
        raise OptionError(f"{printable(path)}: cannot tell the format from the name; use one of {known}, or name it")
    return _ENDINGS[ending]


def write_flows(flows: Flows, target: str | os.PathLike[str] | BinaryIO, form: str | None = None) -> None:
    """Write a flow table.

    Args:
        flows: the table and its ledger.
        target: a path, or a binary stream. A file appears whole or not at all, and with it, for a text, its ledger.
            What is there and is no file, such as a pipe, is written to as a stream is (`is_stream`).
        form: one of `FORMATS`; by default told from the path's ending.

    Raises:
        OptionError: no such format, or none to be told.
        InputError: the file cannot be written.

    """
    if isinstance(target, str | os.PathLike):
        path = Path(target)
        form = form or format_of(str(path))
        if path.is_dir():
            raise InputError("is a directory", Place(str(path)))
        if is_stream(path):
            _into(flows, path, form)
            return
        scratch = path.with_name(f".{path.name}.part")
        try:
            with scratch.open("wb") as stream:
                _write(flows, stream, form)
            _move(flows, scratch, path, form)
        except OSError as error:
            raise InputError((error.strerror or str(error)).lower(), Place(str(path))) from error
        finally:
            scratch.unlink(missing_ok=True)
            beside(scratch).unlink(missing_ok=True)
        return
    if form is None:
        raise OptionError("a stream has no name to tell the format from; name one of " + ", ".join(FORMATS))
    _write(flows, target, form)


def is_stream(path: Path) -> bool:
    """Whether what is there takes bytes as they come: a pipe, a device, a descriptor that is open (`/dev/stdout`).

    A file that took its place would remove it, for root even `/dev/null`.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    if not stat.S_ISREG(mode):
        return not stat.S_ISDIR(mode)
    # Standard output may be a file: then its name is a link to it.
    where = os.path.realpath(path.parent)
    return where == "/dev" or where.startswith(("/dev/fd", "/proc/"))


def _into(flows: Flows, path: Path, form: str) -> None:
    try:
        # Appending, because a descriptor may stand for a file that others have written to.
        with path.open("ab") as stream:
            _write(flows, stream, form)
    except OSError as error:
        raise InputError((error.strerror or str(error)).lower(), Place(str(path))) from error


def _move(flows: Flows, scratch: Path, path: Path, form: str) -> None:
    """To its place, with its ledger, which goes first: beside a table that is not its own it counts for nothing."""
    if form == "parquet":
        scratch.replace(path)
        return
    with scratch.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    kept = _Beside("ledger", VERSION, digest, msgspec.Raw(dump_ledger(flows)))
    beside(scratch).write_bytes(msgspec.json.format(msgspec.json.encode(kept), indent=2) + b"\n")
    beside(scratch).replace(beside(path))
    scratch.replace(path)


def _write(flows: Flows, stream: BinaryIO, form: str) -> None:
    if form == "parquet":
        _parquet(flows, stream)
    elif form == "csv":
        _csv(flows.table, stream)
    elif form == "jsonl":
        _jsonl(flows.table, stream)
    else:
        raise OptionError(f"no such format: {printable(form)}; there are: {', '.join(FORMATS)}")


def _parquet(flows: Flows, stream: BinaryIO) -> None:
    import pyarrow.parquet as pq  # noqa: PLC0415 - half a second that `--help` must not pay

    table = with_null_times(flows.table).replace_schema_metadata({LEDGER_KEY: dump_ledger(flows)})
    pq.write_table(table, stream, compression="zstd", version="2.6")


def _csv(table: pa.Table, stream: BinaryIO) -> None:
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import csv  # noqa: PLC0415

    table = with_null_times(table)
    for number, each in enumerate(table.schema):
        column = table.column(number)
        if pa.types.is_timestamp(each.type):
            column = _times(column)
        elif pa.types.is_list(each.type):
            column = pa.array(
                [None if v is None else msgspec.json.encode(v).decode() for v in column.to_pylist()], pa.string()
            )
        else:
            continue
        table = table.set_column(number, each.name, column)
    csv.write_csv(table, stream, csv.WriteOptions(quoting_style="needed"))


def _jsonl(table: pa.Table, stream: BinaryIO) -> None:
    import pyarrow as pa  # noqa: PLC0415

    table = with_null_times(table)
    for number, each in enumerate(table.schema):
        if pa.types.is_timestamp(each.type):
            table = table.set_column(number, each.name, _times(table.column(number)))
    encoder = msgspec.json.Encoder()
    for batch in table.to_batches(_BATCH):
        # The columns that a table must have are there in every line, for those who tell it from its first.
        rows = [{k: v for k, v in row.items() if v is not None or k in TIMES} for row in batch.to_pylist()]
        stream.write(encoder.encode_lines(rows))


def _times(column: pa.ChunkedArray) -> pa.ChunkedArray:
    import pyarrow.compute as pc  # noqa: PLC0415

    return pc.strftime(column, format=TIME_FORMAT)


# --- the ledger -------------------------------------------------------------------------------------------------------


class _Loss(msgspec.Struct, array_like=True):
    node: str
    hour: int
    stage: str
    events: int


class _Saved(msgspec.Struct, forbid_unknown_fields=True):
    """A ledger, and what else belongs to a table, as JSON."""

    read: int
    used: int
    duplicate: int
    reply: int
    set_aside: dict[str, int]
    places: dict[str, list[str]]
    losses: list[_Loss]
    files: dict[str, int]
    sources: dict[str, int]
    notes: list[str]


class _Beside(msgspec.Struct):
    """What lies beside a table: whose ledger it is, by the digest of the table's bytes, and the ledger (`_Saved`)."""

    netpol_gen: str
    version: int
    sha256: str
    ledger: msgspec.Raw


def beside(table: str | os.PathLike[str]) -> Path:
    """Where the ledger of a table lies that has no place for it."""
    return Path(f"{os.fspath(table)}{BESIDE}")


def read_beside(path: Path, table: bytes) -> bytes | None:
    """The ledger at a place that `beside` gave, for `load_ledger`; `None` if it is that of other rows.

    `table` are the bytes of the table, decompressed.

    Raises:
        ValueError: it is no such ledger.
        OSError: it cannot be read.

    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("is no regular file")
    if status.st_size > MAX_LEDGER:
        raise ValueError(f"is larger than {MAX_LEDGER:,} bytes")
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=_Beside)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot be read as a ledger: {error}") from None
    if kept.netpol_gen != "ledger":
        raise ValueError("cannot be read as a ledger: it says that it is something else")
    if kept.version != VERSION:
        raise ValueError(f"it is of version {kept.version}, and only version {VERSION} is known here")
    return bytes(kept.ledger) if kept.sha256 == hashlib.sha256(table).hexdigest() else None


def dump_ledger(flows: Flows) -> bytes:
    """The ledger, sources and notes of `flows` as JSON, keys sorted."""
    ledger = flows.ledger
    saved = _Saved(
        ledger.read,
        ledger.used,
        ledger.duplicate,
        ledger.reply,
        {str(reason): count for reason, count in sorted(ledger.set_aside.items())},
        {str(reason): list(places) for reason, places in sorted(ledger.places.items())},
        [_Loss(*key, events) for key, events in sorted(ledger.losses.items())],
        dict(sorted(ledger.files.items())),
        dict(sorted(flows.sources.items())),
        list(flows.notes),
    )
    return msgspec.json.encode(saved)


def load_ledger(data: bytes, records: int) -> tuple[Ledger, dict[str, int], tuple[str, ...]]:
    """The ledger, sources and notes that `dump_ledger` wrote; `records` is the sum over the rows beside it.

    Raises:
        ValueError: it is not such a ledger, or not the one of these rows.

    """
    try:
        saved = msgspec.json.decode(data, type=_Saved)
        reasons = {Reason(name): count for name, count in saved.set_aside.items()}
        places = {Reason(name): list(found) for name, found in saved.places.items()}
    except msgspec.DecodeError as error:
        raise ValueError(f"its ledger cannot be read: {error}") from None
    counts = [saved.used, saved.duplicate, saved.reply, *saved.set_aside.values(), *saved.files.values()]
    if any(count < 0 for count in (*counts, *saved.sources.values(), *(loss.events for loss in saved.losses))):
        raise ValueError("its ledger has a negative count")
    if any(not 0 <= loss.hour <= _LAST_HOUR for loss in saved.losses):
        raise ValueError("its ledger has a loss at no time")
    ledger = Ledger(saved.read, saved.used, saved.duplicate, saved.reply, reasons, places, {}, dict(saved.files))
    for loss in saved.losses:
        ledger.lose(loss.node, loss.hour, loss.stage, loss.events)
    if ledger.accounted + records != ledger.read:
        sums = f"{ledger.read} records read, {ledger.accounted} accounted for, {records} in rows"
        raise ValueError(f"its ledger does not close: {sums}")
    return ledger, dict(saved.sources), tuple(saved.notes)
