"""Retention: jobs that ended long enough ago are deleted, with all their rows, a few pieces a sweep.

A job says itself how many days it is kept; one that doesn't is kept as long as `CUEMILL_RETENTION_DAYS` says, for ever
if that is 0. What somebody began to delete and didn't end is gone on with, too.
"""

import logging
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from models import jobs
from models.database import Database
from models.states import LIVE
from models.tables import Job

PIECES = 20
"""Pieces a sweep deletes at most: what else is swept shouldn't wait long."""

_ended_at = sa.func.coalesce(Job.completed_at, Job.cancelled_at, Job.failed_at)

_log = logging.getLogger(__name__)


def sweep(db: Database, default_days: int) -> int:
    """Deletes up to `PIECES` pieces of what is due; safe at any time, in any number of processes.

    Args:
        default_days: of jobs that don't say themselves; 0 = for ever.

    Returns how many rows were deleted.
    """
    _hide_expired(db, default_days)
    with db.read() as connection:
        hidden = connection.scalars(sa.select(Job.id).where(Job.deleted_at.is_not(None)).order_by(Job.id)).all()
    pieces, total = PIECES, 0
    for job_id in hidden:
        rows = 0
        while pieces and (deleted := jobs.delete_piece(db, job_id)):
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
                jobs.hide(connection, Job.id == job.id, *ended, _ended_at < moment)
