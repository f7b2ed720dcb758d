"""Batches: added, claimed under a lease, completed once. This module writes every state of a batch.

`recovery.py` decides which batches are queued again, and `hints.py` announces them.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from models.errors import RefusedError
from models.pictures.detection import WHOLE, Detection
from models.store import jobs, records
from models.store.database import Database
from models.store.leases import Leases, has_rows
from models.store.records import ImageRecord
from models.store.states import BatchState
from models.store.tables import Batch, Job, ModelRelease

LEASES: Final = Leases(
    Batch,
    due=(Batch.state == BatchState.QUEUED,),
    claimed=(Batch.state == BatchState.RUNNING,),
    attempt=Batch.attempt,
    nonce=Batch.nonce,
    until=Batch.lease_until,
    worker=Batch.worker,
)

_QUEUED: Final = {"state": BatchState.QUEUED, "lease_until": None, "hinted_at": None}
_DONE: Final = {"state": BatchState.DONE, "items": None, "lease_until": None}

_log = logging.getLogger(__name__)

Item = tuple[int, str]
"""An image's number within its job, and its path."""


@dataclass(frozen=True)
class Claim:
    """The right to classify a batch until the lease expires.

    Args:
        release_sha256: tells the release from one that has its id in a restored backup.
        rerun: the images have results by an older release, which stay until there are new ones.
    """

    batch_id: int
    attempt: int
    nonce: int
    job_id: int
    items: list[Item]
    folder: str
    model_release_id: int
    release_sha256: str
    rerun: bool = False
    detection: Detection = WHOLE


def claim(
    db: Database, batch_id: int | None, worker: str, lease_s: float, job_id: int | None = None
) -> Claim | None:
    """Claims this batch, or the oldest queued one (of one job); None if there is none."""
    target: int | sa.Select[int]
    if batch_id is not None:
        target = batch_id
    else:
        of_job = [] if job_id is None else [Batch.job_id == job_id]
        target = LEASES.oldest_due(*of_job)
        if not has_rows(db, target):
            return None

    with db.write(synced=False) as connection:
        batch = LEASES.claim(
            connection,
            target,
            worker,
            lease_s,
            state=BatchState.RUNNING,
            returning=[
                Batch.id,
                Batch.attempt,
                Batch.nonce,
                Batch.job_id,
                Batch.items,
                Batch.rerun,
            ],
        )
        if batch is None:
            return None
        job = connection.execute(
            sa.select(Job.__table__, ModelRelease.sha256.label("release_sha256"))
            .join(ModelRelease)
            .where(Job.id == batch.job_id)
        ).one()

    return Claim(
        batch_id=batch.id,
        attempt=batch.attempt,
        nonce=batch.nonce,
        job_id=batch.job_id,
        items=[(number, path) for number, path in batch.items],
        folder=job.folder,
        model_release_id=job.model_release_id,
        release_sha256=job.release_sha256,
        rerun=batch.rerun,
        detection=jobs.detection_of(job),
    )


def lock(connection: Connection, claim: Claim) -> bool:
    """Keeps a claim valid until your transaction ends. Returns False if it is lost."""
    # Every transaction locks a job before its batches, or two of them could deadlock.
    connection.execute(sa.select(Job.id).where(Job.id == claim.job_id).with_for_update())
    return LEASES.lock(connection, *_held(claim))


def renew(db: Database, claim: Claim, lease_s: float) -> bool:
    """Extends the lease; False if the claim is lost, and the worker should stop."""
    with db.write(synced=False) as connection:
        return LEASES.renew(connection, *_held(claim), lease_s=lease_s)


def complete(db: Database, claim: Claim, rows: Sequence[ImageRecord]) -> bool:
    """Records a batch's images, predictions and counts in one transaction.

    If another worker has since claimed the batch, the UPDATE matches no row and nothing is
    recorded. Nor is it if the job has another release by now; the batch is then queued again. If
    the database refuses a row, that image fails, and the others are recorded all the same.

    Args:
        rows: one record for each of the claim's items.

    Returns:
        False if the claim is lost.
    """
    try:
        return _complete(db, claim, rows, records.record)
    except RefusedError as error:
        _log.warning("batch=%d recorded by halves: %s", claim.batch_id, error)
        return _complete(db, claim, rows, records.record_by_halves)


def _complete(
    db: Database, claim: Claim, rows: Sequence[ImageRecord], record: Callable[..., None]
) -> bool:
    with db.write() as connection:
        # Every transaction locks a job before its batches, or two of them could deadlock.
        release_id = connection.scalar(
            sa.select(Job.model_release_id).where(Job.id == claim.job_id).with_for_update()
        )

        # `retry --stale` may have missed a batch that was being claimed at the same moment.
        if release_id != claim.model_release_id:
            LEASES.update(connection, *_held(claim), **_QUEUED)
            return False

        if not LEASES.update(connection, *_held(claim), **_DONE):
            return False
        record(connection, claim.job_id, claim.model_release_id, rows, claim.rerun)
        jobs.complete_if_ended(connection, claim.job_id)
        return True


def _held(claim: Claim) -> tuple[int, int, sa.ColumnElement[bool]]:
    return claim.batch_id, claim.nonce, Batch.job_id == claim.job_id


def add(
    connection: Connection,
    job_id: int,
    batches: Sequence[list[Item]],
    attempt: int = 0,
    rerun: bool = False,
) -> None:
    """Adds queued batches, in one statement."""
    common = {"job_id": job_id, "state": BatchState.QUEUED, "attempt": attempt, "rerun": rerun}
    rows = [{**common, "size": len(items), "items": items} for items in batches]
    if rows:
        connection.execute(sa.insert(Batch), rows)


def requeue(connection: Connection, *conditions: sa.ColumnElement[bool]) -> None:
    """Queues batches again; a worker that still holds one loses its claim."""
    connection.execute(sa.update(Batch).where(*conditions).values(_QUEUED))


def end(connection: Connection, batch_id: int, **values: int) -> None:
    """Ends a batch whose worker died."""
    connection.execute(sa.update(Batch).where(Batch.id == batch_id).values(**_DONE, **values))


def cancel_unfinished(connection: Connection, job_id: int) -> None:
    """Cancels what is unfinished of a job; images of a re-run keep their old results."""
    end_rerun(connection, job_id)
    connection.execute(
        sa.update(Job).where(Job.id == job_id).values(cancelled=Job.cancelled + Job.pending)
    )
    connection.execute(
        sa.update(Batch).where(*_unfinished(job_id)).values(state=BatchState.CANCELLED)
    )


def end_rerun(connection: Connection, job_id: int) -> None:
    """Ends the unfinished batches of a re-run: the results they were to replace count again."""
    unfinished = (*_unfinished(job_id), Batch.rerun)
    images = connection.scalar(
        sa.select(sa.func.coalesce(sa.func.sum(Batch.size), 0)).where(*unfinished)
    )
    if images:
        connection.execute(
            sa.update(Job).where(Job.id == job_id).values(classified=Job.classified + images)
        )
        connection.execute(sa.update(Batch).where(*unfinished).values(_DONE))


def _unfinished(job_id: int) -> tuple[sa.ColumnElement[bool], ...]:
    return (Batch.job_id == job_id, Batch.state.in_((BatchState.QUEUED, BatchState.RUNNING)))
