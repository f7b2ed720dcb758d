"""The limits of a key, and what happens beyond them."""

import pytest
from fastapi.testclient import TestClient

from models.store import keys
from models.store.database import Database
from models.store.keys import Scope
from tests.api.responses import problem_detail

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def test_a_key_learns_its_limits_and_what_is_left(
    client: TestClient, db: Database, faces: str
) -> None:
    text = keys.create(db, "ci", Scope.SUBMIT, requests_per_minute=60, live_jobs=2)
    client.headers["Authorization"] = f"Bearer {text}"
    client.post("/v1/jobs", json={"folder": faces})

    response = client.get("/v1/limits")
    body = response.json()
    assert (body["key"]["name"], body["key"]["scope"]) == ("ci", "submit")
    assert body["requests"] == {"limit": 60, "remaining": 58, "reset_seconds": 2}
    assert body["live_jobs"] == {"limit": 2, "used": 1}
    assert response.headers["RateLimit"] == '"requests";r=58;t=2'
    assert text not in response.text


def test_the_settings_hold_for_a_key_without_limits_of_its_own(
    client: TestClient, db: Database
) -> None:
    settings = client.app.state.context.settings  # type: ignore[attr-defined]
    text = keys.create(db, "ci", Scope.READ, live_jobs=0)
    body = client.get("/v1/limits", headers={"Authorization": f"Bearer {text}"}).json()
    assert body["requests"]["limit"] == settings.key_requests
    assert body["live_jobs"] is None
    assert body["uploads"] == {
        "files": settings.upload_files,
        "file_bytes": settings.upload_file_bytes,
        "bytes": settings.upload_bytes,
        "ratio": settings.upload_ratio,
    }


def test_a_request_too_many_is_a_429_that_says_when_to_try_again(
    client: TestClient, db: Database
) -> None:
    text = keys.create(db, "ci", Scope.READ, requests_per_minute=1)
    client.headers["Authorization"] = f"Bearer {text}"
    assert client.get("/v1/jobs").status_code == 200

    response = client.get("/v1/jobs")
    assert "1 requests a minute" in problem_detail(response, 429, "limit_exceeded")
    assert 0 < int(response.headers["Retry-After"]) <= 60
    assert response.headers["RateLimit-Policy"] == '"requests";q=1;w=60'
    assert client.get("/healthz").status_code == 200


def test_a_job_too_many_is_a_429(client: TestClient, db: Database, faces: str) -> None:
    text = keys.create(db, "ci", Scope.SUBMIT, live_jobs=1)
    client.headers["Authorization"] = f"Bearer {text}"
    assert client.post("/v1/jobs", json={"folder": faces}).status_code == 202

    response = client.post("/v1/jobs", json={"folder": faces})
    assert "unfinished jobs" in problem_detail(response, 429, "limit_exceeded")
    assert int(response.headers["Retry-After"]) > 0
    client.post("/v1/jobs/1/cancel")
    assert client.post("/v1/jobs", json={"folder": faces}).status_code == 202
