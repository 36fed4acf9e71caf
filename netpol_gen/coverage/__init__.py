"""Is this enough observation? Unseen-edge estimates, losses, and what the inventory has and nobody called."""

from netpol_gen.coverage.bins import Window
from netpol_gen.coverage.cron import Schedule, parse_cron
from netpol_gen.coverage.estimate import Estimate, chao2, estimate, good_turing
from netpol_gen.coverage.measure import measure
from netpol_gen.coverage.model import COLUMNS, Coverage, Exercise, Job, Line, Scope, State, parse_level

__all__ = [
    "COLUMNS",
    "Coverage",
    "Estimate",
    "Exercise",
    "Job",
    "Line",
    "Schedule",
    "Scope",
    "State",
    "Window",
    "chao2",
    "estimate",
    "good_turing",
    "measure",
    "parse_cron",
    "parse_level",
]
