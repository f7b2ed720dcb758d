"""`/jobs/{job_id}/results`: the faces of a job as a grid, with facets beside it."""

from functools import partial
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from api.context import Context, InjectedContext
from api.dashboard.figures import chart
from api.dashboard.query import Query, read_query
from api.dashboard.render import respond
from api.filters import FilterParameters, SortParameter
from api.schemas.common import AfterResult
from api.schemas.jobs import JobId
from models.store import facets, jobs, results
from models.store.facets import MANY
from models.store.filters import ResultFilter
from models.store.order import Sort

PAGE: Final = 60

router = APIRouter(include_in_schema=False)


@router.get("/jobs/{job_id}/results")
async def show_results(
    request: Request,
    job_id: JobId,
    context: InjectedContext,
    conditions: FilterParameters,
    sort: SortParameter,
    after: AfterResult = None,
) -> Response:
    query = read_query(request)
    return await context.costly.run(partial(_show, context, job_id, conditions, sort, after, query))


def _show(
    context: Context,
    job_id: int,
    conditions: ResultFilter,
    sort: Sort,
    after: str | None,
    query: Query,
) -> Response:
    job = jobs.get(context.db, job_id)
    within = conditions.of_job(job.id)
    records = results.page(context.db, within, PAGE + 1, after, sort)
    counts = facets.count(context.db, within)

    chosen = counts.outcomes if sort.is_scan else counts.emotions
    choice = within.outcome if sort.is_scan else within.emotion
    total = chosen.get(choice, 0) if choice else sum(chosen.values())
    return respond(
        "results",
        job=job,
        query=query,
        conditions=within,
        sort=sort,
        of_faces=within.is_of_faces or not sort.is_scan,
        total=total,
        emotions=chart(counts.emotions),
        outcomes=chart(counts.outcomes),
        scores=_lengths(counts.scores),
        faces=_lengths(dict(sorted(counts.faces.items()))),
        many=MANY,
        records=records[:PAGE],
        after=after,
        following=records[PAGE - 1].cursor if len(records) > PAGE else None,
    )


def _lengths(counts: Any) -> list[tuple[Any, int, float]]:
    """Values with their counts and the lengths of their bars, in the order given."""
    longest = max(counts.values(), default=0)
    return [(value, count, count / longest) for value, count in counts.items() if count]
