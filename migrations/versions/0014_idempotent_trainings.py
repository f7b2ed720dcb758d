"""Idempotency keys of trainings."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.add_column("trainings", sa.Column("idempotency_key", sa.String(255)))
    op.add_column("trainings", sa.Column("request_sha256", sa.String(64)))
    op.create_index("ix_trainings_idempotency_key", "trainings", ["idempotency_key"], unique=True)


def downgrade() -> None:
    op.drop_index("ix_trainings_idempotency_key", "trainings")
    op.drop_column("trainings", "request_sha256")
    op.drop_column("trainings", "idempotency_key")
