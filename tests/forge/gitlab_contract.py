"""What GitLab's documentation says of the requests that we send and of their answers, as JSON Schemas of our own.

GitLab publishes no complete machine-readable description. These are facts of its REST documentation (projects,
branches, merge requests, notes, commits, users), for the calls that this project makes: a closed set, like GitHub's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator

from tests.forge.contract import formats

Schema = Mapping[str, Any]

TEXT: Schema = {"type": "string"}
TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
WHOLE: Schema = {"type": "integer"}
WHOLE_OR_NULL: Schema = {"type": ["integer", "null"]}
FLAG: Schema = {"type": "boolean"}
LINK: Schema = {"type": "string", "format": "uri"}
SHA: Schema = {"type": "string", "pattern": "^[0-9a-f]{40}$"}
SHA_OR_NULL: Schema = {"anyOf": [SHA, {"type": "null"}]}
MOMENT: Schema = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"}
MOMENT_OR_NULL: Schema = {"anyOf": [MOMENT, {"type": "null"}]}


def entity(**properties: Schema) -> Schema:
    """An object with all of these and nothing else."""
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def sent(needed: Mapping[str, Schema], **others: Schema) -> Schema:
    """A request's body: some are needed, the others may be there."""
    properties = {**needed, **others}
    return {"type": "object", "properties": properties, "required": list(needed), "additionalProperties": False}


def one_of(*values: str) -> Schema:
    return {"enum": list(values)}


