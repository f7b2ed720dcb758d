"""Results over HTTP."""

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.common import ErrorInfo
from models.store.states import Outcome


class Box(BaseModel):
    """In pixels of the upright image."""

    x: int
    y: int
    width: int
    height: int


class Face(BaseModel):
    index: int
    box: Box | None = Field(description="null if the whole image was taken as one face.")
    confidence: float | None = Field(description="The detector's, in [0, 1].")
    roll: float | None = Field(description="How far the face is turned clockwise, in degrees.")


class Result(BaseModel):
    """One face, or an image without one."""

    model_config = ConfigDict(from_attributes=True)

    job_id: int
    path: str = Field(description="Path of the image, relative to the job's folder.")
    outcome: Outcome
    error: ErrorInfo | None
    face: Face | None
    emotion: str | None = Field(description="The emotion with the highest score.")
    score: float | None = Field(description="Its score, in [0, 1].")
    scores: dict[str, float] | None = Field(description="All 28 scores; they sum to 1.")
    model: str | None = Field(description="Name of the release that made the prediction.")
