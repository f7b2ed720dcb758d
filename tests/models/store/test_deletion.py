"""Deletion by hand and by retention, interrupted, and while other programs work."""

import logging
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from models.errors import DatabaseError, NotFoundError
from models.store import batches, cancellation, deletion, jobs, recovery, releases, results, retries
from models.store.database import Database
from models.store.filters import ResultFilter
from models.store.jobs import JobView, Submission
from models.store.states import JobStatus
from models.store.tables import Batch, Image, Job, Prediction
from tests.builders import LEASE_S, claim_batch, count_rows, list_folder, queue_job, records_of
from tests.services import patience, wait_until


def finished(
    db: Database, release_id: int, count: int = 10, days_ago: float = 0, **options: int
) -> JobView:
    """A job that was completed this many days ago."""
    job, _ = jobs.submit(db, Submission("/photos", release_id, batch_size=4, **options))  # type: ignore[arg-type]
    list_folder(db, job, count)
    while (claim := batches.claim(db, None, "worker", LEASE_S, job.id)) is not None:
        batches.complete(db, claim, records_of(claim))
    ended = jobs.get(db, job.id)
    assert ended.completed_at is not None
    with db.write() as connection:
        moment = ended.completed_at - timedelta(days=days_ago)
        connection.execute(sa.update(Job).where(Job.id == job.id).values(completed_at=moment))

    return jobs.get(db, job.id)


def rows(db: Database, job_id: int) -> int:
    """The number of rows that a job has in all tables, hidden or not."""
    columns = (Job.id, Batch.job_id, Image.job_id, Prediction.job_id)
    counts = [sa.select(sa.func.count()).where(column == job_id) for column in columns]
    with db.read() as connection:
        return sum(connection.scalar(query) or 0 for query in counts)


def ids(db: Database) -> set[int]:
    return {job.id for job in jobs.list_newest(db)}


def test_jobs_are_kept_forever_by_default(db: Database, release_id: int) -> None:
    job = finished(db, release_id, days_ago=5_000)
    assert deletion.delete_due(db, 0) == 0
    assert (ids(db), job.expires_at(0)) == ({job.id}, None)


