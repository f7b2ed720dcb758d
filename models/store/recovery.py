"""Recovery: batches whose worker is gone are queued again.

A batch that lost its worker MAX_ATTEMPTS times may hold an image that kills workers. It is split in
half until that image is alone; if its worker dies then too, the image is recorded as failed.
"""

import logging
from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from models.errors import DatabaseError, ImageCode
from models.store import batches, jobs, records, scans
from models.store.database import Database
from models.store.records import ImageRecord
from models.store.states import MAX_ATTEMPTS, Outcome
from models.store.tables import Batch, Job

LAST_LOSS: Final = MAX_ATTEMPTS - 1
"""The `losses` of a queued batch that is split the next time it loses its worker."""

_log = logging.getLogger(__name__)


def requeue_expired(db: Database) -> int:
    """Queues batches again whose lease has expired. Safe at any time, in any number of processes.

    A batch that the database refuses to change is logged and left to the next sweep.

    Returns:
        How many batches were recovered.
    """
    lost = _list_ids(db, *batches.LEASES.expired)
    if not lost:
        return 0

    db.end_frozen()
    return _recover_each(db, lost, *batches.LEASES.expired)


def requeue_worker(db: Database, worker: str, *, killed: bool = False) -> None:
    """Frees at once what a dead worker had claimed, without waiting for its leases to expire.

    Args:
        killed: its own program has ended it, which counts against no image.
    """
    with db.write() as connection:
        scans.release_claims(connection, worker)

    of_worker = (*batches.LEASES.claimed, Batch.worker == worker)
    if killed:
        with db.write() as connection:
            batches.requeue(connection, *of_worker)
        return
    _recover_each(db, _list_ids(db, *of_worker), *of_worker)


def _list_ids(db: Database, *conditions: sa.ColumnElement[bool]) -> Sequence[int]:
    with db.read() as connection:
        return connection.scalars(sa.select(Batch.id).where(*conditions).order_by(Batch.id)).all()


def _recover_each(
    db: Database, batch_ids: Sequence[int], *conditions: sa.ColumnElement[bool]
) -> int:
    """Recovers batches, each in a transaction of its own, so that none can stop the others."""
    count = 0
    for batch_id in batch_ids:
        try:
            with db.write() as connection:
                count += _recover(connection, batch_id, *conditions)
        except DatabaseError as error:
            _log.warning("batch=%d not recovered: %s", batch_id, error)
    return count


def _recover(connection: Connection, batch_id: int, *conditions: sa.ColumnElement[bool]) -> bool:
    """Recovers a batch if it still meets the conditions."""
    # Every transaction locks a job before its batches, or two of them could deadlock. A job that
    # another transaction has locked is left to the next sweep: that program may be frozen, and only
    # a sweep ends its connection.
    of_batch = sa.select(Batch.job_id).where(Batch.id == batch_id).scalar_subquery()
    locked_job = connection.scalar(
        sa.select(Job.id).where(Job.id == of_batch).with_for_update(skip_locked=True)
    )
    if locked_job is None:
        return False

    batch = connection.execute(
        sa.select(Batch).where(Batch.id == batch_id, *conditions).with_for_update(skip_locked=True)
    ).one_or_none()
    if batch is None:
        return False

    losses = batch.losses + 1
    if losses < MAX_ATTEMPTS:
        batches.requeue(connection, Batch.id == batch.id, losses=losses)
    elif batch.size > 1:
        _split(connection, batch)
    else:
        _give_up(connection, batch)
    return True


def _split(connection: Connection, batch: Row[Any]) -> None:
    """Replaces a batch with its two halves."""
    batches.end(connection, batch.id, size=0)
    middle = batch.size // 2
    for items in (batch.items[:middle], batch.items[middle:]):
        # A half that loses its worker is split again at once. A single image may lose as many as
        # a batch: another image of the batch may have caused the deaths so far.
        losses = LAST_LOSS if len(items) > 1 else 0
        batches.add(connection, batch.job_id, [items], batch.rerun, losses=losses)


def _give_up(connection: Connection, batch: Row[Any]) -> None:
    """Records the only image of a batch as failed."""
    ((number, path),) = batch.items
    image = ImageRecord(
        number,
        path,
        Outcome.FAILED,
        ImageCode.WORKER_DIED.value,
        f"The worker died {batch.losses + 1} times while classifying this image alone.",
    )
    release_id = connection.execute(
        sa.select(Job.model_release_id).where(Job.id == batch.job_id)
    ).scalar_one()

    batches.end(connection, batch.id)
    records.record(connection, batch.job_id, release_id, [image], batch.rerun)
    jobs.complete_if_ended(connection, batch.job_id)
