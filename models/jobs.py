"""Jobs: submitted, scanned, cancelled, retried, deleted. Each move of a job's state is one guarded statement."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from models.database import Database
from models.errors import CuemillError, IdempotencyError, NotFoundError
from models.states import LIVE, BatchState, JobStatus, Outcome
from models.tables import Batch, Image, Job, ModelRelease, Prediction

DELETE_STEP = 5_000
_ENDED = Job.classified + Job.no_face + Job.unreadable + Job.failed + Job.cancelled


@dataclass(frozen=True)
class Counts:
    """Images by outcome; they sum to `total` at every instant."""

    total: int
    pending: int
    classified: int
    no_face: int
    unreadable: int
    failed: int
    cancelled: int


@dataclass(frozen=True)
class JobView:
    """A job as users see it. `total` still grows while `scanned_at` is None."""

    id: int
    folder: str
    recursive: bool
    model: str
    model_release_id: int
    metadata: dict[str, Any] | None
    status: JobStatus
    counts: Counts
    error: dict[str, str] | None
    queued_at: datetime
    running_at: datetime | None
    scanned_at: datetime | None
    completed_at: datetime | None
    cancelled_at: datetime | None
    failed_at: datetime | None

    @property
    def images_per_second(self) -> float | None:
        """Over the whole run so far; None before the first image has ended."""
        done = self.counts.total - self.counts.pending - self.counts.cancelled
        if self.running_at is None or not done:
            return None
        end = self.completed_at or self.cancelled_at or self.failed_at or datetime.now(UTC)
        return done / max((end - self.running_at).total_seconds(), 1e-3)

    @property
    def eta_seconds(self) -> float | None:
        """Seconds to go at that rate; None when unknown: not running, or images are still being looked for."""
        rate = self.images_per_second
        if self.status is not JobStatus.RUNNING or self.scanned_at is None or not rate:
            return None
        return self.counts.pending / rate

    def to_dict(self) -> dict[str, Any]:
        """As the API and `--json` give it: moments in ISO 8601, seconds and images per second rounded."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        rate, eta = self.images_per_second, self.eta_seconds
        return {
            **{name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()},
            "counts": asdict(self.counts),
            "images_per_second": None if rate is None else round(rate, 1),
            "eta_seconds": None if eta is None else round(eta, 1),
        }


@dataclass(frozen=True)
class Submission:
    """What a user asks for."""

    folder: str
    model_release_id: int
    recursive: bool = True
    batch_size: int = 64
    metadata: dict[str, Any] | None = None
    idempotency_key: str | None = None

    @property
    def sha256(self) -> str:
        """Of what is asked, so that a key used again for something else is found."""
        asked = [self.folder, self.model_release_id, self.recursive, self.metadata]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def submit(db: Database, submission: Submission) -> tuple[JobView, bool]:
    """A queued job, and whether it is new: the same idempotency key and request give the same job.

    Raises:
        IdempotencyError: the key was used for another request.
    """
    with db.write() as connection:
        key = submission.idempotency_key
        if key is not None:
            if not db.is_sqlite:  # Two requests with one key at once: the second waits for the first to commit.
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(key, 0))))
            same = connection.execute(sa.select(Job.id, Job.request_sha256).where(Job.idempotency_key == key)).first()
            if same is not None:
                if same.request_sha256 != submission.sha256:
                    raise IdempotencyError(f"The idempotency key {key!r} was used for another request; take a new one.")
                return _view(connection, same.id), False
        made = connection.execute(
            sa.insert(Job)
            .values(
                folder=submission.folder,
                recursive=submission.recursive,
                model_release_id=submission.model_release_id,
                details=submission.metadata,
                batch_size=submission.batch_size,
                idempotency_key=key,
                request_sha256=submission.sha256 if key is not None else None,
                status=JobStatus.QUEUED,
                queued_at=datetime.now(UTC),
            )
            .returning(Job.id)
        )
        return _view(connection, made.scalar_one()), True


def get(db: Database, job_id: int) -> JobView:
    """
    Raises:
        NotFoundError: no such job.
    """
    with db.read() as connection:
        return _view(connection, job_id)


