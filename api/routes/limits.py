"""Route of the limits of a key, and of uploads."""

from fastapi import APIRouter

from api.callers import InjectedCaller
from api.context import InjectedContext
from api.schemas.limits import JobLimit, KeyInfo, Limits, RequestLimit, UploadLimits
from models.sources.spool import Limits as UploadBounds
from models.store import jobs

router = APIRouter(prefix="/v1", tags=["limits"])


@router.get("/limits", summary="Get the limits of a key", response_description="The limits.")
def get_limits(context: InjectedContext, caller: InjectedCaller) -> Limits:
    """Get what the key of this request may do, how much of it is left, and what uploads hold."""
    uploads = UploadLimits.model_validate(UploadBounds.of(context.settings))
    limits = Limits(key=None, requests=None, live_jobs=None, uploads=uploads)
    key, allowance = caller.key, caller.allowance

    if key is not None:
        limits.key = KeyInfo(id=key.id, name=key.name, scope=key.scope, expires_at=key.expires_at)
        if caller.live_jobs:
            with context.db.read() as connection:
                used = jobs.count_live(connection, key.id)
            limits.live_jobs = JobLimit(limit=caller.live_jobs, used=used)
    if allowance is not None:
        limits.requests = RequestLimit(
            limit=allowance.limit,
            remaining=allowance.remaining,
            reset_seconds=allowance.full_s,
        )
    return limits
