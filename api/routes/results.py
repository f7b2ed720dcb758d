"""Routes of results: pages by cursor, and streams of all results."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from fastapi import APIRouter, Depends, Response
from fastapi.responses import StreamingResponse

from api.context import Context, InjectedContext
from api.filters import FilterParameters, SortParameter, refuse_sort
from api.pages import InjectedPager, Pager
from api.schemas.common import AfterResult, Limit, Page
from api.schemas.jobs import JobId
from api.schemas.results import Result
from models.formats import as_csv, as_jsonl
from models.store import jobs, results
from models.store.database import Database
from models.store.filters import ResultFilter
from models.store.order import Sort
from models.store.results import SCAN, Record

router = APIRouter(prefix="/v1", tags=["results"])


@router.get(
    "/results",
    dependencies=[Depends(refuse_sort)],
    response_model=Page[Result],
    summary="List results of all jobs",
    response_description="A page of results.",
)
async def list_results(
    context: InjectedContext,
    conditions: FilterParameters,
    pager: InjectedPager,
    limit: Limit = 100,
    after: AfterResult = None,
) -> Response:
    """List results of all jobs, in order of job and scan. All filters must match."""
    return await context.costly.run(partial(_page, context.db, conditions, limit, after, pager))


@router.get(
    "/jobs/{job_id}/results",
    response_model=Page[Result],
    summary="List a job's results",
    response_description="A page of results.",
)
async def list_job_results(
    job_id: JobId,
    context: InjectedContext,
    conditions: FilterParameters,
    sort: SortParameter,
    pager: InjectedPager,
    limit: Limit = 100,
    after: AfterResult = None,
) -> Response:
    """List the results that a job has so far, in scan order or sorted by scores.

    All filters must match.
    """

    def read_page() -> Response:
        within = _within(context.db, job_id, conditions)
        return _page(context.db, within, limit, after, pager, sort)

    return await context.costly.run(read_page)


@router.get(
    "/jobs/{job_id}/results.csv",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
    summary="Download a job's results as CSV",
    response_description="A header line, then one line per result.",
)
async def download_csv(
    job_id: JobId, context: InjectedContext, conditions: FilterParameters
) -> StreamingResponse:
    """Stream the results that a job has so far, in scan order. All filters must match."""
    return await _export(
        context, job_id, conditions, as_csv, f"job-{job_id}.csv", "text/csv; charset=utf-8"
    )


@router.get(
    "/jobs/{job_id}/results.jsonl",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/jsonl": {"schema": {"type": "string"}}}}},
    summary="Download a job's results as JSON Lines",
    response_description="One JSON object per line and result.",
)
async def download_jsonl(
    job_id: JobId, context: InjectedContext, conditions: FilterParameters
) -> StreamingResponse:
    """Stream the results that a job has so far, in scan order. All filters must match."""
    return await _export(
        context, job_id, conditions, as_jsonl, f"job-{job_id}.jsonl", "application/jsonl"
    )


def _within(db: Database, job_id: int, conditions: ResultFilter) -> ResultFilter:
    """The same conditions, on the results of a job that must exist."""
    return conditions.of_job(jobs.get(db, job_id).id)


def _page(
    db: Database,
    conditions: ResultFilter,
    limit: int,
    after: str | None,
    pager: Pager,
    sort: Sort = SCAN,
) -> Response:
    records = results.page(db, conditions, limit + 1, after, sort)
    page = pager.page(
        records, limit, to_item=Result.model_validate, cursor=lambda record: record.cursor
    )
    # As text already here, in its own thread: a thousand results would hold up the event loop.
    return Response(page.model_dump_json(), headers=pager.headers, media_type="application/json")


async def _export(
    context: Context,
    job_id: int,
    conditions: ResultFilter,
    write: Callable[[Iterable[Record]], Iterator[str]],
    file_name: str,
    media_type: str,
) -> StreamingResponse:
    within = await context.costly.run(partial(_within, context.db, job_id, conditions))
    pieces = write(results.stream(context.db, within))

    return StreamingResponse(
        context.costly.stream(pieces),
        media_type=media_type,
        headers={"Content-Disposition": f'attachment; filename="{file_name}"'},
    )
