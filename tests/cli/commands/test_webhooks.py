"""`cuemill webhooks`."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import app
from models.errors import NotFoundError, UsageError
from models.store import cancellation, deliveries
from models.store.database import Database
from models.store.releases import resolve
from tests.builders import submit_job

Run = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("CUEMILL_ENV_FILE", os.devnull)
    monkeypatch.setenv("CUEMILL_DATA_DIR", str(tmp_path))
    return lambda *arguments: CliRunner().invoke(app, ["webhooks", *arguments])


def rows(run: Run, *arguments: str) -> Any:
    return json.loads(run(*arguments, "--json").stdout)


def test_a_webhook_is_created_listed_and_deleted(run: Run) -> None:
    url = "https://example.org/hook"
    made = run("create", url, "--event", "job.failed")
    secret = made.stdout.strip()
    assert secret.startswith("whsec_")
    assert "not shown again" in made.stderr

    (webhook,) = rows(run, "list")
    assert (webhook["url"], webhook["events"]) == (url, ["job.failed"])
    shown = run("list").stdout
    assert url in shown
    assert secret not in shown + json.dumps(webhook)

    assert "Deleted webhook 1" in run("delete", "1").stderr
    assert rows(run, "list") == []
    assert isinstance(run("delete", "1").exception, NotFoundError)


def test_a_private_address_needs_the_setting(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = run("create", "http://127.0.0.1:8080/").exception
    assert isinstance(refused, UsageError)
    assert "CUEMILL_WEBHOOK_PRIVATE" in str(refused)

    monkeypatch.setenv("CUEMILL_WEBHOOK_PRIVATE", "true")
    assert run("create", "http://127.0.0.1:8080/").exit_code == 0


def test_deliveries_are_listed_and_replayed(run: Run, tmp_path: Path, tiny_model: Path) -> None:
    secret = rows(run, "create", "https://example.org/hook")["secret"]
    db = Database(f"sqlite:///{tmp_path / 'cuemill.db'}")
    cancellation.cancel(db, submit_job(db, resolve(db, None, tiny_model), images=1))
    claim = deliveries.claim(db, "h:1", 30.0)
    assert claim is not None
    db.close()
    assert claim.secret == secret

    (delivery,) = rows(run, "deliveries", "1")
    assert (delivery["event"], delivery["state"]) == ("job.cancelled", "pending")
    assert "job.cancelled  job 1  pending" in run("deliveries", "1").stdout

    assert "pending again" in run("replay", "1").stderr
    assert isinstance(run("replay", "2").exception, NotFoundError)
