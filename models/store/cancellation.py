"""Cancellation: a job ends before its images do, because a user says so or because it cannot run.

Results stay. Unfinished images count as cancelled, and a retry queues them again.
"""

from typing import Any

from sqlalchemy.engine import Connection

from models.errors import CuemillError
from models.store import batches, jobs, scans
from models.store.batches import Claim
from models.store.database import Database, now
from models.store.jobs import JobView
from models.store.scans import ScanClaim
from models.store.states import JobStatus


def cancel(db: Database, job_id: int) -> JobView:
    """Cancels a job; does nothing if it has ended.

    Raises:
        NotFoundError: no such job.
    """
    with db.write() as connection:
        cancel_live(connection, job_id)
        return jobs.view(connection, job_id)


def cancel_live(connection: Connection, job_id: int) -> None:
    """Cancels a job within your transaction; does nothing if it has ended."""
    _end_early(connection, job_id, status=JobStatus.CANCELLED, cancelled_at=now())


def fail(db: Database, claim: Claim | ScanClaim, error: CuemillError) -> bool:
    """Ends a job that cannot run, with the reason. Returns False if the claim is lost.

    Another worker that has since claimed the work may be able to do it.
    """
    with db.write() as connection:
        if isinstance(claim, ScanClaim):
            is_claimed = scans.lock(connection, claim)
        else:
            is_claimed = batches.lock(connection, claim)

        return is_claimed and _end_early(
            connection,
            claim.job_id,
            status=JobStatus.FAILED,
            failed_at=now(),
            error_code=error.code,
            error_message=str(error),
        )


def _end_early(connection: Connection, job_id: int, **values: Any) -> bool:
    # Every transaction locks a job before its batches, or two of them could deadlock.
    if not jobs.end(connection, job_id, **values):
        return False
    batches.cancel_unfinished(connection, job_id)
    return True
