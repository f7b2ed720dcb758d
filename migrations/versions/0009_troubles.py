"""Troubles: work goes back uncounted, for a while, and programs say what they cannot load."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

COLUMNS: "tuple[tuple[str, sa.Column[object]], ...]" = (
    ("batches", sa.Column("losses", sa.Integer(), nullable=False, server_default="0")),
    ("batches", sa.Column("tries", sa.Integer(), nullable=False, server_default="0")),
    ("batches", sa.Column("troubled_since", sa.Double())),
    ("batches", sa.Column("not_before", sa.Double())),
    ("jobs", sa.Column("folder_inode", sa.Text())),
    ("jobs", sa.Column("trouble", sa.Text())),
    ("jobs", sa.Column("tries", sa.Integer(), nullable=False, server_default="0")),
    ("jobs", sa.Column("troubled_since", sa.Double())),
    ("jobs", sa.Column("not_before", sa.Double())),
)


def upgrade() -> None:
    for table, column in COLUMNS:
        op.add_column(table, column)
    op.create_table(
        "troubles",
        sa.Column("program", sa.Text(), primary_key=True),
        sa.Column("sha256", sa.String(64), primary_key=True),
        sa.Column("process", sa.Integer()),
        sa.Column("code", sa.String(64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("not_before", sa.Double()),
    )


def downgrade() -> None:
    op.drop_table("troubles")
    for table, column in reversed(COLUMNS):
        op.drop_column(table, column.name)
