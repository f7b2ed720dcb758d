"""Routes of liveness and readiness."""

from pathlib import Path

from fastapi.testclient import TestClient

from api.context import Context
from api.server import make_api
from models.settings import Settings
from models.store.database import Database
from tests.api.conftest import BASE_URL


def test_the_process_is_alive(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}


def test_without_workers_the_api_is_ready_but_degraded(client: TestClient, faces: str) -> None:
    client.post("/v1/jobs", json={"folder": faces})
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
    checks = ready.json()["checks"]
    assert checks.pop("workers") == (
        "No worker is running. Waiting: 1 job. Start a worker with `cuemill worker`."
    )
    assert set(checks) >= {"database", "queue", "progress", "images"}
    assert set(checks.values()) == {"ok"}


def test_whoever_asks_from_elsewhere_is_told_what_fails_but_not_why(
    db: Database, tiny_model: Path, tmp_path: Path
) -> None:
    settings = Settings(
        _env_file=None, image_roots=(tmp_path / "gone",), model=tiny_model, host="0.0.0.0"
    )
    context = Context(db, settings, announce=lambda: None, ping_queue=lambda: None)
    with TestClient(make_api(context), base_url=BASE_URL) as client:
        ready = client.get("/readyz")
    assert ready.json()["checks"]["images"] == "problem: see `cuemill status`"
    assert str(tmp_path) not in ready.text


def test_without_its_database_and_queue_the_api_is_unavailable_and_says_why(
    client_without_database: TestClient,
) -> None:
    ready = client_without_database.get("/readyz")
    assert ready.status_code == 503
    assert ready.json()["status"] == "unavailable"
    assert all(ready.json()["checks"][name] != "ok" for name in ("database", "queue"))
    assert "secret" not in ready.text
