"""Which source wrote a file, told from its beginning; and what else a file may be, for the error message.

A source is one entry in `SOURCES`, tried in that order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from netpol_gen.errors import NotAFlowLogError, OptionError, Place, printable
from netpol_gen.flowtable import Flows
from netpol_gen.readers import aws, azure, calico, canonical, conntrack, gcp, hubble, vpc
from netpol_gen.readers.files import Input, Stream
from netpol_gen.readers.looks import AWS, Looks, describe
from netpol_gen.readers.rows import Rows


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


def recognise(item: Input, name: str = AUTO, aws_format: str | None = None) -> Source | None:
    """The source of an input; None where the input is empty. `aws_format` is the order of fields of headerless records.

    Raises:
        NotAFlowLogError: it is none of them (or, where `name` is given, clearly something else).

    """
    if not item.head.strip():
        # Compressed data that is damaged from the start: whichever source reads it will count that.
        unknown = by_name("hubble") if item.damage else None
        return unknown if name == AUTO else by_name(name)
    named = None if name == AUTO else by_name(name)
    if named is not None:
        if named.looks_like(item.head, item.again):
            return named
        other = describe(item.head)
        if named.name == aws.NAME and (other.what == AWS.what or (aws_format and aws.fits(item.head, aws_format))):
            return named
        # Text without a known form may be damaged records of the source that the user names.
        if other.certain:
            raise _refusal(item, other, f"not a {named.name} flow log")
        return named
    for source in SOURCES:
        if source.looks_like(item.head, item.again):
            return source
    if aws_format is not None and aws.fits(item.head, aws_format):
        return by_name(aws.NAME)
    raise _refusal(item, describe(item.head), "not a flow log that can be read")


def _refusal(item: Input, looks: Looks, problem: str) -> NotAFlowLogError:
    return NotAFlowLogError(f"{problem}: it looks like {looks.what}{looks.advice}", Place(item.name))
