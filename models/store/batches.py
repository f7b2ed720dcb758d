"""Batches: added, claimed under a lease, completed once. This module writes every state of a batch.

`recovery.py` decides which batches are queued again, and `hints.py` announces them.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.orm import aliased

from models.errors import FolderError, PlaceError, RefusedError
from models.pictures.detection import WHOLE, Detection
from models.store import backoff, jobs, records
from models.store.database import Database
from models.store.leases import Leases
from models.store.records import ImageRecord
from models.store.states import LIVE, BatchState
from models.store.tables import Batch, Job, ModelRelease, Trouble

# Within a query that has these tables too.
_Job, _Batch = aliased(Job), aliased(Batch)
_HAS_RUNNING = sa.exists().where(_Batch.job_id == _Job.id, _Batch.state == BatchState.RUNNING)
_WAITING_JOBS = sa.select(_Job.id).where(
    _Job.status.in_(LIVE),
    _Job.troubled_since.is_not(None),
    # One worker at a time tries a folder that is in trouble: it may hang.
    sa.or_(~backoff.is_due(_Job.not_before), _HAS_RUNNING),
)

LEASES: Final = Leases(
    Batch,
    due=(
        Batch.state == BatchState.QUEUED,
        backoff.is_due(Batch.not_before),
        Batch.job_id.not_in(_WAITING_JOBS),
    ),
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
class Due:
    """What a worker needs to classify the batches of a job."""

    model_release_id: int
    release_sha256: str
    detection: Detection


@dataclass(frozen=True)
class Claim:
    """The right to classify a batch until the lease expires.

    Args:
        release_sha256: tells the release from one that has its id in a restored backup.
        inode: of the folder, as its scan saw it; None if that is not known.
        tries, troubled_s: how often its images could not be read because a drive, a mount or a host
            failed, and since when, in seconds.
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
    inode: str | None = None
    tries: int = 0
    troubled_s: float = 0.0
    rerun: bool = False
    detection: Detection = WHOLE


def find_due(db: Database, batch_id: int | None, job_id: int | None, program: str) -> Due | None:
    """What the batch needs that a worker may claim next; None if there is none.

    Args:
        batch_id, job_id: the only batch, or the only job, to look at; None = any.
        program: the worker program, which at present cannot load what its `troubles` name.
    """
    missing = sa.select(Trouble.sha256).where(
        Trouble.program == program, ~backoff.is_due(Trouble.not_before)
    )
    query = (
        sa.select(Job.__table__, ModelRelease.sha256)
        .select_from(Batch)
        .join(Job, Job.id == Batch.job_id)
        .join(ModelRelease)
        .where(
            *LEASES.due, ModelRelease.sha256.not_in(missing), Job.detector_sha256.not_in(missing)
        )
        .order_by(Batch.id)
        .limit(1)
    )
    if batch_id is not None:
        query = query.where(Batch.id == batch_id)
    if job_id is not None:
        query = query.where(Batch.job_id == job_id)

    with db.read() as connection:
        row = connection.execute(query).one_or_none()
    return Due(row.model_release_id, row.sha256, jobs.detection_of(row)) if row else None


