"""`cuemill keys`, `cuemill audit`, and what `serve` and `up` say without a key."""

import json
import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli.main import app
from models.errors import NotFoundError, UsageError

Run = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("CUEMILL_ENV_FILE", os.devnull)
    monkeypatch.setenv("CUEMILL_DATA_DIR", str(tmp_path))
    return lambda *arguments: CliRunner().invoke(app, arguments)


def rows(run: Run, *arguments: str) -> Any:
    return json.loads(run(*arguments, "--json").stdout)


def test_a_key_is_shown_once_listed_and_revoked(run: Run) -> None:
    made = run("keys", "create", "ci", "--scope", "submit", "--expires", "30", "--jobs", "5")
    text = made.stdout.strip()
    assert text.startswith("cm_")
    assert "not shown again" in made.stderr

    (key,) = rows(run, "keys", "list")
    assert (key["name"], key["scope"], key["state"]) == ("ci", "submit", "good")
    assert (key["requests_per_minute"], key["live_jobs"]) == (None, 5)
    assert key["expires_at"]
    shown = run("keys", "list").stdout
    assert key["id"] in shown
    assert text not in shown + json.dumps(key)

    assert "Revoked the key ci" in run("keys", "revoke", "ci").stderr
    assert isinstance(run("keys", "revoke", "ci").exception, NotFoundError)
    assert "Revoked" in run("keys", "revoke", key["id"], "--forget").stderr
    assert "No keys" in run("keys", "list").stderr

    user = pwd.getpwuid(os.getuid()).pw_name
    assert [(row["actor"], row["act"], row["target"]) for row in rows(run, "audit")] == [
        (f"cli:{user}", "key.forget", key["id"]),
        (f"cli:{user}", "key.revoke", key["id"]),
        (f"cli:{user}", "key.create", key["id"]),
    ]
    assert "key.revoke" in run("audit").stdout


def test_a_key_reads_only_unless_more_is_asked_for(run: Run) -> None:
    run("keys", "create", "ci")
    assert [key["scope"] for key in rows(run, "keys", "list")] == ["read"]


@pytest.mark.parametrize("program", ["serve", "up"])
def test_a_bind_beyond_this_machine_without_a_key_is_bad_usage(run: Run, program: str) -> None:
    refused = run(program, "--host", "0.0.0.0").exception
    assert isinstance(refused, UsageError), "which ends with 2"
    assert "cuemill keys create NAME --scope admin" in str(refused)
