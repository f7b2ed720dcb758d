"""Deletion, by a user or by retention: jobs that ended long enough ago go with all their rows, a few pieces a sweep.

A job says itself how many days it is kept; one that doesn't is kept as long as `CUEMILL_RETENTION_DAYS` says, for ever
if that is 0. What somebody began to delete and didn't end is gone on with, too.
"""

import logging
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from models.errors import NotFoundError
from models.store import jobs
from models.store.database import Database
from models.store.states import LIVE, JobStatus
from models.store.tables import Batch, Image, Job, Prediction

DELETE_STEP = 5_000
"""Rows deleted in one transaction, or a few more where the last image has many faces."""
PIECES = 20
"""Pieces a sweep deletes at most: what else is swept shouldn't wait long."""

_ended_at = sa.func.coalesce(Job.completed_at, Job.cancelled_at, Job.failed_at)

_log = logging.getLogger(__name__)


def delete(db: Database, job_id: int) -> None:
    """Removes a job and all its rows. Nobody sees it from the first moment on; its rows go in pieces, so that nobody
    waits long. A crash in between is gone on with by the sweep, or by deleting again.

    Raises:
        NotFoundError: no such job.
    """
    with db.write() as connection:
        jobs.end(connection, job_id, status=JobStatus.CANCELLED, cancelled_at=datetime.now(UTC))
        if not hide(connection, Job.id == job_id):
            raise NotFoundError(f"No job {job_id}.")
    while delete_piece(db, job_id):
        pass


def hide(connection: Connection, *which: sa.ColumnElement[bool]) -> bool:
    """Takes an ended job out of sight, to be deleted; its idempotency key is free again. False when there is none."""
    values = {
        "deleted_at": sa.func.coalesce(Job.deleted_at, datetime.now(UTC)),
        "idempotency_key": None,
    }
    return bool(connection.execute(sa.update(Job).where(*which).values(values)).rowcount)


def delete_piece(db: Database, job_id: int) -> int:
    """Deletes some rows of a job that is out of sight, at last its own. Returns how many; 0 when nothing is left."""
    mine = sa.select(Job.id).where(Job.id == job_id, Job.deleted_at.is_not(None))
    with db.write() as connection:
        # Whoever else deletes the same job waits here, or the two could wait for one another's rows.
        if connection.scalar(mine.with_for_update()) is None:
            return 0
        # Predictions before their images: nothing but its image's row says whose a prediction is.
        for table in (Prediction, Image):
            numbers = sa.select(table.number).where(table.job_id == job_id).order_by(table.number)
            last = connection.scalar(numbers.offset(DELETE_STEP - 1).limit(1))
            piece = sa.delete(table).where(
                table.job_id == job_id, *([] if last is None else [table.number <= last])
            )
            if deleted := connection.execute(piece).rowcount:
                return deleted
        some = sa.select(Batch.id).where(Batch.job_id == job_id).limit(DELETE_STEP)
        return (
            connection.execute(sa.delete(Batch).where(Batch.id.in_(some))).rowcount
            or connection.execute(sa.delete(Job).where(Job.id == job_id)).rowcount
        )


def sweep(db: Database, default_days: int) -> int:
    """Deletes up to `PIECES` pieces of what is due; safe at any time, in any number of processes.

    Args:
        default_days: of jobs that don't say themselves; 0 = for ever.

    Returns how many rows were deleted.
    """
    _hide_expired(db, default_days)
    with db.read() as connection:
        hidden = connection.scalars(
            sa.select(Job.id).where(Job.deleted_at.is_not(None)).order_by(Job.id)
        ).all()
    pieces, total = PIECES, 0
    for job_id in hidden:
        rows = 0
        while pieces and (deleted := delete_piece(db, job_id)):
            pieces -= 1
            rows += deleted
        if rows:
            _log.warning("job=%d rows=%d deleted", job_id, rows)
        total += rows
    return total


def _hide_expired(db: Database, default_days: int) -> None:
    days = sa.func.coalesce(Job.retention_days, default_days)
    ended = [Job.status.not_in(LIVE), Job.deleted_at.is_(None)]
    now = datetime.now(UTC)
    with db.read() as connection:
        old = connection.execute(
            sa.select(Job.id, _ended_at.label("ended_at"), days.label("days")).where(
                *ended, days > 0, _ended_at < now - timedelta(days=1)
            )
        ).all()
    for job in old:
        moment = now - timedelta(days=job.days)
        if job.ended_at < moment:
            with db.write() as connection:  # Unless it was retried since.
                hide(connection, Job.id == job.id, *ended, _ended_at < moment)
