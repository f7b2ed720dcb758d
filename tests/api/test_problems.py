"""Errors as problem details."""

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from models.store import jobs
from models.store.database import Database
from tests.api.responses import problem_detail


def test_an_unknown_path_is_a_problem_too(client: TestClient) -> None:
    problem_detail(client.get("/v2/jobs"), 404, "not_found")
    problem_detail(client.put("/v1/jobs"), 405, "method_not_allowed")


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
