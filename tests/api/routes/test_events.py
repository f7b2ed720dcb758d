"""The events of a job."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import httpx2 as httpx
import pytest
from fastapi.testclient import TestClient

from api import latest
from api.context import Context
from models.errors import DatabaseError
from models.settings import Settings
from models.store import batches, cancellation, deletion, jobs, keys
from models.store.database import Database
from models.store.jobs import JobView
from models.store.keys import Scope
from tests.api.responses import problem_detail
from tests.api.serving import serving
from tests.builders import claim_batch, list_folder, queue_job, records_of
from tests.services import wait_until

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


class Event(NamedTuple):
    name: str
    id: str
    job: dict[str, Any]


@pytest.fixture
def context(db: Database) -> Context:
    return Context(db, Settings(_env_file=None), announce=lambda: None, ping_queue=lambda: None)


@pytest.fixture
def url(context: Context, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(latest, "PERIOD_S", 0.02)
    with serving(context) as url:
        yield url


@contextmanager
def follow(url: str, job_id: int, **headers: str) -> Iterator[Iterator[Event]]:
    with httpx.stream(
        "GET", f"{url}/v1/jobs/{job_id}/events", headers=headers, timeout=60
    ) as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        yield events_of(response.iter_lines())


def events_of(lines: Iterator[str]) -> Iterator[Event]:
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            yield Event(fields["event"], fields["id"], json.loads(fields["data"]))
            fields = {}


def test_a_job_is_followed_to_its_end(url: str, db: Database, release_id: int) -> None:
    job = queue_job(db, release_id)
    with follow(url, job.id) as events:
        first = next(events)
        assert (first.name, first.job["status"]) == ("progress", "queued")
        answer = httpx.get(f"{url}/v1/jobs/{job.id}")
        assert (first.job, first.id) == (answer.json(), answer.headers["ETag"])

        list_folder(db, job, 1)
        second = next(events)
        while second.job["counts"]["total"] == 0:  # It may also be seen while it is listed.
            second = next(events)
        assert second.name == "progress"

        claim = claim_batch(db)
        batches.complete(db, claim, records_of(claim))
        *_, last = events
        assert (last.name, last.job["status"]) == ("ended", "completed")
        assert last.job == httpx.get(f"{url}/v1/jobs/{job.id}").json()


def test_a_client_that_comes_back_is_not_sent_what_it_has(
    url: str, db: Database, release_id: int
) -> None:
    job = queue_job(db, release_id)
    with follow(url, job.id) as events:
        known = next(events).id

    with follow(url, job.id, **{"Last-Event-ID": known}) as events:
        httpx.get(f"{url}/v1/jobs/{job.id}").raise_for_status()
        cancellation.cancel(db, job.id)
        (end,) = events
    assert (end.name, end.job["status"]) == ("ended", "cancelled")

    answer = httpx.get(f"{url}/v1/jobs/{job.id}/events", headers={"Last-Event-ID": end.id})
    assert (answer.status_code, answer.content) == (204, b"")
    with follow(url, job.id, **{"Last-Event-ID": known}) as events:
        assert list(events) == [end]


def test_events_close_when_their_key_is_revoked(url: str, db: Database, release_id: int) -> None:
    job = queue_job(db, release_id)
    key = keys.create(db, "ci", Scope.READ)
    with follow(url, job.id, Authorization=f"Bearer {key}") as events:
        next(events)
        keys.revoke(db, "ci")
        assert list(events) == []


def test_events_close_when_their_job_is_deleted(url: str, db: Database, release_id: int) -> None:
    job = queue_job(db, release_id)
    with follow(url, job.id) as events:
        next(events)
        deletion.delete(db, job.id)
        assert [event.name for event in events] in ([], ["ended"])
    assert httpx.get(f"{url}/v1/jobs/{job.id}/events").status_code == 404


def test_events_go_on_after_the_database_could_not_be_used(
    url: str, db: Database, release_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = queue_job(db, release_id)
    failures = 0

    def fail(db: Database, job_id: int) -> JobView:
        nonlocal failures
        failures += 1
        raise DatabaseError("The database does not answer.")

    with follow(url, job.id) as events:
        next(events)
        with monkeypatch.context() as patch:
            patch.setattr(jobs, "get", fail)
            wait_until(lambda: failures > 1, "a second try")
        cancellation.cancel(db, job.id)
        assert [event.name for event in events] == ["ended"]


def test_twenty_clients_cost_one_query(
    url: str, db: Database, release_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = queue_job(db, release_id)
    get = jobs.get
    reads: list[int] = []

    def note(db: Database, job_id: int) -> JobView:
        reads.append(job_id)
        return get(db, job_id)

    monkeypatch.setattr(jobs, "get", note)
    monkeypatch.setattr(latest, "PERIOD_S", 3_600.0)
    with ExitStack() as stack:
        for _ in range(20):
            assert next(stack.enter_context(follow(url, job.id))).name == "progress"
    assert reads == [job.id]


def test_nothing_is_read_for_a_client_that_has_gone(
    url: str, db: Database, release_id: int, context: Context
) -> None:
    quiet = 0

    def is_quiet() -> bool:
        nonlocal quiet
        quiet = 0 if context.latest._reads else quiet + 1
        return quiet > 5

    with follow(url, queue_job(db, release_id).id) as events:
        next(events)
        wait_until(lambda: context.latest._reads, "another read")
    wait_until(is_quiet, "no more reads", timeout_s=20)


def test_a_ping_keeps_the_connection_open_while_nothing_happens(
    url: str, db: Database, release_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastapi.routing._PING_INTERVAL", 0.05)
    job = queue_job(db, release_id)
    with httpx.stream("GET", f"{url}/v1/jobs/{job.id}/events", timeout=60) as response:
        lines = response.iter_lines()
        assert any(line == ": ping" for line in lines)


def test_events_of_no_job_are_a_problem(client: TestClient) -> None:
    problem_detail(client.get("/v1/jobs/7/events"), 404, "not_found")
