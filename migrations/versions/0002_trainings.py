"""Trainings and their epochs; the default release is the promoted one, at most one."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "trainings",
        sa.Column("id", BIG_ID, primary_key=True),
        sa.Column("plan", JSON, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("queued_at", MOMENT, nullable=False),
        *(
            sa.Column(f"{state}_at", MOMENT)
            for state in ("running", "completed", "cancelled", "failed")
        ),
        sa.Column("error_code", sa.String(64)),
        sa.Column("error_message", sa.Text()),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("losses", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.Double()),
        sa.Column("hinted_at", sa.Double()),
        sa.Column("worker", sa.Text()),
        sa.Column("candidate", sa.Text()),
        sa.Column("epochs", sa.Integer()),
        sa.Column("comparison", JSON),
        sa.Column("model_release_id", BIG_ID, sa.ForeignKey("model_releases.id")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_trainings_status", "trainings", ["status"])
    op.create_table(
        "training_epochs",
        sa.Column("training_id", BIG_ID, sa.ForeignKey("trainings.id"), primary_key=True),
        sa.Column("candidate", sa.String(64), primary_key=True),
        sa.Column("epoch", sa.Integer(), primary_key=True, autoincrement=False),
        *(
            sa.Column(name, sa.Double(), nullable=False)
            for name in ("loss", "accuracy", "val_loss", "val_accuracy", "seconds")
        ),
    )
    op.execute(
        sa.text("UPDATE model_releases SET is_default = false")
    )  # It meant the release that was registered first.
    op.create_index(
        "ix_model_releases_default",
        "model_releases",
        ["is_default"],
        unique=True,
        sqlite_where=sa.text("is_default"),
        postgresql_where=sa.text("is_default"),
    )


def downgrade() -> None:
    op.drop_index("ix_model_releases_default", "model_releases")
    op.drop_table("training_epochs")
    op.drop_table("trainings")
