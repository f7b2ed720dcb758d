"""Indexes in the order of the pages of results."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.drop_index("ix_predictions_job_id_emotion_score", "predictions")
    op.create_index(
        "ix_predictions_job_id_emotion_number_face",
        "predictions",
        ["job_id", "emotion", "number", "face"],
    )
    op.drop_index("ix_images_job_id_outcome", "images")
    op.create_index(
        "ix_images_job_id_outcome_number", "images", ["job_id", "outcome", "number"], unique=True
    )


def downgrade() -> None:
    op.drop_index("ix_images_job_id_outcome_number", "images")
    op.create_index("ix_images_job_id_outcome", "images", ["job_id", "outcome"])
    op.drop_index("ix_predictions_job_id_emotion_number_face", "predictions")
    op.create_index(
        "ix_predictions_job_id_emotion_score", "predictions", ["job_id", "emotion", "score"]
    )
