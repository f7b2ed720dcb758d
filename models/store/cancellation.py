"""Cancellation: a job ends before its images do, because a user says so or because it cannot run.

Results stay. Unfinished images count as cancelled, and a retry queues them again.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from models.errors import CuemillError, FolderError
from models.store import audit, backoff, batches, jobs, scans
from models.store.audit import Act
from models.store.batches import Claim
from models.store.database import Database, now, now_s
from models.store.jobs import JobView
from models.store.scans import ScanClaim
from models.store.states import LIVE, JobStatus
from models.store.tables import Job


def cancel(db: Database, job_id: int) -> JobView:
    """Cancels a job; does nothing if it has ended.

    Raises:
        NotFoundError: no such job.
    """
    with db.write() as connection:
        if cancel_live(connection, job_id):
            audit.note(connection, Act.JOB_CANCEL, job_id)
        return jobs.view(connection, job_id)


def cancel_live(connection: Connection, job_id: int) -> bool:
    """Cancels a job within your transaction. Returns False if it has ended already."""
    return _end_early(connection, job_id, status=JobStatus.CANCELLED, cancelled_at=now())


def fail(db: Database, claim: Claim | ScanClaim, error: CuemillError) -> bool:
    """Ends a job that cannot run, with the reason. Returns False if the claim is lost.

    Another worker that has since claimed the work may be able to do it.
    """
    with db.write() as connection:
        if isinstance(claim, ScanClaim):
            is_claimed = scans.lock(connection, claim)
        else:
            is_claimed = batches.lock(connection, claim)

        return is_claimed and _fail(connection, claim.job_id, error.code, str(error))


def fail_job(db: Database, job_id: int, code: str, message: str) -> None:
    """Ends a job that nobody can run, with the reason; does nothing if it has ended."""
    with db.write() as connection:
        _fail(connection, job_id, code, message)


def fail_troubled(db: Database, give_up_s: float) -> None:
    """Fails the jobs whose folder could not be used for `give_up_s`."""
    with db.read() as connection:
        hopeless = connection.execute(
            sa.select(Job.id, Job.trouble).where(
                Job.status.in_(LIVE),
                Job.troubled_since < now_s() - give_up_s,
                Job.tries >= backoff.MIN_TRIES,
            )
        ).all()
    for job in hopeless:
        message = f"{job.trouble} No try within {give_up_s:.0f} s succeeded."
        fail_job(db, job.id, FolderError.code, message)


def _fail(connection: Connection, job_id: int, code: str, message: str) -> bool:
    return _end_early(
        connection,
        job_id,
        status=JobStatus.FAILED,
        failed_at=now(),
        error_code=code,
        error_message=message,
    )


def _end_early(connection: Connection, job_id: int, **values: Any) -> bool:
    # Every transaction locks a job before its batches, or two of them could deadlock.
    if not jobs.end(connection, job_id, **values):
        return False
    batches.cancel_unfinished(connection, job_id)
    jobs.announce_end(connection, job_id)
    return True
