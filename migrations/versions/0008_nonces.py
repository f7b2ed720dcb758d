"""Claims have a nonce; workers report how far their host's clock is ahead of the database's."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

COLUMNS: "tuple[tuple[str, sa.Column[object]], ...]" = (
    ("jobs", sa.Column("scan_nonce", sa.BigInteger())),
    ("batches", sa.Column("nonce", sa.BigInteger())),
    ("trainings", sa.Column("nonce", sa.BigInteger())),
    ("workers", sa.Column("clock_ahead_s", sa.Double(), nullable=False, server_default="0")),
)


def upgrade() -> None:
    for table, column in COLUMNS:
        op.add_column(table, column)


def downgrade() -> None:
    for table, column in reversed(COLUMNS):
        op.drop_column(table, column.name)
