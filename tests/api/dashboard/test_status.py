"""The operator's page."""

import sqlalchemy as sa
from fastapi.testclient import TestClient

from models.store import heartbeats, keys, webhooks
from models.store.database import Database
from models.store.keys import Scope
from models.store.states import Event
from models.store.tables import Worker
from tests.api.dashboard.reading import HOSTILE, Page
from tests.builders import queue_job


def test_workers_checks_and_what_waits_are_shown(
    client: TestClient, db: Database, release_id: int
) -> None:
    assert "No work is waiting." in Page(client.get("/status")).text
    queue_job(db, release_id)
    heartbeats.beat(db, "host:7:token", 2, None, None)
    heartbeats.beat(db, "gone:8:token", 1, None, None)
    with db.write() as connection:
        gone = sa.update(Worker).where(Worker.name == "gone:8:token")
        connection.execute(gone.values(seen=Worker.seen - 600))

    text = Page(client.get("/status")).text
    assert "in the database's folder" in text
    assert "sqlite:" not in text
    assert "Alive host:7:token 2 processes" in text
    assert "Silent gone:8:token 1 process Last heartbeat 10 min ago" in text
    assert "1 job with 0 images; the oldest since" in text
    assert "1 thing needs your attention Workers. Running: 1 worker program" in text


def test_only_a_key_of_scope_admin_sees_the_audit_and_the_webhooks(
    client: TestClient, db: Database, release_id: int
) -> None:
    webhooks.create(db, "https://example.org/hook", [Event.JOB_COMPLETED])
    readers = {scope: keys.create(db, scope, scope) for scope in (Scope.READ, Scope.ADMIN)}

    def read(scope: Scope) -> str:
        headers = {"Authorization": f"Bearer {readers[scope]}"}
        return Page(client.get("/status", headers=headers)).text

    assert "On https://example.org/hook 0 delivered, 0 pending, 0 failed" in read(Scope.ADMIN)
    assert "key.create" in read(Scope.ADMIN)
    assert "example.org" not in read(Scope.READ)
    assert "key.create" not in read(Scope.READ)


def test_the_name_of_a_worker_cannot_run_scripts(client: TestClient, db: Database) -> None:
    heartbeats.beat(db, f"{HOSTILE}:1:t", 1, None, None)
    assert HOSTILE in Page(client.get("/status")).text
