"""Route of the audit."""

from fastapi import APIRouter

from api.auth import ADMIN
from api.context import InjectedContext
from api.schemas.audit import AuditEntry, AuditPage
from api.schemas.common import After, Limit, parse_id_cursor
from models.store import audit

router = APIRouter(prefix="/v1", tags=["audit"])


@router.get(
    "/audit",
    dependencies=[ADMIN],
    summary="List who did what",
    response_description="A page of acts.",
)
def list_audit(context: InjectedContext, limit: Limit = 50, after: After = None) -> AuditPage:
    """List who submitted, cancelled, retried, deleted, promoted, and made keys, newest first."""
    entries = audit.list_newest(context.db, limit + 1, parse_id_cursor(after))
    has_more = len(entries) > limit
    entries = entries[:limit]

    return AuditPage(
        data=[AuditEntry.model_validate(entry) for entry in entries],
        has_more=has_more,
        next=str(entries[-1].id) if has_more else None,
    )
