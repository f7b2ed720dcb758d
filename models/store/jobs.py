"""Jobs: submitted, read, ended, reopened. Each change of a job's status is one guarded UPDATE.

`cancellation.py` ends a job together with its batches.
"""

from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from pydantic_core import to_jsonable_python
from sqlalchemy.engine import Connection, Row

from models.errors import CuemillError, LimitError, NotFoundError
from models.pictures.detection import WHOLE, Detection, FaceMode
from models.store import audit, backoff, deliveries, idempotency, uploads
from models.store.audit import Act, Actor
from models.store.database import Database, now
from models.store.job_filters import JobFilter
from models.store.states import LIVE, Event, JobStatus
from models.store.tables import ApiKey, Job, ModelRelease, Upload

EVERY: Final = JobFilter()
LIVE_JOBS_RETRY_S: Final = 30
"""Jobs take seconds to days; a client that waits this long is no burden."""


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
    """A job as users see it.

    Args:
        counts: `total` grows while `scanned_at` is None.
        faces: how many faces have a prediction.
        reused: how many of the classified images have the predictions of an earlier job.
        exclude: patterns of files and folders that are passed over.
        skipped: how many of them were, by pattern, and how many other files that are no images, by
            kind; grows while `scanned_at` is None.
        retention_days: None = as CUEMILL_RETENTION_DAYS says.
        read_at: when this was so, on the database's clock.
        trouble: why its folder cannot be used at present.
        is_selection: whether it is about single files of the folder.
        upload: whose files it is about, if they were uploaded.
    """

    id: int
    folder: str
    recursive: bool
    model: str
    model_release_id: int
    metadata: dict[str, Any] | None
    status: JobStatus
    counts: Counts
    faces: int
    reused: int
    detection: Detection
    exclude: list[str]
    skipped: dict[str, int]
    retention_days: int | None
    error: dict[str, str] | None
    queued_at: datetime
    running_at: datetime | None
    scanned_at: datetime | None
    completed_at: datetime | None
    cancelled_at: datetime | None
    failed_at: datetime | None
    read_at: datetime = field(compare=False)
    trouble: str | None = None
    is_selection: bool = False
    upload: str | None = None

    @property
    def ended_at(self) -> datetime | None:
        return self.completed_at or self.cancelled_at or self.failed_at

    def expires_at(self, default_days: int) -> datetime | None:
        """When the job will be deleted; None if it has not ended, or is kept forever.

        Args:
            default_days: for a job without its own `retention_days`; 0 = forever.
        """
        return expiry(self.ended_at, self.retention_days, default_days)

    @property
    def images_per_second(self) -> float | None:
        """The rate since the job started; None before the first result."""
        done = self.counts.total - self.counts.pending - self.counts.cancelled
        if self.running_at is None or not done:
            return None
        end = self.ended_at or self.read_at
        return done / max((end - self.running_at).total_seconds(), 1e-3)

    @property
    def eta_seconds(self) -> float | None:
        """Seconds left at that rate; None if the job is not running or not fully listed."""
        rate = self.images_per_second
        if self.status is not JobStatus.RUNNING or self.scanned_at is None or not rate:
            return None
        return self.counts.pending / rate

    def to_plain(self, default_days: int) -> dict[str, Any]:
        """The job as the API, `--json` and webhooks show it.

        Args:
            default_days: as of `expires_at`.
        """
        fields = asdict(self)
        del fields["read_at"]
        rate, eta = self.images_per_second, self.eta_seconds

        return {
            **fields,
            "detection": self.detection.to_plain(),
            "expires_at": self.expires_at(default_days),
            "images_per_second": None if rate is None else round(rate, 1),
            "eta_seconds": None if eta is None else round(eta, 1),
        }


def expiry(
    ended_at: datetime | None, retention_days: int | None, default_days: int
) -> datetime | None:
    """`JobView.expires_at`, of its parts."""
    days = default_days if retention_days is None else retention_days
    if ended_at is None or days == 0:
        return None
    return ended_at + timedelta(days=days)


