"""Writing: accepted edges in, least-privilege policies out. Never asks the evaluator: the judge is not the author."""

from netpol_gen.synthesize.values import Gap, RuleNote, Synthesis, Unwritten
from netpol_gen.synthesize.write import synthesize

__all__ = ["Gap", "RuleNote", "Synthesis", "Unwritten", "synthesize"]
