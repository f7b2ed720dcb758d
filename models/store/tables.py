"""The tables as the migrations leave them; a test checks that the two agree."""

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    JSON,
    REAL,
    BigInteger,
    CheckConstraint,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    false,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from models.labels import EMOTIONS

REVISION: Final = "0018"
"""The migration that these tables correspond to."""

NOTABLE: Final = 0.1
"""The least score of an emotion by which results can be sorted (docs/decisions/0017)."""

BigId = BigInteger().with_variant(Integer, "sqlite")
Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


class UtcDateTime(TypeDecorator[datetime]):
    """A time in UTC, always with its zone; SQLite has no such type and stores it without."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        # PostgreSQL answers in the zone of the session.
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Reason(TypeDecorator[str]):
    """What an error says. It may quote anything, even what no database can store: that is escaped.

    The work would otherwise not end, because its end could not be written down.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        # A lone surrogate stands for a byte of a path that is not in UTF-8.
        return value.encode(errors="backslashreplace").decode().replace("\0", "\\x00")


class Base(DeclarativeBase):
    pass


class Keyed:
    """A mixin for what requests create, once for each idempotency key (idempotency.py)."""

    id: Mapped[Any]
    idempotency_key: Mapped[str | None] = mapped_column(String(255), index=True, unique=True)
    request_sha256: Mapped[str | None] = mapped_column(String(64))


class ModelRelease(Base):
    """A pickle that jobs were run with. The default is the promoted one, if any."""

    __tablename__ = "model_releases"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(Text)
    path: Mapped[str] = mapped_column(Text)
    labels: Mapped[list[str]] = mapped_column(Json)
    trained_labels: Mapped[list[str]] = mapped_column(Json)
    metrics: Mapped[dict[str, float]] = mapped_column(Json)
    is_default: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = (
        Index(
            "ix_model_releases_default",
            "is_default",
            unique=True,
            sqlite_where=text("is_default"),
            postgresql_where=text("is_default"),
        ),
    )