@dataclass(frozen=True)
class Submission:
    """What a user asks for.

    Args:
        metadata: kept with the job, for the user's own purposes.
        fresh: classify every image, even if an earlier job has its prediction.
        trust_mtime: treat files whose size and time are those of the folder's last job as
            unchanged, without reading.
        retention_days: how long to keep the job after it has ended; 0 = forever, None = as
            CUEMILL_RETENTION_DAYS says.
        model: the release as the user named it; None = the default at the time.
        detection: how faces are found.
        exclude: patterns of files and folders to pass over.
        only: classify these files of the folder and no others, whatever their endings.
        upload: whose folder it is.
        content: a digest of what was uploaded together with the request.
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
    detection: Detection = WHOLE
    exclude: tuple[str, ...] = ()
    only: tuple[str, ...] | None = None
    upload: str | None = None
    content: str | None = None

    @property
    def sha256(self) -> str:
        """A digest of the request, to detect an idempotency key that is used for another one."""
        request = asdict(self)
        # The same files, sent again, are in another folder.
        request["folder"] = request.pop("content") or self.folder
        if request["upload"] is None or self.content is not None:
            del request["upload"]
        # Settings and promotions may change these between two identical requests.
        del request["model_release_id"], request["batch_size"]
        del request["detection"]["detector"], request["detection"]["detector_sha256"]
        return idempotency.digest(request)


def submit(db: Database, submission: Submission) -> tuple[JobView, bool]:
    """Queues a job. The same idempotency key with the same request returns the same job.

    Returns:
        The job, and whether it is new.

    Raises:
        IdempotencyError: the key was used for another request.
        LimitError: whoever acts has too many unfinished jobs.
        NotFoundError, UploadUsedError: its upload is gone, or another job has it.
    """
    key = submission.idempotency_key
    with db.write() as connection:
        earlier = idempotency.find_created(connection, Job, key, submission.sha256)
        if earlier is not None:
            return view(connection, earlier), False

        actor = audit.actor()
        _check_live_jobs(connection, actor)
        job_id = connection.execute(
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
                exclude=list(submission.exclude),
                only=_only(submission),
                **_detection_values(submission.detection),
                idempotency_key=key,
                request_sha256=submission.sha256,
                key_id=actor.key_id,
                status=JobStatus.QUEUED,
                queued_at=now(),
            )
            .returning(Job.id)
        ).scalar_one()
        if submission.upload is not None:
            uploads.attach(connection, submission.upload, job_id)
        audit.note(connection, Act.JOB_SUBMIT, job_id)
        return view(connection, job_id), True


def count_live(connection: Connection, key_id: str) -> int:
    """How many unfinished jobs an API key has submitted."""
    query = sa.select(sa.func.count()).where(Job.status.in_(LIVE), Job.key_id == key_id)
    return connection.execute(query).scalar_one()


def _check_live_jobs(connection: Connection, actor: Actor) -> None:
    if actor.key_id is None or not actor.live_jobs:
        return

    # Of two submissions with one key at the same moment, the second waits for the first.
    connection.execute(sa.select(ApiKey.id).where(ApiKey.id == actor.key_id).with_for_update())
    if count_live(connection, actor.key_id) >= actor.live_jobs:
        raise LimitError(
            f"The key {actor.name} has {actor.live_jobs:,} unfinished jobs, its limit. Wait until "
            "one has ended, or cancel one.",
            LIVE_JOBS_RETRY_S,
        )


def get(db: Database, job_id: int) -> JobView:
    """
    Raises:
        NotFoundError: no such job.
    """
    with db.read() as connection:
        return view(connection, job_id)


def list_newest(
    db: Database,
    conditions: JobFilter = EVERY,
    *,
    limit: int = 50,
    before: int | None = None,
) -> list[JobView]:
    """Jobs, newest first.

    Args:
        before: only jobs with a smaller id.
    """
    query = _select().where(*conditions.where()).order_by(Job.id.desc()).limit(limit)
    if before is not None:
        query = query.where(Job.id < before)

    with db.read() as connection:
        return [_from_row(row) for row in connection.execute(query)]


def list_rivals(db: Database, job: JobView, limit: int = 20) -> list[JobView]:
    """Other jobs of the same folder that have results, newest first."""
    others = (Job.folder == job.folder, Job.id != job.id, Job.faces > 0)
    with db.read() as connection:
        query = _select().where(*others).order_by(Job.id.desc()).limit(limit)
        return [_from_row(row) for row in connection.execute(query)]


def find_live(db: Database, submission: Submission) -> JobView | None:
    """The newest unfinished job for the same folder, model and detection, for `classify` to resume.

    It must not reuse more than the submission allows; it may reuse less.
    """
    query = (
        _select()
        .where(
            Job.folder == submission.folder,
            Job.recursive == submission.recursive,
            Job.model_release_id == submission.model_release_id,
            Job.exclude == list(submission.exclude),
            Job.only.is_(None) if submission.only is None else Job.only == _only(submission),
            Job.status.in_(LIVE),
            *finds_faces_by(submission.detection),
        )
        .order_by(Job.id.desc())
        .limit(1)
    )
    if submission.fresh:
        query = query.where(Job.fresh)
    if not submission.trust_mtime:
        query = query.where(~Job.trust_mtime)

    with db.read() as connection:
        row = connection.execute(query).one_or_none()
    return _from_row(row) if row else None


def _only(submission: Submission) -> list[str] | None:
    return None if submission.only is None else sorted(set(submission.only))


def _detection_values(detection: Detection) -> dict[str, Any]:
    return {
        "face_mode": detection.mode,
        "detector": detection.detector,
        "detector_sha256": detection.detector_sha256,
        "min_face": detection.min_face,
        "face_threshold": detection.threshold,
    }


def finds_faces_by(detection: Detection) -> list[sa.ColumnElement[bool]]:
    """Conditions on jobs: that they find the same faces. The detector's path may differ."""
    values = _detection_values(detection)
    del values["detector"]
    return [getattr(Job, name) == value for name, value in values.items()]


