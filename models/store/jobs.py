"""Jobs: submitted, seen, completed, cancelled, failed. Each move of a job's state is one guarded statement."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from models.errors import CuemillError, IdempotencyError, NotFoundError
from models.store.database import Database
from models.store.states import LIVE, BatchState, JobStatus
from models.store.tables import Batch, Job, ModelRelease

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
    """A job as users see it. `total` still grows while `scanned_at` is None.

    `reused` of the classified have their prediction from an earlier job.
    """

    id: int
    folder: str
    recursive: bool
    model: str
    model_release_id: int
    metadata: dict[str, Any] | None
    status: JobStatus
    counts: Counts
    reused: int
    retention_days: int | None
    error: dict[str, str] | None
    queued_at: datetime
    running_at: datetime | None
    scanned_at: datetime | None
    completed_at: datetime | None
    cancelled_at: datetime | None
    failed_at: datetime | None

    @property
    def ended_at(self) -> datetime | None:
        return self.completed_at or self.cancelled_at or self.failed_at

    def expires_at(self, default_days: int) -> datetime | None:
        """When it is deleted, once it has ended; `default_days` is for jobs that don't say themselves, 0 = never."""
        days = default_days if self.retention_days is None else self.retention_days
        return self.ended_at + timedelta(days=days) if self.ended_at and days else None

    @property
    def images_per_second(self) -> float | None:
        """Over the whole run so far; None before the first image has ended."""
        done = self.counts.total - self.counts.pending - self.counts.cancelled
        if self.running_at is None or not done:
            return None
        end = self.ended_at or datetime.now(UTC)
        return done / max((end - self.running_at).total_seconds(), 1e-3)

    @property
    def eta_seconds(self) -> float | None:
        """Seconds to go at that rate; None when unknown: not running, or images are still being looked for."""
        rate = self.images_per_second
        if self.status is not JobStatus.RUNNING or self.scanned_at is None or not rate:
            return None
        return self.counts.pending / rate

    def to_dict(self, default_days: int) -> dict[str, Any]:
        """As the API and `--json` give it: moments in ISO 8601, seconds and images per second rounded.

        Args:
            default_days: as for `expires_at`.
        """
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        values["expires_at"] = self.expires_at(default_days)
        rate, eta = self.images_per_second, self.eta_seconds
        return {
            **{
                name: value.isoformat() if isinstance(value, datetime) else value
                for name, value in values.items()
            },
            "counts": asdict(self.counts),
            "images_per_second": None if rate is None else round(rate, 1),
            "eta_seconds": None if eta is None else round(eta, 1),
        }


@dataclass(frozen=True)
class Submission:
    """What a user asks for.

    Args:
        fresh: classify every image, also those whose prediction an earlier job has.
        trust_mtime: take files whose size and time are those of the folder's last job as the same, unread.
        retention_days: how long the job is kept after its end, 0 = for ever; None = as the setting says.
        model: the release as it was asked for; None = the default, whichever it was at the time.
    """

    folder: str
    model_release_id: int
    recursive: bool = True
    batch_size: int = 64
    metadata: dict[str, Any] | None = None
    idempotency_key: str | None = None
    fresh: bool = False
    trust_mtime: bool = False
    retention_days: int | None = None
    model: str | None = None

    @property
    def sha256(self) -> str:
        """Of what is asked, so that a key used again for something else is found."""
        ours = ("model_release_id", "batch_size")
        asked = {name: value for name, value in asdict(self).items() if name not in ours}
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def submit(db: Database, submission: Submission) -> tuple[JobView, bool]:
    """A queued job, and whether it is new: the same idempotency key and request give the same job.

    Raises:
        IdempotencyError: the key was used for another request.
    """
    with db.write() as connection:
        key = submission.idempotency_key
        if key is not None:
            if (
                not db.is_sqlite
            ):  # Two requests with one key at once: the second waits for the first to commit.
                connection.execute(
                    sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(key, 0)))
                )
            same = connection.execute(
                sa.select(Job.id, Job.request_sha256).where(Job.idempotency_key == key)
            ).first()
            if same is not None:
                if same.request_sha256 != submission.sha256:
                    raise IdempotencyError(
                        f"The idempotency key {key!r} was used for another request; take a new one."
                    )
                return view(connection, same.id), False
        made = connection.execute(
            sa.insert(Job)
            .values(
                folder=submission.folder,
                recursive=submission.recursive,
                model_release_id=submission.model_release_id,
                details=submission.metadata,
                batch_size=submission.batch_size,
                fresh=submission.fresh,
                trust_mtime=submission.trust_mtime,
                retention_days=submission.retention_days,
                idempotency_key=key,
                request_sha256=submission.sha256 if key is not None else None,
                status=JobStatus.QUEUED,
                queued_at=datetime.now(UTC),
            )
            .returning(Job.id)
        )
        return view(connection, made.scalar_one()), True


