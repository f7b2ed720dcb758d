"""Routes of results: pages by cursor, and streams of all results."""

from collections.abc import Iterator
from functools import partial
from typing import Final

from fastapi import APIRouter, Depends, Response
from fastapi.responses import StreamingResponse

from api.context import Context, InjectedContext
from api.exports import WantsGzip, gzipped, in_pieces
from api.filters import FilterParameters, SortParameter, refuse_sort
from api.pages import InjectedPager, Pager
from api.schemas.common import AfterResult, Limit, Page
from api.schemas.jobs import JobId
from api.schemas.results import Result
from models.formats import as_csv, as_jsonl
from models.parquet import as_parquet
from models.store import jobs, results
from models.store.database import Database
from models.store.filters import ResultFilter
from models.store.order import Sort
from models.store.results import SCAN, Record

PARQUET: Final = "application/vnd.apache.parquet"

router = APIRouter(prefix="/v1", tags=["results"])


@router.get(
    "/results",
    dependencies=[Depends(refuse_sort)],
    response_model=Page[Result],
    responses={409: {}},
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
    responses={409: {}},
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
    job_id: JobId,
    context: InjectedContext,
    conditions: FilterParameters,
    sort: SortParameter,
    gzip: WantsGzip,
) -> StreamingResponse:
    """Stream the results that a job has so far, in scan order or sorted by scores.

    All filters must match. With `Accept-Encoding: gzip`, the body is compressed.
    """
    records = await _records(context, job_id, conditions, sort)
    return _export(context, job_id, in_pieces(as_csv(records)), "csv", "text/csv", gzip)


@router.get(
    "/jobs/{job_id}/results.jsonl",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/jsonl": {"schema": {"type": "string"}}}}},
    summary="Download a job's results as JSON Lines",
    response_description="One JSON object per line and result.",
)
async def download_jsonl(
    job_id: JobId,
    context: InjectedContext,
    conditions: FilterParameters,
    sort: SortParameter,
    gzip: WantsGzip,
) -> StreamingResponse:
    """Stream the results that a job has so far, in scan order or sorted by scores.

    All filters must match. With `Accept-Encoding: gzip`, the body is compressed.
    """
    records = await _records(context, job_id, conditions, sort)
    return _export(
        context, job_id, in_pieces(as_jsonl(records)), "jsonl", "application/jsonl", gzip
    )


@router.get(
    "/jobs/{job_id}/results.parquet",
    response_class=StreamingResponse,
    responses={200: {"content": {PARQUET: {"schema": {"type": "string", "format": "binary"}}}}},
    summary="Download a job's results as Parquet",
    response_description="A Parquet file with the columns of CSV.",
)
async def download_parquet(
    job_id: JobId, context: InjectedContext, conditions: FilterParameters, sort: SortParameter
) -> StreamingResponse:
    """Stream the results that a job has so far, in scan order or sorted by scores.

    All filters must match. The server needs `cuemill[parquet]`.
    """
    records = await _records(context, job_id, conditions, sort)
    pieces = await context.costly.run(partial(as_parquet, records))  # Slow to import.
    return _export(context, job_id, pieces, "parquet", PARQUET)


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


async def _records(
    context: Context, job_id: int, conditions: ResultFilter, sort: Sort
) -> Iterator[Record]:
    within = await context.costly.run(partial(_within, context.db, job_id, conditions))
    return results.stream(context.db, within, sort)


def _export(
    context: Context,
    job_id: int,
    pieces: Iterator[bytes],
    ending: str,
    media_type: str,
    gzip: bool = False,
) -> StreamingResponse:
    headers = {
        "Content-Disposition": f'attachment; filename="job-{job_id}.{ending}"',
        "Vary": "Accept-Encoding",
    }
    if gzip:
        headers["Content-Encoding"] = "gzip"
        pieces = gzipped(pieces)
    return StreamingResponse(context.costly.stream(pieces), media_type=media_type, headers=headers)
