"""Retries queue images again; in a re-run, each keeps its old result until it has a new one."""

from dataclasses import asdict

import pytest
import sqlalchemy as sa

from models.errors import FolderError, PickleError
from models.store import batches, cancellation, jobs, recovery, results, retries, scans
from models.store.database import Database
from models.store.filters import ResultFilter
from models.store.jobs import JobView
from models.store.states import BatchState, JobStatus, Outcome
from models.store.tables import Batch, Image
from tests.builders import (
    LEASE_S,
    add_release,
    claim_batch,
    count_in_sql,
    expire_leases,
    list_folder,
    queue_job,
    records_of,
)


@pytest.fixture
def newer(db: Database, release_id: int) -> int:
    """A second release, which new jobs use."""
    return add_release(db, "newer")


@pytest.fixture
def done(db: Database, release_id: int) -> JobView:
    """A job of ten images: the older release classified eight, two were unreadable."""
    job = queue_job(db, release_id)
    list_folder(db, job, 10)
    work(db)
    with db.write() as connection:
        connection.execute(sa.text("UPDATE images SET reused = true WHERE number IN (1, 2)"))
        connection.execute(sa.text("UPDATE jobs SET reused = 2"))
    return jobs.get(db, job.id)


def work(db: Database, outcome: Outcome = Outcome.CLASSIFIED) -> None:
    """Completes all queued batches; images 8 and 9 are unreadable the first time."""
    while (claim := batches.claim(db, None, "worker", LEASE_S)) is not None:
        bad = claim.items[0][0] == 8 and not claim.rerun
        assert batches.complete(
            db, claim, records_of(claim, Outcome.UNREADABLE if bad else outcome)
        )
        check(db, claim.job_id)


def check(db: Database, job_id: int) -> None:
    """Checks a job's counts against its rows; an image of a re-run is pending despite its row."""
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

    counts = count_in_sql(db, job_id)
    counts["classified"] -= again
    counts["total"] -= again
    job = jobs.get(db, job_id)
    assert asdict(job.counts) == counts
    assert job.reused == reused


def models_of(db: Database, job: JobView) -> list[str | None]:
    return [
        record.model
        for record in results.stream(db, ResultFilter(job.id, outcome=Outcome.CLASSIFIED))
    ]


