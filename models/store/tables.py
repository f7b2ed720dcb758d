"""The tables, as the migrations leave them; a test holds the two equal."""

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
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from models.labels import EMOTIONS

REVISION: Final = "0005"
"""The migration these tables correspond to."""

BigId = BigInteger().with_variant(Integer, "sqlite")
Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware moment in UTC; SQLite, which has no such type, keeps it without its zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if value and value.tzinfo is None else value


class Base(DeclarativeBase):
    pass


class ModelRelease(Base):
    """A pickle that jobs were run with; predictions point here. The default is the one that was promoted, if any."""

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


class Job(Base):
    """A folder to classify. The counts are exact at every commit; `pending` is what they leave of `total`.

    `reused` are those of the classified whose prediction is an earlier job's. A job with `deleted_at` is no more to be
    seen, while its rows are being deleted.
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
    idempotency_key: Mapped[str | None] = mapped_column(String(255), unique=True)
    request_sha256: Mapped[str | None] = mapped_column(String(64))

    status: Mapped[str] = mapped_column(String(16))
    queued_at: Mapped[datetime] = mapped_column(UtcDateTime)
    running_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    completed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    cancelled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    failed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Text)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    scanned_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    scan_cursor: Mapped[str | None] = mapped_column(Text)
    scan_attempt: Mapped[int] = mapped_column(default=0)
    scan_lease_until: Mapped[float | None] = mapped_column(Double)
    scan_hinted_at: Mapped[float | None] = mapped_column(Double)
    scan_worker: Mapped[str | None] = mapped_column(Text)

    total: Mapped[int] = mapped_column(BigInteger, default=0)
    classified: Mapped[int] = mapped_column(BigInteger, default=0)
    no_face: Mapped[int] = mapped_column(BigInteger, default=0)
    unreadable: Mapped[int] = mapped_column(BigInteger, default=0)
    failed: Mapped[int] = mapped_column(BigInteger, default=0)
    cancelled: Mapped[int] = mapped_column(BigInteger, default=0)
    reused: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))

    __table_args__ = (
        CheckConstraint(
            "total >= classified + no_face + unreadable + failed + cancelled",
            name="ck_jobs_counts_within_total",
        ),
        CheckConstraint("reused <= classified", name="ck_jobs_reused_within_classified"),
        Index("ix_jobs_status", "status"),
        {
            "sqlite_autoincrement": True
        },  # Ids are never used twice: a stale hint must not meet a new job.
    )


class Batch(Base):
    """Some images of a job, classified together by one worker. `items` is [[number, path], ...] until it is done.

    Those of a `rerun` have a result already, by an older release, which stays until there is a new one.
    """

    __tablename__ = "batches"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"))
    size: Mapped[int]
    items: Mapped[list[tuple[int, str]] | None] = mapped_column(Json)
    state: Mapped[str] = mapped_column(String(16))
    attempt: Mapped[int] = mapped_column(default=0)
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
    """An image that has ended, by its number in the order of the scan.

    A classified one says what it was made from, so that later jobs can use its prediction again: `fingerprint` is a
    digest of release and file, `size` (bytes) and `mtime_ns` are the file's, before it was read.
    """

    __tablename__ = "images"

    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    number: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    path: Mapped[str] = mapped_column(Text)
    outcome: Mapped[str] = mapped_column(String(16))
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Text)
    fingerprint: Mapped[bytes | None] = mapped_column(LargeBinary(16))
    size: Mapped[int | None] = mapped_column(BigInteger)
    mtime_ns: Mapped[int | None] = mapped_column(BigInteger)
    reused: Mapped[bool] = mapped_column(server_default=false())

    __table_args__ = (
        UniqueConstraint("job_id", "path"),
        Index(
            "ix_images_fingerprint_job_id_number",
            "fingerprint",
            "job_id",
            "number",
            sqlite_where=text("fingerprint IS NOT NULL"),
            postgresql_where=text("fingerprint IS NOT NULL"),
        ),
        Index("ix_images_job_id_outcome_number", "job_id", "outcome", "number", unique=True),
    )


class Prediction(Base):
    """One face's scores: `emotion` is the highest, `score` its score; a column for each of the 28 follows.

    (job_id, number) is its image's key, by construction: both are written in one transaction. It is no foreign key, or
    PostgreSQL's check of it would grow with the table (docs/decisions/0006).
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
    emotion: Mapped[str] = mapped_column(String(32))
    score: Mapped[float] = mapped_column(REAL)

    __table_args__ = (
        Index("ix_predictions_job_id_emotion_number_face", "job_id", "emotion", "number", "face"),
    )


class Worker(Base):
    """A program that does batches, by `host:pid`; who stops cleanly removes its row, who dies leaves it behind.

    The moments are in seconds on the database's clock. `progressed` is when it last saw the work it is there for move
    on, whoever moved it. `job_id` is of the only job it works on, if it is there for one.
    """

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(Text, primary_key=True)
    processes: Mapped[int]
    job_id: Mapped[int | None] = mapped_column(BigInteger)
    started: Mapped[float] = mapped_column(Double)
    seen: Mapped[float] = mapped_column(Double)
    progressed: Mapped[float] = mapped_column(Double)


class Training(Base):
    """Candidates to fit and compare. `losses` counts the workers that died over it, `epochs` those of the candidate."""

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
    error_message: Mapped[str | None] = mapped_column(Text)
    attempt: Mapped[int] = mapped_column(default=0)
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
    """An epoch that a training has done and kept; accuracies are shares in [0, 1]."""

    __tablename__ = "training_epochs"

    training_id: Mapped[int] = mapped_column(ForeignKey("trainings.id"), primary_key=True)
    candidate: Mapped[str] = mapped_column(String(64), primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    loss: Mapped[float] = mapped_column(Double)
    accuracy: Mapped[float] = mapped_column(Double)
    val_loss: Mapped[float] = mapped_column(Double)
    val_accuracy: Mapped[float] = mapped_column(Double)
    seconds: Mapped[float] = mapped_column(Double)


for _emotion in EMOTIONS:
    setattr(Prediction, _emotion, mapped_column(REAL, nullable=False))
