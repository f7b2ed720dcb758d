"""The scan of a job's folder: claimed under a lease, so that only whoever holds its attempt may add batches."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from models.store.database import Database, now_s
from models.store.jobs import add_batches, complete_if_ended
from models.store.states import LIVE, JobStatus
from models.store.tables import Job

FIRST_BATCH: Final = 32

DUE: Final = (
    Job.status.in_(LIVE),
    Job.scanned_at.is_(None),
    sa.or_(Job.scan_lease_until.is_(None), Job.scan_lease_until < now_s()),
)
"""Jobs whose folder is to be listed, and by nobody at the moment."""


@dataclass(frozen=True)
class ScanClaim:
    """The right to list a job's folder, until the lease runs out."""

    job_id: int
    attempt: int
    folder: str
    recursive: bool
    batch_size: int
    cursor: str | None
    total: int


def claim(db: Database, job_id: int | None, worker: str, lease_s: float) -> ScanClaim | None:
    """Claims the scan of this job, or of the oldest one that is due; None when there is nothing to claim."""
    oldest = sa.select(Job.id).where(*DUE).order_by(Job.id).limit(1)
    if job_id is not None:
        oldest = oldest.where(Job.id == job_id)
    with (
        db.read() as connection
    ):  # Idle workers ask often; only one that finds something takes the write lock.
        if connection.scalar(oldest) is None:
            return None
    target = (
        oldest if db.is_sqlite else oldest.with_for_update(skip_locked=True)
    ).scalar_subquery()
    with db.write() as connection:
        row = connection.execute(
            sa.update(Job)
            .where(Job.id == target, *DUE)
            .values(
                status=JobStatus.RUNNING,
                running_at=sa.func.coalesce(Job.running_at, datetime.now(UTC)),
                scan_attempt=Job.scan_attempt + 1,
                scan_lease_until=now_s() + lease_s,
                scan_worker=worker,
                scan_hinted_at=None,  # The message has been answered: should the lease run out, another is due at once.
            )
            .returning(
                Job.id,
                Job.scan_attempt,
                Job.folder,
                Job.recursive,
                Job.batch_size,
                Job.scan_cursor,
                Job.total,
            )
        ).one_or_none()
    return ScanClaim(*row) if row else None


def batch_size(number: int, largest: int) -> int:
    """Images in the batch that begins with this number: few at first, so that all workers soon have some, then more,
    which cost less each; of few sizes, for the network prepares itself for each (docs/decisions/0011)."""
    return min(largest, FIRST_BATCH * max(1, number // (8 * FIRST_BATCH)))


def record(db: Database, claim: ScanClaim, items: list[tuple[int, str]], lease_s: float) -> bool:
    """Adds images found, in batches, renewing the lease; False when the claim is lost or the job has ended."""
    batches, left = [], items
    while left:
        size = batch_size(left[0][0], claim.batch_size)
        batches.append(left[:size])
        left = left[size:]
    with db.write() as connection:
        moved = connection.execute(
            sa.update(Job)
            .where(*_mine(claim))
            .values(
                total=Job.total + len(items),
                scan_cursor=items[-1][1],
                scan_lease_until=now_s() + lease_s,
            )
        )
        if moved.rowcount:
            add_batches(connection, claim.job_id, batches)
        return bool(moved.rowcount)


def renew(db: Database, claim: ScanClaim, lease_s: float) -> bool:
    """Extends the lease; False when the claim is lost or the job has ended."""
    with db.write(synced=False) as connection:
        moved = connection.execute(
            sa.update(Job).where(*_mine(claim)).values(scan_lease_until=now_s() + lease_s)
        )
        return bool(moved.rowcount)


def finish(db: Database, claim: ScanClaim) -> bool:
    """The folder has been listed to its end; False when the claim is lost."""
    with db.write() as connection:
        moved = connection.execute(
            sa.update(Job)
            .where(*_mine(claim))
            .values(scanned_at=datetime.now(UTC), scan_lease_until=None)
        )
        complete_if_ended(connection, claim.job_id)
        return bool(moved.rowcount)


def release_claims(connection: Connection, worker: str) -> None:
    """Makes the scans of a worker that is known to be gone claimable at once."""
    connection.execute(
        sa.update(Job)
        .where(Job.scan_worker == worker, Job.scanned_at.is_(None), Job.status.in_(LIVE))
        .values(scan_lease_until=None)
    )


def _mine(claim: ScanClaim) -> tuple[Any, ...]:
    return (
        Job.id == claim.job_id,
        Job.scan_attempt == claim.attempt,
        Job.status == JobStatus.RUNNING,
        Job.scanned_at.is_(None),
    )
