"""Recovery: batches whose worker is gone are queued again.

A batch that lost its worker MAX_ATTEMPTS times may hold an image that kills workers. It is split in
half until that image is alone; if its worker dies then too, the image is recorded as failed.
"""

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from models.errors import ImageCode
from models.store import batches, jobs, records, scans
from models.store.database import Database
from models.store.records import ImageRecord
from models.store.states import MAX_ATTEMPTS, Outcome
from models.store.tables import Batch, Job

LAST_ATTEMPT: Final = MAX_ATTEMPTS - 1
"""The `attempt` of a queued batch that is split the next time it loses its worker."""


def requeue_expired(db: Database) -> int:
    """Queues batches again whose lease has expired. Safe at any time, in any number of processes.

    Returns:
        How many batches were recovered.
    """
    expired = sa.select(sa.func.count()).select_from(Batch).where(*batches.LEASES.expired)
    with db.read() as connection:
        if not connection.scalar(expired):
            return 0

    db.end_frozen()
    with db.write() as connection:
        return _recover(connection, *batches.LEASES.expired)


def requeue_worker(db: Database, worker: str) -> None:
    """Frees at once what a dead worker had claimed, without waiting for its leases to expire."""
    with db.write() as connection:
        scans.release_claims(connection, worker)
        _recover(connection, *batches.LEASES.claimed, Batch.worker == worker)


def _recover(connection: Connection, *conditions: sa.ColumnElement[bool]) -> int:
    # Every transaction locks a job before its batches, or two of them could deadlock. A job that
    # another transaction has locked is left to the next sweep: that program may be frozen, and only
    # a sweep ends its connection.
    affected = sa.select(Batch.job_id).where(*conditions)
    locked = connection.scalars(
        sa.select(Job.id).where(Job.id.in_(affected)).with_for_update(skip_locked=True)
    ).all()
    lost = connection.execute(
        sa.select(Batch)
        .where(*conditions, Batch.job_id.in_(locked))
        .order_by(Batch.id)
        .with_for_update(skip_locked=True)
    ).all()

    for batch in lost:
        if batch.attempt < MAX_ATTEMPTS:
            batches.requeue(connection, Batch.id == batch.id)
        elif batch.size > 1:
            _split(connection, batch)
        else:
            _give_up(connection, batch)
    return len(lost)


def _split(connection: Connection, batch: Row[Any]) -> None:
    """Replaces a batch with its two halves."""
    batches.end(connection, batch.id, size=0)
    middle = batch.size // 2
    for items in (batch.items[:middle], batch.items[middle:]):
        # A half that loses its worker is split again at once. A single image gets all its attempts:
        # another image of the batch may have caused the deaths so far.
        attempt = LAST_ATTEMPT if len(items) > 1 else 0
        batches.add(connection, batch.job_id, [items], attempt, batch.rerun)


def _give_up(connection: Connection, batch: Row[Any]) -> None:
    """Records the only image of a batch as failed."""
    ((number, path),) = batch.items
    image = ImageRecord(
        number,
        path,
        Outcome.FAILED,
        ImageCode.WORKER_DIED.value,
        f"The worker died {batch.attempt} times while classifying this image alone.",
    )
    release_id = connection.execute(
        sa.select(Job.model_release_id).where(Job.id == batch.job_id)
    ).scalar_one()

    batches.end(connection, batch.id)
    records.record(connection, batch.job_id, release_id, [image], batch.rerun)
    jobs.complete_if_ended(connection, batch.job_id)