def detection_of(row: Row[Any]) -> Detection:
    """How a job finds faces, from a row with its columns."""
    return Detection(
        FaceMode(row.face_mode),
        row.detector,
        row.detector_sha256,
        row.min_face,
        row.face_threshold,
    )


@dataclass(frozen=True)
class Totals:
    """All jobs by status, and their images by outcome, `pending` and `cancelled` included."""

    jobs: dict[str, int]
    images: dict[str, int]


def totals(db: Database) -> Totals:
    """Counts over all jobs, as the metrics show them."""
    visible = Job.deleted_at.is_(None)
    by_status = sa.select(Job.status, sa.func.count()).where(visible).group_by(Job.status)
    columns = {
        "classified": Job.classified,
        "no_face": Job.no_face,
        "unreadable": Job.unreadable,
        "failed": Job.failed,
        "cancelled": Job.cancelled,
        "pending": Job.pending,
    }
    sums = [
        sa.func.coalesce(sa.func.sum(column), 0).label(name) for name, column in columns.items()
    ]

    with db.read() as connection:
        jobs = dict(connection.execute(by_status).all())
        images = connection.execute(sa.select(*sums).where(visible)).one()._mapping
    return Totals(
        {status.value: jobs.get(status, 0) for status in JobStatus},
        {name: int(number) for name, number in images.items()},
    )


def end(connection: Connection, job_id: int, **values: Any) -> bool:
    """Ends a live job with these values. Returns False if it has ended already.

    Once the job's counts are final, call `announce_end`.
    """
    result = connection.execute(
        sa.update(Job).where(Job.id == job_id, Job.status.in_(LIVE)).values(**values)
    )
    return bool(result.rowcount)


def complete_if_ended(connection: Connection, job_id: int) -> None:
    """Completes a job once its folder is listed and no image is pending.

    A job that was cancelled and retried in part is cancelled again: it has images without a result.
    """
    has_cancelled = Job.cancelled > 0
    result = connection.execute(
        sa.update(Job)
        .where(
            Job.id == job_id,
            Job.status == JobStatus.RUNNING,
            Job.scanned_at.is_not(None),
            Job.pending == 0,
        )
        .values(
            status=sa.case(
                (has_cancelled, JobStatus.CANCELLED.value), else_=JobStatus.COMPLETED.value
            ),
            completed_at=sa.case((has_cancelled, None), else_=now()),
            cancelled_at=sa.case((has_cancelled, now()), else_=None),
        )
    )
    if result.rowcount:
        announce_end(connection, job_id)


