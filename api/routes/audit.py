"""Route of the audit."""

from fastapi import APIRouter

from api.auth import ADMIN
from api.context import InjectedContext
from api.pages import InjectedPager
from api.schemas.audit import AuditEntry
from api.schemas.common import After, Limit, Page, parse_id_cursor
from models.store import audit

router = APIRouter(prefix="/v1", tags=["audit"])


@router.get(
    "/audit",
    dependencies=[ADMIN],
    summary="List who did what",
    response_description="A page of acts.",
)
def list_audit(
    context: InjectedContext, pager: InjectedPager, limit: Limit = 50, after: After = None
) -> Page[AuditEntry]:
    """List who submitted, cancelled, retried, deleted, promoted, and made keys, newest first."""
    entries = audit.list_newest(context.db, limit + 1, parse_id_cursor(after))
    return pager.page(entries, limit, AuditEntry.model_validate, lambda entry: str(entry.id))
