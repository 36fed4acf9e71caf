"""Cloud flow logs as columns: records are folded inside the engine (DuckDB), never held in Python.

A source gives one SQL query whose rows are records (`RECORD`). They are folded twice: first to one row per connection
(both addresses, both ports, protocol, verdict, hour of the start), whichever direction a record is of, then to one row
per conversation as in `flowtable`. What cannot be used comes out of the same query, under its reason or as the text
that is no record, so that the sum over the result is the number of records read.

Rows do not span hours, because addresses of pods are reused.
"""

# Queries are put together from our own constants, numbers and quoted names, never from what a file says.
# ruff: noqa: S608

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Self

from netpol_gen.errors import InputError, InvariantError, Place, printable
from netpol_gen.flowtable import Reason
from netpol_gen.handovers import Handovers
from netpol_gen.readers.files import Input, Stream
from netpol_gen.readers.rows import MAX_PLACES, Rows, Window
from netpol_gen.readers.vpc_lines import arrow_file

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

PLACE_BITS = 40
"""A place is `number of the file << PLACE_BITS | line`."""
NS = 1_000_000_000
HOUR = 3600 * NS
LAST = 2**31 * 2 * NS
"""Times from here on (the year 2106) are no times of flows."""
MEMORY = "384MB"
"""What the engine may hold before it writes to the disk. Arrow, numpy and the interpreter come on top."""

RECORD = (
    "place",  # BIGINT
    "kind",  # USMALLINT: 0, or the code of a reason, or ODD
    "note",  # VARCHAR: for ODD the text, for LOST_EVENTS who lost
    "src",  # VARCHAR, addresses as the source writes them
    "dst",
    "sport",  # INTEGER, 0 to 65535
    "dport",
    "proto",  # INTEGER: 6, 17 or 132
    "verdict",  # INTEGER: index into VERDICTS
    "first",  # BIGINT, nanoseconds since the epoch
    "last",
    "packets",  # BIGINT or null
    "bytes",
    "bits",  # UINTEGER: what was seen from src to dst in the lower half, from dst to src in the upper
    "who_src",  # VARCHAR or null: what the source says of the end, opaque here
    "who_dst",
)
"""Columns of a source's query. Beyond `place`, `kind` and `note`, they matter for kind 0 only."""

MAX_SECONDS = 2**32 - 1
MAX_COUNT = 1 << 50
"""Bytes and packets of one record beyond this are no counts."""
ODD = 255
REASONS = tuple(Reason)
CODE = {reason: number + 1 for number, reason in enumerate(REASONS)}
VERDICTS = ("forwarded", "dropped", "unknown")

# One half of `bits`. The lowest eight are TCP flags, OR-ed.
FIN, SYN, RST, SYN_ACK = 1, 2, 4, 18
MANY = 1 << 8
"""Two packets or more."""
MORE = 1 << 9
"""Three packets or more."""
SENT = 1 << 10
"""Seen at the sender's interface."""
ARRIVED = 1 << 11
"""Seen at the receiver's interface."""
MID = 1 << 12
"""A TCP record without SYN."""
DATA = 1 << 13
"""The source says that this end sent something."""
SEEN = 1 << 14
COUNTED = 1 << 15
"""The source counts both directions, so that silence means something."""
HALF = 16

_ROW_DECIDED = 1 << 60


@dataclass(frozen=True, slots=True)
class Meaning:
    """How a source's connections are understood, as SQL over `proto`, `ab` and `ba` (halves of `bits`, by end).

    `ordered`: the source's own order of the ends is client, server; otherwise the end with the higher port is first.
    `client_a`, `client_b`: whether that end opened the connection; where neither or both hold, it is undecided.
    `signals`: `model.Signal` bits over `c` (what the client did, or the end taken for it) and `v` (the server).
    """

    ordered: bool
    client_a: str
    client_b: str
    signals: str
    begins: str = "client_a OR client_b"
    """Whether records show how the connection began: one that goes on after an address changed hands is another's."""
    who: bool = False
    """Whether the source says more of an end than its address."""
    each_way: bool = False
    """Whether one direction may well be told at both ends and the other at one. To sum each by itself costs
    some 4 % of the time, which is left to sources that sample: others have all records of an end or none."""


_MOST = 2**53
"""Up to here every whole number is exact as a DOUBLE, and sums of these are the quickest."""


def _sum(what: str) -> str:
    """A sum that stays null where there is nothing to add, exact up to `_MOST`, and that for all beyond.

    Nothing of that size was ever sent, but counts are as hostile as all else: they overflow nothing, and come to the
    same in any order, for what is beyond the bound stays there however it is rounded.
    """
    added = f"sum(({what})::DOUBLE)"
    return f"(CASE WHEN {added} > {_MOST} THEN {_MOST} ELSE {added} END)::BIGINT"


