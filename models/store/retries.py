"""Retries: a user has images of a job queued again, and the job is reopened if it has ended."""

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from models.store import audit, backoff, batches, jobs
from models.store.audit import Act
from models.store.batches import Item
from models.store.database import Database
from models.store.jobs import JobView
from models.store.states import BatchState, Outcome
from models.store.tables import Batch, Image, Job, Prediction

RERUN_STEP: Final = 10_000


def retry(
    db: Database, job_id: int, codes: tuple[str, ...] = (), present_release: int | None = None
) -> tuple[JobView, int]:
    """Queues images again: by default, those that failed, were unreadable, or were cancelled.

    With `present_release`, the job moves to that release and the images that another release
    predicted are queued instead. Each keeps its old result until it has a new one, and for good if
    the job ends first or the image can no longer be read.

    Args:
        codes: queue only the failed and unreadable images with one of these error codes; with
            `present_release`, in addition to the images above.
        present_release: the release that new jobs use.

    Returns:
        The job, and how many images are queued again.

    Raises:
        NotFoundError: no such job.
    """
    with db.write() as connection:
        job = jobs.view(connection, job_id, lock=True)

        count = 0
        if present_release is not None:
            count += _queue_stale(connection, job, present_release)
        if codes or present_release is None:
            count += _queue_failed(connection, job, codes)
        if not codes and present_release is None:
            count += _queue_cancelled(connection, job)

        is_reopened = job.status.ended and (count > 0 or job.scanned_at is None)
        if is_reopened:
            jobs.reopen(connection, job)
        if count or is_reopened:
            audit.note(connection, Act.JOB_RETRY, job_id)

        # A re-run that a rollback made unnecessary may have been all that was left to do.
        jobs.complete_if_ended(connection, job.id)
        return jobs.view(connection, job_id), count


def _queue_failed(connection: Connection, job: JobView, codes: tuple[str, ...]) -> int:
    """Queues the images that failed or were unreadable, and deletes their rows."""
    chosen = [Image.job_id == job.id, Image.outcome.in_((Outcome.FAILED, Outcome.UNREADABLE))]
    if codes:
        chosen.append(Image.error_code.in_(codes))
    images = connection.execute(
        sa.select(Image.number, Image.path, Image.outcome).where(*chosen).order_by(Image.number)
    ).all()

    connection.execute(sa.delete(Image).where(*chosen))
    _add_batches(connection, job.id, [(image.number, image.path) for image in images])

    failed = sum(image.outcome == Outcome.FAILED for image in images)
    unreadable = len(images) - failed
    connection.execute(
        sa.update(Job)
        .where(Job.id == job.id)
        .values(failed=Job.failed - failed, unreadable=Job.unreadable - unreadable)
    )
    return len(images)


def _queue_cancelled(connection: Connection, job: JobView) -> int:
    """Queues the batches that were cancelled when the job ended early."""
    batches.requeue(
        connection,
        Batch.job_id == job.id,
        Batch.state == BatchState.CANCELLED,
        losses=0,
        **backoff.NONE,
    )
    connection.execute(
        sa.update(Job)
        .where(Job.id == job.id)
        .values(cancelled=Job.cancelled - job.counts.cancelled)
    )
    return job.counts.cancelled


def _queue_stale(connection: Connection, job: JobView, release_id: int) -> int:
    """Moves a job to a release and queues images that another one predicted; their rows stay."""
    # An unfinished re-run starts over: its images are found again below.
    batches.end_rerun(connection, job.id)

    if job.model_release_id != release_id:
        connection.execute(
            sa.update(Job).where(Job.id == job.id).values(model_release_id=release_id)
        )
        # Workers are classifying these with the old release.
        batches.requeue(connection, Batch.job_id == job.id, Batch.state == BatchState.RUNNING)

    is_stale = sa.exists().where(
        Prediction.job_id == Image.job_id,
        Prediction.number == Image.number,
        Prediction.model_release_id != release_id,
    )
    count = _queue_for_rerun(connection, job.id, is_stale)

    # These images lose their `reused` mark now: after a cancelled re-run, nothing would tell
    # which of them it had replaced.
    unmarked = connection.execute(
        sa.update(Image).where(Image.job_id == job.id, Image.reused, is_stale).values(reused=False)
    ).rowcount
    connection.execute(
        sa.update(Job)
        .where(Job.id == job.id)
        .values(classified=Job.classified - count, reused=Job.reused - unmarked)
    )
    return count


def _queue_for_rerun(connection: Connection, job_id: int, is_stale: sa.ColumnElement[bool]) -> int:
    page = (
        sa.select(Image.number, Image.path)
        .where(Image.job_id == job_id, is_stale)
        .order_by(Image.number)
        .limit(RERUN_STEP)
    )
    count = 0
    last = -1
    while True:
        images = connection.execute(page.where(Image.number > last)).all()
        if not images:
            return count
        _add_batches(
            connection, job_id, [(image.number, image.path) for image in images], rerun=True
        )
        count += len(images)
        last = images[-1].number


def _add_batches(
    connection: Connection, job_id: int, items: Sequence[Item], rerun: bool = False
) -> None:
    size = connection.execute(sa.select(Job.batch_size).where(Job.id == job_id)).scalar_one()
    parts = [list(items[start : start + size]) for start in range(0, len(items), size)]
    batches.add(connection, job_id, parts, rerun=rerun)
