"""When each worker program last swept."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("workers", sa.Column("swept", sa.Double))


def downgrade() -> None:
    op.drop_column("workers", "swept")
