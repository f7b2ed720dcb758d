"""Failures: the images of a job without a result for a reason of their own, grouped by it."""

from dataclasses import dataclass

import sqlalchemy as sa

from models.store.database import Database
from models.store.states import Outcome
from models.store.tables import Image


@dataclass(frozen=True)
class Failure:
    """Images that failed for one reason.

    Args:
        example: what was said of one of them.
    """

    code: str
    outcome: Outcome
    count: int
    example: str


def group(db: Database, job_id: int) -> list[Failure]:
    """A job's unreadable and failed images by code, the most frequent code first."""
    count = sa.func.count().label("count")
    query = (
        sa.select(Image.error_code, Image.outcome, count, sa.func.min(Image.error_message))
        .where(Image.job_id == job_id, Image.outcome.in_((Outcome.UNREADABLE, Outcome.FAILED)))
        .group_by(Image.error_code, Image.outcome)
        .order_by(count.desc(), Image.error_code)
    )
    with db.read() as connection:
        rows = connection.execute(query).all()
    return [
        Failure(code or "unknown", Outcome(outcome), number, example or "")
        for code, outcome, number, example in rows
    ]
