"""Images: the results of one, with its neighbours in the order of the scan."""

from dataclasses import dataclass

import sqlalchemy as sa

from models.errors import NotFoundError
from models.store import jobs
from models.store.database import Database
from models.store.filters import ResultFilter
from models.store.results import Record, select_results, to_records
from models.store.tables import Image, Prediction


@dataclass(frozen=True)
class ImageView:
    """An image as users see it.

    Args:
        records: one a face; of an image without a face, one.
        previous, next: the nearest numbers with a result; None at either end.
    """

    number: int
    records: list[Record]
    previous: int | None
    next: int | None


def get(db: Database, job_id: int, number: int) -> ImageView:
    """
    Raises:
        NotFoundError: no such job, or no result of this image.
    """
    of_job = Image.job_id == job_id
    query = (
        select_results(Image, ResultFilter(job_id))
        .where(Image.number == number)
        .order_by(Prediction.face)
    )
    before = sa.select(sa.func.max(Image.number)).where(of_job, Image.number < number)
    after = sa.select(sa.func.min(Image.number)).where(of_job, Image.number > number)

    with db.read() as connection:
        jobs.view(connection, job_id)
        records = to_records(connection.execute(query).all())
        if not records:
            raise NotFoundError(f"No result of an image {number} in job {job_id}.")
        return ImageView(number, records, connection.scalar(before), connection.scalar(after))
