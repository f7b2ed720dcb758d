"""PostgreSQL: paths of any length; an index row holds 2,704 bytes at most."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    # SQLite's index rows have no such limit, and it would have to copy the whole table.
    if op.get_bind().dialect.name == "sqlite":
        return
    op.drop_constraint("images_job_id_path_key", "images")
    op.create_index(
        "ix_images_job_id_path", "images", ["job_id", sa.text("md5(path)")], unique=True
    )


def downgrade() -> None:
    # PostgreSQL refuses this while there is a path that is too long for the old index.
    if op.get_bind().dialect.name == "sqlite":
        return
    op.drop_index("ix_images_job_id_path", "images")
    op.create_unique_constraint("images_job_id_path_key", "images", ["job_id", "path"])