def test_only_images_that_another_release_predicted_are_run_again(
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
    assert models_of(db, done) == 8 * ["tiny"]

    check(db, done.id)
    claim = claim_batch(db)
    assert batches.complete(db, claim, records_of(claim))
    assert models_of(db, done) == 4 * ["newer"] + 4 * ["tiny"]

    work(db)
    assert models_of(db, done) == 8 * ["newer"]

    ended = jobs.get(db, done.id)
    assert (ended.status, ended.counts.classified, ended.counts.unreadable) == (
        JobStatus.COMPLETED,
        8,
        2,
    )
    assert retries.retry(db, done.id, present_release=newer)[1] == 0
    assert jobs.get(db, done.id).status is JobStatus.COMPLETED


def test_error_codes_add_failed_images_to_a_rerun(db: Database, done: JobView, newer: int) -> None:
    assert retries.retry(db, done.id, ("truncated", "empty"), newer)[1] == 10
    work(db)
    assert models_of(db, done) == 8 * ["newer"]


@pytest.mark.parametrize("end", ["cancel", "fail"])
def test_a_rerun_that_ends_early_loses_no_result(
    db: Database, done: JobView, newer: int, end: str
) -> None:
    retries.retry(db, done.id, present_release=newer)
    first = claim_batch(db)
    batches.complete(db, first, records_of(first))
    in_hand = claim_batch(db)
    if end == "cancel":
        cancellation.cancel(db, done.id)
    else:
        cancellation.fail(db, in_hand, PickleError("The model isn't on this host."))

    check(db, done.id)
    assert not batches.complete(db, in_hand, records_of(in_hand))

    ended = jobs.get(db, done.id)
    assert (ended.counts.classified, ended.counts.cancelled) == (8, 0)
    assert models_of(db, done) == 4 * ["newer"] + 4 * ["tiny"]
    assert retries.retry(db, done.id, present_release=newer)[1] == 4

    work(db)
    assert models_of(db, done) == 8 * ["newer"]


def test_an_image_that_can_no_longer_be_read_keeps_its_old_result(
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
    assert models_of(db, done) == 8 * ["tiny"]


def test_an_image_that_kills_its_worker_keeps_its_old_result(
    db: Database, done: JobView, newer: int
) -> None:
    retries.retry(db, done.id, present_release=newer)
    while (claim := batches.claim(db, None, "worker", LEASE_S)) is not None:
        if 5 in [number for number, _ in claim.items]:
            expire_leases(db)
            recovery.requeue_expired(db)
        else:
            batches.complete(db, claim, records_of(claim))
        check(db, done.id)

    assert sorted(map(str, models_of(db, done))) == 7 * ["newer"] + ["tiny"]
    assert jobs.get(db, done.id).status is JobStatus.COMPLETED


def test_a_rerun_that_is_requested_twice_runs_once(db: Database, done: JobView, newer: int) -> None:
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


@pytest.mark.parametrize("claimed", [False, True])
def test_a_rerun_that_a_rollback_makes_unnecessary_completes_its_job(
    db: Database, done: JobView, release_id: int, newer: int, claimed: bool
) -> None:
    retries.retry(db, done.id, present_release=newer)
    in_hand = claim_batch(db) if claimed else None
    back, count = retries.retry(db, done.id, present_release=release_id)
    assert (count, back.status, back.counts) == (0, JobStatus.COMPLETED, done.counts)
    assert back.completed_at is not None
    assert models_of(db, done) == 8 * ["tiny"]

    check(db, done.id)
    assert in_hand is None or not batches.complete(db, in_hand, records_of(in_hand))


def test_a_rollback_during_a_rerun_runs_only_what_the_newer_release_replaced(
    db: Database, done: JobView, release_id: int, newer: int
) -> None:
    retries.retry(db, done.id, present_release=newer)
    first = claim_batch(db)
    batches.complete(db, first, records_of(first))
    back, count = retries.retry(db, done.id, present_release=release_id)
    assert (count, back.status, back.counts.pending) == (4, JobStatus.RUNNING, 4)

    work(db)
    assert models_of(db, done) == 8 * ["tiny"]
    assert jobs.get(db, done.id).status is JobStatus.COMPLETED


def test_a_cancelled_job_that_is_rerun_in_part_is_cancelled_again(
    db: Database, release_id: int, newer: int
) -> None:
    job = queue_job(db, release_id)
    list_folder(db, job, 8)
    first = claim_batch(db)
    batches.complete(db, first, records_of(first))
    cancellation.cancel(db, job.id)
    assert retries.retry(db, job.id, present_release=newer)[1] == 4

    work(db)
    again = jobs.get(db, job.id)
    assert (again.status, again.counts.classified, again.counts.cancelled) == (
        JobStatus.CANCELLED,
        4,
        4,
    )
    assert (again.completed_at, again.cancelled_at is None) == (None, False)
    assert retries.retry(db, job.id)[1] == 4

    work(db)
    assert jobs.get(db, job.id).status is JobStatus.COMPLETED


def test_claimed_batches_of_a_running_job_are_rerun_with_the_new_release(
    db: Database, release_id: int, newer: int
) -> None:
    job = queue_job(db, release_id)
    list_folder(db, job, 8)
    first = claim_batch(db)
    batches.complete(db, first, records_of(first))
    in_hand = claim_batch(db)
    assert retries.retry(db, job.id, present_release=newer)[1] == 4
    assert not batches.complete(db, in_hand, records_of(in_hand))

    work(db)
    assert models_of(db, job) == 8 * ["newer"]


def test_a_retry_runs_only_what_was_unreadable_or_failed(db: Database, release_id: int) -> None:
    job = queue_job(db, release_id)
    list_folder(db, job, 8)
    first = claim_batch(db)
    batches.complete(db, first, records_of(first))
    second = claim_batch(db)
    batches.complete(db, second, records_of(second, Outcome.UNREADABLE))
    assert retries.retry(db, job.id, ("other_code",))[1] == 0

    again, retried = retries.retry(db, job.id)
    assert (retried, again.status, again.counts.pending, again.counts.unreadable) == (
        4,
        JobStatus.RUNNING,
        4,
        0,
    )

    claim = claim_batch(db)
    assert claim.items == second.items

    batches.complete(db, claim, records_of(claim))
    ended = jobs.get(db, job.id)
    assert (ended.status, ended.counts.classified) == (JobStatus.COMPLETED, 8)


def test_a_retry_runs_the_cancelled_images_of_a_job(db: Database, release_id: int) -> None:
    job = queue_job(db, release_id)
    list_folder(db, job, 8)
    first = claim_batch(db)
    batches.complete(db, first, records_of(first))
    stale = claim_batch(db)
    cancellation.cancel(db, job.id)
    again, retried = retries.retry(db, job.id)
    assert (retried, again.status, again.counts.pending, again.counts.cancelled) == (
        4,
        JobStatus.RUNNING,
        4,
        0,
    )

    claim = claim_batch(db)
    assert not batches.complete(db, stale, records_of(stale))
    assert batches.complete(db, claim, records_of(claim))
    assert jobs.get(db, job.id).status is JobStatus.COMPLETED


def test_a_failed_job_can_be_retried(db: Database, release_id: int) -> None:
    job = queue_job(db, release_id)
    scan = scans.claim(db, job.id, "scanner", LEASE_S)
    assert scan is not None
    assert cancellation.fail(db, scan, FolderError("/photos doesn't exist."))
    failed = jobs.get(db, job.id)
    assert (failed.status, failed.error) == (
        JobStatus.FAILED,
        {"code": "folder", "message": "/photos doesn't exist."},
    )
    assert retries.retry(db, job.id)[0].status is JobStatus.QUEUED

    list_folder(db, job, 1)
