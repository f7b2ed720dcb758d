"""Re-runs of what an older release predicted: the old result stays until there is a new one, and counts are exact."""

from dataclasses import asdict
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from models.errors import PickleError
from models.store import batches, cancellation, jobs, recovery, results, retries
from models.store.database import Database
from models.store.jobs import JobView
from models.store.results import Filter
from models.store.states import BatchState, JobStatus, Outcome
from models.store.tables import Batch, Image, ModelRelease
from tests.models.store.test_jobs import (
    LEASE_S,
    claim_one,
    counted_in_sql,
    lose_leases,
    rows_of,
    scan_whole,
    submit,
)


@pytest.fixture
def newer(db: Database, release_id: int) -> int:
    """A second release, which new jobs are to use."""
    columns = [
        c.name
        for c in ModelRelease.__table__.columns
        if c.name not in ("id", "sha256", "name", "created_at")
    ]
    with db.write() as connection:
        first = connection.execute(sa.select(ModelRelease)).one()._mapping
        values = {name: first[name] for name in columns}
        made = sa.insert(ModelRelease).values(
            **values, sha256="f" * 64, name="newer", created_at=datetime.now(UTC)
        )
        return int(connection.execute(made.returning(ModelRelease.id)).scalar_one())


@pytest.fixture
def done(db: Database, release_id: int) -> JobView:
    """A job of ten images, classified by the older release but for two that were unreadable."""
    job = submit(db, release_id)
    scan_whole(db, job, 10)
    work(db)
    with db.write() as connection:
        connection.execute(sa.text("UPDATE images SET reused = true WHERE number IN (1, 2)"))
        connection.execute(sa.text("UPDATE jobs SET reused = 2"))
    return jobs.get(db, job.id)


def work(db: Database, outcome: Outcome = Outcome.CLASSIFIED) -> None:
    """Runs what is due; the batch of numbers 8 and 9 is unreadable the first time."""
    while (claim := batches.claim(db, None, "worker", LEASE_S)) is not None:
        bad = claim.items[0][0] == 8 and not claim.rerun
        assert batches.complete(db, claim, rows_of(claim, Outcome.UNREADABLE if bad else outcome))
        check(db, claim.job_id)


def check(db: Database, job_id: int) -> None:
    """The job's counts are those of its images and batches; an image to be run again is pending, with its old row."""
    pending_again = sa.select(sa.func.coalesce(sa.func.sum(Batch.size), 0)).where(
        Batch.job_id == job_id,
        Batch.rerun,
        Batch.state.in_((BatchState.QUEUED, BatchState.RUNNING)),
    )
    with db.read() as connection:
        again = int(connection.scalar(pending_again) or 0)
        reused = connection.scalar(
            sa.select(sa.func.count()).where(Image.job_id == job_id, Image.reused)
        )
    found = counted_in_sql(db, job_id)
    found |= {"classified": found["classified"] - again, "total": found["total"] - again}
    job = jobs.get(db, job_id)
    assert asdict(job.counts) == found
    assert job.reused == reused


def made_by(db: Database, job: JobView) -> list[str | None]:
    return [
        record.model for record in results.stream(db, Filter(job.id, outcome=Outcome.CLASSIFIED))
    ]


def test_only_what_another_release_predicted_is_run_again(
    db: Database, done: JobView, newer: int
) -> None:
    again, count = retries.retry(db, done.id, present_release=newer)
    assert (count, again.status, again.counts.pending, again.counts.unreadable) == (
        8,
        JobStatus.RUNNING,
        8,
        2,
    )
    assert (again.model, again.reused) == ("newer", 0)
    assert made_by(db, done) == 8 * ["tiny"]
    check(db, done.id)
    claim = claim_one(db)
    assert batches.complete(db, claim, rows_of(claim))
    assert made_by(db, done) == 4 * ["newer"] + 4 * ["tiny"]
    work(db)
    assert made_by(db, done) == 8 * ["newer"]
    ended = jobs.get(db, done.id)
    assert (ended.status, ended.counts.classified, ended.counts.unreadable) == (
        JobStatus.COMPLETED,
        8,
        2,
    )
    assert retries.retry(db, done.id, present_release=newer)[1] == 0
    assert jobs.get(db, done.id).status is JobStatus.COMPLETED


def test_codes_come_on_top(db: Database, done: JobView, newer: int) -> None:
    assert retries.retry(db, done.id, ("truncated", "empty"), newer)[1] == 10
    work(db)
    assert made_by(db, done) == 8 * ["newer"]


@pytest.mark.parametrize("end", ["cancel", "fail"])
def test_a_rerun_that_is_ended_early_loses_no_result(
    db: Database, done: JobView, newer: int, end: str
) -> None:
    retries.retry(db, done.id, present_release=newer)
    first = claim_one(db)
    batches.complete(db, first, rows_of(first))
    in_hand = claim_one(db)
    if end == "cancel":
        cancellation.cancel(db, done.id)
    else:
        cancellation.fail(db, done.id, PickleError("The model isn't on this host."))
    check(db, done.id)
    assert not batches.complete(db, in_hand, rows_of(in_hand))
    ended = jobs.get(db, done.id)
    assert (ended.counts.classified, ended.counts.cancelled) == (8, 0)
    assert made_by(db, done) == 4 * ["newer"] + 4 * ["tiny"]
    assert retries.retry(db, done.id, present_release=newer)[1] == 4
    work(db)
    assert made_by(db, done) == 8 * ["newer"]


def test_an_image_that_is_gone_keeps_its_old_result(
    db: Database, done: JobView, newer: int
) -> None:
    retries.retry(db, done.id, present_release=newer)
    work(db, Outcome.UNREADABLE)
    ended = jobs.get(db, done.id)
    assert (ended.status, ended.counts.classified, ended.counts.unreadable) == (
        JobStatus.COMPLETED,
        8,
        2,
    )
    assert made_by(db, done) == 8 * ["tiny"]


def test_an_image_that_kills_its_worker_keeps_its_old_result(
    db: Database, done: JobView, newer: int
) -> None:
    retries.retry(db, done.id, present_release=newer)
    while (claim := batches.claim(db, None, "worker", LEASE_S)) is not None:
        if 5 in [number for number, _ in claim.items]:
            lose_leases(db)
            recovery.requeue_expired(db)
        else:
            batches.complete(db, claim, rows_of(claim))
        check(db, done.id)
    assert sorted(map(str, made_by(db, done))) == 7 * ["newer"] + ["tiny"]
    assert jobs.get(db, done.id).status is JobStatus.COMPLETED


def test_asked_twice_it_runs_once(db: Database, done: JobView, newer: int) -> None:
    for _ in range(2):
        retries.retry(db, done.id, present_release=newer)
        check(db, done.id)
    with db.read() as connection:
        due = (
            connection.execute(sa.select(Batch.items).where(Batch.state == BatchState.QUEUED))
            .scalars()
            .all()
        )
    assert sorted(number for items in due or [] for number, _ in items or []) == list(range(8))


def test_what_a_running_job_has_in_hand_is_done_by_the_new_release(
    db: Database, release_id: int, newer: int
) -> None:
    job = submit(db, release_id)
    scan_whole(db, job, 8)
    first = claim_one(db)
    batches.complete(db, first, rows_of(first))
    in_hand = claim_one(db)
    assert retries.retry(db, job.id, present_release=newer)[1] == 4
    assert not batches.complete(db, in_hand, rows_of(in_hand))
    work(db)
    assert made_by(db, job) == 8 * ["newer"]
