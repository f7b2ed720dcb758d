"""Faces: how a job finds them, how many there are, how sure each is and how far it is turned."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

COLUMNS: "tuple[tuple[str, sa.Column[object]], ...]" = (
    ("jobs", sa.Column("face_mode", sa.String(8), nullable=False, server_default="whole")),
    ("jobs", sa.Column("detector", sa.Text(), nullable=False, server_default="")),
    ("jobs", sa.Column("detector_sha256", sa.String(64), nullable=False, server_default="")),
    ("jobs", sa.Column("min_face", sa.Integer(), nullable=False, server_default="0")),
    ("jobs", sa.Column("face_threshold", sa.Double(), nullable=False, server_default="0")),
    ("jobs", sa.Column("faces", sa.BigInteger(), nullable=False, server_default="0")),
    ("images", sa.Column("faces", sa.Integer(), nullable=False, server_default="0")),
    ("predictions", sa.Column("face_confidence", sa.REAL())),
    ("predictions", sa.Column("face_roll", sa.REAL())),
)


def upgrade() -> None:
    for table, column in COLUMNS:
        op.add_column(table, column)
    # Until now, a classified image was one face.
    op.execute("UPDATE images SET faces = 1 WHERE outcome = 'classified'")
    op.execute(
        "UPDATE jobs SET faces = "
        "(SELECT count(*) FROM predictions WHERE predictions.job_id = jobs.id)"
    )


def downgrade() -> None:
    for table, column in reversed(COLUMNS):
        op.drop_column(table, column.name)
