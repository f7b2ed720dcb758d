"""`/`: all jobs, and in one sentence how all is."""

from functools import partial
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from api.context import Context, InjectedContext
from api.dashboard.figures import done, stack
from api.dashboard.render import respond
from api.schemas.common import After, parse_id_cursor
from models.health.checks import Check, State
from models.store import jobs
from models.store.job_filters import JobFilter
from models.store.states import LIVE, JobStatus

PAGE: Final = 25

router = APIRouter(include_in_schema=False)


@router.get("/")
async def show_jobs(
    request: Request,
    context: InjectedContext,
    status: Annotated[JobStatus | None, Query()] = None,
    after: After = None,
) -> Response:
    checks = await context.watch.look_async()
    address = str(request.base_url)
    return await context.costly.run(partial(_show, context, checks, address, status, after))


def _show(
    context: Context,
    checks: list[Check],
    address: str,
    status: JobStatus | None,
    after: str | None,
) -> Response:
    troubles = [check for check in checks if check.state is not State.OK]
    quiet = {check.name: check.message for check in checks if check.state is State.OK}
    before = parse_id_cursor(after)

    totals = jobs.totals(context.db).jobs
    views = jobs.list_newest(context.db, JobFilter(status), limit=PAGE + 1, before=before)
    live = sum(totals[name] for name in LIVE)
    return respond(
        "jobs",
        refresh_s=2 if live else 10,
        troubles=troubles,
        quiet=quiet,
        address=address,
        status=status,
        statuses=list(JobStatus),
        totals=totals,
        live=live,
        views=views[:PAGE],
        after=after,
        following=str(views[PAGE - 1].id) if len(views) > PAGE else None,
        done=done,
        stack=stack,
    )
