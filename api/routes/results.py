"""Routes of results: keyset pages, and streams of everything."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse

from api.context import Injected
from api.schemas.schemas import JobId, Limit, ResultPage, Text
from models.formats import as_csv, as_jsonl
from models.store import jobs, results
from models.store.database import Database
from models.store.results import Filter
from models.store.states import Outcome

router = APIRouter(prefix="/v1", tags=["results"])


def _filter(
    emotion: str | None = None,
    min_score: Annotated[float | None, Query(ge=0, le=1)] = None,
    outcome: Outcome | None = None,
    path_prefix: Text | None = None,
) -> Filter:
    return Filter(None, emotion, min_score, outcome, path_prefix)


Filtered = Annotated[Filter, Depends(_filter)]


def _page(db: Database, which: Filter, limit: int, after: str | None) -> dict[str, Any]:
    found = results.page(db, which, limit, after)
    return {
        "results": [record.nested() for record in found],
        "next": found[-1].cursor if len(found) == limit else None,
    }


@router.get("/results", response_model=ResultPage)
def across_jobs(
    context: Injected, which: Filtered, limit: Limit = 100, after: str | None = None
) -> Any:
    """Results of all jobs."""
    return _page(context.db, which, limit, after)


@router.get("/jobs/{job_id}/results", response_model=ResultPage)
def of_job(
    job_id: JobId, context: Injected, which: Filtered, limit: Limit = 100, after: str | None = None
) -> Any:
    """A job's results so far, in the order of the scan."""
    return _page(context.db, which.of_job(jobs.get(context.db, job_id).id), limit, after)


@router.get("/jobs/{job_id}/results.csv", response_class=StreamingResponse)
def csv(job_id: JobId, context: Injected, which: Filtered) -> StreamingResponse:
    """All of a job's results as CSV."""
    found = results.every(context.db, which.of_job(jobs.get(context.db, job_id).id))
    return StreamingResponse(
        as_csv(found), media_type="text/csv; charset=utf-8", headers=_attachment(job_id, "csv")
    )


@router.get("/jobs/{job_id}/results.jsonl", response_class=StreamingResponse)
def jsonl(job_id: JobId, context: Injected, which: Filtered) -> StreamingResponse:
    """All of a job's results as JSON Lines."""
    found = results.every(context.db, which.of_job(jobs.get(context.db, job_id).id))
    return StreamingResponse(
        as_jsonl(found), media_type="application/jsonl", headers=_attachment(job_id, "jsonl")
    )


def _attachment(job_id: int, ending: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="job-{job_id}.{ending}"'}
