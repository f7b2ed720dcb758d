"""A scan adds batches under a claim, and resumes after the last recorded path."""

import sqlalchemy as sa

from models.store import (
    jobs,
    recovery,
    scans,
)
from models.store.database import Database
from models.store.jobs import Submission
from models.store.tables import Batch
from tests.builders import (
    LEASE_S,
    queue_job,
)


def test_batches_begin_small_and_grow_with_the_job(db: Database, release_id: int) -> None:
    job, _ = jobs.submit(db, Submission("/faces", release_id, batch_size=256))
    claim = scans.claim(db, job.id, "worker", LEASE_S)
    assert claim is not None
    assert scans.record(db, claim, [(i, f"{i:05}.jpg") for i in range(10_000)], LEASE_S)

    with db.read() as connection:
        batches_made = connection.execute(
            sa.select(Batch.size, Batch.items).order_by(Batch.id)
        ).all()

    sizes = [row.size for row in batches_made]
    assert (sizes[0], max(sizes), sum(sizes)) == (32, 256, 10_000)
    assert sizes[:-1] == sorted(sizes[:-1])
    assert [number for row in batches_made for number, _ in row.items] == list(range(10_000))


def test_a_scan_whose_worker_died_resumes_after_the_last_recorded_path(
    db: Database, release_id: int
) -> None:
    job = queue_job(db, release_id)
    dead = scans.claim(db, job.id, "dead", LEASE_S)
    assert dead is not None
    scans.record(db, dead, [(0, "a.jpg"), (1, "b.jpg")], LEASE_S)
    assert scans.claim(db, None, "early", LEASE_S) is None

    recovery.requeue_worker(db, "dead")
    heir = scans.claim(db, None, "heir", LEASE_S)
    assert heir is not None
    assert (heir.cursor, heir.total) == ("b.jpg", 2)
    assert not scans.record(db, dead, [(2, "c.jpg")], LEASE_S)
    assert scans.record(db, heir, [(2, "c.jpg")], LEASE_S)