class Job(Keyed, Base):
    """A folder to classify. Its counts are exact at every commit.

    All counts are of images, but for `faces`, the number of the job's predictions. `reused` counts
    the classified images whose predictions are an earlier job's. `skipped` counts what the scan
    passed over, up to its cursor: by the pattern in `exclude`, or by kind
    (models/sources/names.py). `only` names the files to classify, if it is not the whole folder. A
    job with `deleted_at` is invisible while its rows are being deleted. `key_id` is of the API key
    that submitted it, whose row may be gone.
    """

    __tablename__ = "jobs"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    folder: Mapped[str] = mapped_column(Text)
    recursive: Mapped[bool]
    model_release_id: Mapped[int] = mapped_column(ForeignKey("model_releases.id"))
    details: Mapped[dict[str, Any] | None] = mapped_column("metadata", Json)
    batch_size: Mapped[int]
    fresh: Mapped[bool] = mapped_column(server_default=false())
    trust_mtime: Mapped[bool] = mapped_column(server_default=false())
    retention_days: Mapped[int | None]
    face_mode: Mapped[str] = mapped_column(String(8), server_default="whole")
    detector: Mapped[str] = mapped_column(Text, server_default="")
    detector_sha256: Mapped[str] = mapped_column(String(64), server_default="")
    min_face: Mapped[int] = mapped_column(server_default=text("0"))
    face_threshold: Mapped[float] = mapped_column(Double, server_default=text("0"))
    exclude: Mapped[list[str]] = mapped_column(Json, server_default="[]")
    only: Mapped[list[str] | None] = mapped_column(Json)
    idempotency_key: Mapped[str | None] = mapped_column(String(255), unique=True)
    key_id: Mapped[str | None] = mapped_column(String(16))

    status: Mapped[str] = mapped_column(String(16))
    queued_at: Mapped[datetime] = mapped_column(UtcDateTime)
    running_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    completed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    cancelled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    failed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Reason)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    scanned_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    scan_cursor: Mapped[str | None] = mapped_column(Text)
    scan_attempt: Mapped[int] = mapped_column(default=0)
    scan_nonce: Mapped[int | None] = mapped_column(BigInteger)
    scan_lease_until: Mapped[float | None] = mapped_column(Double)
    scan_hinted_at: Mapped[float | None] = mapped_column(Double)
    scan_worker: Mapped[str | None] = mapped_column(Text)
    folder_inode: Mapped[str | None] = mapped_column(Text)
    trouble: Mapped[str | None] = mapped_column(Reason)
    tries: Mapped[int] = mapped_column(server_default=text("0"))
    troubled_since: Mapped[float | None] = mapped_column(Double)
    not_before: Mapped[float | None] = mapped_column(Double)

    total: Mapped[int] = mapped_column(BigInteger, default=0)
    classified: Mapped[int] = mapped_column(BigInteger, default=0)
    no_face: Mapped[int] = mapped_column(BigInteger, default=0)
    unreadable: Mapped[int] = mapped_column(BigInteger, default=0)
    failed: Mapped[int] = mapped_column(BigInteger, default=0)
    cancelled: Mapped[int] = mapped_column(BigInteger, default=0)
    reused: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    faces: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    skipped: Mapped[dict[str, int]] = mapped_column(Json, server_default="{}")

    @hybrid_property
    def recorded(self) -> int:
        """Images that have an outcome."""
        return self.classified + self.no_face + self.unreadable + self.failed

    @hybrid_property
    def pending(self) -> int:
        return self.total - self.recorded - self.cancelled

    __table_args__ = (
        CheckConstraint(
            "total >= classified + no_face + unreadable + failed + cancelled",
            name="ck_jobs_counts_within_total",
        ),
        CheckConstraint("reused <= classified", name="ck_jobs_reused_within_classified"),
        Index("ix_jobs_status", "status"),
        {
            "sqlite_autoincrement": True
        },  # Ids are never reused: an old message must not name a new job.
    )


class Batch(Base):
    """Images of a job that one worker classifies together.

    `items` is [[number, path], ...] until the batch is done. The images of a `rerun` have results
    by an older release, which stay until there are new ones.

    `losses` counts the workers that died over it. Since `troubled_since` its files could not be
    read in `tries` tries, which is not their fault, and until `not_before` nobody tries again.
    """

    __tablename__ = "batches"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"))
    size: Mapped[int]
    items: Mapped[list[tuple[int, str]] | None] = mapped_column(Json)
    state: Mapped[str] = mapped_column(String(16))
    attempt: Mapped[int] = mapped_column(default=0)
    nonce: Mapped[int | None] = mapped_column(BigInteger)
    losses: Mapped[int] = mapped_column(server_default=text("0"))
    tries: Mapped[int] = mapped_column(server_default=text("0"))
    troubled_since: Mapped[float | None] = mapped_column(Double)
    not_before: Mapped[float | None] = mapped_column(Double)
    rerun: Mapped[bool] = mapped_column(server_default=false())
    lease_until: Mapped[float | None] = mapped_column(Double)
    hinted_at: Mapped[float | None] = mapped_column(Double)
    worker: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (
        Index("ix_batches_job_id_state", "job_id", "state"),
        Index("ix_batches_state_id", "state", "id"),
        {"sqlite_autoincrement": True},
    )


