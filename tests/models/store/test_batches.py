"""Only the worker that holds a batch's claim can renew or complete it."""

import sqlalchemy as sa

from models.store import (
    batches,
    jobs,
    recovery,
)
from models.store.database import Database
from models.store.states import JobStatus, Outcome
from models.store.tables import Image, Job
from tests.builders import (
    LEASE_S,
    add_release,
    claim_batch,
    count_rows,
    expire_leases,
    list_folder,
    queue_job,
    records_of,
)


def test_a_batch_is_claimed_once(db: Database, release_id: int) -> None:
    list_folder(db, queue_job(db, release_id), 4)
    claim = claim_batch(db)
    assert batches.claim(db, claim.batch_id, "another", LEASE_S) is None
    assert batches.claim(db, None, "another", LEASE_S) is None


def test_a_worker_that_lost_its_claim_can_neither_renew_nor_complete(
    db: Database, release_id: int
) -> None:
    job = queue_job(db, release_id)
    list_folder(db, job, 4)
    sleeper = claim_batch(db, "sleeper")
    expire_leases(db)
    assert recovery.requeue_expired(db) == 1

    second = claim_batch(db, "second")
    assert second.attempt == sleeper.attempt + 1
    assert not batches.renew(db, sleeper, LEASE_S)
    assert not batches.complete(db, sleeper, records_of(sleeper, Outcome.UNREADABLE))
    assert count_rows(db, Image) == 0
    assert batches.complete(db, second, records_of(second))
    assert not batches.complete(db, second, records_of(second))
    assert jobs.get(db, job.id).counts.classified == 4


def test_results_of_another_release_than_the_jobs_are_refused_and_the_batch_runs_again(
    db: Database, release_id: int
) -> None:
    """In PostgreSQL, a batch that is being claimed can escape `retry --stale`."""
    newer = add_release(db, "newer")
    job = queue_job(db, release_id)
    list_folder(db, job, 4)
    escaped = claim_batch(db)
    with db.write() as connection:
        connection.execute(sa.update(Job).values(model_release_id=newer))

    assert not batches.complete(db, escaped, records_of(escaped))
    assert count_rows(db, Image) == 0

    again = claim_batch(db)
    assert (again.items, again.model_release_id) == (escaped.items, newer)
    assert not batches.complete(db, escaped, records_of(escaped))
    assert batches.complete(db, again, records_of(again))
    assert jobs.get(db, job.id).status is JobStatus.COMPLETED
