"""Which source wrote a file, told from its beginning; and what else a file may be, for the error message.

A source is one entry in `SOURCES`, tried in that order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from netpol_gen.errors import NotAFlowLogError, OptionError, Place, printable
from netpol_gen.flowtable import Flows
from netpol_gen.readers import aws, azure, calico, canonical, conntrack, envelopes, gcp, hubble, vpc
from netpol_gen.readers.files import PARQUET, Input, Stream
from netpol_gen.readers.looks import AWS, BINARY, Looks, describe, traces
from netpol_gen.readers.rows import Rows
from netpol_gen.readers.vpc_lines import footer


@dataclass(frozen=True, slots=True)
class Source:
    """A format that can be read."""

    name: str
    looks_like: Callable[[bytes, str], bool]
    """Given `Input.head`, which may be cut off in the middle, and `Input.again`."""
    read: Callable[[Stream, Rows], None]
    """Reads one share; see `rows`."""
    splittable: Callable[[bytes], bool]
    """Given the beginning: whether any share of whole lines can be read by itself (what a header says can be had from
    `Stream.head`)."""
    cheap: Callable[[], bool] = vpc.no
    """Whether taking a record in costs little more than reading and decompressing it."""
    table: Callable[[Sequence[Input], vpc.Options], Flows] | None = None
    """Set for sources whose records never become Python objects: reads all inputs of the source at once."""


SOURCES: tuple[Source, ...] = (
    Source(canonical.NAME, canonical.looks_like, vpc.not_by_rows, vpc.never, table=canonical.read),
    # Before Hubble: Goldmane wraps its records as `"flow": {…}`, too.
    Source(calico.NAME, calico.looks_like, calico.read, calico.splittable),
    Source("hubble", hubble.looks_like, hubble.read, hubble.splittable, hubble.cheap),
    Source(aws.NAME, aws.looks_like, vpc.not_by_rows, vpc.never, table=aws.read),
    Source(gcp.NAME, gcp.looks_like, vpc.not_by_rows, vpc.never, table=gcp.read),
    Source(azure.NAME, azure.looks_like, vpc.not_by_rows, vpc.never, table=azure.read),
    Source(conntrack.NAME, conntrack.looks_like, vpc.not_by_rows, vpc.never, table=conntrack.read),
)

AUTO = "auto"


def by_name(name: str) -> Source:
    """The source of this name.

    Raises:
        OptionError: there is none.

    """
    for source in SOURCES:
        if source.name == name:
            return source
    known = ", ".join([AUTO, *(source.name for source in SOURCES)])
    raise OptionError(f"no such source: {printable(name)}; there are: {known}")


def recognise(item: Input, name: str = AUTO, aws_format: str | None = None) -> tuple[Input, Source] | None:
    """An input with its source; None where it is empty. `aws_format` is the order of fields of headerless records.

    It is the input as it is, or, where no source recognises that, what it holds in envelopes (`envelopes`).

    Raises:
        NotAFlowLogError: it is none of them (or, where `name` is given, clearly something else).

    """
    named = None if name == AUTO else by_name(name)
    if not item.head.strip():
        # Compressed data that is damaged from the start: whichever source reads it will count that.
        unknown = named or (by_name("hubble") if item.damage else None)
        return None if unknown is None else (item, unknown)
    if (found := _known(item, named, aws_format)) is not None:
        return item, found
    if (inside := envelopes.opened(item)) is not None and (found := _known(inside, named, aws_format)) is not None:
        return inside, found
    looks = describe(item.head)
    if named is None:
        # Where there is advice on the file as it is, that is better.
        if inside is not None and inside.head.strip() and not (looks.certain or looks.advice):
            within = describe(inside.head)
            looks = replace(looks, what=f"JSON objects that hold {within.what}", advice=within.advice)
        raise _refusal(item, looks, "not a flow log that can be read")
    # Text without a known form may be damaged records of the source that the user names.
    if looks.certain and not (named.name == aws.NAME and looks.what == AWS.what):
        raise _refusal(item, looks, f"not a {named.name} flow log")
    return item, named


def _known(item: Input, named: Source | None, aws_format: str | None) -> Source | None:
    """The source that recognises an input, of all or the one named."""
    for source in SOURCES if named is None else (named,):
        if source.looks_like(item.head, item.again):
            return source
    aws_too = named is None or named.name == aws.NAME
    return by_name(aws.NAME) if aws_too and aws_format is not None and aws.fits(item.head, aws_format) else None


def sort_out(
    inputs: Sequence[Input], name: str = AUTO, aws_format: str | None = None, *, strict: bool = False
) -> tuple[list[tuple[Input, Source]], dict[str, str]]:
    """The inputs that have a source, and those left out, by name, with what they look like.

    A file that nobody named, met in a directory or by a glob, is left out where no source recognises anything in it: a
    README beside the logs. Whatever may be a flow log, damaged or in a form that is not read, is an error, because
    policies would lack what is in it.

    Raises:
        NotAFlowLogError: a file that was named is none, or may be one; a directory or glob has none at all; with
            `strict`, any that would be left out.

    """
    found: list[tuple[Input, Source]] = []
    foreign: list[tuple[Input, NotAFlowLogError]] = []
    left: dict[str, str] = {}
    for item in inputs:
        refusal = None
        read, kind = item, None
        try:
            known = recognise(item, name, aws_format)
        except NotAFlowLogError as error:
            refusal = error
        else:
            if known is None:
                continue
            read, kind = known
        # What is recognised by itself is no other file, and hundreds of beginnings take time to look at twice.
        certain = item.named or (kind is not None and name == AUTO)
        looks = None if certain else _other(read, kind, aws_format)
        if looks is not None:
            foreign.append((item, refusal or _refusal(item, looks, f"not a {name} flow log")))
            left[item.name] = looks.what
        elif refusal is not None:
            raise refusal
        elif kind is not None:
            found.append((read, kind))
    hits = {place for item, _ in found if item.head.strip() or item.damage for place in item.sought}
    for item, refusal in foreign:
        if not item.sought <= hits:
            raise refusal
        if strict:
            many = f" (there are {len(foreign)})" if len(foreign) > 1 else ""
            raise NotAFlowLogError(f"{refusal.problem}; --strict leaves no file out{many}", refusal.place)
    return found, left


def _other(item: Input, kind: Source | None, aws_format: str | None) -> Looks | None:
    """What a file is that has nothing of a flow log in it; None for any other."""
    if item.damage or not item.head.strip() or (kind is not None and kind.looks_like(item.head, item.again)):
        return None
    looks = describe(item.head)
    if item.head.startswith(PARQUET):
        # The names of its columns are at the end, which is missing where it was cut off.
        end = footer(item.head, item.again)
        return looks if end.endswith(PARQUET.lower()) and not traces(end) else None
    # By such a name it should be something else: what was written there is gone.
    broken = looks.what == BINARY and item.name.lower().endswith(_PACKED)
    if looks.flows or broken or any(source.looks_like(item.head, item.again) for source in SOURCES):
        return None
    return None if aws_format is not None and aws.fits(item.head, aws_format) else looks


_PACKED = (".gz", ".gzip", ".zst", ".zstd", ".parquet")


def _refusal(item: Input, looks: Looks, problem: str) -> NotAFlowLogError:
    return NotAFlowLogError(f"{problem}: it looks like {looks.what}{looks.advice}", Place(item.name))
