"""A job that ends early keeps its results; the rest counts as cancelled."""

import os

from models.errors import FolderError, PickleError
from models.store import batches, cancellation, jobs, recovery, scans, trainings
from models.store.database import Database
from models.store.states import JobStatus
from tests.builders import (
    LEASE_S,
    claim_batch,
    expire_leases,
    list_folder,
    queue_job,
    records_of,
)


def test_cancelling_keeps_results_and_discards_claimed_batches(
    db: Database, release_id: int
) -> None:
    job = queue_job(db, release_id)
    list_folder(db, job, 12)
    first = claim_batch(db)
    batches.complete(db, first, records_of(first))
    in_hand = claim_batch(db)
    for _ in range(2):
        cancelled = cancellation.cancel(db, job.id)
        assert (cancelled.status, cancelled.counts.classified, cancelled.counts.cancelled) == (
            JobStatus.CANCELLED,
            4,
            8,
        )

    assert not batches.complete(db, in_hand, records_of(in_hand))
    assert batches.claim(db, None, "worker", LEASE_S) is None
    assert jobs.get(db, job.id) == cancelled


def test_a_job_cancelled_during_its_scan_gets_no_more_batches(
    db: Database, release_id: int
) -> None:
    job = queue_job(db, release_id)
    scan = scans.claim(db, job.id, "scanner", LEASE_S)
    assert scan is not None
    cancellation.cancel(db, job.id)
    assert not scans.record(db, scan, [(0, "a.jpg")], LEASE_S)
    assert not scans.finish(db, scan)
    assert jobs.get(db, job.id).counts.total == 0


def test_only_the_worker_that_holds_a_batch_can_fail_its_job(db: Database, release_id: int) -> None:
    job = queue_job(db, release_id)
    list_folder(db, job, 4)
    sleeper = claim_batch(db, "sleeper")
    expire_leases(db)
    recovery.requeue_expired(db)
    error = PickleError("The model is not on this host.")
    assert not cancellation.fail(db, sleeper, error)

    present = claim_batch(db, "present")
    assert not cancellation.fail(db, sleeper, error)
    assert jobs.get(db, job.id).status is JobStatus.RUNNING

    assert cancellation.fail(db, present, error)
    assert jobs.get(db, job.id).status is JobStatus.FAILED
    assert not cancellation.fail(db, present, error)


def test_only_the_worker_that_holds_a_scan_can_fail_its_job(db: Database, release_id: int) -> None:
    job = queue_job(db, release_id)
    sleeper = scans.claim(db, job.id, "sleeper", LEASE_S)
    assert sleeper is not None
    recovery.requeue_worker(db, "sleeper")
    present = scans.claim(db, job.id, "present", LEASE_S)
    assert present is not None

    error = FolderError("/photos does not exist.")
    assert not cancellation.fail(db, sleeper, error)
    assert jobs.get(db, job.id).status is JobStatus.RUNNING

    assert cancellation.fail(db, present, error)
    assert jobs.get(db, job.id).status is JobStatus.FAILED
    assert not cancellation.fail(db, present, error)


def test_work_ends_whatever_its_error_quotes(db: Database, release_id: int) -> None:
    queue_job(db, release_id)
    scan = scans.claim(db, None, "worker", LEASE_S)
    trainings.submit(db, {"candidates": ["model1"]})
    training = trainings.claim(db, None, "worker", LEASE_S)
    assert scan
    assert training

    quoted = os.fsdecode(b"B\xe4r\0.jpg")
    assert cancellation.fail(db, scan, FolderError(f"{quoted} is gone."))
    assert trainings.fail(db, training, FileNotFoundError(quoted))

    escaped = r"B\udce4r\x00.jpg"
    assert jobs.get(db, scan.job_id).error == {"code": "folder", "message": f"{escaped} is gone."}
    error = trainings.get(db, training.training_id).error
    assert error == {"code": "internal", "message": f"FileNotFoundError: {escaped}"}
