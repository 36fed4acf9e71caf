"""Running the rules: severities, suppressions, order."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from netpol_gen.config import Cni
from netpol_gen.errors import Place
from netpol_gen.lint.hygiene import ignored_rules
from netpol_gen.lint.material import LEGACY_GROUP, Document, Material
from netpol_gen.lint.model import Finding, Hit, Need, Report, Rule
from netpol_gen.lint.settings import ANNOTATION
from netpol_gen.lint.table import RULES
from netpol_gen.model import Severity


def run(material: Material) -> Report:
    """All findings of all rules that have what they need; suppressed ones are kept and marked."""
    by_place = {(d.place.path, d.place.document, d.place.field): d for d in material.documents}
    ignored = {d.place: frozenset(ignored_rules(d)) for d in material.documents}
    findings: list[Finding] = []
    not_run: list[tuple[str, str]] = []
    for rule in RULES:
        severity = material.settings.severity.get(rule.id, rule.severity)
        if severity is None:
            not_run.append((rule.id, "switched off"))
        elif missing := _missing(rule, material):
            not_run.append((rule.id, f"needs {' and '.join(missing)}"))
        else:
            findings += (
                _finding(rule, severity, hit, material, _document(hit, by_place), ignored)
                for hit in rule.check(material)
            )
    return Report(
        tuple(sorted(findings, key=lambda f: f.key)),
        tuple(not_run),
        sum(d.is_policy for d in material.documents),
        MappingProxyType(_others(material)),
    )


def _missing(rule: Rule, material: Material) -> list[str]:
    has = {
        Need.INVENTORY: material.inventory is not None,
        Need.FLOWS: material.edges is not None,
        Need.CNI: material.config.cni is not Cni.GENERIC,
    }
    return [str(need) for need in rule.needs if not has[need]]


def _document(hit: Hit, documents: Mapping[tuple[str, int, str], Document]) -> Document | None:
    """The document that a hit lies in: its own field begins with the document's."""
    place = hit.place
    field = place.field
    while True:
        found = documents.get((place.path, place.document, field))
        if found is not None or not field:
            return found
        # `items[3].spec.ingress[0]`, `items[3].spec`, `items[3]`, nothing.
        field = field[: max(field.rfind("."), 0)]


def _finding(
    rule: Rule,
    severity: Severity,
    hit: Hit,
    material: Material,
    document: Document | None,
    ignored: Mapping[Place, frozenset[str]],
) -> Finding:
    suppressed, in_source = "", False
    if document is not None and rule.id in ignored[document.place]:
        suppressed, in_source = f"annotation {ANNOTATION}", True
    else:
        for entry in material.settings.ignore:
            if entry.covers(rule.id, hit.place.path, hit.subject):
                suppressed = entry.reason
                break
    return Finding(rule.id, rule.name, severity, hit.place, hit.subject, hit.message, hit.fix, suppressed, in_source)


def _others(material: Material) -> dict[str, int]:
    out: dict[str, int] = {}
    for d in material.documents:
        looked_at = d.is_policy or d.kind == "Namespace" or (d.kind == "NetworkPolicy" and d.group == LEGACY_GROUP)
        if not looked_at:
            name = f"{d.kind}.{d.group}" if d.group else d.kind
            out[name] = out.get(name, 0) + 1
    return {kind: out[kind] for kind in sorted(out)}
