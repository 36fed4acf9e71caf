"""Learning, Stabilizing or Stable, and why: the rules in the order in which they are asked."""

from __future__ import annotations

from dataclasses import dataclass

from netpol_gen.coverage.bins import MIN_BINS, span
from netpol_gen.coverage.estimate import MIN_EDGES, Estimate
from netpol_gen.coverage.model import State

LEAST_HOURS = 24
"""Below a day nothing is more than Learning."""
STABLE_HOURS = 7 * 24
"""Stable needs a week, so that a weekend is in it."""
SETTLED_BINS = 2
"""More bins than this without a new edge end Learning."""
LOSSY_SHARE = 0.05
"""Hours with lost events, of all hours, above which nothing is estimated or Stable."""
UNSEEN_SHARE = 0.05
"""Estimated unseen edges, of all, above which nothing is Stable."""
SETTLED_RUNS = 3
"""A scheduled job has to be seen so many times."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rules look at. `quiet_bins` counts whole bins since the newest edge appeared, `quiet_hours` hours."""

    hours: int
    bins: int
    edges: int
    quiet_bins: int
    quiet_hours: float
    newest_edge: str
    estimate: Estimate
    lossy_hours: int = 0
    unexercised: tuple[str, ...] = ()
    """CronJobs that belong to the subject and were not seen running."""
    runs: int | None = None
    """For a scheduled job: how often it was seen; its runs stand for bins then."""


def lossy(lossy_hours: int, hours: int) -> str:
    """Why so much was lost that nothing is estimated; empty if it was not."""
    if lossy_hours > LOSSY_SHARE * hours:
        return f"events were lost in {lossy_hours} of {hours} hours"
    return ""


def judge(facts: Facts) -> tuple[State, str]:
    """The state and the sentence that decided it."""
    if why := _learning(facts):
        return State.LEARNING, why
    if why := _open(facts):
        return State.STABILIZING, why
    return State.STABLE, f"no new edge for {_quiet(facts)} of {span(facts.hours)}"


def _learning(f: Facts) -> str:
    if not f.edges:
        return "nothing was observed"
    if f.hours < LEAST_HOURS:
        return f"only {span(f.hours)} of flows, less than a day"
    if f.runs is not None:
        if f.runs < SETTLED_RUNS:
            return f"its job was seen {count(f.runs, 'time')}, fewer than {SETTLED_RUNS}"
    elif f.bins < MIN_BINS:
        return f"only {count(f.bins, 'time bin')}, at least {MIN_BINS} are needed"
    if f.quiet_bins < SETTLED_BINS or (f.runs is None and f.quiet_bins == SETTLED_BINS):
        return f"a new edge {_quiet(f)} before the end: {f.newest_edge}"
    return ""


def _open(f: Facts) -> str:
    if why := lossy(f.lossy_hours, f.hours):
        return why
    if f.unexercised:
        more = f" and {len(f.unexercised) - 1} more" if len(f.unexercised) > 1 else ""
        return f"scheduled job {f.unexercised[0]}{more} did not run within the window"
    if f.hours < STABLE_HOURS:
        return f"{span(f.hours)} of flows, less than a week"
    # Rounded up: a third of 14 days is 5.
    if f.runs is None and f.quiet_bins < -(-f.bins // 3):
        return f"the last new edge came {_quiet(f)} before the end, less than a third of the window"
    e = f.estimate
    if e.unseen is None:
        # Too few edges for an estimate are judged by their rest alone.
        return "" if e.seen < MIN_EDGES or f.runs is not None else f"not estimable: {e.why_not}"
    if e.unseen > UNSEEN_SHARE * (e.seen + e.unseen) and e.unseen >= 1:
        return f"about {e.unseen:.0f} edges may be unseen ({e.low:.0f} to {e.high:.0f}, {e.seen} were seen)"
    if e.moved:
        return "the estimate changes with the length of the time bins"
    return ""


def _quiet(f: Facts) -> str:
    return span(f.quiet_hours) if f.runs is None else count(f.quiet_bins, "run")


def count(number: int, what: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{number} {what}{'' if number == 1 else 's'}"
