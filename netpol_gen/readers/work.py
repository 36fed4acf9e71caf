"""Sharing the input out, over processes where it is large enough, and reading each share.

A worker is this Python started afresh on `worker()`, with its job and its answer pickled over pipes: it needs no
`if __name__ == "__main__"` in the caller's script, as multiprocessing's spawn would, and it inherits no threads, as
fork would.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from netpol_gen.errors import InputError, InvariantError
from netpol_gen.memory import no_collection
from netpol_gen.readers import sniff
from netpol_gen.readers.files import BLOCK, Input, Part, Stream
from netpol_gen.readers.rows import Partial, Rows, Window

LARGE = 64 * 1024 * 1024
"""Bytes from which on several processes are worth their start."""
EXPANSION = 10
"""About how many bytes a compressed byte of flow log stands for."""
CHEAP = 16
"""How many times as many bytes of a cheap source a second process wants: it has to learn everything by itself, and then
what both have read is put together. On two cores 2 GiB of Hubble records take about as long either way."""

CHEAP_BLOCK = 128 * 1024
"""Bytes at a time of such a source: what is done for each block by itself counts there. It fits into a core's cache."""

_START = "import sys; sys.path[:] = {path!r}; from netpol_gen.readers.work import worker; worker()"


@dataclass(frozen=True, slots=True)
class Job:
    """One part of one input for one reader. `share` is its number in file order (`rows.Rows.begin`)."""

    share: int
    source: str
    item: Input
    part: Part

    @property
    def cost(self) -> int:
        """Bytes to parse, roughly."""
        size = _bytes(self.item)
        end = size if self.part.end is None else self.part.end
        return (end - self.part.start) // self.part.step


def _bytes(item: Input) -> int:
    """Decompressed, roughly."""
    return item.size * (EXPANSION if item.compression else 1)


def plan(found: Sequence[tuple[Input, sniff.Source]], processes: int | None) -> tuple[list[Job], int]:
    """The jobs, numbered in file order, and how many processes to use."""
    total = sum(_bytes(item) for item, _ in found)
    effort = sum(_bytes(item) // (CHEAP if source.cheap() else 1) for item, source in found)
    wanted = processes if processes is not None else (os.cpu_count() or 1) if effort > LARGE else 1
    jobs: list[Job] = []
    share = -1
    for item, source in found:
        # Many files share out by themselves; only what is large in itself is cut up.
        large = _bytes(item) * wanted > total
        # Each share of a compressed file decompresses all of it.
        divisible = source.splittable(item.head) and not (item.compression and source.cheap())
        parts = item.parts(wanted if large else 1, lines=divisible)
        for part in parts:
            share += 1 if part.phase == 0 else 0
            jobs.append(Job(share, source.name, item, part))
    return jobs, max(1, min(wanted, len(jobs)))


def run(jobs: Sequence[Job], processes: int, window: Window) -> list[Partial]:
    """Read all jobs. The result does not depend on `processes`, except for how it is divided into partials."""
    batches = _batches(jobs, processes)
    if len(batches) < 2 or not sys.executable:
        return [read(jobs, window)]
    # Pipes can be read in this process only.
    here = [job for job in jobs if job.item.source is not None]
    with ThreadPoolExecutor(len(batches)) as pool:
        answers = [pool.submit(_ask, batch, window) for batch in batches]
        partials = [read(here, window)] if here else []
        return partials + [answer.result() for answer in answers]


def read(jobs: Sequence[Job], window: Window) -> Partial:
    """Read jobs one after another in this process."""
    rows = Rows(window)
    with no_collection():
        for job in jobs:
            rows.begin(job.share, job.source)
            source = sniff.by_name(job.source)
            cheap = source.cheap()
            source.read(Stream(job.item, job.part, block=CHEAP_BLOCK if cheap else BLOCK, ragged=cheap), rows)
        return rows.finish()


def _batches(jobs: Sequence[Job], processes: int) -> list[list[Job]]:
    """Jobs by process: the largest first, each to the process with the least to do so far."""
    batches: list[list[Job]] = [[] for _ in range(processes)]
    costs = [0] * processes
    files = [job for job in jobs if job.item.source is None]
    for job in sorted(files, key=lambda job: (-job.cost, job.share, job.part)):
        least = costs.index(min(costs))
        batches[least].append(job)
        costs[least] += job.cost
    for batch in batches:
        batch.sort(key=lambda job: (job.share, job.part))
    return [batch for batch in batches if batch]


def _ask(batch: list[Job], window: Window) -> Partial:
    path = [os.path.abspath(entry) for entry in sys.path]  # noqa: PTH100 - an entry may be empty: the working directory
    ran = subprocess.run(  # noqa: S603 - this Python, our own code
        [sys.executable, "-c", _START.format(path=path)],
        input=pickle.dumps((batch, window)),
        capture_output=True,
        check=False,
    )
    if ran.returncode or not ran.stdout:
        last = ran.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        if ran.returncode < 0:
            raise InputError(f"a reading process was stopped by signal {-ran.returncode} (out of memory?)")
        raise InvariantError(f"a reading process failed: {last}")
    answer = pickle.loads(ran.stdout)  # noqa: S301 - written by our own process
    if isinstance(answer, InputError):
        raise answer
    if not isinstance(answer, Partial):
        raise InvariantError(f"a reading process answered with {type(answer).__name__}")
    return answer


def worker() -> None:
    """Read a job from standard input, write the answer to standard output."""
    # What a library prints must not get between the caller and the answer.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    batch, window = pickle.load(sys.stdin.buffer)  # noqa: S301 - written by our own process
    answer: Partial | InputError
    try:
        answer = read(batch, window)
    except InputError as error:
        answer = InputError(error.problem, error.place)
    with out:
        pickle.dump(answer, out, protocol=pickle.HIGHEST_PROTOCOL)