def test_a_job_that_the_database_refuses_to_delete_stops_no_other(
    db: Database,
    release_id: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    refused = finished(db, release_id, days_ago=31)
    old = finished(db, release_id, days_ago=31)
    delete_step = deletion.delete_step

    def delete_step_of_another(db: Database, job_id: int) -> int:
        if job_id == refused.id:
            raise DatabaseError("a row is refused")
        return delete_step(db, job_id)

    monkeypatch.setattr(deletion, "delete_step", delete_step_of_another)
    assert deletion.delete_due(db, 30) == 10 + 10 + 3 + 1
    assert rows(db, old.id) == 0
    assert rows(db, refused.id) == 10 + 10 + 3 + 1
    assert f"job={refused.id} not deleted: a row is refused" in caplog.text


def test_jobs_are_deleted_when_their_retention_has_passed(
    db: Database, release_id: int, caplog: pytest.LogCaptureFixture
) -> None:
    old = finished(db, release_id, days_ago=31)
    young = finished(db, release_id, days_ago=29)
    kept = finished(db, release_id, days_ago=100, retention_days=0)
    short = finished(db, release_id, days_ago=3, retention_days=2)
    live = queue_job(db, release_id)
    with caplog.at_level(logging.WARNING):
        assert deletion.delete_due(db, 30) == 2 * (10 + 10 + 3 + 1)
    assert ids(db) == {young.id, kept.id, live.id}
    assert [rows(db, job.id) for job in (old, short)] == [0, 0]
    assert [r.getMessage() for r in caplog.records] == [
        f"job={j.id} rows=24 deleted" for j in (old, short)
    ]
    assert young.completed_at is not None
    assert young.expires_at(30) == young.completed_at + timedelta(days=30)
    assert (kept.expires_at(30), live.expires_at(30)) == (None, None)
    assert deletion.delete_due(db, 30) == 0


def test_a_retried_job_is_kept(db: Database, release_id: int) -> None:
    job = queue_job(db, release_id)
    cancellation.cancel(db, job.id)
    with db.write() as connection:
        connection.execute(sa.update(Job).values(cancelled_at=job.queued_at - timedelta(days=2)))
    retries.retry(db, job.id)
    assert deletion.delete_due(db, 1) == 0
    assert jobs.get(db, job.id).status is JobStatus.QUEUED


def test_a_sweep_deletes_a_limited_number_of_rows_and_the_next_continues(
    db: Database, release_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletion, "DELETE_STEP", 3)
    monkeypatch.setattr(deletion, "STEPS_PER_SWEEP", 2)
    job = finished(db, release_id, days_ago=2)
    assert deletion.delete_due(db, 1) == 6

    with pytest.raises(NotFoundError):
        jobs.get(db, job.id)
    assert rows(db, job.id) == 24 - 6

    sizes = []
    while deleted := deletion.delete_due(db, 1):
        sizes.append(deleted)
    assert sum(sizes) == 18
    assert max(sizes) <= 6
    assert rows(db, job.id) == 0


def test_concurrent_sweeps_and_deletions_do_no_harm(
    db: Database, release_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletion, "DELETE_STEP", 7)
    gone = finished(db, release_id, 200, days_ago=2)
    kept = finished(db, release_id, 20)
    start = threading.Barrier(4)
    deleted: list[int] = []

    def sweep() -> None:
        start.wait()
        while n := deletion.delete_due(db, 1):
            deleted.append(n)

    def delete() -> None:
        start.wait()
        try:
            deletion.delete(db, gone.id)
        except NotFoundError:
            deleted.append(0)

    in_threads(sweep, sweep, sweep, delete)
    assert sum(deleted) <= 200 + 200 + 50 + 1
    assert rows(db, gone.id) == 0
    assert rows(db, kept.id) == 20 + 20 + 5 + 1


def in_threads(*works: object) -> None:
    """Runs functions at the same time; none may raise."""
    failures: list[BaseException] = []

    def run(work: object) -> None:
        try:
            work()  # type: ignore[operator]
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_job_is_deleted_during_its_scan_and_classification_while_others_continue(
    db: Database, release_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletion, "DELETE_STEP", 10)
    gone, kept = queue_job(db, release_id), queue_job(db, release_id)
    list_folder(db, kept, 200)
    deleted = threading.Event()
    listed = threading.Event()

    def scan() -> None:
        from models.store import scans

        claim = scans.claim(db, gone.id, "scanner", LEASE_S)
        assert claim is not None
        number = 0
        while scans.record(
            db, claim, [(number + i, f"{number + i:05}.jpg") for i in range(4)], LEASE_S
        ):
            number += 4
            if number == 80:
                listed.set()

        assert not scans.finish(db, claim)

    def work() -> None:
        while not deleted.is_set():
            claim = batches.claim(db, None, "worker", LEASE_S)
            if claim is not None:
                batches.complete(db, claim, records_of(claim))
            recovery.requeue_expired(db)

    def read() -> None:
        while not deleted.is_set():
            for job in jobs.list_newest(db):
                counts = job.counts
                assert counts.total == counts.pending + counts.classified + counts.cancelled
                assert min(counts.pending, counts.classified) >= 0
            results.page(db, ResultFilter(), 50)

    def delete() -> None:
        assert listed.wait(patience(60))
        try:
            deletion.delete(db, gone.id)
        finally:
            deleted.set()

    in_threads(scan, work, work, read, delete)
    assert rows(db, gone.id) == 0

    while jobs.get(db, kept.id).status is not JobStatus.COMPLETED:
        claim = claim_batch(db)
        batches.complete(db, claim, records_of(claim))

    assert jobs.get(db, kept.id).counts.classified == 200
    assert rows(db, kept.id) == 200 + 200 + 50 + 1


def test_a_job_is_invisible_from_the_start_of_its_deletion(
    db: Database, release_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletion, "DELETE_STEP", 3)
    asked = Submission("/photos", release_id, idempotency_key="k")
    job, _ = jobs.submit(db, asked)
    list_folder(db, job, 10)
    other = finished(db, release_id)
    with db.write() as connection:
        deletion.hide(connection, Job.id == job.id)
    assert deletion.delete_step(db, job.id) == 3
    assert ids(db) == {other.id}
    assert {r.job_id for r in results.stream(db, ResultFilter())} == {other.id}
    assert jobs.totals(db).images["classified"] == 10
    assert jobs.find_live(db, asked) is None

    for look in (jobs.get, cancellation.cancel, retries.retry):
        with pytest.raises(NotFoundError):
            look(db, job.id)

    again, new = jobs.submit(db, asked)
    assert (new, again.id != job.id) == (True, True)

    deletion.delete(db, job.id)
    assert rows(db, job.id) == 0

    with pytest.raises(NotFoundError):
        deletion.delete(db, job.id)


@pytest.mark.parametrize("by", ["sweep", "delete"])
def test_a_deletion_that_was_killed_is_finished_later(
    db: Database, database_url: str, release_id: int, by: str
) -> None:
    job = finished(db, release_id, 400)
    script = (
        "from models.store import deletion\n"
        "from models.store.database import Database\n"
        "deletion.DELETE_STEP = 1\n"
        f"deletion.delete(Database({db.url.render_as_string(hide_password=False)!r}), {job.id})"
    )
    process = subprocess.Popen([sys.executable, "-c", script])
    before = rows(db, job.id)
    wait_until(lambda: rows(db, job.id) < before - 10, "some rows to be deleted")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert rows(db, job.id) > 0

    with pytest.raises(NotFoundError):
        jobs.get(db, job.id)
    if by == "sweep":
        while deletion.delete_due(db, 0):
            pass
    else:
        deletion.delete(db, job.id)

    assert rows(db, job.id) == 0


def test_deleted_data_is_overwritten_in_sqlite(tmp_path: Path, tiny_model: Path) -> None:
    file = tmp_path / "cuemill.db"
    db = Database(f"sqlite:///{file}")
    db.upgrade()
    job, _ = jobs.submit(
        db, Submission("/photos-of-somebody", releases.resolve(db, None, tiny_model))
    )
    list_folder(db, job, 100)

    def holds() -> list[bool]:
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return [text in file.read_bytes() for text in (b"photos-of-somebody", b"042.jpg")]

    assert holds() == [True, True]

    deletion.delete(db, job.id)
    assert holds() == [False, False]

    db.close()


def test_deleting_a_job_removes_all_its_rows_and_no_others(
    db: Database, release_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletion, "DELETE_STEP", 3)
    kept, gone = queue_job(db, release_id), queue_job(db, release_id)
    for job in (kept, gone):
        list_folder(db, job, 10)
    while (claim := batches.claim(db, None, "worker", LEASE_S)) is not None:
        batches.complete(db, claim, records_of(claim))
    deletion.delete(db, gone.id)
    with pytest.raises(NotFoundError):
        jobs.get(db, gone.id)
    assert jobs.get(db, kept.id).counts.classified == 10
    assert count_rows(db, Image) == count_rows(db, Prediction) == 10
