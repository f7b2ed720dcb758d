"""Routes of liveness and readiness."""

from fastapi.testclient import TestClient


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


def test_without_its_database_and_queue_the_api_is_unavailable_and_says_why(
    client_without_database: TestClient,
) -> None:
    ready = client_without_database.get("/readyz")
    assert ready.status_code == 503
    assert ready.json()["status"] == "unavailable"
    assert all(ready.json()["checks"][name] != "ok" for name in ("database", "queue"))
    assert "secret" not in ready.text
