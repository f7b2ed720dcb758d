"""The images before and after one, among those with results that meet some conditions."""

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from models.store.database import Database
from models.store.filters import ResultFilter
from models.store.tables import Image, Job, Prediction


def find(db: Database, conditions: ResultFilter, number: int) -> tuple[int | None, int | None]:
    """The numbers of the images before and after an image, in the order of the scan.

    Args:
        conditions: within one job.
    """
    leading = Prediction if conditions.is_of_faces else Image
    joined = Image if conditions.is_of_faces else Prediction
    same = sa.and_(Prediction.job_id == Image.job_id, Prediction.number == Image.number)
    query = (
        sa.select(leading.number)
        .select_from(leading)
        .join(joined, same, isouter=joined is Prediction)
        .join(Job, Job.id == leading.job_id)
        .where(*conditions.where(leading))
        .limit(1)
    )
    with db.read() as connection:
        return (
            _number(
                connection, query.where(leading.number < number).order_by(leading.number.desc())
            ),
            _number(connection, query.where(leading.number > number).order_by(leading.number)),
        )


def _number(connection: Connection, query: sa.Select[int]) -> int | None:
    return connection.scalar(query)
