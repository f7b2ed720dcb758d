"""Routes of what there is to choose from: emotions and models."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path

from api.context import Injected
from api.schemas.schemas import Emotion, Release
from models.labels import EMOTIONS, title
from models.store import releases

router = APIRouter(prefix="/v1", tags=["catalogue"])


@router.get("/emotions", response_model=list[Emotion])
def emotions() -> Any:
    """The 28 emotions, in the order of the network's labels."""
    return [{"index": i, "name": name, "title": title(name)} for i, name in enumerate(EMOTIONS)]


@router.post("/models/{release_id}/promote", response_model=Release)
def promote(release_id: Annotated[int, Path(ge=1, le=2**63 - 1)], context: Injected) -> Any:
    """Make a release the one that new jobs use, at once and everywhere. Jobs already submitted keep theirs."""
    return asdict(releases.promote(context.db, release_id))


@router.get("/models", response_model=list[Release])
def models(context: Injected) -> Any:
    """The model releases that jobs can be run with."""
    return [asdict(row) for row in releases.every(context.db, context.settings.model)]
