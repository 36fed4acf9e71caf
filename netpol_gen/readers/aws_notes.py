"""What the records of AWS VPC flow logs cannot tell, by the fields they have: sentences for the user.

A file may change its order of fields at any header, so that what counts is the records, not how the file begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from netpol_gen.readers.aws_fields import Layout
from netpol_gen.readers.vpc import PLACE_BITS

if TYPE_CHECKING:
    import pyarrow as pa

_PODS = frozenset({"pkt-srcaddr", "pkt-dstaddr"})
_FLAGS = frozenset({"tcp-flags"})
NO_PODS = (
    "aws-vpc: {whose} without pkt-srcaddr and pkt-dstaddr (as in the default format): on EKS pods cannot be seen in "
    "these records, only interfaces of nodes; create the flow log with a custom format that has both fields"
)
NO_FLAGS = "aws-vpc: {whose} without tcp-flags: who opened a connection can only be told from ports"


@dataclass(slots=True)
class Fields:
    """Which fields records had, by the number of their file; filled while they are read."""

    seen: dict[int, set[frozenset[str]]] = field(default_factory=dict)

    def met(self, number: int, layout: Layout) -> None:
        """Take note of records of this layout."""
        has = layout.has
        # Those of a transit gateway have the packets' own addresses, and no field for them.
        self.seen.setdefault(number, set()).add(has | _PODS if layout.forwards else has)

    def objects(self, batches: Iterator[pa.RecordBatch], layout: Layout) -> Iterator[pa.RecordBatch]:
        """The same batches (`vpc_lines.schema`, each of one file) of objects whose keys are told one by one.

        Some exporters leave out what is null. An object that has `srcaddr` alone is of a format without `pkt-srcaddr`,
        because that is never null beside it; flags may be, so that these are missing only where no object has them.
        """
        import pyarrow.compute as pc  # noqa: PLC0415 - half a second that other sources need not pay

        key_of = dict(zip(layout.fields, layout.keys, strict=True))
        pods: dict[int, set[bool]] = {}
        flags: set[int] = set()
        for batch in batches:
            if batch.num_rows:
                number = batch.column("place")[0].as_py() >> PLACE_BITS
                has = {
                    name: pc.match_substring(batch.column("line"), f'"{key_of.get(name, name)}"')
                    for name in ("srcaddr", "pkt-srcaddr", "tcp-flags")
                }
                plain = pc.and_not(has["srcaddr"], has["pkt-srcaddr"])
                found = ((False, pc.any(plain)), (True, pc.any(has["pkt-srcaddr"])))
                pods.setdefault(number, set()).update(kind for kind, there in found if there.as_py())
                if pc.any(has["tcp-flags"]).as_py():
                    flags.add(number)
            yield batch
        for number, kinds in pods.items():
            told = _FLAGS if number in flags else frozenset()
            self.seen[number] = {told | (_PODS if kind else frozenset()) for kind in kinds}

    def notes(self) -> list[str]:
        """The sentences, sorted. What they say holds for the records they name and for no others."""
        out = []
        for text, wanted in ((NO_PODS, _PODS), (NO_FLAGS, _FLAGS)):
            without = [{wanted <= has for has in kinds} for kinds in self.seen.values()]
            whole, part = without.count({False}), without.count({False, True})
            if whole or part:
                out.append(text.format(whose=_whose(whole, part, len(self.seen))))
        return sorted(out)


def _whose(whole: int, part: int, files: int) -> str:
    if files == 1:
        return "some records" if part else "records"
    if not part:
        return f"{whole} of {files} files"
    return (
        f"{whole} of {files} files and some records of {part} more"
        if whole
        else f"some records of {part} of {files} files"
    )
