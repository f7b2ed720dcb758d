"""Errors as problem details."""

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from api import problems
from api.codes import CODES
from models.store import jobs
from models.store.database import Database
from tests.api.responses import problem_detail


def test_an_unknown_path_is_a_problem_too(client: TestClient) -> None:
    problem_detail(client.get("/v2/jobs"), 404, "not_found")
    problem_detail(client.put("/v1/jobs"), 405, "method_not_allowed")


def test_an_invalid_request_lists_each_wrong_field_and_parameter(client: TestClient) -> None:
    body = {"folder": 7, "exclude": ["*.tmp", ""], "min_face": "x", "a/b": 1}
    problem = client.post("/v1/jobs", json=body, headers={"Idempotency-Key": ""}).json()
    details = {error.get("pointer") or error["parameter"]: error for error in problem["errors"]}

    assert set(details) == {"#/folder", "#/exclude/1", "#/min_face", "#/a~1b", "Idempotency-Key"}
    assert details["#/folder"] == {
        "pointer": "#/folder",
        "detail": "Input should be a valid string",
    }

    problem = client.get("/v1/jobs?limit=0").json()
    assert [error["parameter"] for error in problem["errors"]] == ["limit"]


def test_a_problem_that_is_about_no_field_lists_none(client: TestClient) -> None:
    assert set(client.get("/v1/jobs/7").json()) == {
        "type", "title", "status", "code", "detail", "request_id",
    }  # fmt: skip


def test_each_error_that_reaches_a_client_has_a_code_that_is_explained() -> None:
    for kind, status in problems._STATUSES:
        assert status in CODES[kind.code].statuses


def test_a_database_out_of_reach_is_a_503(client_without_database: TestClient) -> None:
    response = client_without_database.get("/v1/jobs")
    assert "cannot be reached" in problem_detail(response, 503, "database")
    assert response.headers["Retry-After"] == "5"
    for word in ("127.0.0.1", "user", "secret"):  # Parts of the database's URL.
        assert word not in response.text.replace("the user", "")


def test_what_trying_again_cannot_mend_is_no_503(client: TestClient, db: Database) -> None:
    with db.write() as connection:
        connection.execute(sa.text("ALTER TABLE jobs RENAME TO others"))
    response = client.get("/v1/jobs")
    assert problem_detail(response, 500, "database") == (
        "The database does not have this program's tables. Run `cuemill db upgrade`."
    )
    assert "Retry-After" not in response.headers


def test_an_unexpected_error_is_a_500_that_tells_nothing_of_it(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(jobs, "get", fail)
    detail = problem_detail(client.get("/v1/jobs/1"), 500, "internal")
    assert detail == "Internal error. See the server log."
