"""Routes of what there is to choose from: emotions and models."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from api.context import Injected
from api.schemas import Emotion, Release
from models import releases
from models.labels import EMOTIONS, title

router = APIRouter(prefix="/v1", tags=["catalogue"])


@router.get("/emotions", response_model=list[Emotion])
def emotions() -> Any:
    """The 28 emotions, in the order of the network's labels."""
    return [{"index": i, "name": name, "title": title(name)} for i, name in enumerate(EMOTIONS)]


@router.get("/models", response_model=list[Release])
def models(context: Injected) -> Any:
    """The model releases that jobs can be run with."""
    return [asdict(row) for row in releases.every(context.db)]
