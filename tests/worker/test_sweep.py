"""The sweep: each of its duties, over both databases."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from models.errors import DatabaseError, NotFoundError
from models.settings import Settings
from models.store import (
    batches,
    cancellation,
    deletion,
    heartbeats,
    jobs,
    keys,
    recovery,
    sessions,
    trainings,
    uploads,
)
from models.store.database import Database
from models.store.jobs import Submission
from models.store.keys import Scope
from models.store.states import JobStatus
from models.store.tables import Batch, Job, Session, Training, Upload, Worker
from tests.builders import submit_job
from tests.services import wait_until
from worker.lease import worker_name
from worker.sweep import sweep, sweep_in_background

SETTINGS = Settings(_env_file=None, sweep_s=0.1, retention_days=1)


def test_a_batch_whose_lease_has_expired_is_queued_again(db: Database, release_id: int) -> None:
    submit_job(db, release_id, images=1)
    assert batches.claim(db, None, "h:1", lease_s=30)
    sweep(db, SETTINGS)
    assert batches.claim(db, None, "h:2", lease_s=30) is None
    with db.write() as connection:
        connection.execute(sa.update(Batch).values(lease_until=0.0))
    sweep(db, SETTINGS)
    assert batches.claim(db, None, "h:2", lease_s=30)


def test_a_training_whose_lease_has_expired_is_queued_again(db: Database) -> None:
    training_id = trainings.submit(db, {"candidates": ["model1"]}).id
    assert trainings.claim(db, training_id, "h:1", lease_s=30)
    with db.write() as connection:
        connection.execute(sa.update(Training).values(lease_until=0.0))
    sweep(db, SETTINGS)
    assert trainings.get(db, training_id).status is JobStatus.QUEUED


def test_the_rows_of_sessions_that_have_ended_are_deleted(db: Database) -> None:
    keys.create(db, "ada", Scope.READ)
    (key,) = keys.list_all(db)
    sessions.begin(db, key.id)
    with db.write() as connection:
        connection.execute(sa.update(Session).values(expires_at=Session.created_at))
    kept = sessions.begin(db, key.id)
    sweep(db, SETTINGS)

    with db.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(Session)) == 1
    assert keys.find_by_session(db, kept) == key


def test_uploads_go_with_their_jobs_and_those_of_no_job_after_a_day(
    db: Database, release_id: int, tmp_path: Path
) -> None:
    used, idle, kept = (uploads.create(db, tmp_path / "spool") for _ in range(3))
    job, _ = jobs.submit(db, Submission("/photos", release_id, upload=used.id))
    cancellation.cancel(db, job.id)
    two_days_ago = datetime.now(UTC) - timedelta(days=2)
    with db.write() as connection:
        connection.execute(sa.update(Job).values(cancelled_at=two_days_ago))
        is_idle = Upload.id == idle.id
        connection.execute(sa.update(Upload).where(is_idle).values(used_at=two_days_ago))
    sweep(db, SETTINGS)
    assert os.listdir(tmp_path / "spool") == [kept.id]


def test_a_job_past_its_retention_is_deleted_in_the_background(
    db: Database, release_id: int
) -> None:
    job_id = submit_job(db, release_id, images=1)
    cancellation.cancel(db, job_id)
    with db.write() as connection:
        two_days_ago = datetime.now(UTC) - timedelta(days=2)
        connection.execute(sa.update(Job).values(cancelled_at=two_days_ago))

    def is_deleted() -> bool:
        with db.read() as connection:
            return connection.scalar(sa.select(Job.id).where(Job.id == job_id)) is None

    with sweep_in_background(db, SETTINGS):
        wait_until(is_deleted, "the job to be deleted")
    with pytest.raises(NotFoundError):
        jobs.get(db, job_id)


@pytest.mark.parametrize("error", [DatabaseError("a row is refused"), OverflowError("too large")])
def test_a_duty_that_fails_stops_no_other(
    db: Database,
    release_id: int,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object) -> int:
        raise error

    duties = [
        (recovery, "requeue_expired"),
        (trainings, "requeue_expired"),
        (deletion, "delete_due"),
    ]
    done: list[str] = []
    for module, name in duties:
        monkeypatch.setattr(module, name, lambda *_, module=module: done.append(module.__name__))

    for module, name in duties:
        done.clear()
        with monkeypatch.context() as patch:
            patch.setattr(module, name, fail)
            sweep(db, SETTINGS)
        assert done == [other.__name__ for other, _ in duties if other is not module]
        assert str(error) in caplog.text
        caplog.clear()


def test_only_a_sweep_without_an_error_is_recorded(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    heartbeats.beat(db, worker_name(), 1, None, None)

    def fail(*_: object) -> int:
        raise DatabaseError("a row is refused")

    with monkeypatch.context() as patch:
        patch.setattr(deletion, "delete_due", fail)
        sweep(db, SETTINGS)
    assert last_sweep(db) is None
    sweep(db, SETTINGS)
    assert last_sweep(db) is not None


def last_sweep(db: Database) -> float | None:
    with db.read() as connection:
        return connection.scalar(sa.select(Worker.swept))
