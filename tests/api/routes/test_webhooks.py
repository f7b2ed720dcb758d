"""Webhooks over HTTP, and what their receivers get."""

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from api.context import Context
from api.server import make_api
from cuemill_client.webhooks import unwrap
from models.settings import Settings
from models.store import audit, batches, deliveries, keys, webhooks
from models.store.database import Database
from models.store.keys import Scope
from models.store.states import Event
from tests.api.conftest import BASE_URL
from tests.api.responses import problem_detail
from tests.builders import claim_batch, records_of, submit_job
from tests.receiver import Receiver, run_receiver
from tests.services import free_port, wait_until
from worker import courier

SETTINGS = Settings(_env_file=None, webhook_private=True, retention_days=3)
BODY = {"url": "https://example.org/hook"}

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def complete_job(db: Database, release_id: int) -> int:
    job_id = submit_job(db, release_id, images=1)
    work = claim_batch(db)
    assert batches.complete(db, work, records_of(work))
    return job_id


def send_all(db: Database) -> None:
    while (claim := deliveries.claim(db, "h:1", 30.0)) is not None:
        courier.send(db, SETTINGS, claim)


def create(client: TestClient, receiver: Receiver) -> Any:
    response = client.post("/v1/webhooks", json={"url": receiver.url})
    assert response.status_code == 201, response.text
    return response.json()


def test_a_receiver_gets_a_signed_event_with_the_job_as_the_api_shows_it(
    db: Database, release_id: int
) -> None:
    api = make_api(Context(db, SETTINGS, announce=lambda: None, ping_queue=lambda: None))
    with TestClient(api, base_url=BASE_URL) as client, run_receiver() as receiver:
        webhook = create(client, receiver)
        job_id = complete_job(db, release_id)
        send_all(db)

        (event,) = receiver.events(webhook["secret"])
        shown = client.get(f"/v1/jobs/{job_id}").json()
        assert shown["expires_at"] is not None
        timestamp = shown["completed_at"]
        assert event == {"type": "job.completed", "timestamp": timestamp, "data": shown}

        ((headers, body),) = receiver.requests
        assert unwrap(body, headers, webhook["secret"]).data == shown

        page = client.get(f"/v1/webhooks/{webhook['id']}/deliveries").json()
        (delivery,) = page["data"]
        assert (delivery["state"], delivery["job_id"]) == ("delivered", job_id)
        assert [each["status"] for each in delivery["attempts"]] == [204]

        response = client.post(f"/v1/deliveries/{delivery['id']}/replay")
        assert (response.status_code, response.json()["state"]) == (202, "pending")
        send_all(db)
        assert receiver.messages == [delivery["message"]] * 2
        assert receiver.events(webhook["secret"])[1] == event


@on_sqlite
def test_a_webhook_is_created_shown_without_its_secret_and_deleted(client: TestClient) -> None:
    response = client.post("/v1/webhooks", json=BODY | {"events": ["job.failed"]})
    assert response.status_code == 201
    webhook = response.json()
    secret = webhook.pop("secret")
    assert secret.startswith("whsec_")
    assert (webhook["url"], webhook["events"]) == (BODY["url"], ["job.failed"])
    assert webhook["enabled"]

    place = response.headers["Location"]
    assert client.get(place).json() == webhook
    page = {"data": [webhook], "has_more": False, "next": None}
    assert client.get("/v1/webhooks").json() == page

    assert client.delete(place).status_code == 204
    for method, path in [
        ("GET", place),
        ("DELETE", place),
        ("GET", f"{place}/deliveries"),
        ("POST", "/v1/deliveries/1/replay"),
    ]:
        problem_detail(client.request(method, path), 404, "not_found")


@on_sqlite
def test_the_same_request_with_the_same_idempotency_key_creates_one_webhook(
    client: TestClient, db: Database
) -> None:
    headers = {"Idempotency-Key": "once"}
    first, second = (client.post("/v1/webhooks", json=BODY, headers=headers) for _ in range(2))
    assert first.json() == second.json()
    assert [entry.act for entry in audit.list_newest(db)] == ["webhook.create"]

    other = client.post("/v1/webhooks", json=BODY | {"events": ["job.failed"]}, headers=headers)
    problem_detail(other, 422, "idempotency_key_reused")


@on_sqlite
@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"url": "http://example.org/"}, 403, "address"),
        ({"url": "https://127.0.0.1/"}, 403, "address"),
        ({"url": "https://169.254.169.254/"}, 403, "address"),
        ({"url": "example.org"}, 422, "usage"),
        ({"url": ""}, 422, "invalid_request"),
        (BODY | {"events": []}, 422, "invalid_request"),
        (BODY | {"events": ["job.started"]}, 422, "invalid_request"),
        (BODY | {"surprise": 1}, 422, "invalid_request"),
    ],
)
def test_a_webhook_that_cannot_be_is_refused(
    client: TestClient, body: dict[str, Any], status: int, code: str
) -> None:
    problem_detail(client.post("/v1/webhooks", json=body), status, code)
    assert client.get("/v1/webhooks").json()["data"] == []


@on_sqlite
def test_webhooks_are_for_admins_alone(client: TestClient, db: Database) -> None:
    client.headers["Authorization"] = f"Bearer {keys.create(db, 'ci', Scope.SUBMIT)}"
    for method, path in [
        ("POST", "/v1/webhooks"),
        ("GET", "/v1/webhooks"),
        ("GET", "/v1/webhooks/1"),
        ("DELETE", "/v1/webhooks/1"),
        ("GET", "/v1/webhooks/1/deliveries"),
        ("POST", "/v1/deliveries/1/replay"),
    ]:
        response = client.request(method, path, json=BODY if path.endswith("hooks") else None)
        problem_detail(response, 403, "insufficient_scope")


@on_sqlite
def test_the_receiver_that_the_page_shows_verifies_an_event(db: Database, release_id: int) -> None:
    port = free_port()
    _, secret = webhooks.create(db, f"http://127.0.0.1:{port}/", list(Event))
    job_id = complete_job(db, release_id)

    page = (Path(__file__).parents[3] / "docs" / "webhooks.md").read_text()
    code = page.partition("```python\n")[2].partition("```")[0]
    code = code.replace("whsec_...", secret).replace("9000", str(port))
    program = [sys.executable, "-c", code]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: is_open(port), "the receiver to listen")
            send_all(db)
            assert process.stdout is not None
            assert process.stdout.readline() == f"job.completed {job_id}\n".encode()
        finally:
            process.kill()


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
