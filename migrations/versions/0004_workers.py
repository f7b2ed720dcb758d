"""Workers: which programs classify batches, and when they last reported."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "workers",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("processes", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.BigInteger()),
        *(
            sa.Column(moment, sa.Double(), nullable=False)
            for moment in ("started", "seen", "progressed")
        ),
    )


def downgrade() -> None:
    op.drop_table("workers")
