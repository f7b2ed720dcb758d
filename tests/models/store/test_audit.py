"""The audit: each act of a user leaves one row, in its own transaction, about ids alone."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import sqlalchemy as sa

from models.errors import LimitError, NotFoundError
from models.store import (
    audit,
    cancellation,
    clocks,
    deletion,
    jobs,
    keys,
    releases,
    retries,
    trainings,
)
from models.store.audit import Act, Actor
from models.store.clocks import Reading
from models.store.database import Database, now
from models.store.jobs import Submission
from models.store.keys import Scope
from models.store.tables import AuditEntry
from tests.builders import queue_job

ADA = Actor("cli:ada")


@pytest.fixture(autouse=True)
def acting() -> Iterator[None]:
    before = audit.actor()
    audit.act_as(ADA)
    yield
    audit.act_as(before)


def acts(db: Database) -> list[tuple[str, Act, str]]:
    return [(entry.actor, entry.act, entry.target) for entry in audit.list_newest(db)][::-1]


def test_each_act_that_changes_something_is_noted_once(db: Database, release_id: int) -> None:
    asked = Submission("/photos", release_id, idempotency_key="monday")
    for _ in range(2):
        jobs.submit(db, asked)
    for _ in range(2):
        cancellation.cancel(db, 1)
    retries.retry(db, 1)
    retries.retry(db, 1)
    deletion.delete(db, 1)
    releases.promote(db, release_id)
    trainings.submit(db, {"seed": 3})
    for _ in range(2):
        trainings.cancel(db, 1)

    assert acts(db) == [
        ("cli:ada", Act.JOB_SUBMIT, "1"),
        ("cli:ada", Act.JOB_CANCEL, "1"),
        ("cli:ada", Act.JOB_RETRY, "1"),
        ("cli:ada", Act.JOB_DELETE, "1"),
        ("cli:ada", Act.MODEL_PROMOTE, str(release_id)),
        ("cli:ada", Act.TRAINING_SUBMIT, "1"),
        ("cli:ada", Act.TRAINING_CANCEL, "1"),
    ]


def test_an_act_that_is_undone_leaves_no_row(db: Database, release_id: int) -> None:
    with pytest.raises(NotFoundError):
        deletion.delete(db, 7)
    with pytest.raises(NotFoundError):
        releases.promote(db, 7)
    assert acts(db) == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_nothing_of_a_deleted_job_but_its_id_stays(db: Database, release_id: int) -> None:
    jobs.submit(db, Submission("/photos-of-somebody", release_id, metadata={"name": "Somebody"}))
    deletion.delete(db, 1)
    rows = str([vars(entry) for entry in audit.list_newest(db)])
    assert "job.delete" in rows
    assert "omebody" not in rows


def test_entries_go_when_they_are_older_than_the_audit_keeps_them(
    db: Database, release_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        queue_job(db, release_id)
    with db.write() as connection:
        present = connection.execute(sa.select(now())).scalar_one()
        connection.execute(
            sa.update(AuditEntry)
            .where(AuditEntry.id < 3)
            .values(at=present - timedelta(days=30, seconds=1))
        )

    assert audit.delete_due(db, 0) == 0
    assert audit.delete_due(db, 31) == 0
    with monkeypatch.context() as patch:
        patch.setattr(clocks, "read", lambda db: Reading(present, ahead_s=9999.0))
        assert audit.delete_due(db, 30) == 0, "a clock that nobody trusts deletes nothing"
    assert audit.delete_due(db, 30) == 2
    assert [entry.target for entry in audit.list_newest(db)] == ["3"]


def test_a_key_has_as_many_unfinished_jobs_as_its_limit(db: Database, release_id: int) -> None:
    key = keys.find(db, keys.create(db, "ci", Scope.SUBMIT))
    assert key is not None
    queue_job(db, release_id)  # Of somebody else.

    audit.act_as(Actor("ci", key.id, live_jobs=2))
    asked = Submission("/photos", release_id, idempotency_key="monday")
    first, _ = jobs.submit(db, asked)
    queue_job(db, release_id)
    with pytest.raises(LimitError, match="2 unfinished jobs") as refused:
        queue_job(db, release_id)
    assert refused.value.retry_s > 0
    assert jobs.submit(db, asked) == (first, False), "a repeated request is no new job"

    cancellation.cancel(db, first.id)
    queue_job(db, release_id)
    audit.act_as(Actor("ci", key.id))
    queue_job(db, release_id)  # Without a limit.
    assert [entry.key_id for entry in audit.list_newest(db, 4)] == 4 * [key.id]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_of_submissions_at_the_same_moment_no_more_than_the_limit_are_let_in(
    db: Database, release_id: int
) -> None:
    key = keys.find(db, keys.create(db, "ci", Scope.SUBMIT))
    assert key is not None
    start = threading.Barrier(8)

    def submit(_: int) -> bool:
        audit.act_as(Actor("ci", key.id, live_jobs=3))
        start.wait()
        try:
            queue_job(db, release_id)
        except LimitError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(submit, range(8))) == 3
