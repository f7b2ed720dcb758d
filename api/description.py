"""The API's description (OpenAPI): what FastAPI knows, and what the middleware adds to it."""

from collections.abc import Iterator
from typing import Any, Final

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from api.codes import describe
from api.problems import MEDIA_TYPE
from api.schemas.common import FieldError, Problem

_METHODS: Final = ("get", "post", "put", "patch", "delete")


def describe_api(api: FastAPI) -> dict[str, Any]:
    """The description, with all statuses that each operation can answer."""
    description = FastAPI.openapi(api)
    _, models = models_json_schema(
        [(Problem, "serialization"), (FieldError, "serialization")],
        ref_template="#/components/schemas/{model}",
    )
    description["components"]["schemas"] |= models["$defs"]

    for path, operations in description["paths"].items():
        for method in _METHODS:
            if method in operations:
                _describe_problems(path, method, operations[method])
    return description


def _describe_problems(path: str, method: str, operation: dict[str, Any]) -> None:
    responses = operation["responses"]
    for status in _problem_statuses(path, method, operation):
        responses.setdefault(str(status), _problem(describe(status)))

    ok = responses.get("200", {})
    if method == "get" and "application/json" in ok.get("content", {}):
        responses["304"] = {"description": "As the `ETag` in `If-None-Match` says."}

    responses["default"] = _problem("Another problem.")


def _problem_statuses(path: str, method: str, operation: dict[str, Any]) -> Iterator[int]:
    yield from (421, 500)
    if operation.get("security"):
        yield from (400, 401, 403, 429, 503)
    if method != "get":
        yield 403
    if "{" in path:
        yield 404
    if "requestBody" in operation:
        yield from (400, 413, 415, 422)
    if operation.get("parameters"):
        yield 422


def _problem(description: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": description, "content": {MEDIA_TYPE: {"schema": schema}}}