def get(db: Database, job_id: int) -> JobView:
    """
    Raises:
        NotFoundError: no such job.
    """
    with db.read() as connection:
        return view(connection, job_id)


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
    """The newest job for the same folder and model that hasn't ended, to go on with.

    One that takes less on trust than is asked for will do, one that takes more won't.
    """
    strict = ([Job.fresh] if submission.fresh else []) + (
        [] if submission.trust_mtime else [~Job.trust_mtime]
    )
    query = (
        _select()
        .where(
            Job.folder == submission.folder,
            Job.recursive == submission.recursive,
            Job.model_release_id == submission.model_release_id,
            Job.status.in_(LIVE),
            *strict,
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
    seen = Job.deleted_at.is_(None)
    with db.read() as connection:
        counted = sa.select(Job.status, sa.func.count()).where(seen).group_by(Job.status)
        by_status = dict(connection.execute(counted).all())
        images = connection.execute(sa.select(*sums, pending).where(seen)).one()._mapping
    return Totals(
        {s.value: by_status.get(s, 0) for s in JobStatus},
        {name: int(n) for name, n in images.items()},
    )


def cancel(db: Database, job_id: int) -> JobView:
    """Ends a job at once: what is finished stays, what is not counts as cancelled. On an ended job it does nothing."""
    with db.write() as connection:
        end(connection, job_id, status=JobStatus.CANCELLED, cancelled_at=datetime.now(UTC))
        return view(connection, job_id)


def fail(db: Database, job_id: int, error: CuemillError) -> bool:
    """Ends a job that can't run; what is finished stays, what is not counts as cancelled. False on an ended job."""
    why = {"error_code": error.code, "error_message": str(error)}
    with db.write() as connection:
        return end(connection, job_id, status=JobStatus.FAILED, failed_at=datetime.now(UTC), **why)


def end(connection: Connection, job_id: int, **values: Any) -> bool:
    """Ends a live job early: what it has left over counts as cancelled. False on an ended one."""
    moved = connection.execute(
        sa.update(Job).where(Job.id == job_id, Job.status.in_(LIVE)).values(values)
    )
    if not moved.rowcount:
        return False
    keep_old_results(connection, job_id)
    connection.execute(
        sa.update(Job).where(Job.id == job_id).values(cancelled=Job.cancelled + Job.total - _ENDED)
    )
    connection.execute(
        sa.update(Batch).where(*_unfinished(job_id)).values(state=BatchState.CANCELLED)
    )
    return True


def _unfinished(job_id: int) -> tuple[sa.ColumnElement[bool], ...]:
    return (Batch.job_id == job_id, Batch.state.in_((BatchState.QUEUED, BatchState.RUNNING)))


def keep_old_results(connection: Connection, job_id: int) -> None:
    """Ends what is unfinished of a re-run: the results that it was to replace count again."""
    unfinished = (*_unfinished(job_id), Batch.rerun)
    kept = connection.execute(
        sa.select(sa.func.coalesce(sa.func.sum(Batch.size), 0)).where(*unfinished)
    ).scalar_one()
    if kept:
        connection.execute(
            sa.update(Job).where(Job.id == job_id).values(classified=Job.classified + kept)
        )
        done = {"state": BatchState.DONE, "items": None, "lease_until": None}
        connection.execute(sa.update(Batch).where(*unfinished).values(done))


def add_batch(
    connection: Connection,
    job_id: int,
    items: list[tuple[int, str]],
    attempt: int = 0,
    rerun: bool = False,
) -> None:
    """A queued batch of (number, path)."""
    add_batches(connection, job_id, [items], attempt, rerun)


def add_batches(
    connection: Connection,
    job_id: int,
    batches: Sequence[list[tuple[int, str]]],
    attempt: int = 0,
    rerun: bool = False,
) -> None:
    """Queued batches of (number, path), in one statement."""
    new = {"job_id": job_id, "state": BatchState.QUEUED, "attempt": attempt, "rerun": rerun}
    if batches:
        connection.execute(
            sa.insert(Batch), [{**new, "size": len(items), "items": items} for items in batches]
        )


def complete_if_ended(connection: Connection, job_id: int) -> None:
    """Completes a job when its folder has been listed and every image found has ended."""
    connection.execute(
        sa.update(Job)
        .where(
            Job.id == job_id,
            Job.status == JobStatus.RUNNING,
            Job.scanned_at.is_not(None),
            Job.total == _ENDED,
        )
        .values(status=JobStatus.COMPLETED, completed_at=datetime.now(UTC))
    )


def _select() -> sa.Select[*tuple[Any, ...]]:
    return (
        sa.select(Job, ModelRelease.name.label("model"))
        .join(ModelRelease)
        .where(Job.deleted_at.is_(None))
    )


def view(connection: Connection, job_id: int, lock: bool = False) -> JobView:
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
            row.total,
            row.total - ended,
            row.classified,
            row.no_face,
            row.unreadable,
            row.failed,
            row.cancelled,
        ),
        reused=row.reused,
        retention_days=row.retention_days,
        error={"code": row.error_code, "message": row.error_message} if row.error_code else None,
        queued_at=row.queued_at,
        running_at=row.running_at,
        scanned_at=row.scanned_at,
        completed_at=row.completed_at,
        cancelled_at=row.cancelled_at,
        failed_at=row.failed_at,
    )
