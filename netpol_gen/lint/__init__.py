"""Findings about policies, with stable ids, places and fixes. The rules are one table; see docs/lint.md."""

from netpol_gen.lint.material import Document, Material, policy_documents, read_documents
from netpol_gen.lint.model import COLUMNS, Finding, Hit, Need, Report, Rule
from netpol_gen.lint.run import run
from netpol_gen.lint.settings import ANNOTATION, FILE_NAME, LintSettings, merge, parse_settings, parse_severity
from netpol_gen.lint.table import RULE_IDS, RULES

__all__ = [
    "ANNOTATION",
    "COLUMNS",
    "FILE_NAME",
    "RULES",
    "RULE_IDS",
    "Document",
    "Finding",
    "Hit",
    "LintSettings",
    "Material",
    "Need",
    "Report",
    "Rule",
    "merge",
    "parse_settings",
    "parse_severity",
    "policy_documents",
    "read_documents",
    "run",
]
