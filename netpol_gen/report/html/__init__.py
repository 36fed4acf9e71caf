"""The HTML page: what was seen, what is allowed, what would change, and the proof, in one self-contained file."""

from netpol_gen.report.html.material import TITLE, Material, Side, gather, in_force_after
from netpol_gen.report.html.page import render

__all__ = ["TITLE", "Material", "Side", "gather", "in_force_after", "render"]
