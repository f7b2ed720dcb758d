"""Fingerprints for reuse, re-runs that keep old results, retention."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

KNOWN = sa.text("fingerprint IS NOT NULL")


def upgrade() -> None:
    op.add_column("jobs", _mark("fresh"))
    op.add_column("jobs", _mark("trust_mtime"))
    op.add_column("jobs", sa.Column("retention_days", sa.Integer()))
    op.add_column("jobs", sa.Column("deleted_at", sa.DateTime(timezone=True)))
    # In plain SQL, because SQLite adds a check to an existing table only with a new column.
    op.execute(
        "ALTER TABLE jobs ADD COLUMN reused BIGINT DEFAULT 0 NOT NULL "
        "CONSTRAINT ck_jobs_reused_within_classified CHECK (reused <= classified)"
    )
    op.add_column("batches", _mark("rerun"))
    op.add_column("images", sa.Column("fingerprint", sa.LargeBinary(16)))
    op.add_column("images", sa.Column("size", sa.BigInteger()))
    op.add_column("images", sa.Column("mtime_ns", sa.BigInteger()))
    op.add_column("images", _mark("reused"))
    op.create_index(
        "ix_images_fingerprint_job_id_number",
        "images",
        ["fingerprint", "job_id", "number"],
        sqlite_where=KNOWN,
        postgresql_where=KNOWN,
    )


def _mark(name: str) -> "sa.Column[bool]":
    return sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.false())


def downgrade() -> None:
    # A partly deleted job would become visible again, with wrong counts.
    for table in ("predictions", "images", "batches"):
        deleted = "SELECT id FROM jobs WHERE deleted_at IS NOT NULL"
        op.execute(f"DELETE FROM {table} WHERE job_id IN ({deleted})")  # noqa: S608
    op.execute("DELETE FROM jobs WHERE deleted_at IS NOT NULL")
    op.drop_index("ix_images_fingerprint_job_id_number", "images")
    for table, columns in (
        ("images", ("reused", "mtime_ns", "size", "fingerprint")),
        ("batches", ("rerun",)),
        ("jobs", ("reused", "deleted_at", "retention_days", "trust_mtime", "fresh")),
    ):
        for column in columns:
            op.drop_column(table, column)
