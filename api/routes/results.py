"""Routes of results: pages by cursor, and streams of all results."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse

from api.context import InjectedContext
from api.schemas.common import After, Limit, Text
from api.schemas.jobs import JobId
from api.schemas.results import Result, ResultPage
from models.formats import as_csv, as_jsonl
from models.store import jobs, results
from models.store.database import Database
from models.store.results import Filter
from models.store.states import Outcome

router = APIRouter(prefix="/v1", tags=["results"])


def _parse_filter(
    emotion: Annotated[
        str | None, Query(description="Only faces whose highest score is for this emotion.")
    ] = None,
    min_score: Annotated[
        float | None,
        Query(ge=0, le=1, description="Only faces whose highest score is this or more."),
    ] = None,
    outcome: Annotated[Outcome | None, Query(description="Only images with this outcome.")] = None,
    path_prefix: Annotated[
        Text | None, Query(description="Only images whose path starts with this.")
    ] = None,
    min_face: Annotated[
        int | None,
        Query(
            ge=1,
            le=65_535,
            description="Only faces whose box has a shorter side of this many pixels or more. "
            "Images taken whole have no box.",
        ),
    ] = None,
    min_confidence: Annotated[
        float | None,
        Query(
            ge=0,
            le=1,
            description="Only faces of which the detector is this sure or more. Images taken whole "
            "have no confidence.",
        ),
    ] = None,
    min_faces: Annotated[
        int | None,
        Query(ge=0, le=65_535, description="Only images with this many faces or more."),
    ] = None,
    max_faces: Annotated[
        int | None,
        Query(
            ge=0,
            le=65_535,
            description="Only images with this many faces or fewer. Images without a result have "
            "0 faces.",
        ),
    ] = None,
) -> Filter:
    return Filter(
        emotion=emotion,
        min_score=min_score,
        outcome=outcome,
        path_prefix=path_prefix,
        min_face=min_face,
        min_confidence=min_confidence,
        min_faces=min_faces,
        max_faces=max_faces,
    )


FilterParameters = Annotated[Filter, Depends(_parse_filter)]


@router.get(
    "/results", summary="List results of all jobs", response_description="A page of results."
)
def list_results(
    context: InjectedContext, conditions: FilterParameters, limit: Limit = 100, after: After = None
) -> ResultPage:
    """List results of all jobs, in order of job and scan. All filters must match."""
    return _page(context.db, conditions, limit, after)


@router.get(
    "/jobs/{job_id}/results",
    summary="List a job's results",
    response_description="A page of results.",
)
def list_job_results(
    job_id: JobId,
    context: InjectedContext,
    conditions: FilterParameters,
    limit: Limit = 100,
    after: After = None,
) -> ResultPage:
    """List the results that a job has so far, in scan order. All filters must match."""
    return _page(context.db, _within(context.db, job_id, conditions), limit, after)


@router.get(
    "/jobs/{job_id}/results.csv",
    response_class=StreamingResponse,
    summary="Download a job's results as CSV",
    response_description="A header line, then one line per result.",
)
def download_csv(
    job_id: JobId, context: InjectedContext, conditions: FilterParameters
) -> StreamingResponse:
    """Stream the results that a job has so far, in scan order. All filters must match."""
    records = results.stream(context.db, _within(context.db, job_id, conditions))
    return StreamingResponse(
        as_csv(records),
        media_type="text/csv; charset=utf-8",
        headers=_attachment(f"job-{job_id}.csv"),
    )


@router.get(
    "/jobs/{job_id}/results.jsonl",
    response_class=StreamingResponse,
    summary="Download a job's results as JSON Lines",
    response_description="One JSON object per line and result.",
)
def download_jsonl(
    job_id: JobId, context: InjectedContext, conditions: FilterParameters
) -> StreamingResponse:
    """Stream the results that a job has so far, in scan order. All filters must match."""
    records = results.stream(context.db, _within(context.db, job_id, conditions))
    return StreamingResponse(
        as_jsonl(records),
        media_type="application/jsonl",
        headers=_attachment(f"job-{job_id}.jsonl"),
    )


def _within(db: Database, job_id: int, conditions: Filter) -> Filter:
    """The same conditions, on the results of a job that must exist."""
    return conditions.of_job(jobs.get(db, job_id).id)


def _page(db: Database, conditions: Filter, limit: int, after: str | None) -> ResultPage:
    records = results.page(db, conditions, limit, after)

    return ResultPage(
        results=[Result.model_validate(record) for record in records],
        next=records[-1].cursor if len(records) == limit else None,
    )


def _attachment(file_name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{file_name}"'}
