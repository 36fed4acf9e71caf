"""GitHub's published OpenAPI description as a judge of single requests and answers, in this process.

The description is read once (0.2 s) and never copied: the validator follows its references where it needs them. What it
does not list is a violation, and so is a property that it does not know: neither our client nor our own server can
drift from it unnoticed.
"""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonschema import Draft4Validator, FormatChecker, validators
from jsonschema.exceptions import ValidationError
from referencing import Registry
from referencing.jsonschema import DRAFT4

from tests.conftest import absent

VERSION = "23.0.2"
BASE = "urn:api.github.com"

# These are described for the whole API, in prose, and so missing from the single operations.
EVERYWHERE = frozenset({"401", "403", "404", "409", "429", "500", "502", "503"})
BASIC_ERROR = "#/components/schemas/basic-error"
JSON = "/content/application~1json/schema"

# Where the real server is known to differ from the description. Each needs a reason.
NULLABLE_TOO = frozenset(
    {
        # The head of a request whose fork was deleted has no repository (and so no owner).
        "#/components/schemas/pull-request/properties/head/properties/repo",
        "#/components/schemas/pull-request/properties/head/properties/user",
        "#/components/schemas/pull-request-simple/properties/head/properties/repo",
    }
)
# A branch's name and a Git ref may hold slashes, and GitHub takes them unescaped.
WITH_SLASHES = frozenset({"{branch}", "{ref}"})


def find(environment: Mapping[str, str]) -> Path:
    base = environment.get("XDG_CACHE_HOME") or str(Path(environment.get("HOME", "/root")) / ".cache")
    return Path(base) / "netpol-gen" / "openapi" / f"api.github.com-{VERSION}.json"


@functools.cache
def github() -> Contract:
    """The description; without it a developer skips, and CI fails."""
    path = find(os.environ)
    if not path.is_file():
        absent(f"no {path}; `make contract` fetches it", os.environ)
    return Contract(json.loads(path.read_text(encoding="utf-8")))


def nullable(keyword: str) -> Any:
    """A keyword of JSON Schema that lets null pass where the schema says `nullable`, as OpenAPI 3.0 has it."""
    original = Draft4Validator.VALIDATORS[keyword]

    def check(validator: Any, value: Any, instance: Any, schema: Mapping[str, Any]) -> Iterator[ValidationError]:
        if instance is None and schema.get("nullable"):
            return iter(())
        return original(validator, value, instance, schema) or iter(())

    return check


class UnknownPropertyError(ValidationError):
    """A property that the description does not have."""


def all_of(validator: Any, value: Any, instance: Any, schema: Mapping[str, Any]) -> Iterator[ValidationError]:
    """Each part of a composed schema knows some of the properties only."""
    for error in nullable("allOf")(validator, value, instance, schema):
        if error.relative_path or not isinstance(error, UnknownPropertyError):
            yield error


def properties(validator: Any, value: Any, instance: Any, schema: Mapping[str, Any]) -> Iterator[ValidationError]:
    """Known properties are checked, and there are no others, unless the schema says that there may be."""
    yield from Draft4Validator.VALIDATORS["properties"](validator, value, instance, schema) or ()
    composed = {"allOf", "anyOf", "oneOf", "additionalProperties"} & schema.keys()
    if isinstance(instance, dict) and not composed:
        for name in instance.keys() - value.keys():
            yield UnknownPropertyError(f"{name!r} is not in the description")


Judge = validators.extend(
    Draft4Validator,
    {
        **{word: nullable(word) for word in ("type", "enum", "anyOf", "oneOf")},
        "allOf": all_of,
        "properties": properties,
    },
)

formats = FormatChecker(formats=())


@formats.checks("date-time")
def is_date_time(value: object) -> bool:
    return not isinstance(value, str) or bool(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)", value))


@formats.checks("uri")
def is_uri(value: object) -> bool:
    return not isinstance(value, str) or bool(re.fullmatch(r"[a-z][a-z0-9+.-]*:[!-~]+", value))


