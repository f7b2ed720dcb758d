"""`/models`: the releases as cards, and which one new jobs use."""

from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, Response
from fastapi.responses import RedirectResponse

from api.auth import ADMIN
from api.context import InjectedContext
from api.dashboard.render import respond
from api.schemas.models import ReleaseId
from models.store import releases

METRICS: Final = {
    "val_accuracy": "Accuracy",
    "val_macro_f1": "Macro F1",
    "uncertain_below": "Uncertain below",
}
"""Those that a card shows, on the images that the model was validated with."""

router = APIRouter(prefix="/models", include_in_schema=False)


@router.get("")
def show_models(context: InjectedContext) -> Response:
    rows = releases.list_all(context.db, context.settings.model)
    # The one that new jobs use comes first, then the newest.
    ordered = sorted(rows, key=lambda row: (not row.is_default, -row.id))
    return respond("models", releases=ordered, metrics=METRICS)


@router.post("/{release_id}/promote", dependencies=[ADMIN])
def promote_model(release_id: ReleaseId, context: InjectedContext) -> Response:
    releases.promote(context.db, release_id)
    return RedirectResponse("/models", HTTPStatus.SEE_OTHER)