def newest(
    db: Database, *, status: JobStatus | None = None, limit: int = 50, before: int | None = None
) -> list[JobView]:
    """Jobs, newest first, older than `before`."""
    query = _select().order_by(Job.id.desc()).limit(limit)
    if status is not None:
        query = query.where(Job.status == status)
    if before is not None:
        query = query.where(Job.id < before)
    with db.read() as connection:
        return [_from_row(row) for row in connection.execute(query)]


def find_live(db: Database, submission: Submission) -> JobView | None:
    """The newest job for the same folder and model that hasn't ended, to go on with."""
    query = (
        _select()
        .where(
            Job.folder == submission.folder,
            Job.recursive == submission.recursive,
            Job.model_release_id == submission.model_release_id,
            Job.status.in_(LIVE),
        )
        .order_by(Job.id.desc())
        .limit(1)
    )
    with db.read() as connection:
        row = connection.execute(query).first()
    return _from_row(row) if row else None


@dataclass(frozen=True)
class Totals:
    """Over all jobs: how many by status, and their images by outcome (`pending` among them)."""

    jobs: dict[str, int]
    images: dict[str, int]


def totals(db: Database) -> Totals:
    """Sums of the counts that jobs keep."""
    outcomes = ("classified", "no_face", "unreadable", "failed", "cancelled")
    sums = [sa.func.coalesce(sa.func.sum(getattr(Job, name)), 0).label(name) for name in outcomes]
    pending = sa.func.coalesce(sa.func.sum(Job.total - _ENDED), 0).label("pending")
    with db.read() as connection:
        by_status = dict(connection.execute(sa.select(Job.status, sa.func.count()).group_by(Job.status)).all())
        images = connection.execute(sa.select(*sums, pending)).one()._mapping
    return Totals({s.value: by_status.get(s, 0) for s in JobStatus}, {name: int(n) for name, n in images.items()})


def cancel(db: Database, job_id: int) -> JobView:
    """Ends a job at once: what is finished stays, what is not counts as cancelled. On an ended job it does nothing."""
    with db.write() as connection:
        moved = connection.execute(
            sa.update(Job)
            .where(Job.id == job_id, Job.status.in_(LIVE))
            .values(status=JobStatus.CANCELLED, cancelled_at=datetime.now(UTC))
        )
        if moved.rowcount:
            end_unfinished(connection, job_id)
        return _view(connection, job_id)


def fail(db: Database, job_id: int, error: CuemillError) -> bool:
    """Ends a job that can't run; what is finished stays, what is not counts as cancelled. False on an ended job."""
    with db.write() as connection:
        moved = connection.execute(
            sa.update(Job)
            .where(Job.id == job_id, Job.status.in_(LIVE))
            .values(
                status=JobStatus.FAILED, failed_at=datetime.now(UTC), error_code=error.code, error_message=str(error)
            )
        )
        if moved.rowcount:
            end_unfinished(connection, job_id)
        return bool(moved.rowcount)


def retry(db: Database, job_id: int, codes: tuple[str, ...] = ()) -> tuple[JobView, int]:
    """Queues again the images that failed, were unreadable, or were left when the job ended early; no others.

    Args:
        codes: only images with one of these error codes.

    Returns:
        The job, and how many images are queued again.

    Raises:
        NotFoundError: no such job.
    """
    with db.write() as connection:
        job = _view(connection, job_id, lock=not db.is_sqlite)
        chosen = [Image.job_id == job_id, Image.outcome.in_((Outcome.FAILED, Outcome.UNREADABLE))]
        if codes:
            chosen.append(Image.error_code.in_(codes))
        images = connection.execute(
            sa.select(Image.number, Image.path, Image.outcome).where(*chosen).order_by(Image.number)
        ).all()
        size = connection.execute(sa.select(Job.batch_size).where(Job.id == job_id)).scalar_one()
        connection.execute(sa.delete(Image).where(*chosen))
        for start in range(0, len(images), size):
            add_batch(connection, job_id, [(row.number, row.path) for row in images[start : start + size]])
        unfinished = 0 if codes else job.counts.cancelled
        if unfinished:
            connection.execute(
                sa.update(Batch)
                .where(Batch.job_id == job_id, Batch.state == BatchState.CANCELLED)
                .values(state=BatchState.QUEUED, hinted_at=None)
            )
        connection.execute(
            sa.update(Job)
            .where(Job.id == job_id)
            .values(
                failed=Job.failed - sum(row.outcome == Outcome.FAILED for row in images),
                unreadable=Job.unreadable - sum(row.outcome == Outcome.UNREADABLE for row in images),
                cancelled=Job.cancelled - unfinished,
            )
        )
        count = len(images) + unfinished
        if job.status.ended and (count or job.scanned_at is None):
            _reopen(connection, job)
        return _view(connection, job_id), count


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


