"""`/status`: what the people who run Cuemill look at: how all is, and who did what."""

from typing import Any, Final

from fastapi import APIRouter, Response

from api.callers import current_caller
from api.context import Context, InjectedContext
from api.dashboard.render import respond
from models.health.checks import Check, State
from models.health.snapshot import take_snapshot
from models.store import audit, deliveries, webhooks
from models.store.keys import Scope
from models.store.states import DeliveryState

NEWEST: Final = 20
"""Rows of the audit, and webhooks."""

router = APIRouter(include_in_schema=False)


@router.get("/status")
async def show_status(context: InjectedContext) -> Response:
    checks = await context.watch.look_async()
    return await context.costly.run(lambda: _show(context, checks))


def _show(context: Context, checks: list[Check]) -> Response:
    caller = current_caller()
    is_admin = caller is not None and caller.may(Scope.ADMIN)
    snapshot = take_snapshot(context.db)
    return respond(
        "status",
        refresh_s=5,
        checks=checks,
        troubles=[check for check in checks if check.state is not State.OK],
        programs=snapshot.programs,
        backlogs=[backlog for backlog in (snapshot.served, snapshot.unserved) if backlog.jobs],
        webhooks=_read_webhooks(context) if is_admin else [],
        entries=audit.list_newest(context.db, NEWEST) if is_admin else [],
    )


def _read_webhooks(context: Context) -> list[dict[str, Any]]:
    """Webhooks, each with how its latest deliveries went."""
    rows: list[dict[str, Any]] = []
    for webhook in webhooks.list_newest(context.db, limit=NEWEST):
        latest = deliveries.list_newest(context.db, webhook.id)
        states = [delivery.state for delivery in latest]
        rows.append({"view": webhook} | {state: states.count(state) for state in DeliveryState})
    return rows
