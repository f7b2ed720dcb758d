"""Indexes of the orders by scores and of error codes; summaries of jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"

EMOTIONS = (
    "affection", "anger", "annoyance", "anticipation", "aversion", "confidence",
    "disapproval", "disconnection", "disquietment", "doubt_confusion", "embarrassment",
    "engagement", "esteem", "excitement", "fatigue", "fear", "happiness", "pain", "peace",
    "pleasure", "sadness", "sensitivity", "suffering", "surprise", "sympathy", "yearning",
    "disgust", "neutral",
)  # fmt: skip


def upgrade() -> None:
    op.create_index(
        "ix_predictions_job_id_score_number_face",
        "predictions",
        ["job_id", "score", "number", "face"],
    )
    for emotion in EMOTIONS:
        notable = sa.text(f"NOT ({emotion} < 0.1)")
        op.create_index(
            f"ix_predictions_notable_{emotion}",
            "predictions",
            ["job_id", emotion, "number", "face"],
            sqlite_where=notable,
            postgresql_where=notable,
        )

    op.create_table(
        "summaries",
        sa.Column(
            "job_id",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            sa.ForeignKey("jobs.id"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("made", sa.Double(), nullable=False),
        sa.Column("took_s", sa.Double(), nullable=False),
        sa.Column("job_ended_at", sa.DateTime(timezone=True)),
        sa.Column("body", sa.JSON(), nullable=False),
    )

    with_code = sa.text("error_code IS NOT NULL")
    op.create_index(
        "ix_images_job_id_error_code_number",
        "images",
        ["job_id", "error_code", "number"],
        unique=True,
        sqlite_where=with_code,
        postgresql_where=with_code,
    )


def downgrade() -> None:
    op.drop_table("summaries")
    op.drop_index("ix_images_job_id_error_code_number", "images")
    for emotion in EMOTIONS:
        op.drop_index(f"ix_predictions_notable_{emotion}", "predictions")
    op.drop_index("ix_predictions_job_id_score_number_face", "predictions")
