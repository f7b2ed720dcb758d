"""Routes for load balancers and monitoring: liveness and readiness."""

from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, Response

from api.context import InjectedContext
from api.schemas.health import Liveness, Readiness
from models.health.checks import State

ESSENTIAL: Final = ("database", "writes", "queue", "disk")
"""The checks that the API needs to do its own work; it can do without workers for a while."""

_HOW: Final = "see `cuemill status`"

router = APIRouter(tags=["health"])


@router.get("/healthz", summary="Check liveness", response_description="The process is alive.")
async def healthz() -> Liveness:
    """Check that the process answers. Nothing else is checked."""
    return Liveness()


@router.get(
    "/readyz",
    summary="Check readiness",
    response_description="The API can accept jobs (`ok` or `degraded`).",
    responses={503: {"model": Readiness, "description": "The API cannot accept jobs."}},
)
async def readyz(context: InjectedContext, response: Response) -> Readiness:
    """Check the database, the queue, the disk, the image folders and the workers.

    `unavailable` (503): the API cannot store or announce jobs.
    `degraded` (200): it can, but something else needs attention, such as workers that have died.

    What is wrong is said only to this machine, on which the API then listens alone.
    """
    checks = await context.watch.look_async()
    failing = [check for check in checks if check.state is not State.OK]
    messages = {check.name: "ok" for check in checks}
    # Nobody needs a key here, and the sentences name hosts, folders and jobs.
    is_local = context.settings.is_local
    messages |= {
        check.name: check.public or check.message if is_local else f"{check.state}: {_HOW}"
        for check in failing
    }

    if any(check.state is State.PROBLEM and check.name in ESSENTIAL for check in failing):
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
        return Readiness(status="unavailable", checks=messages)

    return Readiness(status="degraded" if failing else "ok", checks=messages)
