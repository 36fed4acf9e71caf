"""The judge: what policies mean for a connection or an edge. It never imports what writes policies."""

from netpol_gen.evaluate.judge import Endpoint, Judge
from netpol_gen.evaluate.verdict import RuleRef, SideVerdict, Verdict

__all__ = ["Endpoint", "Judge", "RuleRef", "SideVerdict", "Verdict"]
