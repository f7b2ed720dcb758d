"""Routes of jobs."""

from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Header, Query, Response

from api.context import Context, Injected
from api.schemas.schemas import Job, JobId, JobPage, JobRequest, Limit, Retried, Summary, cursor
from models.sources.names import to_text
from models.sources.roots import check_folder
from models.store import deletion, jobs, releases, results, retries
from models.store.jobs import JobView, Submission
from models.store.states import JobStatus

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])


@router.post("", status_code=HTTPStatus.ACCEPTED, response_model=Job)
def submit(
    request: JobRequest,
    context: Injected,
    background: BackgroundTasks,
    response: Response,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
) -> Any:
    """Queue a folder. It is committed before the answer; the same Idempotency-Key and request give the same job."""
    folder = check_folder(request.folder, context.settings.image_roots)
    release_id = releases.choose(context.db, request.model, context.settings.model)
    job, new = jobs.submit(
        context.db,
        Submission(
            to_text(folder),
            release_id,
            request.recursive,
            context.settings.batch_size,
            request.metadata,
            idempotency_key,
            request.fresh,
            request.trust_mtime,
            request.retention_days,
            request.model,
        ),
    )
    if new:
        background.add_task(
            context.announce
        )  # After the answer: a queue that is away must not hold it up.
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return _shown(context, job)


def _shown(context: Context, job: JobView) -> dict[str, Any]:
    return job.to_dict(context.settings.retention_days)


@router.get("", response_model=JobPage)
def newest(
    context: Injected, status: JobStatus | None = None, limit: Limit = 50, after: str | None = None
) -> dict[str, Any]:
    """Jobs, newest first."""
    found = jobs.newest(context.db, status=status, limit=limit, before=cursor(after))
    return {
        "jobs": [_shown(context, job) for job in found],
        "next": str(found[-1].id) if len(found) == limit else None,
    }


@router.get("/{job_id}", response_model=Job)
def get(job_id: JobId, context: Injected) -> Any:
    """Where a job stands. The counts sum to the total at every instant."""
    return _shown(context, jobs.get(context.db, job_id))


@router.post("/{job_id}/cancel", response_model=Job)
def cancel(job_id: JobId, context: Injected) -> Any:
    """Stop a job; what is finished stays. On a job that has ended it does nothing."""
    return _shown(context, jobs.cancel(context.db, job_id))


@router.post("/{job_id}/retry", status_code=HTTPStatus.ACCEPTED, response_model=Retried)
def retry(
    job_id: JobId,
    context: Injected,
    background: BackgroundTasks,
    code: Annotated[tuple[str, ...], Query()] = (),
    stale: bool = False,
) -> Any:
    """Queue again what failed or was unreadable, or only what has one of these error codes.

    With `stale`, instead what has its prediction by another release than the one new jobs use; the job goes over to
    that one. Each image keeps its old result until it has a new one, and for good if it can't be read any more.
    """
    present = releases.choose(context.db, None, context.settings.model) if stale else None
    job, count = retries.retry(context.db, job_id, code, present)
    background.add_task(context.announce)
    return {**_shown(context, job), "retried": count}


@router.delete("/{job_id}", status_code=HTTPStatus.NO_CONTENT)
def delete(job_id: JobId, context: Injected) -> None:
    """Delete a job and all its results. The images themselves are not touched."""
    deletion.delete(context.db, job_id)


@router.get("/{job_id}/summary", response_model=Summary)
def summary(job_id: JobId, context: Injected) -> Any:
    """How the faces spread over the emotions."""
    job = jobs.get(context.db, job_id)
    return {
        "job_id": job_id,
        "counts": asdict(job.counts),
        "emotions": results.distribution(context.db, job_id),
    }
