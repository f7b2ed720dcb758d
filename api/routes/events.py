"""The route of a job's events: its states, as they change."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Header, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import EventSourceResponse, ServerSentEvent

from api import latest
from api.auth import may_go_on
from api.context import Context, InjectedContext
from api.polling import make_tag
from api.schemas.jobs import RATES, Job, JobId
from models.errors import DatabaseError, NotFoundError
from models.store import jobs
from models.store.states import LIVE

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

LastEventId = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID",
        max_length=200,
        description="The id of the last event that the client has.",
    ),
]


async def _check_news(
    job_id: JobId, context: InjectedContext, last_event_id: LastEventId = None
) -> None:
    """
    Raises:
        NotFoundError: no such job.
        HTTPException: the client has the end already. A browser then does not connect again.
    """
    job = await _read(context, job_id)
    if job.status not in LIVE and last_event_id == _id_of(job):
        raise HTTPException(HTTPStatus.NO_CONTENT)


@router.get(
    "/{job_id}/events",
    dependencies=[Depends(_check_news)],
    response_class=EventSourceResponse,
    responses={204: {"description": "The job has ended, and the client has its last event."}},
    summary="Follow a job",
    response_description="Server-sent events, each with the job as its data.",
)
async def follow_job(
    job_id: JobId,
    request: Request,
    context: InjectedContext,
    last_event_id: LastEventId = None,
) -> AsyncIterator[ServerSentEvent]:
    """Stream the job now and whenever it has changed, at most once a second.

    Such an event is named `progress`; the last one, when the job has ended, is named `ended`. A
    client that reconnects with `Last-Event-ID` is not sent again what it has. A stream that closes
    without `ended` does so because the server stops, the key is revoked or the job is deleted:
    connecting again tells which.
    """
    sent = last_event_id
    while True:
        try:
            if not await may_go_on(request):
                return
            job = await _read(context, job_id)
        except NotFoundError:
            return
        except DatabaseError:
            pass  # The next try may be better. Meanwhile, pings keep the connection open.
        else:
            event_id = _id_of(job)
            if job.status not in LIVE:
                yield ServerSentEvent(event="ended", id=event_id, data=job)
                return
            if event_id != sent:
                sent = event_id
                yield ServerSentEvent(event="progress", id=event_id, data=job)

        if context.ending.is_set():
            return
        await asyncio.sleep(latest.PERIOD_S)


async def _read(context: Context, job_id: int) -> Job:
    get = partial(run_in_threadpool, jobs.get, context.db, job_id)
    view = await context.latest.read(("job", job_id), get)
    return Job.from_view(view, context.settings.retention_days)


def _id_of(job: Job) -> str:
    """The `ETag` of the job: the rates, which always change, are no news."""
    return make_tag(job.model_dump_json(exclude=RATES))
