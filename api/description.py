"""The API's description (OpenAPI): what FastAPI knows, and what the middleware adds to it.

A route names the problems of its own as `responses={409: {}}`. The rest follows from what it takes.
"""

from collections.abc import Iterator
from typing import Any, Final

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from api.codes import describe
from api.problems import MEDIA_TYPE
from api.schemas.common import FieldError, Problem
from api.schemas.examples import example_of

_METHODS: Final = ("get", "post", "put", "patch", "delete")


def describe_api(api: FastAPI) -> dict[str, Any]:
    """The description, with an example of each schema and all statuses of each operation."""
    if api.openapi_schema is not None:
        return api.openapi_schema

    description = FastAPI.openapi(api)
    schemas = description["components"]["schemas"]
    _, problems = models_json_schema(
        [(Problem, "serialization"), (FieldError, "serialization")],
        ref_template="#/components/schemas/{model}",
    )
    schemas |= problems["$defs"]
    for name, schema in schemas.items():
        if example := example_of(name):
            schema["examples"] = [example]

    for path, operations in description["paths"].items():
        for method in _METHODS:
            if method in operations:
                _describe_answers(path, method, operations[method])
    return description


def _describe_answers(path: str, method: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    own = {int(status) for status in responses if status.isdigit() and int(status) >= 400}

    for status in own | set(_statuses_of_problems(path, method, operation)):
        if "content" not in responses.get(str(status), {}):
            responses[str(status)] = _problem(describe(status))

    ok = responses.get("200", {})
    if method == "get" and "application/json" in ok.get("content", {}):
        responses["304"] = {"description": "As the `ETag` in `If-None-Match` says."}

    responses["default"] = _problem("Another problem.")
    operation["responses"] = dict(sorted(responses.items()))


def _statuses_of_problems(path: str, method: str, operation: dict[str, Any]) -> Iterator[int]:
    yield from (400, 421, 500)
    if operation.get("security"):
        yield from (401, 403, 429, 503)
    if method != "get":
        yield from (403, 413, 415)
    if "{" in path:
        yield 404
    if "requestBody" in operation or operation.get("parameters"):
        yield 422


def _problem(description: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": description, "content": {MEDIA_TYPE: {"schema": schema}}}
