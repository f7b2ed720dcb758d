"""Only the worker that holds a batch's claim can renew or complete it."""

from models.store import (
    batches,
    jobs,
    recovery,
)
from models.store.database import Database
from models.store.states import Outcome
from models.store.tables import Image
from tests.builders import (
    LEASE_S,
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