def _each_way(what: str) -> str:
    """What a connection counts, where packets of one direction or of both were told at both ends."""
    both = SENT | ARRIVED
    twice_ab, twice_ba = (f"({end} & {both}) = {both}" for end in ("ab", "ba"))
    return f"""CASE WHEN {twice_ab} THEN CASE WHEN {twice_ba} THEN {what} // 2
        ELSE ({what} + coalesce({what}_back, 0)) // 2 END
        WHEN {twice_ba} THEN (2 * {what} - coalesce({what}_back, 0)) // 2 ELSE {what} END AS {what}"""


def fold_sql(records: str, meaning: Meaning, *, places: bool = True, apart: bool = False) -> str:
    """The whole query over a source's `records`.

    `places`: whether to keep the first places of what is set aside, which takes a tenth of the time; where the records
    can be read again, `places_sql` finds them when there are any.
    `apart`: whether records have `src_period` and `dst_period`, which rows must not span (`vpc_periods`).
    There is no WHERE in it: a filter would be pushed down to the parsing of lines and do that again for each field.
    Of what is worked out for each record, CASE is the quicker where its first branch holds for nearly all of them, and
    sums are quicker than shifts; it is written for that.
    """
    by_port = "CASE WHEN sport <> dport THEN sport < dport WHEN sport = dport THEN src > dst END"
    turned = "false" if meaning.ordered else by_port
    who = ends = ""
    if meaning.who:
        who = "max(CASE WHEN turned THEN who_dst ELSE who_src END) AS who_a,"
        who += "max(CASE WHEN turned THEN who_src ELSE who_dst END) AS who_b,"
        ends = "CASE WHEN turn THEN who_b ELSE who_a END AS who_src,"
        ends += "CASE WHEN turn THEN who_a ELSE who_b END AS who_dst,"
    back = own = period = ""
    both = SENT | ARRIVED
    once = f"CASE WHEN (c & {both}) = {both} OR (v & {both}) = {both} THEN 2 ELSE 1 END AS twice, packets, bytes"
    shared = " // twice"
    if meaning.each_way:
        once, shared = f"{_each_way('packets')}, {_each_way('bytes')}", ""
        for what in ("packets", "bytes"):
            back += f"{_sum(f'CASE WHEN turned THEN {what} END')} AS {what}_back,"
    way = "way"
    if apart:
        way = "older"
        own = "CASE WHEN kind <> 0 THEN 0 WHEN turned THEN dst_period ELSE src_period END AS period_a,"
        own += "CASE WHEN kind <> 0 THEN 0 WHEN turned THEN src_period ELSE dst_period END AS period_b,"
        period = "CASE WHEN turn THEN period_b ELSE period_a END AS src_period,"
        period += "CASE WHEN turn THEN period_a ELSE period_b END AS dst_period,"
    first_places = f"min(place, {MAX_PLACES}) FILTER (WHERE kind <> 0)" if places else "NULL::BIGINT[]"
    return f"""
WITH rec AS ({records}),
sided AS (SELECT *, coalesce({turned}, false) AS turned FROM rec),
con AS (SELECT
    CASE WHEN kind = 0 THEN CASE WHEN turned THEN dst ELSE src END ELSE note END AS a,
    CASE WHEN kind = 0 THEN CASE WHEN turned THEN src ELSE dst END END AS b,
    CASE WHEN kind = 0
         THEN (CASE WHEN turned THEN dport ELSE sport END)::BIGINT * {1 << 16}
              + (CASE WHEN turned THEN sport ELSE dport END)
              + proto::BIGINT * {1 << 32} + verdict::BIGINT * {1 << 40}
         WHEN kind = {ODD} THEN -place - 1000 ELSE -kind::BIGINT END AS x,
    CASE WHEN kind = 0 OR kind = {CODE[Reason.LOST_EVENTS]} THEN (first // {HOUR})::INTEGER END AS h, {own}
    count(*) AS n, count(*) FILTER (WHERE turned) AS back,
    bit_or(CASE WHEN turned THEN ((bits & 65535) << {HALF}) | (bits >> {HALF}) ELSE bits END) AS bits,
    {_sum("packets")} AS packets, {_sum("bytes")} AS bytes,
    {back} {who}
    min(first) AS first, max(last) AS last, min(place) AS place, {first_places} AS places
    FROM sided GROUP BY ALL),
told AS (SELECT *, bits & 65535 AS ab, bits >> {HALF} AS ba, (x >> 32) & 255 AS proto FROM con),
judged AS (SELECT *, coalesce({meaning.client_a}, false) AS client_a, coalesce({meaning.client_b}, false) AS client_b
    FROM told),
way AS (SELECT *, client_b AND NOT client_a AS turn, client_a <> client_b AS decided FROM judged),
{_OLDER.format(begins=meaning.begins) if apart else ""}
oriented AS (SELECT *,
    CASE WHEN turn THEN ba ELSE ab END AS c, CASE WHEN turn THEN ab ELSE ba END AS v,
    (x >> 16) & 65535 AS high, x & 65535 AS low FROM {way}),
done AS (SELECT
    CASE WHEN turn THEN b ELSE a END AS src, CASE WHEN turn THEN a ELSE b END AS dst,
    CASE WHEN x < 0 THEN x
         WHEN decided THEN (x >> 32 << 32) | (CASE WHEN turn THEN high ELSE low END) | {_ROW_DECIDED}
         -- Of many ephemeral ports to one fixed port four are kept, enough to vote; the rest is counted with them.
         WHEN high >= 32768 AND low < 32768 THEN (x >> 32 << 32) | ((high & 3) << 16) | low
         ELSE x END AS y,
    h, n, places, high, {period}
    CASE WHEN NOT decided THEN 0 WHEN turn THEN n - back ELSE back END AS replies,
    {once}, {ends} first, last, place,
    {meaning.signals} AS signals
    FROM oriented)
SELECT src, dst, y, h, {"src_period, dst_period," if apart else ""} {"who_src, who_dst," if meaning.who else ""}
    count(*) AS flows, sum(n)::BIGINT AS records, sum(replies)::BIGINT AS replies,
    {_sum(f"packets{shared}")} AS packets, {_sum(f"bytes{shared}")} AS bytes,
    min(first) AS first, max(last) AS last, min(place) AS place, bit_or(signals) AS signals,
    min(high)::INTEGER AS sport, {"any_value(places)" if places else "NULL::BIGINT[]"} AS places
FROM done GROUP BY ALL"""


