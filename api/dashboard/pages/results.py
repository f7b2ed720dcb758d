"""`/jobs/{job_id}/results`: the faces of a job as a grid, with facets beside it."""

from typing import Any, Final

from fastapi import APIRouter, Request, Response

from api.callers import get_caller
from api.context import Context, InjectedContext
from api.dashboard.figures import chart
from api.dashboard.query import Query, read_query
from api.dashboard.render import respond
from api.dashboard.snippets import Snippet, as_curl, as_python, as_sql
from api.filters import FilterParameters, SortParameter
from api.schemas.common import AfterResult
from api.schemas.jobs import JobId
from models.store import facets, jobs, results, statements
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
    within = conditions.of_job(job_id)
    address = str(request.base_url).rstrip("/")
    with_key = get_caller(request).key is not None

    def show() -> Response:
        snippets = _as_code(context, within, sort, query, address, with_key=with_key)
        return _show(context, within, sort, after, query, snippets)

    return await context.costly.run(show)


def _show(
    context: Context,
    within: ResultFilter,
    sort: Sort,
    after: str | None,
    query: Query,
    snippets: list[Snippet],
) -> Response:
    job = jobs.get(context.db, within.job_id or 0)
    records = results.page(context.db, within, PAGE + 1, after, sort)
    counts = facets.count(context.db, within)

    chosen = counts.outcomes if sort.is_scan else counts.emotions
    choice = within.outcome if sort.is_scan else within.emotion
    total = chosen.get(choice, 0) if choice else sum(chosen.values())
    return respond(
        "results",
        job=job,
        query=query,
        snippets=snippets,
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


def _as_code(
    context: Context,
    within: ResultFilter,
    sort: Sort,
    query: Query,
    address: str,
    *,
    with_key: bool,
) -> list[Snippet]:
    sql = statements.write(context.db, within, sort)
    return [
        as_curl(f"{address}/v1/jobs/{within.job_id}/results", query, with_key=with_key),
        as_python(address, query, within, sort, with_key=with_key),
        as_sql(sql, is_sqlite=context.db.is_sqlite),
    ]


def _lengths(counts: Any) -> list[tuple[Any, int, float]]:
    """Values with their counts and the lengths of their bars, in the order given."""
    longest = max(counts.values(), default=0)
    return [(value, count, count / longest) for value, count in counts.items() if count]