def claim(
    db: Database,
    batch_id: int | None,
    worker: str,
    lease_s: float,
    job_id: int | None = None,
    needs: Due | None = None,
) -> Claim | None:
    """Claims this batch, or the oldest queued one; None if there is none.

    Args:
        job_id: the only job to take a batch of; None = any.
        needs: what the batch may need, and no other network or detector; None = anything.
    """
    target: int | sa.Select[int]
    if batch_id is not None:
        target = batch_id
    else:
        chosen = [] if job_id is None else [Batch.job_id == job_id]
        if needs is not None:
            suited = sa.select(Job.id).where(
                Job.status.in_(LIVE),
                Job.model_release_id == needs.model_release_id,
                Job.detector_sha256 == needs.detection.detector_sha256,
            )
            chosen.append(Batch.job_id.in_(suited))
        target = LEASES.oldest_due(*chosen)

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
                Batch.lease_until,
                Batch.tries,
                Batch.troubled_since,
            ],
        )
        if batch is None:
            return None
        job = connection.execute(
            sa.select(Job.__table__, ModelRelease.sha256.label("release_sha256"))
            .join(ModelRelease)
            .where(Job.id == batch.job_id)
        ).one()

    now = batch.lease_until - lease_s
    return Claim(
        batch_id=batch.id,
        attempt=batch.attempt,
        nonce=batch.nonce,
        job_id=batch.job_id,
        items=[(number, path) for number, path in batch.items],
        folder=job.folder,
        model_release_id=job.model_release_id,
        release_sha256=job.release_sha256,
        inode=job.folder_inode,
        tries=batch.tries,
        troubled_s=0.0 if batch.troubled_since is None else now - batch.troubled_since,
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


def complete(
    db: Database,
    claim: Claim,
    rows: Sequence[ImageRecord],
    trouble: FolderError | PlaceError | None = None,
    culprit: int | None = None,
) -> bool:
    """Records a batch's images, predictions and counts in one transaction.

    Images without a record are queued again, which counts against none of them.

    If another worker has since claimed the batch, the UPDATE matches no row and nothing is
    recorded. Nor is it if the job has another release by now; the batch is then queued again. If
    the database refuses a row, that image fails, and the others are recorded all the same.

    Args:
        rows: at most one record for each of the claim's items.
        trouble: why there are not more. The whole job waits for its folder (FolderError), or these
            images for a drive, a mount or a host (PlaceError).
        culprit: the number of the only image that has the trouble; the others do not wait.

    Returns:
        False if the claim is lost.
    """
    try:
        return _complete(db, claim, rows, records.record, trouble, culprit)
    except RefusedError as error:
        _log.warning("The batch is recorded by halves: %s", error)
        return _complete(db, claim, rows, records.record_by_halves, trouble, culprit)


def _complete(
    db: Database,
    claim: Claim,
    rows: Sequence[ImageRecord],
    record: Callable[..., None],
    trouble: FolderError | PlaceError | None,
    culprit: int | None,
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

        values = {**_DONE, "size": len(rows)} if rows else _QUEUED
        if not LEASES.update(connection, *_held(claim), **values):
            return False

        if rows:
            jobs.end_trouble(connection, claim.job_id)
            record(connection, claim.job_id, claim.model_release_id, rows, claim.rerun)

        recorded = {row.number for row in rows}
        left = [item for item in claim.items if item[0] not in recorded]
        if left:
            _put_back(connection, claim, left, trouble, culprit, is_all=not rows)
        jobs.complete_if_ended(connection, claim.job_id)
        return True


def _held(claim: Claim) -> tuple[int, int, sa.ColumnElement[bool]]:
    return claim.batch_id, claim.nonce, Batch.job_id == claim.job_id


def _put_back(
    connection: Connection,
    claim: Claim,
    left: list[Item],
    trouble: FolderError | PlaceError | None,
    culprit: int | None,
    is_all: bool,
) -> None:
    """Queues what is left of a batch: as the same batch if that is all of it, else as another."""
    row = connection.execute(sa.select(Batch.__table__).where(Batch.id == claim.batch_id)).one()
    values = {name: getattr(row, name) for name in ("losses", *backoff.NONE)}

    if culprit is not None and len(left) > 1:
        others = [item for item in left if item[0] != culprit]
        add(connection, claim.job_id, [others], claim.rerun, **values)
        left = [item for item in left if item[0] == culprit]

    if isinstance(trouble, FolderError):
        jobs.begin_trouble(connection, claim.job_id, trouble)
    elif trouble is not None:
        values |= backoff.after_try(connection, row.tries, row.troubled_since)

    if is_all:
        values |= {"items": left, "size": len(left)}
        connection.execute(sa.update(Batch).where(Batch.id == claim.batch_id).values(values))
    else:
        add(connection, claim.job_id, [left], claim.rerun, **values)


def add(
    connection: Connection,
    job_id: int,
    batches: Sequence[list[Item]],
    rerun: bool = False,
    **values: Any,
) -> None:
    """Adds queued batches, in one statement.

    Args:
        values: further columns to set.
    """
    common = {"job_id": job_id, "state": BatchState.QUEUED, "rerun": rerun, **values}
    rows = [{**common, "size": len(items), "items": items} for items in batches]
    if rows:
        connection.execute(sa.insert(Batch), rows)


def requeue(connection: Connection, *conditions: sa.ColumnElement[bool], **values: Any) -> None:
    """Queues batches again; a worker that still holds one loses its claim.

    Args:
        values: further columns to set.
    """
    connection.execute(sa.update(Batch).where(*conditions).values({**_QUEUED, **values}))


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
