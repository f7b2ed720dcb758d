"""`/jobs/{job_id}/images/{number}`: one picture, its faces, and all that is known of them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

from fastapi import APIRouter, Request, Response

from api.context import Context, InjectedContext
from api.dashboard.query import Query, read_query
from api.dashboard.remedies import remedy_of
from api.dashboard.render import respond
from api.filters import FilterParameters, SortParameter
from api.routes.pictures import Number, measure
from api.schemas.common import AfterResult
from api.schemas.jobs import JobId
from models.errors import CuemillError, NotFoundError
from models.store import jobs, neighbours, releases, results
from models.store.database import Database
from models.store.filters import ResultFilter
from models.store.order import Sort
from models.store.releases import ReleaseRow
from models.store.results import Record

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class Place:
    """An image beside another one, and in an order by scores also the face.

    Args:
        at: the face's cursor.
    """

    number: int
    face: int | None = None
    at: str | None = None

    @classmethod
    def of(cls, cursor: str) -> Self:
        number, face = cursor.rpartition("~")[2].split(".")
        return cls(int(number), int(face), cursor)


@router.get("/jobs/{job_id}/images/{number}")
async def show_image(
    request: Request,
    job_id: JobId,
    number: Number,
    context: InjectedContext,
    conditions: FilterParameters,
    sort: SortParameter,
    at: AfterResult = None,
) -> Response:
    size, hindrance = None, ""
    try:
        size = await measure(context, job_id, number)
    except CuemillError as error:
        hindrance = str(error)

    return await context.costly.run(
        partial(
            _show,
            context,
            conditions.of_job(job_id),
            number,
            sort,
            at,
            read_query(request),
            size=size,
            hindrance=hindrance,
        )
    )


def _show(
    context: Context,
    conditions: ResultFilter,
    number: int,
    sort: Sort,
    at: str | None,
    query: Query,
    *,
    size: tuple[int, int] | None,
    hindrance: str,
) -> Response:
    db = context.db
    job = jobs.get(db, conditions.job_id or 0)
    records = results.page(db, ResultFilter(job_id=job.id, number=number))
    if not records:
        raise NotFoundError(f"Job {job.id} has no result of an image {number}.")
    release = releases.get(db, job.model_release_id)
    before, after = _beside(db, conditions, number, sort, at)
    return respond(
        "image",
        job=job,
        number=number,
        query=query,
        image=records[0],
        faces=[record for record in records if record.face],
        rankings=[_rank(record, release) for record in records if record.face],
        release=release,
        size=size,
        hindrance=hindrance,
        before=before,
        after=after,
        remedy=remedy_of(records[0].error["code"]) if records[0].error else "",
    )


def _beside(
    db: Database, conditions: ResultFilter, number: int, sort: Sort, at: str | None
) -> list[Place | None]:
    """What lies before and after an image; in an order by scores, before and after its face."""
    if sort.is_scan or at is None:
        numbers = neighbours.find(db, conditions, number)
        return [None if other is None else Place(other) for other in numbers]

    before = results.page(db, conditions, 1, _turn(at), Sort(_turn(sort.text)))
    after = results.page(db, conditions, 1, at, sort)
    return [
        Place.of(_turn(before[0].cursor)) if before else None,
        Place.of(after[0].cursor) if after else None,
    ]


def _turn(text: str) -> str:
    """The opposite order, or the same place in it."""
    return text.removeprefix("-") if text.startswith("-") else f"-{text}"


def _rank(record: Record, release: ReleaseRow) -> tuple[Sequence[str], Collection[str]]:
    """The emotions by their scores, those that the model knows and those that it never saw."""
    emotions = sorted(record.scores or {}, key=lambda emotion: -(record.scores or {})[emotion])
    if record.model != release.name or not release.trained_labels:
        return emotions, []
    return (
        [emotion for emotion in emotions if emotion in release.trained_labels],
        [emotion for emotion in emotions if emotion not in release.trained_labels],
    )
