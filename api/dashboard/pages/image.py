"""`/jobs/{job_id}/images/{number}`: one picture, its faces, and all that is known of them."""

from collections.abc import Collection, Sequence
from functools import partial

from fastapi import APIRouter, Request, Response

from api.context import Context, InjectedContext
from api.dashboard.query import Query, read_query
from api.dashboard.remedies import remedy_of
from api.dashboard.render import respond
from api.filters import FilterParameters
from api.routes.pictures import Number, measure
from api.schemas.jobs import JobId
from models.errors import CuemillError, NotFoundError
from models.store import jobs, neighbours, releases, results
from models.store.filters import ResultFilter
from models.store.releases import ReleaseRow
from models.store.results import Record

router = APIRouter(include_in_schema=False)


@router.get("/jobs/{job_id}/images/{number}")
async def show_image(
    request: Request,
    job_id: JobId,
    number: Number,
    context: InjectedContext,
    conditions: FilterParameters,
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
            read_query(request),
            size=size,
            hindrance=hindrance,
        )
    )


def _show(
    context: Context,
    conditions: ResultFilter,
    number: int,
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
    before, after = neighbours.find(db, conditions, number)
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


def _rank(record: Record, release: ReleaseRow) -> tuple[Sequence[str], Collection[str]]:
    """The emotions by their scores, those that the model knows and those that it never saw."""
    emotions = sorted(record.scores or {}, key=lambda emotion: -(record.scores or {})[emotion])
    if record.model != release.name or not release.trained_labels:
        return emotions, []
    return (
        [emotion for emotion in emotions if emotion in release.trained_labels],
        [emotion for emotion in emotions if emotion not in release.trained_labels],
    )
