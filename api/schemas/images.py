"""Images over HTTP."""

from collections.abc import Sequence
from typing import Self

from pydantic import BaseModel, Field

from api.schemas.common import ErrorInfo
from api.schemas.results import Face
from models.store.results import Record
from models.store.states import Outcome


class FaceResult(Face):
    emotion: str = Field(description="The emotion with the highest score.")
    score: float = Field(description="Its score, in [0, 1].")
    scores: dict[str, float] = Field(description="All 28 scores; they sum to 1.")


class Image(BaseModel):
    """An image with all its faces."""

    job_id: int
    number: int = Field(description="Its place in the order of the scan, from 0.")
    path: str = Field(description="Path of the image, relative to the job's folder.")
    outcome: Outcome
    error: ErrorInfo | None
    faces: list[FaceResult] = Field(description="The surest first.")
    model: str | None = Field(description="Name of the release that made the predictions.")
    previous: int | None = Field(description="Number of the image before; null = none.")
    next: int | None = Field(description="Number of the next image; null = none yet.")

    @classmethod
    def from_records(
        cls, number: int, records: Sequence[Record], previous: int | None, following: int | None
    ) -> Self:
        """
        Args:
            records: all of the image's, one a face; if it has none, one.
        """
        first = records[0]
        faces = [
            {
                **record.face,
                "emotion": record.emotion,
                "score": record.score,
                "scores": record.scores,
            }
            for record in records
            if record.face is not None
        ]
        return cls.model_validate(
            {
                "job_id": first.job_id,
                "number": number,
                "path": first.path,
                "outcome": first.outcome,
                "error": first.error,
                "faces": faces,
                "model": first.model,
                "previous": previous,
                "next": following,
            }
        )
