"""What goes in and comes out over HTTP."""

import json
from datetime import datetime
from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from models.states import JobStatus, Outcome

METADATA_MAX_BYTES = 16_384


def _small(value: dict[str, Any] | None) -> dict[str, Any] | None:
    text = json.dumps(value)
    if len(text) > METADATA_MAX_BYTES:
        raise ValueError(f"at most {METADATA_MAX_BYTES:,} bytes as JSON")
    if "\\u0000" in text:
        raise ValueError("holds a NUL character")
    return value


def _no_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("holds a NUL character")
    return value


Text = Annotated[str, AfterValidator(_no_nul)]
JobId = Annotated[int, Path(ge=1, le=2**63 - 1)]
Limit = Annotated[int, Query(ge=1, le=1000)]


class JobRequest(BaseModel):
    """A folder to classify."""

    model_config = ConfigDict(extra="forbid")

    folder: Annotated[Text, Field(min_length=1, max_length=4096, description="Absolute path, within the image roots.")]
    recursive: bool = True
    model: Annotated[
        Text | None, Field(max_length=255, description="A release's name or the start of its SHA-256.")
    ] = None
    metadata: Annotated[dict[str, Any] | None, AfterValidator(_small)] = None


class Counts(BaseModel):
    """total = pending + classified + no_face + unreadable + failed + cancelled."""

    total: int
    pending: int
    classified: int
    no_face: int
    unreadable: int
    failed: int
    cancelled: int


class ErrorInfo(BaseModel):
    code: str
    message: str


class Job(BaseModel):
    """`total` grows while `scanned_at` is null: the folder is still being listed."""

    id: int
    folder: str
    recursive: bool
    model: str
    model_release_id: int
    metadata: dict[str, Any] | None
    status: JobStatus
    counts: Counts
    images_per_second: float | None
    eta_seconds: float | None
    error: ErrorInfo | None
    queued_at: datetime
    running_at: datetime | None
    scanned_at: datetime | None
    completed_at: datetime | None
    cancelled_at: datetime | None
    failed_at: datetime | None


class JobPage(BaseModel):
    jobs: list[Job]
    next: str | None = Field(description="Pass as `after` for the next page; null at the end.")


class Retried(Job):
    retried: int = Field(description="Images queued again.")


class Box(BaseModel):
    """In pixels of the image."""

    x: int
    y: int
    width: int
    height: int


class Face(BaseModel):
    index: int
    box: Box | None = Field(description="null when no face was detected and the whole image was classified.")


class Result(BaseModel):
    job_id: int
    path: str
    outcome: Outcome
    error: ErrorInfo | None
    face: Face | None
    emotion: str | None
    score: float | None
    scores: dict[str, float] | None
    model: str | None


class ResultPage(BaseModel):
    results: list[Result]
    next: str | None = Field(description="Pass as `after` for the next page; null at the end.")


class EmotionShare(BaseModel):
    count: int = Field(description="Faces on which this emotion scored highest.")
    mean_score: float = Field(description="Mean over all faces, in [0, 1].")


class Summary(BaseModel):
    job_id: int
    counts: Counts
    emotions: dict[str, EmotionShare]


class Release(BaseModel):
    id: int
    sha256: str
    name: str
    labels: list[str]
    trained_labels: list[str] = Field(description="Those of the labels it has seen examples of.")
    metrics: dict[str, float]
    is_default: bool
    created_at: datetime


class Emotion(BaseModel):
    index: int
    name: str
    title: str