def many(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


ERROR: Schema = {
    "type": "object",
    "properties": {
        "message": {"type": ["string", "array", "object"]},
        "error": TEXT,
        "error_description": TEXT,
        "scope": TEXT,
    },
    "anyOf": [{"required": ["message"]}, {"required": ["error"]}],
    "additionalProperties": False,
}
USER = entity(id=WHOLE, username=TEXT, name=TEXT, state=TEXT, locked=FLAG, avatar_url=TEXT_OR_NULL, web_url=LINK)
USER_OR_NULL: Schema = {"anyOf": [USER, {"type": "null"}]}
PROJECT = entity(
    id=WHOLE, description=TEXT_OR_NULL, name=TEXT, name_with_namespace=TEXT, path=TEXT, path_with_namespace=TEXT,
    created_at=MOMENT, default_branch=TEXT_OR_NULL, ssh_url_to_repo=TEXT, http_url_to_repo=LINK, web_url=LINK,
    visibility=one_of("private", "internal", "public"), archived=FLAG, last_activity_at=MOMENT,
)  # fmt: skip
COMMIT = entity(
    id=SHA, short_id=TEXT, created_at=TEXT, parent_ids=many(SHA), title=TEXT, message=TEXT, author_name=TEXT,
    author_email=TEXT, authored_date=TEXT, committer_name=TEXT, committer_email=TEXT, committed_date=TEXT, web_url=LINK,
)  # fmt: skip
BRANCH = entity(
    name=TEXT, merged=FLAG, protected=FLAG, default=FLAG, developers_can_push=FLAG, developers_can_merge=FLAG,
    can_push=FLAG, web_url=LINK, commit=COMMIT,
)  # fmt: skip
STATE = one_of("opened", "closed", "locked", "merged")
MERGE_REQUEST = entity(
    id=WHOLE, iid=WHOLE, project_id=WHOLE, title=TEXT, description=TEXT_OR_NULL, state=STATE, created_at=MOMENT,
    updated_at=MOMENT, merged_at=MOMENT_OR_NULL, closed_at=MOMENT_OR_NULL, target_branch=TEXT, source_branch=TEXT,
    author=USER, source_project_id=WHOLE_OR_NULL, target_project_id=WHOLE, labels=many(TEXT), draft=FLAG,
    sha=SHA_OR_NULL, merge_commit_sha=SHA_OR_NULL, detailed_merge_status=TEXT, user_notes_count=WHOLE, web_url=LINK,
)  # fmt: skip
NOTE = entity(
    id=WHOLE, body=TEXT, author=USER_OR_NULL, created_at=MOMENT, updated_at=MOMENT, system=FLAG, noteable_id=WHOLE,
    noteable_type=one_of("MergeRequest"), noteable_iid=WHOLE, project_id=WHOLE, resolvable=FLAG, confidential=FLAG,
    internal=FLAG,
)  # fmt: skip
STATUS = entity(
    id=WHOLE, sha=SHA, ref=TEXT_OR_NULL, name=TEXT, description=TEXT_OR_NULL, target_url=TEXT_OR_NULL, author=USER,
    status=one_of("pending", "running", "success", "failed", "canceled", "skipped"), allow_failure=FLAG,
    created_at=MOMENT, started_at=MOMENT_OR_NULL, finished_at=MOMENT_OR_NULL, pipeline_id=WHOLE,
)  # fmt: skip

PAGES = {"page": WHOLE, "per_page": {"type": "integer", "minimum": 1, "maximum": 100}}
ORDER = {"order_by": one_of("created_at", "updated_at"), "sort": one_of("asc", "desc")}
LIMITED_TITLE = {"type": "string", "minLength": 1}


@dataclass(frozen=True)
class Operation:
    """One documented call: query, body, and answers by status. None is no body."""

    method: str
    path: str
    answers: Mapping[int, Schema | None]
    query: Mapping[str, Schema]
    body: Schema | None = None


def call(
    method: str,
    path: str,
    status: int,
    answer: Schema | None,
    *,
    query: Mapping[str, Schema] | None = None,
    body: Schema | None = None,
) -> Operation:
    return Operation(method, path, {status: answer}, query or {}, body)


PROJECT_PATH = r"/projects/[^/]+"
ONE = rf"{PROJECT_PATH}/merge_requests/\d+"
OPERATIONS = (
    call("GET", r"/user", 200, {"type": "object", "required": ["id", "username", "state", "web_url"]}),
    call("GET", PROJECT_PATH, 200, PROJECT),
    call("GET", rf"{PROJECT_PATH}/repository/branches/[^/]+", 200, BRANCH),
    call(
        "GET",
        rf"{PROJECT_PATH}/merge_requests",
        200,
        many(MERGE_REQUEST),
        query={
            **PAGES,
            **ORDER,
            "state": one_of("opened", "closed", "locked", "merged", "all"),
            "source_branch": TEXT,
            "target_branch": TEXT,
        },
    ),
    call(
        "POST",
        rf"{PROJECT_PATH}/merge_requests",
        201,
        MERGE_REQUEST,
        body=sent(
            {"source_branch": TEXT, "target_branch": TEXT, "title": LIMITED_TITLE},
            description={"type": "string", "maxLength": 1_048_576},
            labels=TEXT,
            remove_source_branch=FLAG,
        ),
    ),
    call("GET", ONE, 200, MERGE_REQUEST),
    call(
        "PUT",
        ONE,
        200,
        MERGE_REQUEST,
        body={
            **sent(
                {},
                title=LIMITED_TITLE,
                description={"type": "string", "maxLength": 1_048_576},
                state_event=one_of("close", "reopen"),
                add_labels=TEXT,
                target_branch=TEXT,
            ),
            "minProperties": 1,
        },
    ),
    call("GET", rf"{ONE}/notes", 200, many(NOTE), query={**PAGES, **ORDER}),
    call("POST", rf"{ONE}/notes", 201, NOTE, body=sent({"body": TEXT})),
    call("PUT", rf"{ONE}/notes/\d+", 200, NOTE, body=sent({"body": TEXT})),
    call("DELETE", rf"{ONE}/notes/\d+", 204, None),
    call(
        "GET",
        rf"{PROJECT_PATH}/repository/commits/[0-9a-f]+/statuses",
        200,
        many(STATUS),
        query={**PAGES, "name": TEXT, "all": TEXT},
    ),
    call(
        "POST",
        rf"{PROJECT_PATH}/statuses/[0-9a-f]+",
        201,
        STATUS,
        body=sent(
            {"state": one_of("pending", "running", "success", "failed", "canceled", "skipped")},
            name=TEXT,
            description={"type": "string", "maxLength": 255},
            ref=TEXT,
            target_url=TEXT,
        ),
    ),
)


def find(method: str, path: str) -> Operation | None:
    return next((each for each in OPERATIONS if each.method == method and re.fullmatch(each.path, path)), None)


def violations(schema: Schema, value: Any, where: str) -> list[str]:
    judge = Draft202012Validator(schema, format_checker=formats)
    return [f"{where}: {'/'.join(map(str, e.absolute_path))}: {e.message[:300]}" for e in judge.iter_errors(value)]


def request(method: str, path: str, query: Mapping[str, Sequence[str]], body: Any, *, has_body: bool) -> list[str]:
    """What is wrong with a request."""
    operation = find(method, path)
    if operation is None:
        return ["is not documented"]
    wrong = []
    for name, values in query.items():
        if name not in operation.query:
            wrong.append(f"query parameter {name!r} is not documented")
            continue
        for value in values:
            typed = int(value) if operation.query[name].get("type") == "integer" and value.isdecimal() else value
            wrong += violations(operation.query[name], typed, f"query parameter {name}")
    # python-gitlab sends an empty object with requests that have no body; GitLab takes it for none.
    if operation.body is None:
        return wrong + (["a body is not documented"] if has_body and body else [])
    return wrong + violations(operation.body, body, "request body")


def response(method: str, path: str, status: int, body: Any) -> list[str]:
    """What is wrong with an answer."""
    operation = find(method, path)
    if operation is None or status >= 400:
        return violations(ERROR, body, f"answer {status}")
    if status not in operation.answers:
        return [f"status {status} is not documented"]
    schema = operation.answers[status]
    if schema is None:
        return [] if body is None else ["a body is not documented"]
    return violations(schema, body, f"answer {status}")
