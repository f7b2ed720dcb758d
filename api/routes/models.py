"""Routes of model releases."""

from fastapi import APIRouter

from api.auth import ADMIN
from api.context import InjectedContext
from api.pages import whole
from api.schemas.common import Page
from api.schemas.models import Release, ReleaseId
from models.store import releases

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.get("", summary="List model releases", response_description="All releases.")
def list_models(context: InjectedContext) -> Page[Release]:
    """List the model releases that jobs can use, oldest first."""
    rows = releases.list_all(context.db, context.settings.model)
    return whole(Release.model_validate(row) for row in rows)


@router.get("/{release_id}", summary="Get a model release", response_description="The release.")
def get_model(release_id: ReleaseId, context: InjectedContext) -> Release:
    """Get a model release: its labels, its metrics, and whether new jobs use it."""
    release = releases.get_listed(context.db, release_id, context.settings.model)
    return Release.model_validate(release)


@router.post(
    "/{release_id}/promote",
    dependencies=[ADMIN],
    summary="Promote a model release",
    response_description="The release, now the default.",
)
def promote_model(release_id: ReleaseId, context: InjectedContext) -> Release:
    """Make a release the default for new jobs, effective immediately. Existing jobs keep theirs."""
    return Release.model_validate(releases.promote(context.db, release_id))