@dataclass(frozen=True, slots=True)
class Operation:
    """What the description says of one method of one path; `pointer` is where."""

    contract: Contract
    pointer: str

    def request(self, query: Mapping[str, Sequence[str]], body: Any, *, has_body: bool) -> list[str]:
        """What is wrong with a request."""
        wrong = []
        listed = self.contract.at(self.pointer).get("parameters", ())
        known = {p["name"]: p for p in map(self.contract.follow, listed) if p["in"] == "query"}
        for name, values in query.items():
            if name not in known:
                wrong.append(f"query parameter {name!r} is not in the description")
                continue
            schema = self.contract.follow(known[name]["schema"])
            for value in values:
                typed = int(value) if schema.get("type") == "integer" and value.isdecimal() else value
                wrong += self.contract.violations(schema, typed, f"query parameter {name}")
        pointer = self.contract.locate(f"{self.pointer}/requestBody")
        if pointer is None:
            return [*wrong, *(["a body is not in the description"] if has_body else [])]
        if not has_body:
            return [*wrong, *(["the body is missing"] if self.contract.at(pointer).get("required") else [])]
        return wrong + self.contract.violations(reference(f"{pointer}{JSON}"), body, "request body")

    def response(self, status: int, body: Any, *, has_body: bool) -> list[str]:
        """What is wrong with an answer."""
        pointer = self.contract.locate(f"{self.pointer}/responses/{status}")
        if pointer is None:
            if str(status) not in EVERYWHERE:
                return [f"status {status} is not in the description"]
            return self.contract.violations(reference(BASIC_ERROR), body, f"answer {status}") if has_body else []
        if self.contract.locate(f"{pointer}{JSON}") is None:
            return ["a body is not in the description"] if has_body else []
        if not has_body:
            return [f"answer {status} has no body"]
        return self.contract.violations(reference(f"{pointer}{JSON}"), body, f"answer {status}")


def reference(pointer: str) -> Mapping[str, str]:
    return {"$ref": BASE + pointer}


class Contract:
    """The description."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self.registry = Registry().with_resource(BASE, DRAFT4.create_resource(document))
        for pointer in NULLABLE_TOO:
            place = self.at(pointer)
            schema = dict(place)
            place.clear()
            place.update({"nullable": True, "allOf": [schema]})
        self._templates = [(path.split("/"), path) for path in document["paths"]]

    def at(self, pointer: str) -> Any:
        """What a pointer points to; KeyError if that is nothing."""
        value: Any = self.document
        for part in pointer.removeprefix("#/").split("/"):
            value = value[part.replace("~1", "/").replace("~0", "~")]
        return value

    def locate(self, pointer: str) -> str | None:
        """The pointer, with a reference at its end followed; None if it points to nothing."""
        try:
            value = self.at(pointer)
        except KeyError:
            return None
        return self.locate(value["$ref"]) if isinstance(value, dict) and "$ref" in value else pointer

    def follow(self, value: Any) -> Any:
        while isinstance(value, dict) and "$ref" in value:
            value = self.at(value["$ref"])
        return value

    def violations(self, schema: Mapping[str, Any], instance: Any, where: str) -> list[str]:
        judge = Judge(schema, registry=self.registry, format_checker=formats)
        return [f"{where}: {describe(error)}" for error in judge.iter_errors(instance)]

    def operation(self, method: str, path: str) -> Operation | None:
        """The operation of a path as it was sent, without the server's own prefix."""
        parts = path.split("/")
        fitting = [(fit, template) for segments, template in self._templates if (fit := fits(segments, parts)) >= 0]
        for _, template in sorted(fitting, reverse=True):
            if method.lower() in self.document["paths"][template]:
                escaped = template.replace("~", "~0").replace("/", "~1")
                return Operation(self, f"#/paths/{escaped}/{method.lower()}")
        return None


def fits(segments: Sequence[str], parts: Sequence[str]) -> int:
    """How many literal segments a path shares with a template that it fits; -1 if it does not fit."""
    if not segments or not parts:
        return 0 if not segments and not parts else -1
    head, rest = segments[0], segments[1:]
    if not head.startswith("{"):
        below = fits(rest, parts[1:]) if head == parts[0] else -1
        return below + 1 if below >= 0 else -1
    if not parts[0]:
        return -1
    longest = len(parts) - len(rest) if head in WITH_SLASHES else 1
    return max((fits(rest, parts[taken:]) for taken in range(1, longest + 1)), default=-1)


def describe(error: ValidationError) -> str:
    """The error, or the one inside it that says most, with the place."""
    deepest = max(error.context, key=lambda e: len(e.absolute_path), default=error) if error.context else error
    place = "/".join(map(str, deepest.absolute_path))
    return f"{place or '(top)'}: {deepest.message[:300]}"
