"""Route of the emotions."""

from fastapi import APIRouter

from api.pages import whole
from api.schemas.common import Page
from api.schemas.emotions import Emotion
from models.labels import EMOTIONS, title

router = APIRouter(prefix="/v1/emotions", tags=["emotions"])


@router.get("", summary="List emotions", response_description="All 28 emotions.")
def list_emotions() -> Page[Emotion]:
    """List the 28 emotions in the order of the network's outputs."""
    return whole(
        Emotion(index=index, name=name, title=title(name)) for index, name in enumerate(EMOTIONS)
    )