class Image(Base):
    """The result of an image, numbered in the order of the scan.

    `faces` is the number of its predictions. An image that was classified, or in which no face was
    found, says what that was made from, so that later jobs can reuse it: `fingerprint` is a digest
    of the file, the release and how faces are found; `size` (bytes) and `mtime_ns` are those of the
    file before it was read.
    """

    __tablename__ = "images"

    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    number: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    path: Mapped[str] = mapped_column(Text)
    outcome: Mapped[str] = mapped_column(String(16))
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Reason)
    fingerprint: Mapped[bytes | None] = mapped_column(LargeBinary(16))
    size: Mapped[int | None] = mapped_column(BigInteger)
    mtime_ns: Mapped[int | None] = mapped_column(BigInteger)
    reused: Mapped[bool] = mapped_column(server_default=false())
    faces: Mapped[int] = mapped_column(server_default=text("0"))

    __table_args__ = (
        # A path may be longer than an index row of PostgreSQL, which holds 2,704 bytes at most.
        UniqueConstraint("job_id", "path").ddl_if(dialect="sqlite"),
        Index("ix_images_job_id_path", "job_id", func.md5(text("path")), unique=True).ddl_if(
            dialect="postgresql"
        ),
        Index(
            "ix_images_fingerprint_job_id_number",
            "fingerprint",
            "job_id",
            "number",
            sqlite_where=text("fingerprint IS NOT NULL"),
            postgresql_where=text("fingerprint IS NOT NULL"),
        ),
        Index("ix_images_job_id_outcome_number", "job_id", "outcome", "number", unique=True),
        Index(
            "ix_images_job_id_error_code_number",
            "job_id",
            "error_code",
            "number",
            unique=True,
            sqlite_where=text("error_code IS NOT NULL"),
            postgresql_where=text("error_code IS NOT NULL"),
        ),
    )


class Prediction(Base):
    """The scores of one face: `emotion` is the highest, `score` its score; 28 columns follow.

    The box is in pixels of the upright picture; `face_confidence` is the detector's, in [0, 1];
    `face_roll` is how far the face is turned clockwise, in degrees. All are null if the whole
    picture was taken.

    (job_id, number) is always the key of an image, because both are written in one transaction. It
    is no foreign key: PostgreSQL's check would take longer as the table grows
    (docs/decisions/0006).
    """

    __tablename__ = "predictions"

    job_id: Mapped[int] = mapped_column(BigId, primary_key=True)
    number: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    face: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    model_release_id: Mapped[int] = mapped_column(ForeignKey("model_releases.id"))
    box_x: Mapped[int | None]
    box_y: Mapped[int | None]
    box_width: Mapped[int | None]
    box_height: Mapped[int | None]
    face_confidence: Mapped[float | None] = mapped_column(REAL)
    face_roll: Mapped[float | None] = mapped_column(REAL)
    emotion: Mapped[str] = mapped_column(String(32))
    score: Mapped[float] = mapped_column(REAL)

    __table_args__ = (
        Index("ix_predictions_job_id_emotion_number_face", "job_id", "emotion", "number", "face"),
        Index("ix_predictions_job_id_score_number_face", "job_id", "score", "number", "face"),
    )


class Summary(Base):
    """How the faces of a job spread, as `summaries.py` made it.

    `made` is when, in seconds on the database's clock, and `took_s` how long that took.
    `job_ended_at` is when the job had ended by then; a job that was retried since ends anew.
    """

    __tablename__ = "summaries"

    job_id: Mapped[int] = mapped_column(
        BigId, ForeignKey("jobs.id"), primary_key=True, autoincrement=False
    )
    made: Mapped[float] = mapped_column(Double)
    took_s: Mapped[float] = mapped_column(Double)
    job_ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    body: Mapped[dict[str, Any]] = mapped_column(JSON)  # Not JSONB: its keys keep their order.


class Worker(Base):
    """A program that classifies batches, by `host:pid:token`. Its row stays if it dies.

    Times are in seconds on the database's clock. `progressed` is when the worker last saw its work
    progress, by whichever worker; `swept` is the end of its last sweep without an error. `job_id`
    is the only job it works on, if any. `clock_ahead_s` is how far its host's own clock is ahead.
    """

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    processes: Mapped[int]
    job_id: Mapped[int | None] = mapped_column(BigInteger)
    started: Mapped[float] = mapped_column(Double)
    seen: Mapped[float] = mapped_column(Double)
    progressed: Mapped[float] = mapped_column(Double)
    swept: Mapped[float | None] = mapped_column(Double)
    clock_ahead_s: Mapped[float] = mapped_column(Double, server_default=text("0"))


