"""A policy as text, through a template that can frame it and cannot change it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import yaml
from jinja2.sandbox import ImmutableSandboxedEnvironment

from netpol_gen.emit import yamltext
from netpol_gen.errors import InvariantError, OptionError, printable
from netpol_gen.model import Direction, External, ExternalKind
from netpol_gen.policy import NetworkPolicy, dump_policy
from netpol_gen.synthesize import RuleNote

POLICY_TEMPLATE = "networkpolicy.yaml.j2"
KUSTOMIZATION_TEMPLATE = "kustomization.yaml.j2"
_PACKAGE = Path(__file__).resolve().parent.parent


def template_dir() -> Path:
    """Where the templates that come with netpol-gen are: in the installed package, else at the top of the checkout.

    Raises:
        OptionError: neither is there.

    """
    for found in (_PACKAGE / "_templates", _PACKAGE.parent / "templates"):
        if (found / POLICY_TEMPLATE).is_file():
            return found
    raise OptionError(f"the installation is not complete: {POLICY_TEMPLATE} is missing")


def render_policy(policy: NetworkPolicy, notes: Iterable[RuleNote] = (), templates: Path | None = None) -> str:
    """The manifest of one policy as YAML, ending with a newline. `notes` of other policies are passed over.

    `templates` is a directory whose templates go before those that come with netpol-gen.

    Raises:
        OptionError: a template in `templates` that cannot be used, or whose text does not mean the policy.

    """
    manifest = dump_policy(policy)
    mine = {(n.direction, n.rule): n for n in notes if n.policy == policy.ref}
    sections = [_section(policy, direction, manifest["spec"], mine) for direction in Direction]
    text = _render(POLICY_TEMPLATE, templates, policy=manifest, sections=[s for s in sections if s["rules"]])
    _check(text, manifest, POLICY_TEMPLATE, templates)
    return text


def render_kustomization(resources: Sequence[str], templates: Path | None = None) -> str:
    """A kustomization that lists files beside it.

    Raises:
        OptionError: as for `render_policy`.

    """
    manifest = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": list(resources),
    }
    text = _render(KUSTOMIZATION_TEMPLATE, templates, resources=list(resources))
    _check(text, manifest, KUSTOMIZATION_TEMPLATE, templates)
    return text


def _section(
    policy: NetworkPolicy,
    direction: Direction,
    spec: Mapping[str, Any],
    notes: Mapping[tuple[Direction, int], RuleNote],
) -> dict[str, Any]:
    values = spec.get(direction.rules_key, [])
    rules = policy.ingress if direction is Direction.INGRESS else policy.egress
    return {
        "key": direction.rules_key,
        "rules": [
            {"value": value, "remarks": _remarks(notes.get((direction, i)), direction)}
            for i, (value, _) in enumerate(zip(values, rules, strict=True))
        ],
    }


_SHOWN = {
    ExternalKind.API_SERVER: "the API server",
    ExternalKind.NODE: "nodes",
    ExternalKind.WORLD: "addresses outside the cluster",
}


def _remarks(note: RuleNote | None, direction: Direction) -> list[str]:
    """What a reader of the manifest cannot see in the rule itself."""
    if note is None:
        return []
    others = [e.src if direction is Direction.INGRESS else e.dst for e in (*note.edges, *note.inferred_edges)]
    kinds = sorted({_SHOWN[o.kind] for o in others if isinstance(o, External) and o.kind in _SHOWN})
    out = [f"ipBlock: {', '.join(kinds)}"] if kinds else []
    if note.inferred:
        out.append(f"inferred: {note.inferred}")
    if note.widened:
        out.append(f"widened: {note.widened}")
    return out


# --- templates -------------------------------------------------------------------------------------------------------


def _render(name: str, templates: Path | None, **values: Any) -> str:
    if templates is not None and not templates.is_dir():
        raise OptionError(f"--templates {printable(templates)}: no such directory")
    try:
        return _environment(templates).get_template(name).render(**values)
    except jinja2.TemplateError as error:
        if templates is None:
            raise InvariantError(f"{name}: {error}") from error
        where = f"{error.filename or name}:{error.lineno}" if isinstance(error, jinja2.TemplateSyntaxError) else name
        raise OptionError(f"--templates {templates}: {where}: {printable(error)}") from error
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # A template is a program: what it does wrong is its author's to know.
        if templates is None:
            raise
        raise OptionError(f"--templates {templates}: {name}: {printable(error)}") from error


@cache
def _environment(templates: Path | None) -> ImmutableSandboxedEnvironment:
    directories = [*([templates] if templates is not None else []), template_dir()]
    environment = ImmutableSandboxedEnvironment(
        loader=jinja2.FileSystemLoader(directories, encoding="utf-8"),
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        cache_size=8,
    )
    environment.filters.update({"yaml": yamltext.dump, "yaml_under": _under, "comment": _comment})
    return environment


def _under(value: Any, indent: int) -> str:
    """A value after `key:`: on the next lines, or `{}` on the same one if it is empty."""
    if value in ({}, []):
        return f" {yamltext.dump(value)}"
    pad = " " * indent
    return "".join(f"\n{pad}{line}" for line in yamltext.dump(value).split("\n"))


def _comment(text: object) -> str:
    """Free text that stays behind its `#`: one line, nothing that a terminal obeys."""
    return printable(text, 400)


def _check(text: str, manifest: Mapping[str, Any], name: str, templates: Path | None) -> None:
    """The text has to mean exactly the manifest."""
    problem = ""
    try:
        documents = yamltext.load(text)
    except yaml.YAMLError as error:
        problem = f"is not YAML: {printable(error, 300)}"
    else:
        if len(documents) != 1:
            problem = f"is {len(documents)} documents, not one"
        elif not yamltext.same(documents[0], manifest):
            problem = f"does not mean {manifest['kind']} {manifest.get('metadata', {}).get('name', '')}".rstrip()
    if problem and templates is None:
        raise InvariantError(f"what {name} makes {problem}")
    if problem:
        raise OptionError(f"--templates {templates}: what {name} makes {problem}")