_OLDER = """
met AS (SELECT *, min(first) OVER parts AS began,
    min(period_a) OVER parts <> max(period_a) OVER parts AS other_a,
    min(period_b) OVER parts <> max(period_b) OVER parts AS other_b
    FROM way WINDOW parts AS (PARTITION BY a, b, x ORDER BY h RANGE BETWEEN 1 PRECEDING AND CURRENT ROW)),
older AS (SELECT * EXCLUDE (began, other_a, other_b, goes_on)
    REPLACE (CASE WHEN goes_on THEN began ELSE first END AS first,
        CASE WHEN goes_on AND other_a THEN 0 ELSE period_a END AS period_a,
        CASE WHEN goes_on AND other_b THEN 0 ELSE period_b END AS period_b)
    FROM (SELECT *, x >= 0 AND (other_a OR other_b) AND first > began AND NOT ({begins}) AS goes_on FROM met)),"""
"""What goes on of a connection that began in an earlier period is as old as that: whoever has the address by then gets
the packets, as when a server sends again to a client that is gone, but had no part in opening it. It is looked for in
the same hour and the one before, for ports are used again."""


def places_sql(records: str) -> str:
    """The first places of what is set aside, by kind; of texts that are no records each is known already."""
    return f"""SELECT kind::BIGINT AS kind, min(place, {MAX_PLACES}) AS places FROM ({records})
        WHERE kind NOT IN (0, {ODD}) GROUP BY kind"""


