"""Route of worker programs."""

from fastapi import APIRouter

from api.context import InjectedContext
from api.pages import whole
from api.schemas.common import Page
from api.schemas.workers import Worker
from models.health.snapshot import list_programs

router = APIRouter(prefix="/v1/workers", tags=["workers"])


@router.get("", summary="List workers", response_description="All worker programs.")
def list_workers(context: InjectedContext) -> Page[Worker]:
    """List worker programs, the living and those that died within a day, by name."""
    programs = list_programs(context.db)
    return whole(Worker.model_validate(program) for program in programs)