class Trouble(Base):
    """A network or detector, by its file's digest, that a worker program cannot load.

    `program` is as in `workers`. While the process `process` tries to load it, `not_before` is
    None; if that process is gone, loading killed it. Until `not_before` the program does not try
    again.
    """

    __tablename__ = "troubles"

    program: Mapped[str] = mapped_column(Text, primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    process: Mapped[int | None]
    code: Mapped[str] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(Reason)
    tries: Mapped[int]
    since: Mapped[float] = mapped_column(Double)
    not_before: Mapped[float | None] = mapped_column(Double)


class Upload(Keyed, Base):
    """Files that were uploaded to `folder` in the spool, for a job or, until it is submitted, none.

    `spool_inode` tells a host that shares the spool from one that has another of the same path.
    `skipped` names some of the `skipped_files` of its archive that were left out, and why. Once
    `deleted_at` is set, the files are removed; the row goes last.
    """

    __tablename__ = "uploads"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    folder: Mapped[str] = mapped_column(Text)
    spool_inode: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    used_at: Mapped[datetime] = mapped_column(UtcDateTime)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    files: Mapped[int] = mapped_column(server_default=text("0"))
    bytes: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    skipped: Mapped[list[dict[str, str]]] = mapped_column(Json, server_default="[]")
    skipped_files: Mapped[int] = mapped_column(server_default=text("0"))
    job_id: Mapped[int | None] = mapped_column(ForeignKey("jobs.id"), unique=True)


class UploadFile(Base):
    """A file that has arrived whole."""

    __tablename__ = "upload_files"

    upload_id: Mapped[str] = mapped_column(ForeignKey("uploads.id"), primary_key=True)
    path: Mapped[str] = mapped_column(Text, primary_key=True)
    bytes: Mapped[int] = mapped_column(BigInteger)


class Training(Keyed, Base):
    """Candidates to fit and compare.

    `losses` counts the workers that died during it; `epochs` is the most that the present candidate
    takes.
    """

    __tablename__ = "trainings"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    plan: Mapped[dict[str, Any]] = mapped_column(Json)
    status: Mapped[str] = mapped_column(String(16))
    queued_at: Mapped[datetime] = mapped_column(UtcDateTime)
    running_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    completed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    cancelled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    failed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Reason)
    attempt: Mapped[int] = mapped_column(default=0)
    nonce: Mapped[int | None] = mapped_column(BigInteger)
    losses: Mapped[int] = mapped_column(default=0)
    lease_until: Mapped[float | None] = mapped_column(Double)
    hinted_at: Mapped[float | None] = mapped_column(Double)
    worker: Mapped[str | None] = mapped_column(Text)
    candidate: Mapped[str | None] = mapped_column(Text)
    epochs: Mapped[int | None]
    comparison: Mapped[list[dict[str, Any]] | None] = mapped_column(Json)
    model_release_id: Mapped[int | None] = mapped_column(ForeignKey("model_releases.id"))

    __table_args__ = (Index("ix_trainings_status", "status"), {"sqlite_autoincrement": True})


