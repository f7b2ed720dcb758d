"""`/jobs/{job_id}`: one job, live while it runs, and what can be done with it."""

from functools import partial
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, BackgroundTasks, Query, Response
from fastapi.responses import RedirectResponse

from api.auth import ADMIN
from api.context import Context, InjectedContext
from api.dashboard.figures import chart, done, stack
from api.dashboard.remedies import remedy_of
from api.dashboard.render import respond
from api.schemas.common import Text
from api.schemas.jobs import JobId
from models.labels import EMOTIONS
from models.sources.skipped import describe
from models.store import cancellation, deletion, failures, jobs, releases, retries, summaries

FOLDERS: Final = 12
"""Those with the most faces are shown."""

router = APIRouter(prefix="/jobs/{job_id}", include_in_schema=False)


@router.get("")
async def show_job(job_id: JobId, context: InjectedContext) -> Response:
    return await context.costly.run(partial(_show, context, job_id))


@router.post("/cancel")
def cancel_job(job_id: JobId, context: InjectedContext) -> Response:
    cancellation.cancel(context.db, job_id)
    return _go_to(f"/jobs/{job_id}")


@router.post("/retry")
def retry_job(
    job_id: JobId,
    context: InjectedContext,
    background: BackgroundTasks,
    code: Annotated[tuple[Text, ...], Query()] = (),
) -> Response:
    retries.retry(context.db, job_id, code)
    background.add_task(context.announce)
    return _go_to(f"/jobs/{job_id}")


@router.post("/delete", dependencies=[ADMIN])
def delete_job(job_id: JobId, context: InjectedContext) -> Response:
    deletion.delete(context.db, job_id)
    return _go_to("/")


def _go_to(path: str) -> Response:
    """The page to read after a form: reloading it does not send the form again."""
    return RedirectResponse(path, HTTPStatus.SEE_OTHER)


def _show(context: Context, job_id: int) -> Response:
    db = context.db
    job = jobs.get(db, job_id)
    release = releases.get(db, job.model_release_id)
    summary = summaries.get(db, job_id)
    emotions = {name: share["count"] for name, share in summary["emotions"].items()}
    folders = {row["folder"]: row for row in summary["folders"]}
    counts = job.counts
    return respond(
        "job",
        refresh_s=None if job.status.ended else 2,
        job=job,
        release=release,
        done=done(counts),
        stack=stack(counts),
        emotions=chart(emotions),
        absent=[name for name in EMOTIONS if not emotions[name]],
        folders=chart({name: row["faces"] for name, row in folders.items()})[:FOLDERS],
        tops={name: chart(row["emotions"])[0] for name, row in folders.items()},
        more_folders=max(len(folders) - FOLDERS, 0) + summary["folders_left_out"],
        failures=failures.group(db, job_id),
        again=counts.unreadable + counts.failed + counts.cancelled,
        remedy_of=remedy_of,
        rivals=jobs.list_rivals(db, job),
        skipped=describe(job.skipped, job.exclude),
        expires_at=job.expires_at(context.settings.retention_days),
    )
