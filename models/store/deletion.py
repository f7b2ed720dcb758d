"""Deletion, by a user or because a job's retention has passed: a job goes with all its rows, and
with the files that were uploaded for it.

The job is hidden first and its rows are deleted in small transactions, so that other programs never
wait long. The sweep finishes a deletion that was interrupted.
"""

import logging
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from models.errors import DatabaseError, NotFoundError
from models.store import audit, cancellation, clocks, deliveries, uploads
from models.store.audit import Act
from models.store.database import Database, now
from models.store.job_filters import ENDED_AT
from models.store.states import LIVE
from models.store.tables import Batch, Image, Job, Prediction, Summary

DELETE_STEP = 5_000
"""Rows deleted in one transaction, or slightly more if the last image has many faces."""
STEPS_PER_SWEEP = 20
"""A limit, so that a sweep's other duties are not delayed."""


_log = logging.getLogger(__name__)


def delete(db: Database, job_id: int) -> None:
    """Deletes a job and all its rows. If this is interrupted, the next sweep finishes it.

    Raises:
        NotFoundError: no such job.
    """
    with db.write() as connection:
        cancellation.cancel_live(connection, job_id)
        if not hide(connection, Job.id == job_id):
            raise NotFoundError(f"No job {job_id}.")
        audit.note(connection, Act.JOB_DELETE, job_id)
    while delete_step(db, job_id):
        pass
    uploads.remove_deleted(db)


def delete_due(db: Database, default_days: int) -> int:
    """Deletes jobs whose retention has passed, and finishes interrupted deletions.

    Each call deletes a limited number of rows. Safe at any time, in any number of processes. A job
    that the database refuses to delete is logged and left to the next call.

    Args:
        default_days: the retention of jobs that do not set their own; 0 = forever.

    Returns:
        How many rows were deleted.
    """
    _hide_expired(db, default_days)
    with db.read() as connection:
        job_ids = connection.scalars(
            sa.select(Job.id).where(Job.deleted_at.is_not(None)).order_by(Job.id)
        ).all()

    total = 0
    steps = STEPS_PER_SWEEP
    for job_id in job_ids:
        rows = 0
        try:
            while steps:
                deleted = delete_step(db, job_id)
                if not deleted:
                    break
                steps -= 1
                rows += deleted
        except DatabaseError as error:
            _log.warning("job=%d not deleted: %s", job_id, error)
        if rows:
            _log.warning("job=%d rows=%d deleted", job_id, rows)
        total += rows
    return total


def hide(connection: Connection, *conditions: sa.ColumnElement[bool]) -> bool:
    """Hides an ended job and frees its idempotency key. Returns False if there is no such job."""
    result = connection.execute(
        sa.update(Job)
        .where(*conditions)
        .values(deleted_at=sa.func.coalesce(Job.deleted_at, now()), idempotency_key=None)
    )
    return bool(result.rowcount)


def delete_step(db: Database, job_id: int) -> int:
    """Deletes some rows of a hidden job, its own last. Returns how many; 0 if the job is gone."""
    with db.write() as connection:
        # Programs that delete the same job take turns here, or they could deadlock on its rows.
        hidden = sa.select(Job.id).where(Job.id == job_id, Job.deleted_at.is_not(None))
        if connection.scalar(hidden.with_for_update()) is None:
            return 0

        # Predictions go before images: a prediction must never be without its image.
        return (
            _delete_numbered(connection, Prediction, job_id)
            or _delete_numbered(connection, Image, job_id)
            or _delete_batches(connection, job_id)
            or deliveries.delete_ended(connection, job_id)
            or _delete_job(connection, job_id)
        )


def _delete_job(connection: Connection, job_id: int) -> int:
    uploads.release(connection, job_id)
    connection.execute(sa.delete(Summary).where(Summary.job_id == job_id))
    return connection.execute(sa.delete(Job).where(Job.id == job_id)).rowcount


def _delete_numbered(
    connection: Connection, table: type[Prediction] | type[Image], job_id: int
) -> int:
    numbers = sa.select(table.number).where(table.job_id == job_id).order_by(table.number)
    last = connection.scalar(numbers.offset(DELETE_STEP - 1).limit(1))

    step = sa.delete(table).where(table.job_id == job_id)
    if last is not None:
        step = step.where(table.number <= last)
    return connection.execute(step).rowcount


def _delete_batches(connection: Connection, job_id: int) -> int:
    step = sa.select(Batch.id).where(Batch.job_id == job_id).limit(DELETE_STEP)
    return connection.execute(sa.delete(Batch).where(Batch.id.in_(step))).rowcount


def _hide_expired(db: Database, default_days: int) -> None:
    ended = [Job.status.not_in(LIVE), Job.deleted_at.is_(None)]
    days = sa.func.coalesce(Job.retention_days, default_days)
    # Decided by this very reading: the clock may be set right the moment after.
    clock = clocks.read(db)
    with db.read() as connection:
        candidates = connection.execute(
            sa.select(Job.id, ENDED_AT.label("ended_at"), days.label("days")).where(
                *ended, days > 0, clock.now - timedelta(days=1) > ENDED_AT
            )
        ).all()

    limits = {job.id: clock.now - timedelta(days=job.days) for job in candidates}
    expired = [job.id for job in candidates if job.ended_at < limits[job.id]]
    if not expired:
        return

    if not clock.is_trusted:
        _log.warning(
            "The clocks of this host and of the database are %.0f s apart. Nothing is deleted by "
            "its retention until they agree; `cuemill status` says more.",
            abs(clock.ahead_s),
        )
        return

    for job_id in expired:
        with db.write() as connection:
            # The conditions are checked again: the job may have been retried since.
            hide(connection, Job.id == job_id, *ended, limits[job_id] > ENDED_AT)
