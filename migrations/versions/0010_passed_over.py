"""What a job passes over: the patterns that say so, and the counts by kind."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0010"
down_revision = "0009"

JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    op.add_column("jobs", sa.Column("exclude", JSON, nullable=False, server_default="[]"))
    op.add_column("jobs", sa.Column("skipped", JSON, nullable=False, server_default="{}"))


def downgrade() -> None:
    op.drop_column("jobs", "skipped")
    op.drop_column("jobs", "exclude")