def announce_end(connection: Connection, job_id: int) -> None:
    """Has webhooks told how a job ended, by the transaction that ended it; its counts are final."""
    row = connection.execute(_select().where(Job.id == job_id)).one_or_none()
    if row is None:
        return  # It is being deleted.
    job = _from_row(row)
    event = Event(f"job.{job.status}")
    # The retention's default is not known here, but to whoever sends this.
    payload = {"type": event, "timestamp": job.ended_at, "data": job.to_plain(default_days=0)}
    deliveries.add(connection, event, job_id, to_jsonable_python(payload))


def reopen(connection: Connection, job: JobView) -> None:
    """Makes an ended job live again: running, or queued if its folder is not fully listed."""
    is_scanned = job.scanned_at is not None
    connection.execute(
        sa.update(Job)
        .where(Job.id == job.id)
        .values(
            status=JobStatus.RUNNING if is_scanned else JobStatus.QUEUED,
            running_at=now() if is_scanned else None,
            completed_at=None,
            cancelled_at=None,
            failed_at=None,
            error_code=None,
            error_message=None,
            scan_lease_until=None,
            scan_hinted_at=None,
            trouble=None,
            **backoff.NONE,
        )
    )


def begin_trouble(connection: Connection, job_id: int, trouble: CuemillError) -> None:
    """Records a try in which the job's folder could not be used: nobody uses it for a while."""
    job = connection.execute(sa.select(Job.tries, Job.troubled_since).where(Job.id == job_id)).one()
    values = backoff.after_try(connection, job.tries, job.troubled_since)
    connection.execute(
        sa.update(Job).where(Job.id == job_id).values(trouble=str(trouble), **values)
    )


def end_trouble(connection: Connection, job_id: int) -> None:
    """Notes that a job's folder can be used."""
    connection.execute(
        sa.update(Job)
        .where(Job.id == job_id, Job.troubled_since.is_not(None))
        .values(trouble=None, **backoff.NONE)
    )


def view(connection: Connection, job_id: int, *, lock: bool = False) -> JobView:
    """
    Args:
        lock: keep other transactions from changing the job until this one ends.

    Raises:
        NotFoundError: no such job.
    """
    query = _select().where(Job.id == job_id)
    if lock:
        query = query.with_for_update(of=Job)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFoundError(f"No job {job_id}.")
    return _from_row(row)


def _select() -> sa.Select[*tuple[Any, ...]]:
    return (
        sa.select(
            Job,
            Job.pending.label("pending"),
            Job.only.is_not(None).label("is_selection"),
            sa.select(Upload.id).where(Upload.job_id == Job.id).scalar_subquery().label("upload"),
            ModelRelease.name.label("model"),
            now().label("read_at"),
        )
        .join(ModelRelease)
        .where(Job.deleted_at.is_(None))
    )


def _from_row(row: Row[Any]) -> JobView:
    counts = Counts(
        total=row.total,
        pending=row.pending,
        classified=row.classified,
        no_face=row.no_face,
        unreadable=row.unreadable,
        failed=row.failed,
        cancelled=row.cancelled,
    )
    return JobView(
        id=row.id,
        folder=row.folder,
        recursive=row.recursive,
        model=row.model,
        model_release_id=row.model_release_id,
        metadata=row.metadata,
        status=JobStatus(row.status),
        counts=counts,
        faces=row.faces,
        reused=row.reused,
        detection=detection_of(row),
        exclude=row.exclude,
        skipped=row.skipped,
        retention_days=row.retention_days,
        error={"code": row.error_code, "message": row.error_message} if row.error_code else None,
        queued_at=row.queued_at,
        running_at=row.running_at,
        scanned_at=row.scanned_at,
        completed_at=row.completed_at,
        cancelled_at=row.cancelled_at,
        failed_at=row.failed_at,
        read_at=row.read_at,
        trouble=row.trouble,
        is_selection=row.is_selection,
        upload=row.upload,
    )
