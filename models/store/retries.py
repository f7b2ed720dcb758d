"""Retry, which only a user asks for: images of a job are queued again, and an ended job goes on."""

from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from models.store import jobs
from models.store.database import Database
from models.store.jobs import JobView
from models.store.states import BatchState, JobStatus, Outcome
from models.store.tables import Batch, Image, Job, Prediction

RERUN_STEP = 10_000


def retry(
    db: Database, job_id: int, codes: tuple[str, ...] = (), present_release: int | None = None
) -> tuple[JobView, int]:
    """Queues again the images that failed, were unreadable, or were left when the job ended early; no others.

    Args:
        codes: only images with one of these error codes.
        present_release: the job goes over to this release, and the images whose prediction is by another are queued
            again; those of `codes` too, but nothing else. Each keeps its old result until it has a new one: if the job
            is cancelled or fails before, or the image can't be read any more, the old one stays.

    Returns:
        The job, and how many images are queued again.

    Raises:
        NotFoundError: no such job.
    """
    with db.write() as connection:
        job = jobs.view(connection, job_id, lock=not db.is_sqlite)
        count = 0
        if present_release is not None:
            count += _queue_stale(connection, job, present_release)
        if codes or present_release is None:
            count += _queue_bad(connection, job, codes)
        if not codes and present_release is None:
            count += _queue_left(connection, job)
        if job.status.ended and (count or job.scanned_at is None):
            _reopen(connection, job)
        return jobs.view(connection, job_id), count


def _queue_bad(connection: Connection, job: JobView, codes: tuple[str, ...]) -> int:
    """Queues again what failed or was unreadable; its rows go."""
    chosen = [Image.job_id == job.id, Image.outcome.in_((Outcome.FAILED, Outcome.UNREADABLE))]
    if codes:
        chosen.append(Image.error_code.in_(codes))
    images = connection.execute(
        sa.select(Image.number, Image.path, Image.outcome).where(*chosen).order_by(Image.number)
    ).all()
    connection.execute(sa.delete(Image).where(*chosen))
    _add_items(connection, job.id, [(row.number, row.path) for row in images])
    failed = sum(row.outcome == Outcome.FAILED for row in images)
    connection.execute(
        sa.update(Job)
        .where(Job.id == job.id)
        .values(failed=Job.failed - failed, unreadable=Job.unreadable - (len(images) - failed))
    )
    return len(images)


def _queue_left(connection: Connection, job: JobView) -> int:
    """Queues again the batches that were left when the job ended early."""
    connection.execute(
        sa.update(Batch)
        .where(Batch.job_id == job.id, Batch.state == BatchState.CANCELLED)
        .values(state=BatchState.QUEUED, hinted_at=None)
    )
    connection.execute(
        sa.update(Job)
        .where(Job.id == job.id)
        .values(cancelled=Job.cancelled - job.counts.cancelled)
    )
    return job.counts.cancelled


def _queue_stale(connection: Connection, job: JobView, release_id: int) -> int:
    """Moves a job to a release, and queues again the images whose prediction is by another; their rows stay."""
    jobs.keep_old_results(
        connection, job.id
    )  # A re-run that is still going on is begun anew: it is found again below.
    if job.model_release_id != release_id:
        connection.execute(
            sa.update(Job).where(Job.id == job.id).values(model_release_id=release_id)
        )
        # What is in hand is by the old release: whoever has it loses it.
        running = sa.update(Batch).where(Batch.job_id == job.id, Batch.state == BatchState.RUNNING)
        connection.execute(
            running.values(state=BatchState.QUEUED, lease_until=None, hinted_at=None)
        )
    mine = Image.job_id == job.id
    stale = sa.exists().where(
        Prediction.job_id == Image.job_id,
        Prediction.number == Image.number,
        Prediction.model_release_id != release_id,
    )
    page = (
        sa.select(Image.number, Image.path)
        .where(mine, stale)
        .order_by(Image.number)
        .limit(RERUN_STEP)
    )
    count, after = 0, -1
    while found := connection.execute(page.where(Image.number > after)).all():
        _add_items(connection, job.id, [(row.number, row.path) for row in found], rerun=True)
        count, after = count + len(found), found[-1].number
    # Their mark falls now, or it would have to be known which of them come back if the re-run is cancelled.
    unmarked = connection.execute(
        sa.update(Image).where(mine, Image.reused, stale).values(reused=False)
    ).rowcount
    connection.execute(
        sa.update(Job)
        .where(Job.id == job.id)
        .values(classified=Job.classified - count, reused=Job.reused - unmarked)
    )
    return count


def _reopen(connection: Connection, job: JobView) -> None:
    scanned = job.scanned_at is not None
    connection.execute(
        sa.update(Job)
        .where(Job.id == job.id)
        .values(
            status=JobStatus.RUNNING if scanned else JobStatus.QUEUED,
            running_at=datetime.now(UTC) if scanned else None,
            completed_at=None,
            cancelled_at=None,
            failed_at=None,
            error_code=None,
            error_message=None,
            scan_lease_until=None,
            scan_hinted_at=None,
        )
    )


def _add_items(
    connection: Connection, job_id: int, items: list[tuple[int, str]], rerun: bool = False
) -> None:
    size = connection.execute(sa.select(Job.batch_size).where(Job.id == job_id)).scalar_one()
    batches = [items[start : start + size] for start in range(0, len(items), size)]
    jobs.add_batches(connection, job_id, batches, rerun=rerun)