def delete(db: Database, job_id: int) -> None:
    """Removes a job and all its rows, in pieces, so that nobody waits long; a crash in between is gone on with by
    deleting again.

    Raises:
        NotFoundError: no such job.
    """
    cancel(db, job_id)
    columns: tuple[tuple[Any, Any], ...] = (
        (Prediction, Prediction.number),
        (Image, Image.number),
        (Batch, Batch.id),
        (Job, Job.id),
    )
    for table, column in columns:
        mine = (Job.id if table is Job else table.job_id) == job_id
        edge: int | None = 0
        while edge is not None:
            with db.write() as connection:
                edge = connection.scalar(sa.select(column).where(mine).order_by(column).offset(DELETE_STEP).limit(1))
                connection.execute(sa.delete(table).where(mine, *([] if edge is None else [column < edge])))


def add_batch(connection: Connection, job_id: int, items: list[tuple[int, str]], attempt: int = 0) -> None:
    """A queued batch of (number, path)."""
    add_batches(connection, job_id, [items], attempt)


def add_batches(
    connection: Connection, job_id: int, batches: Sequence[list[tuple[int, str]]], attempt: int = 0
) -> None:
    """Queued batches of (number, path), in one statement."""
    new = {"job_id": job_id, "state": BatchState.QUEUED, "attempt": attempt}
    connection.execute(sa.insert(Batch), [{**new, "size": len(items), "items": items} for items in batches])


def end_unfinished(connection: Connection, job_id: int) -> None:
    """Counts what a job that was ended early has left over as cancelled."""
    connection.execute(sa.update(Job).where(Job.id == job_id).values(cancelled=Job.cancelled + Job.total - _ENDED))
    connection.execute(
        sa.update(Batch)
        .where(Batch.job_id == job_id, Batch.state.in_((BatchState.QUEUED, BatchState.RUNNING)))
        .values(state=BatchState.CANCELLED)
    )


def complete_if_ended(connection: Connection, job_id: int) -> None:
    """Completes a job when its folder has been listed and every image found has ended."""
    connection.execute(
        sa.update(Job)
        .where(Job.id == job_id, Job.status == JobStatus.RUNNING, Job.scanned_at.is_not(None), Job.total == _ENDED)
        .values(status=JobStatus.COMPLETED, completed_at=datetime.now(UTC))
    )


def _select() -> sa.Select[*tuple[Any, ...]]:
    return sa.select(Job, ModelRelease.name.label("model")).join(ModelRelease)


def _view(connection: Connection, job_id: int, lock: bool = False) -> JobView:
    query = _select().where(Job.id == job_id)
    row = connection.execute(query.with_for_update(of=Job) if lock else query).one_or_none()
    if row is None:
        raise NotFoundError(f"No job {job_id}.")
    return _from_row(row)


def _from_row(row: Row[Any]) -> JobView:
    ended = row.classified + row.no_face + row.unreadable + row.failed + row.cancelled
    return JobView(
        id=row.id,
        folder=row.folder,
        recursive=row.recursive,
        model=row.model,
        model_release_id=row.model_release_id,
        metadata=row.metadata,
        status=JobStatus(row.status),
        counts=Counts(
            row.total, row.total - ended, row.classified, row.no_face, row.unreadable, row.failed, row.cancelled
        ),
        error={"code": row.error_code, "message": row.error_message} if row.error_code else None,
        queued_at=row.queued_at,
        running_at=row.running_at,
        scanned_at=row.scanned_at,
        completed_at=row.completed_at,
        cancelled_at=row.cancelled_at,
        failed_at=row.failed_at,
    )
