"""Model releases over HTTP."""

from datetime import datetime
from typing import Annotated

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

from api.schemas.common import DIGITS, MAX_ID

ReleaseId = Annotated[int, Path(ge=1, le=MAX_ID, description="Id of the model release."), DIGITS]


class Release(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    sha256: str
    name: str
    labels: list[str]
    trained_labels: list[str] = Field(
        description="Labels that the training data contained; empty = unknown."
    )
    metrics: dict[str, float]
    is_default: bool = Field(description="New jobs use this release.")
    created_at: datetime