@dataclass(slots=True)
class Engine:
    """A DuckDB of our own, in bounded memory, that reaches nothing but the files it is given.

    It opens in a thread, which takes some hundredths of a second: there is enough to do before the first query.
    """

    threads: int = 0
    memory: str = MEMORY
    suspects: list[Input] = field(default_factory=list)
    """Parquet files that queries read: what to look at when one fails."""
    _opening: Future[duckdb.DuckDBPyConnection] | None = None
    _scratch: tempfile.TemporaryDirectory[str] | None = None
    _failure: list[InputError] = field(default_factory=list)

    def __enter__(self) -> Self:
        import duckdb  # noqa: F401, PLC0415 - 0.1 s that only these sources need

        self._scratch = tempfile.TemporaryDirectory(prefix="netpol-gen-")
        hand = ThreadPoolExecutor(1)
        self._opening = hand.submit(self._open, self._scratch.name)
        hand.shutdown(wait=False)
        return self

    def _open(self, scratch: str) -> duckdb.DuckDBPyConnection:
        import duckdb  # noqa: PLC0415

        connection = duckdb.connect(
            ":memory:",
            config={
                "threads": self.threads or os.cpu_count() or 1,
                "memory_limit": self.memory,
                "temp_directory": scratch,
                "preserve_insertion_order": False,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "python_enable_replacements": False,
            },
        )
        connection.execute("SET TimeZone = 'UTC'")
        # Interactive sessions would get it among their data. Where it is off already,
        # in notebooks without ipywidgets, the engine refuses to be told.
        if connection.execute("SELECT current_setting('enable_progress_bar')").fetchall() != [(False,)]:
            connection.execute("SET enable_progress_bar = false")
        return connection

    @property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        assert self._opening is not None  # noqa: S101 - inside `with`
        return self._opening.result()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._opening is not None and self._opening.exception() is None:
            self._connection.close()
        if self._scratch is not None:
            self._scratch.cleanup()

    def stream(self, name: str, columns: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
        """Offer batches to queries as `name`, for one pass."""
        import pyarrow as pa  # noqa: PLC0415 - half a second that `--help` must not pay

        self._connection.register(name, pa.RecordBatchReader.from_batches(columns, self._watched(batches)))

    def table(self, name: str, data: pa.Table) -> None:
        """Offer a table to queries as `name`."""
        self._connection.register(name, data)

    def function(self, name: str, meaning: Callable[[pa.ChunkedArray], pa.Array]) -> None:
        """Offer a function of texts to queries as `name`."""
        from duckdb.func import ARROW  # noqa: PLC0415

        # It would evaluate annotations, whose names are there for type checkers only.
        bare = lambda texts: meaning(texts)  # noqa: E731, PLW0108
        self._connection.create_function(name, bare, ["VARCHAR"], "VARCHAR", type=ARROW)

    def _watched(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """An error of ours passes the engine as text only: keep the error itself."""
        try:
            yield from batches
        except InputError as error:
            self._failure.append(error)
            raise

    def query(self, sql: str) -> Iterator[pa.RecordBatch]:
        """The result, batch by batch.

        Raises:
            InputError: an input could not be read, or memory and disk did not suffice.

        """
        import duckdb  # noqa: PLC0415

        try:
            yield from self._connection.sql(sql).to_arrow_reader(65536)
        except (duckdb.Error, OSError) as error:
            raise self._told(error) from None

    def run(self, sql: str) -> None:
        """The same for a statement without a result."""
        import duckdb  # noqa: PLC0415

        try:
            self._connection.execute(sql)
        except (duckdb.Error, OSError) as error:
            raise self._told(error) from None

    def _told(self, error: Exception) -> Exception:
        """What to raise: an error of ours, which came through Arrow and the engine as another type, before theirs."""
        import duckdb  # noqa: PLC0415

        if self._failure:
            return self._failure[0]
        if self.suspects and not isinstance(error, duckdb.OutOfMemoryException):
            damaged = next((Place(item.name) for item in self.suspects if not _readable(item)), None)
            return InputError(f"damaged Parquet file: {first_line(error)}", damaged)
        if isinstance(error, duckdb.OutOfMemoryException | duckdb.IOException | duckdb.InvalidInputException | OSError):
            return InputError(f"the flow logs could not be read: {first_line(error)}")
        return error


def first_line(error: Exception) -> str:
    """What an error of the engine or of Arrow says first, fit for a terminal."""
    return printable(str(error).partition("\n")[0], 300)


def _readable(item: Input) -> bool:
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        with arrow_file(item.head, item.again) as file:
            for _ in pq.ParquetFile(file).iter_batches():
                pass
    except (pa.ArrowException, OSError):
        return False
    return True


@dataclass(frozen=True, slots=True)
class Options:
    """What the caller of a columnar source may set. `aws_format` is the field order of headerless AWS records."""

    window: Window = field(default_factory=Window)
    aws_format: str | None = None
    threads: int = 0
    handovers: Handovers = field(default_factory=Handovers)


def not_by_rows(stream: Stream, rows: Rows) -> None:
    """Stands for a reader of single records where there is none.

    Raises:
        InvariantError: always.

    """
    raise InvariantError(f"{stream.name} is read as a table, not into {type(rows).__name__}")


def never(head: bytes) -> bool:  # noqa: ARG001 - what a source answers for a beginning
    """Whether a share of lines can be read by itself."""
    return False


def no() -> bool:
    """What a source answers where there is nothing to ask."""
    return False


def outside(window: Window) -> str:
    """SQL: whether `first` lies outside the window."""
    parts = []
    if window.since is not None:
        parts.append(f"first < {int(window.since)}")
    if window.until is not None:
        parts.append(f"first >= {int(window.until)}")
    return "(" + " OR ".join(parts) + ")" if parts else "false"


def union(queries: Iterable[str]) -> str:
    """Several queries of `RECORD` as one."""
    return " UNION ALL ".join(f"SELECT {', '.join(RECORD)} FROM ({query})" for query in queries)
