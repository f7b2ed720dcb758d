"""Scans: a job's folder is listed by one worker at a time, which adds batches as it goes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from models.errors import FolderError
from models.store import backoff, batches, jobs
from models.store.batches import Item
from models.store.database import Database, now, now_s
from models.store.leases import Leases, has_rows, is_over
from models.store.states import LIVE, JobStatus
from models.store.tables import Job

FIRST_BATCH: Final = 32

LEASES: Final = Leases(
    Job,
    due=(
        Job.status.in_(LIVE),
        Job.scanned_at.is_(None),
        backoff.is_due(Job.not_before),
        sa.or_(Job.scan_lease_until.is_(None), is_over(Job.scan_lease_until)),
    ),
    claimed=(Job.status == JobStatus.RUNNING, Job.scanned_at.is_(None)),
    attempt=Job.scan_attempt,
    nonce=Job.scan_nonce,
    until=Job.scan_lease_until,
    worker=Job.scan_worker,
)


@dataclass(frozen=True)
class ScanClaim:
    """The right to list a job's folder until the lease expires.

    Args:
        cursor: the last path that was recorded, to resume after.
        total: how many images were recorded before this claim.
        only: the names of the files to classify; None = whatever the walk finds.
        exclude: patterns of what to pass over.
        skipped: what was passed over before this claim, by kind.
        inode: of the folder, as the first claim saw it; None if that is not known.
        troubled_s: since when the folder could not be listed, in seconds.
    """

    job_id: int
    attempt: int
    nonce: int
    folder: str
    recursive: bool
    batch_size: int
    cursor: str | None
    total: int
    only: Sequence[str] | None = None
    exclude: Sequence[str] = ()
    skipped: Mapping[str, int] = field(default_factory=dict)
    inode: str | None = None
    troubled_s: float = 0.0


def claim(db: Database, job_id: int | None, worker: str, lease_s: float) -> ScanClaim | None:
    """Claims the scan of this job, or of the oldest job that is due; None if there is none."""
    target = LEASES.oldest_due() if job_id is None else LEASES.oldest_due(Job.id == job_id)
    if not has_rows(db, target):
        return None

    with db.write() as connection:
        job = LEASES.claim(
            connection,
            target,
            worker,
            lease_s,
            status=JobStatus.RUNNING,
            running_at=sa.func.coalesce(Job.running_at, now()),
            scan_hinted_at=None,  # If this lease expires, the scan is announced again at once.
            returning=[
                Job.id,
                Job.scan_attempt,
                Job.scan_nonce,
                Job.folder,
                Job.recursive,
                Job.batch_size,
                Job.scan_cursor,
                Job.total,
                Job.only,
                Job.exclude,
                Job.skipped,
                Job.folder_inode,
                Job.troubled_since,
                Job.scan_lease_until,
            ],
        )
    if job is None:
        return None
    *values, since, lease_until = job
    troubled_s = 0.0 if since is None else lease_until - lease_s - since
    return replace(ScanClaim(*values), troubled_s=troubled_s)


def lock(connection: Connection, claim: ScanClaim) -> bool:
    """Keeps a claim valid until your transaction ends. Returns False if it is lost."""
    return LEASES.lock(connection, claim.job_id, claim.nonce)


def begin(db: Database, claim: ScanClaim, inode: str) -> bool:
    """Notes which folder is listed; False if the claim is lost or the job has ended."""
    with db.write() as connection:
        return LEASES.update(
            connection,
            claim.job_id,
            claim.nonce,
            folder_inode=sa.func.coalesce(Job.folder_inode, inode),
        )


def give_back(db: Database, claim: ScanClaim, trouble: FolderError) -> bool:
    """Lets a job wait until its folder can be used; False if the claim is lost."""
    with db.write() as connection:
        is_claimed = LEASES.update(connection, claim.job_id, claim.nonce, scan_lease_until=None)
        if is_claimed:
            jobs.begin_trouble(connection, claim.job_id, trouble)
        return is_claimed


def record(
    db: Database,
    claim: ScanClaim,
    items: Sequence[Item],
    lease_s: float,
    skipped: Mapping[str, int] | None = None,
) -> bool:
    """Adds images in batches and renews the lease; False if the claim is lost or the job ended.

    Args:
        skipped: what was passed over up to the last of them, by kind; None = nothing since.
    """
    with db.write() as connection:
        is_claimed = LEASES.update(
            connection,
            claim.job_id,
            claim.nonce,
            total=Job.total + len(items),
            scan_cursor=items[-1][1],
            skipped=Job.skipped if skipped is None else dict(skipped),
            scan_lease_until=now_s() + lease_s,
            trouble=None,
            **backoff.NONE,
        )
        if is_claimed:
            batches.add(connection, claim.job_id, list(_split(items, claim.batch_size)))
        return is_claimed


def _split(items: Sequence[Item], largest: int) -> Iterator[list[Item]]:
    start = 0
    while start < len(items):
        first_number, _ = items[start]
        size = batch_size(first_number, largest)
        yield list(items[start : start + size])
        start += size


def batch_size(number: int, largest: int) -> int:
    """How many images the batch has that begins with this number.

    The first batches are small, so that every worker soon has one; later ones are larger, as that
    costs less per image. There are few sizes, because a network prepares itself for each
    (docs/decisions/0011).
    """
    return min(largest, FIRST_BATCH * max(1, number // (8 * FIRST_BATCH)))


def renew(db: Database, claim: ScanClaim, lease_s: float) -> bool:
    """Extends the lease; False if the claim is lost or the job has ended."""
    with db.write(synced=False) as connection:
        return LEASES.renew(connection, claim.job_id, claim.nonce, lease_s=lease_s)


def finish(db: Database, claim: ScanClaim, skipped: Mapping[str, int] | None = None) -> bool:
    """Marks the folder as fully listed; False if the claim is lost or the job has ended.

    Args:
        skipped: as of `record`.
    """
    with db.write() as connection:
        is_claimed = LEASES.update(
            connection,
            claim.job_id,
            claim.nonce,
            scanned_at=now(),
            skipped=Job.skipped if skipped is None else dict(skipped),
            scan_lease_until=None,
        )
        jobs.complete_if_ended(connection, claim.job_id)
        return is_claimed


def requeue_claimed(connection: Connection) -> None:
    """Makes all scans that are claimed claimable at once; their workers lose them."""
    connection.execute(
        sa.update(Job)
        .where(*LEASES.claimed)
        .values(status=JobStatus.QUEUED, scan_lease_until=None, scan_hinted_at=None)
    )


def release_claims(connection: Connection, worker: str) -> None:
    """Makes the scans of a dead worker claimable at once."""
    connection.execute(
        sa.update(Job)
        .where(Job.scan_worker == worker, Job.scanned_at.is_(None), Job.status.in_(LIVE))
        .values(scan_lease_until=None)
    )
