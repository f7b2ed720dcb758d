"""The application as a whole: its limits and its description."""

import logging
import re
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient

from api import server
from api.auth import KeylessLog
from api.server import _address_of
from models.errors import UsageError
from models.settings import Settings
from models.store import keys
from models.store.database import Database
from models.store.keys import Scope


def test_every_operation_parameter_and_response_is_described(client: TestClient) -> None:
    description = client.get("/openapi.json").json()
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            place = f"{method} {path}"
            assert operation["summary"], place
            assert operation["description"], place
            for parameter in operation.get("parameters", ()):
                assert parameter.get("description"), f"{place}: {parameter['name']}"
            for status, response in operation["responses"].items():
                assert response["description"] != "Successful Response", f"{place}: {status}"
            errors = operation["responses"]["default"]["content"]
            assert list(errors) == ["application/problem+json"], place


def test_operation_ids_are_names_that_a_generated_client_can_give_its_functions(
    client: TestClient,
) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    ids = [operation["operationId"] for path in paths.values() for operation in path.values()]

    assert {"submit_job", "list_jobs", "get_job", "promote_model"} < set(ids)
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", name) for name in ids)


@pytest.mark.parametrize(
    ("host", "warned"),
    [("127.0.0.1", False), ("::1", False), ("localhost", False), ("0.0.0.0", True), ("a", True)],
)
def test_a_bind_beyond_this_machine_is_warned_of(
    db: Database,
    tiny_model: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    warned: bool,
) -> None:
    monkeypatch.setattr(server._Server, "run", lambda self: setattr(self, "started", True))
    server.run_server(Settings(_env_file=None, host=host, model=tiny_model), db)
    assert ("THE API HAS NO KEY" in caplog.text) is warned
    filters = logging.getLogger("uvicorn.access").filters
    assert any(isinstance(one, KeylessLog) for one in filters)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_bind_beyond_this_machine_needs_a_key_or_that_no_auth_is_said(db: Database) -> None:
    beyond = Settings(_env_file=None, host="0.0.0.0")
    with pytest.raises(UsageError, match=r"cuemill keys create .* --no-auth"):
        server.check_exposure(beyond, db)

    server.check_exposure(beyond.model_copy(update={"no_auth": True}), db)
    server.check_exposure(beyond.model_copy(update={"host": "::1"}), db)
    keys.create(db, "ci", Scope.READ)
    server.check_exposure(beyond, db)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000/"),
        ("0.0.0.0", "http://localhost:8000/"),
        ("::1", "http://[::1]:8000/"),
    ],
)
def test_the_start_says_where_a_browser_finds_the_dashboard(host: str, address: str) -> None:
    assert _address_of(uvicorn.Config(FastAPI(), host=host, port=8000)) == address
