"""Routes of jobs."""

from functools import partial
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Query, Response
from fastapi.concurrency import run_in_threadpool

from api.auth import ADMIN
from api.context import Context, InjectedContext
from api.job_filters import METADATA, JobFilterParameters
from api.pages import InjectedPager
from api.polling import make_tag
from api.routes import forms
from api.schemas.common import After, IdempotencyKey, Limit, Page, Text, parse_id_cursor
from api.schemas.jobs import (
    RATES,
    Counts,
    Job,
    JobId,
    JobRequest,
    Retried,
    Summary,
)
from api.submission import Source, find_folder, submit
from models.errors import UsageError
from models.store import cancellation, deletion, jobs, releases, retries, summaries, uploads
from models.store.database import Database
from models.store.jobs import JobView

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@router.post(
    "",
    status_code=HTTPStatus.ACCEPTED,
    responses={404: {}, 409: {}, 507: {}},
    summary="Submit a job",
    openapi_extra=forms.BODY,
    response_description="The job, committed to the database. `Location` is its URL.",
)
async def submit_job(
    request: JobRequest,
    context: InjectedContext,
    background: BackgroundTasks,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> Job:
    """Queue a folder or an upload for classification, or files that come in the request.

    To retry safely after a network error, send an `Idempotency-Key`: the same key and request
    return the same job.
    """
    if request.upload:
        upload = await run_in_threadpool(uploads.get, context.db, request.upload)
        if not upload.files:
            raise UsageError(f"Upload {upload.id} has no files. Put some, and submit it then.")
        source = Source(upload.folder, upload=upload.id)
    else:
        source = await find_folder(context, request.folder)

    view, is_new = await run_in_threadpool(submit, context, request, source, idempotency_key)
    if is_new:
        # After the response, so that an unreachable queue does not delay it.
        background.add_task(context.announce)

    response.headers["Location"] = f"/v1/jobs/{view.id}"
    return _to_schema(context, view)


@router.get(
    "",
    summary="List jobs",
    response_description="A page of jobs.",
    openapi_extra={"parameters": [METADATA]},
)
def list_jobs(
    context: InjectedContext,
    pager: InjectedPager,
    conditions: JobFilterParameters,
    limit: Limit = 50,
    after: After = None,
) -> Page[Job]:
    """List jobs, newest first. All filters must match."""
    before = parse_id_cursor(after)
    views = jobs.list_newest(context.db, conditions, limit=limit + 1, before=before)

    page = pager.page(
        views, limit, to_item=partial(_to_schema, context), cursor=lambda view: str(view.id)
    )
    pager.headers["ETag"] = make_tag(page.model_dump_json(exclude={"data": {"__all__": RATES}}))
    return page


@router.get("/{job_id}", summary="Get a job", response_description="The job.")
def get_job(job_id: JobId, context: InjectedContext, response: Response) -> Job:
    """Get a job's status and counts. The counts add up to the total at every instant."""
    job = _to_schema(context, jobs.get(context.db, job_id))
    response.headers["ETag"] = make_tag(job.model_dump_json(exclude=RATES))
    return job


@router.post("/{job_id}/cancel", summary="Cancel a job", response_description="The job.")
def cancel_job(job_id: JobId, context: InjectedContext) -> Job:
    """Stop a job and keep the results it has. A job that has ended is left as it is."""
    return _to_schema(context, cancellation.cancel(context.db, job_id))


@router.post(
    "/{job_id}/retry",
    status_code=HTTPStatus.ACCEPTED,
    summary="Retry a job's images",
    response_description="The job, and how many of its images are queued again.",
)
def retry_job(
    job_id: JobId,
    context: InjectedContext,
    background: BackgroundTasks,
    code: Annotated[
        tuple[Text, ...],
        Query(description="Only images with this error code; repeat for several codes."),
    ] = (),
    stale: Annotated[
        bool,
        Query(description="Retry images predicted by a release other than the current default."),
    ] = False,
) -> Retried:
    """Queue images again that failed, were unreadable, or were left when the job ended early.

    With `stale`, switch the job to the current default release and instead queue the images that
    another release predicted. Each image keeps its old result until the new one is recorded; if it
    can no longer be read, it keeps the old one.
    """
    release_id = releases.resolve_name(context.db, None, context.settings.model) if stale else None
    view, count = retries.retry(context.db, job_id, code, release_id)

    background.add_task(context.announce)
    return Retried.from_view(view, context.settings.retention_days, retried=count)


@router.delete(
    "/{job_id}",
    dependencies=[ADMIN],
    status_code=HTTPStatus.NO_CONTENT,
    response_class=Response,  # Without a media type.
    summary="Delete a job",
    response_description="The job and its results are deleted.",
)
def delete_job(job_id: JobId, context: InjectedContext) -> None:
    """Delete a job and all its results. The image files are not touched."""
    deletion.delete(context.db, job_id)


@router.get(
    "/{job_id}/summary",
    summary="Summarize a job",
    response_description="The job's counts and the distribution of emotions.",
)
async def summarize_job(job_id: JobId, context: InjectedContext) -> Summary:
    """Count faces by emotion, by score and by folder, and average each emotion's score.

    For a running job, all but `counts` and `faces` may be some seconds old.
    """
    return await context.costly.run(partial(_summarize, context.db, job_id))


def _summarize(db: Database, job_id: int) -> Summary:
    view = jobs.get(db, job_id)
    return Summary(
        job_id=job_id,
        counts=Counts.model_validate(view.counts),
        faces=view.faces,
        **summaries.get(db, job_id),
    )


def _to_schema(context: Context, view: JobView) -> Job:
    return Job.from_view(view, context.settings.retention_days)
