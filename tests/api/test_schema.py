"""Requests made from the API's own description, and hostile ones that it does not describe.

`schemathesis run URL/openapi.json --max-examples 200` against a server is the full dose.
"""

import json
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote_from_bytes

import httpx2 as httpx
import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.generation import GenerationMode
from schemathesis.python import asgi

from api.context import Context
from api.server import make_api
from models.store import keys
from models.store.database import Database
from models.store.keys import Scope

EXAMPLES: Final = 5
"""For each operation and database."""
SETTINGS: Final = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None
)
HOSTILE: Final[list[Any]] = [
    "\ud800", "a\0", "\x1b[31m", float("nan"), float("-inf"), 10**400, 2**63, -1, True, None, "",
    "x" * 5_000, [], {"\0": 1}, {"a": {"b": "\udfff"}}, [[[[]]]],
]  # fmt: skip
RAW: Final = [b"\0", b"\xff", b"\xed\xa0\x80", b"NaN", b"inf", b"-1", b"1_0", b" 1", b"9" * 400]

hostile_json = st.sampled_from(HOSTILE)
hostile_text = st.sampled_from(RAW).map(quote_from_bytes)


@pytest.fixture
def key(db: Database) -> str:
    return keys.create(db, "tester", Scope.ADMIN, requests_per_minute=0, live_jobs=0)


@pytest.fixture
def description(client: TestClient, faces: str, key: str) -> Any:
    """The description of an API that asks for a key: schemathesis also tries without it."""
    client.headers["Authorization"] = f"Bearer {key}"
    client.post("/v1/jobs", json={"folder": faces})
    context: Context = client.app.state.context  # type: ignore[attr-defined]
    settings = context.settings.model_copy(update={"allowed_hosts": (asgi.HOST,)})
    context = replace(context, settings=settings)
    context.ending.set()  # So that events end although their job goes on.
    api = make_api(context)
    described = schemathesis.openapi.from_asgi("/openapi.json", api)
    described.config.generation.with_security_parameters = False  # The key is sent below.
    return described


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_answers_are_as_described(description: Any, mode: GenerationMode, key: str) -> None:
    """Requests that the description allows, and such as it does not."""

    @SETTINGS
    @given(data=st.data())
    def call(operation: Any, data: st.DataObject) -> None:
        case = data.draw(operation.as_strategy(generation_mode=mode))
        if isinstance(case.body, dict) and "metadata" in case.body:
            # That no text deep in it holds a NUL cannot be described.
            text = json.dumps(case.body["metadata"])
            case.body["metadata"] = json.loads(text.replace("\\u0000", ""))
        if case.media_type == "multipart/form-data" and mode is GenerationMode.POSITIVE:
            # Nor that an archive is one, and that no two files have the same name.
            case.body.pop("archive", None)
            case.body["files"] = [b"x"]
        case.headers.pop("Idempotency-Key", None)  # Nor that a key is not used twice.
        case.call_and_validate(headers={"Authorization": f"Bearer {key}"})

    for result in description.get_all_operations():
        with suppress(Unsatisfiable):  # A request without parameters cannot be wrong.
            call(operation=result.ok())


@given(
    fields=st.dictionaries(
        st.sampled_from(["folder", "model", "metadata", "min_face", "face_threshold", "faces"]),
        hostile_json | hostile_json.map(lambda value: {"a": [value]}),
    ),
    key=st.sampled_from(RAW) | st.none(),
)
@settings(SETTINGS, max_examples=20 * EXAMPLES)
def test_no_hostile_body_is_an_internal_error_nor_stays(
    client: TestClient, faces: str, fields: dict[str, Any], key: bytes | None
) -> None:
    headers: dict[str, Any] = {"Content-Type": "application/json"}
    if key is not None:
        headers["Idempotency-Key"] = key
    body = json.dumps({"folder": faces, **fields})
    check(client.post("/v1/jobs", content=body, headers=headers))
    check(client.get("/v1/jobs", params={"limit": 3}))


@given(
    path=st.sampled_from(["/v1/jobs/{}", "/v1/jobs/{}/results", "/v1/results", "/v1/jobs/1/retry"]),
    job=hostile_text,
    query=st.dictionaries(
        st.sampled_from(["after", "limit", "min_score", "min_face", "path_prefix", "code"]),
        hostile_text,
    ),
)
@settings(SETTINGS, max_examples=20 * EXAMPLES)
def test_no_hostile_address_is_an_internal_error(
    client: TestClient, path: str, job: str, query: dict[str, str]
) -> None:
    parameters = "&".join(f"{name}={value}" for name, value in query.items())
    check(client.request("POST" if "retry" in path else "GET", f"{path.format(job)}?{parameters}"))


def check(response: httpx.Response) -> None:
    """An answer is JSON in UTF-8, without NaN, and no internal error."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    assert response.status_code < 500, response.text
    json.loads(response.content.decode(), parse_constant=refuse)