class TrainingEpoch(Base):
    """A finished epoch of a candidate. Accuracies are in [0, 1]."""

    __tablename__ = "training_epochs"

    training_id: Mapped[int] = mapped_column(ForeignKey("trainings.id"), primary_key=True)
    candidate: Mapped[str] = mapped_column(String(64), primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    loss: Mapped[float] = mapped_column(Double)
    accuracy: Mapped[float] = mapped_column(Double)
    val_loss: Mapped[float] = mapped_column(Double)
    val_accuracy: Mapped[float] = mapped_column(Double)
    seconds: Mapped[float] = mapped_column(Double)


class ApiKey(Base):
    """A key of the API, by its public id; of the key itself, only the digest is kept.

    A revoked key's row stays. Limits that are None are those of the settings; 0 = without limit.
    """

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    sha256: Mapped[str] = mapped_column(String(64))
    scope: Mapped[str] = mapped_column(String(8))
    requests_per_minute: Mapped[int | None]
    live_jobs: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __table_args__ = (
        Index(
            "ix_api_keys_name",
            "name",
            unique=True,
            sqlite_where=text("revoked_at IS NULL"),
            postgresql_where=text("revoked_at IS NULL"),
        ),
    )


class Session(Base):
    """A browser that has signed in with a key; of its token, only the digest is kept."""

    __tablename__ = "sessions"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    key_id: Mapped[str] = mapped_column(ForeignKey("api_keys.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)


class AuditEntry(Base):
    """Who did what, and when: written with the act, in its transaction.

    It names its target by id alone: no folder, no name of a file and no metadata, so that nothing
    of a deleted job stays here.
    """

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    actor: Mapped[str] = mapped_column(Text)
    key_id: Mapped[str | None] = mapped_column(String(16))
    act: Mapped[str] = mapped_column(String(32))
    target: Mapped[str] = mapped_column(String(64))

    __table_args__ = (Index("ix_audit_at", "at"), {"sqlite_autoincrement": True})


class Webhook(Keyed, Base):
    """A receiver of events. It is no longer enabled once it has answered 410 Gone."""

    __tablename__ = "webhooks"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    url: Mapped[str] = mapped_column(Text)
    secret: Mapped[str] = mapped_column(Text)
    events: Mapped[list[str]] = mapped_column(Json)
    enabled: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)

    __table_args__ = ({"sqlite_autoincrement": True},)


class Delivery(Base):
    """An event that a webhook is, or was, to be told of. The job it is about may be gone.

    `message` is the same for all webhooks that are told of one event. `log` is [{"at": ...,
    "status": ..., "error": ..., "seconds": ...}, ...], the latest attempts; `tries` counts them
    since the delivery was made or replayed. Until `not_before` nobody tries again.
    """

    __tablename__ = "deliveries"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    webhook_id: Mapped[int] = mapped_column(ForeignKey("webhooks.id"))
    job_id: Mapped[int] = mapped_column(BigInteger)
    message: Mapped[str] = mapped_column(String(64))
    event: Mapped[str] = mapped_column(String(64))
    payload: Mapped[dict[str, Any]] = mapped_column(Json)
    state: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    attempt: Mapped[int] = mapped_column(default=0)
    nonce: Mapped[int | None] = mapped_column(BigInteger)
    lease_until: Mapped[float | None] = mapped_column(Double)
    worker: Mapped[str | None] = mapped_column(Text)
    tries: Mapped[int] = mapped_column(default=0)
    not_before: Mapped[float] = mapped_column(Double)
    log: Mapped[list[dict[str, Any]]] = mapped_column(Json, default=list)

    __table_args__ = (
        Index("ix_deliveries_state_id", "state", "id"),
        Index("ix_deliveries_webhook_id_id", "webhook_id", "id"),
        Index("ix_deliveries_job_id", "job_id"),
        Index("ix_deliveries_ended_at", "ended_at"),
        Index(
            "ix_deliveries_claimed",
            "webhook_id",
            sqlite_where=text("lease_until IS NOT NULL"),
            postgresql_where=text("lease_until IS NOT NULL"),
        ),
        {"sqlite_autoincrement": True},
    )


for _emotion in EMOTIONS:
    setattr(Prediction, _emotion, mapped_column(REAL, nullable=False))
    Index(
        f"ix_predictions_notable_{_emotion}",
        *(Prediction.__table__.c[_name] for _name in ("job_id", _emotion, "number", "face")),
        # SQLite would begin a page at `>= 0.1`, were it written so, and not at the page's cursor.
        sqlite_where=text(f"NOT ({_emotion} < {NOTABLE})"),
        postgresql_where=text(f"NOT ({_emotion} < {NOTABLE})"),
    )
