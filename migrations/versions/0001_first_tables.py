"""First tables: model_releases, jobs, batches, images, predictions."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
MOMENT = sa.DateTime(timezone=True)
# The emotions at this revision: a later list must not change an earlier migration.
EMOTIONS = (
    "affection",
    "anger",
    "annoyance",
    "anticipation",
    "aversion",
    "confidence",
    "disapproval",
    "disconnection",
    "disquietment",
    "doubt_confusion",
    "embarrassment",
    "engagement",
    "esteem",
    "excitement",
    "fatigue",
    "fear",
    "happiness",
    "pain",
    "peace",
    "pleasure",
    "sadness",
    "sensitivity",
    "suffering",
    "surprise",
    "sympathy",
    "yearning",
    "disgust",
    "neutral",
)


def upgrade() -> None:
    op.create_table(
        "model_releases",
        sa.Column("id", BIG_ID, primary_key=True),
        sa.Column("sha256", sa.String(64), nullable=False, unique=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("labels", JSON, nullable=False),
        sa.Column("trained_labels", JSON, nullable=False),
        sa.Column("metrics", JSON, nullable=False),
        sa.Column("is_default", sa.Boolean(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
    )
    op.create_table(
        "jobs",
        sa.Column("id", BIG_ID, primary_key=True),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("recursive", sa.Boolean(), nullable=False),
        sa.Column("model_release_id", BIG_ID, sa.ForeignKey("model_releases.id"), nullable=False),
        sa.Column("metadata", JSON),
        sa.Column("batch_size", sa.Integer(), nullable=False),
        sa.Column("idempotency_key", sa.String(255), unique=True),
        sa.Column("request_sha256", sa.String(64)),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("queued_at", MOMENT, nullable=False),
        *(
            sa.Column(f"{state}_at", MOMENT)
            for state in ("running", "completed", "cancelled", "failed")
        ),
        sa.Column("error_code", sa.String(64)),
        sa.Column("error_message", sa.Text()),
        sa.Column("scanned_at", MOMENT),
        sa.Column("scan_cursor", sa.Text()),
        sa.Column("scan_attempt", sa.Integer(), nullable=False),
        sa.Column("scan_lease_until", sa.Double()),
        sa.Column("scan_hinted_at", sa.Double()),
        sa.Column("scan_worker", sa.Text()),
        *(
            sa.Column(count, sa.BigInteger(), nullable=False)
            for count in ("total", "classified", "no_face", "unreadable", "failed", "cancelled")
        ),
        sa.CheckConstraint(
            "total >= classified + no_face + unreadable + failed + cancelled",
            name="ck_jobs_counts_within_total",
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_jobs_status", "jobs", ["status"])
    op.create_table(
        "batches",
        sa.Column("id", BIG_ID, primary_key=True),
        sa.Column("job_id", BIG_ID, sa.ForeignKey("jobs.id"), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("items", JSON),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.Double()),
        sa.Column("hinted_at", sa.Double()),
        sa.Column("worker", sa.Text()),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_batches_job_id_state", "batches", ["job_id", "state"])
    op.create_index("ix_batches_state_id", "batches", ["state", "id"])
    op.create_table(
        "images",
        sa.Column("job_id", BIG_ID, sa.ForeignKey("jobs.id"), primary_key=True),
        sa.Column("number", BIG_ID, primary_key=True, autoincrement=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("error_code", sa.String(64)),
        sa.Column("error_message", sa.Text()),
        sa.UniqueConstraint("job_id", "path"),
    )
    op.create_index("ix_images_job_id_outcome", "images", ["job_id", "outcome"])
    op.create_table(
        "predictions",
        sa.Column("job_id", BIG_ID, primary_key=True),
        sa.Column("number", BIG_ID, primary_key=True, autoincrement=False),
        sa.Column("face", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("model_release_id", BIG_ID, sa.ForeignKey("model_releases.id"), nullable=False),
        *(sa.Column(f"box_{side}", sa.Integer()) for side in ("x", "y", "width", "height")),
        sa.Column("emotion", sa.String(32), nullable=False),
        sa.Column("score", sa.REAL(), nullable=False),
        *(sa.Column(emotion, sa.REAL(), nullable=False) for emotion in EMOTIONS),
    )
    op.create_index(
        "ix_predictions_job_id_emotion_score", "predictions", ["job_id", "emotion", "score"]
    )


def downgrade() -> None:
    for table in ("predictions", "images", "batches", "jobs", "model_releases"):
        op.drop_table(table)
