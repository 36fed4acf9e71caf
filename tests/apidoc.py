"""docs/api.md from the docstrings and signatures of the public API; tests/test_docs.py compares the two."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

import netpol_gen

HEAD = """# Library

`import netpol_gen as ng` offers the names below and nothing else: the library twin of every command, pandas in,
pandas out. Made from the docstrings by `make goldens`; a test compares it. Nothing heavy is imported before it is used,
there is no global state, and nothing reads the environment. Errors are `netpol_gen.errors.NetpolGenError`, with the
file, line and field that they are about.

| name | answers |
|---|---|
"""

# In the order in which they are used; a test checks that it is all of `__all__`.
ORDER = (
    "read_flows",
    "read_inventory",
    "read_policies",
    "edges",
    "find_edges",
    "generate",
    "to_yaml",
    "summary",
    "verify",
    "evaluate",
    "diff",
    "lint",
    "ports",
    "coverage",
    "measure_coverage",
    "report",
    "plots",
    "propose",
    "Environment",
    "review",
    "Reviewed",
    "read_files",
    "read_tree",
    "Config",
    "Inventory",
)


def api_markdown() -> str:
    """The whole document."""
    parts = [HEAD]
    parts += [f"| [`{name}`](#{name.lower()}) | {_first_line(getattr(netpol_gen, name))} |\n" for name in ORDER]
    parts += [f"\n## {name}\n\n{_entry(name, getattr(netpol_gen, name))}" for name in ORDER]
    return "".join(parts)


def _first_line(value: Any) -> str:
    return (inspect.getdoc(value) or "").partition("\n")[0].replace("|", "\\|")


def _entry(name: str, value: Any) -> str:
    if inspect.ismodule(value):
        functions = [
            (n, f)
            for n, f in sorted(vars(value).items())
            if inspect.isfunction(f) and f.__module__ == value.__name__ and not n.startswith("_")
        ]
        return _prose(value) + "".join(f"\n### {name}.{n}\n\n{_function(f'{name}.{n}', f)}" for n, f in functions)
    if inspect.isclass(value):
        return _prose(value) + "".join(_members(value))
    return _function(name, value)


def _function(name: str, function: Any) -> str:
    return f"```python\n{_signature(name, function)}\n```\n\n{_prose(function)}"


def _signature(name: str, function: Any) -> str:
    """One line if it fits, else a line per parameter."""
    found = inspect.signature(function)
    parameters, star = [], False
    for parameter in found.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            parameters.append("*")
            star = True
        parameters.append(_parameter(parameter))
    closing = ")" if found.return_annotation is found.empty else f") -> {found.return_annotation}"
    flat = f"{name}({', '.join(parameters)}{closing}"
    return flat if len(flat) <= 100 else "\n".join([f"{name}(", *(f"    {p}," for p in parameters), closing])


def _parameter(parameter: inspect.Parameter) -> str:
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    kind = "" if parameter.annotation is parameter.empty else f": {parameter.annotation}"
    return f"{stars}{parameter.name}{kind}" + (
        "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
    )


def _members(cls: Any) -> Iterator[str]:
    """Fields with their defaults, then public methods and properties by name."""
    fields = getattr(cls, "__dataclass_fields__", {})
    shown = [f for f in fields.values() if f.init and not f.name.startswith("_")]
    if shown:
        yield "\n| field | type |\n|---|---|\n"
        for each in shown:
            kind = str(each.type).replace("|", "\\|")
            yield f"| `{each.name}` | `{kind}` |\n"
    for name, member in sorted(vars(cls).items()):
        if name.startswith("_") or name in fields:
            continue
        if isinstance(member, property):
            yield f"\n- `{name}`: {_first_line(member.fget)}\n"
        elif inspect.isfunction(member):
            yield f"\n- `{_signature(name, member)}`: {_first_line(member)}\n"


_SECTION = re.compile(r"^(Args|Returns|Raises|Yields):$")


def _prose(value: Any) -> str:
    """A docstring with its sections as Markdown: arguments and errors as lists."""
    out: list[str] = []
    section = ""
    for line in (inspect.getdoc(value) or "").splitlines():
        if match := _SECTION.match(line.strip()):
            section = match[1]
            out.append(f"**{section}**\n")
        elif not line.strip():
            out.append("")
        elif section and re.match(r" {4}[*\w, ]+: ", line) and section != "Returns":
            name, _, rest = line.strip().partition(": ")
            out.append(f"- `{name}`: {rest}")
        elif section and line.startswith(" "):
            out.append(f"  {line.strip()}" if section != "Returns" else line.strip())
        else:
            section = ""
            out.append(line)
    return "\n".join(out).strip() + "\n"
