"""The HTML page: what was seen, what is allowed, what would change, and the proof, in one self-contained file."""

from netpol_gen.report.html.material import Material, Side, gather
from netpol_gen.report.html.page import render

__all__ = ["Material", "Side", "gather", "render"]
