"""What the client says about the API is what /openapi.json says."""

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from api.context import Context
from api.server import make_api
from cuemill_client import records
from cuemill_client.calls import Calls
from cuemill_client.files import LocalFile
from cuemill_client.options import JobFilters, JobOptions, ResultFilters
from cuemill_client.steps import Read, Request
from models.settings import Settings
from models.store.database import Database

SCHEMAS = {
    records.ErrorInfo: "ErrorInfo",
    records.Counts: "Counts",
    records.Detection: "DetectionInfo",
    records.Job: "Job",
    records.Retried: "Retried",
    records.Box: "Box",
    records.Face: "Face",
    records.Result: "Result",
    records.EmotionShare: "EmotionShare",
    records.FolderShare: "FolderShare",
    records.Summary: "Summary",
    records.Release: "Release",
    records.Skipped: "Skipped",
    records.Upload: "Upload",
    records.UploadedFile: "UploadedFile",
}
NOT_OFFERED = {
    # Other ways to the same, for other programs.
    "GET /v1/jobs/{job_id}/events",
    "GET /v1/jobs/{job_id}/results.csv",
    "GET /v1/jobs/{job_id}/results.jsonl",
    "GET /v1/jobs/{job_id}/results.parquet",
    # For people to look at.
    "GET /v1/jobs/{job_id}/images/{number}",
    "GET /v1/jobs/{job_id}/images/{number}/thumbnail",
    "GET /v1/jobs/{job_id}/images/{number}/picture",
    "GET /v1/jobs/{job_id}/images/{number}/faces/{index}",
    # For who runs the server.
    "POST /v1/models/{release_id}/promote",
}
"""Routes beside those of the client that it does not have."""


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    settings = Settings(_env_file=None)
    context = Context(Database("sqlite://"), settings, lambda: None, ping_queue=lambda: None)
    return make_api(context).openapi()


def requests() -> Iterator[Request]:
    """A request of each call."""
    calls = Calls(retries=0)
    put = calls._put(UPLOAD, LocalFile("a.jpg", Path("a.jpg"), 1), {})
    assert isinstance(next(put), Read)
    for steps in (
        calls.submit("/faces", None, None, {}),
        calls.job(1),
        calls.jobs({"status": "failed"})(None),
        calls.cancel(1),
        calls.retry(1, ("truncated",), stale=True),
        calls.delete(1),
        calls.summary(1),
        calls.results(1, {})("0.0.0"),
        calls.results(None, {"emotion": "joy"})(None),
        calls.models(),
        calls.model(1),
        calls.create_upload(),
        calls.upload("1"),
        calls.uploaded_files("1")("a.jpg"),
        calls.delete_upload("1"),
        put,
    ):
        request = steps.send(b"" if steps is put else None)
        assert isinstance(request, Request)
        yield request


UPLOAD = records.Upload("1", 0, 0, [], 0, datetime(2026, 12, 1, tzinfo=UTC), None, None)


def route_of(request: Request, description: dict[str, Any]) -> str:
    """The route that a request goes to, as the description writes it."""
    for path, methods in description["paths"].items():
        pattern = re.sub(r"\{[^}]+:path\}", ".+", path)
        pattern = re.sub(r"\{[^}]+\}", "[^/]+", pattern)
        if request.method.lower() in methods and re.fullmatch(pattern, request.path):
            return f"{request.method} {path}"
    pytest.fail(f"there is no {request.method} {request.path}")


def parameters_of(route: str, description: dict[str, Any]) -> dict[str, str]:
    """The names of a route's parameters in queries and headers, and where they are."""
    method, path = route.split()
    operation = description["paths"][path][method.lower()]
    return {parameter["name"]: parameter["in"] for parameter in operation.get("parameters", [])}


def test_every_request_is_one_of_the_api(description: dict[str, Any]) -> None:
    for request in requests():
        parameters = parameters_of(route_of(request, description), description)
        sent = {name: "query" for name, _ in request.params}
        sent |= dict.fromkeys(request.headers, "header")
        assert sent.items() <= parameters.items(), request


def test_the_client_has_every_route_of_the_nouns_it_knows(description: dict[str, Any]) -> None:
    routes = {route_of(request, description) for request in requests()}
    nouns = {route.split("/")[2] for route in routes}
    others = {
        f"{method.upper()} {path}"
        for path, methods in description["paths"].items()
        for method in methods
        if path.startswith("/v1/") and path.split("/")[2] in nouns
    }
    assert others - routes == NOT_OFFERED


@pytest.mark.parametrize(
    ("options", "route"),
    [
        (JobFilters, "GET /v1/jobs"),
        (ResultFilters, "GET /v1/results"),
        (ResultFilters, "GET /v1/jobs/{job_id}/results"),
    ],
)
def test_the_filters_are_those_of_the_api(
    description: dict[str, Any], options: type, route: str
) -> None:
    parameters = parameters_of(route, description)
    # `score` is a mapping, for `score.fear` and the others.
    names = {name.split(".")[0] for name, place in parameters.items() if place == "query"}
    if route == "GET /v1/results":
        names.add("sort")  # The server says that only a job's own results can be sorted.
    assert set(options.__annotations__) == names - {"limit", "after"}


def test_the_options_of_a_job_are_those_of_the_api(description: dict[str, Any]) -> None:
    properties = description["components"]["schemas"]["JobRequest"]["properties"]
    assert set(JobOptions.__annotations__) == properties.keys() - {"folder", "upload"}


@pytest.mark.parametrize("record", SCHEMAS, ids=lambda record: record.__name__)
def test_a_record_has_the_fields_of_the_api_with_their_types(
    description: dict[str, Any], record: type
) -> None:
    schemas = description["components"]["schemas"]
    schema = schemas[SCHEMAS[record]]
    hints = get_type_hints(record)
    described = {name: _of_schema(part, schemas) for name, part in schema["properties"].items()}
    assert {field.name: _of_hint(hints[field.name]) for field in fields(record)} == described


def test_every_record_is_compared() -> None:
    all_of_them = {kind for kind in vars(records).values() if is_dataclass(kind)}
    assert all_of_them == SCHEMAS.keys()


def _of_hint(hint: Any) -> str:
    """A type in the words of JSON Schema."""
    arguments = get_args(hint)
    if get_origin(hint) is UnionType:
        (inner,) = (argument for argument in arguments if argument is not NoneType)
        return f"{_of_hint(inner)} or null"
    if get_origin(hint) is list:
        return f"array of {_of_hint(arguments[0])}"
    if get_origin(hint) is dict:
        return f"object of {_of_hint(arguments[1])}"
    if hint in SCHEMAS:
        return SCHEMAS[hint]
    names = {int: "integer", float: "number", str: "string", bool: "boolean", Any: "any"}
    return names.get(hint) or {datetime: "date-time"}[hint]


def _of_schema(schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    if "anyOf" in schema:
        inner, null = schema["anyOf"]
        assert null == {"type": "null"}
        return f"{_of_schema(inner, schemas)} or null"
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return "string" if "enum" in schemas[name] else name
    if schema["type"] == "array":
        return f"array of {_of_schema(schema['items'], schemas)}"
    if schema["type"] == "object":
        inner = schema["additionalProperties"]
        return f"object of {'any' if inner is True else _of_schema(inner, schemas)}"
    return str(schema.get("format") or schema["type"])
