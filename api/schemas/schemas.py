"""What goes in and comes out over HTTP."""

import json
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Path, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from models.errors import UsageError
from models.store.states import JobStatus, Outcome
from models.store.trainings import CANDIDATES

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


def cursor(after: str | None) -> int | None:
    """The id that a page of ids was told to go on behind.

    Raises:
        UsageError: it is none.
    """
    if after is not None and not (after.isascii() and after.isdigit() and len(after) < 19):
        raise UsageError(
            f"The cursor {after!r} is none of ours; pass on the one a page gave, unchanged."
        )
    return int(after) if after else None


class JobRequest(BaseModel):
    """A folder to classify."""

    model_config = ConfigDict(extra="forbid")

    folder: Annotated[
        Text,
        Field(min_length=1, max_length=4096, description="Absolute path, within the image roots."),
    ]
    recursive: bool = True
    model: Annotated[
        Text | None,
        Field(max_length=255, description="A release's name or the start of its SHA-256."),
    ] = None
    metadata: Annotated[dict[str, Any] | None, AfterValidator(_small)] = None
    fresh: Annotated[
        bool, Field(description="Classify images again whose prediction an earlier job has.")
    ] = False
    trust_mtime: Annotated[
        bool,
        Field(
            description="Don't even read files whose size and time are those of the folder's last job."
        ),
    ] = False
    retention_days: Annotated[
        int | None,
        Field(ge=0, le=36_500, description="Delete the job so long after its end; 0 = never."),
    ] = None


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
    reused: int = Field(
        description="Of the classified, those with the prediction of an earlier job."
    )
    images_per_second: float | None
    eta_seconds: float | None
    error: ErrorInfo | None
    queued_at: datetime
    running_at: datetime | None
    scanned_at: datetime | None
    completed_at: datetime | None
    cancelled_at: datetime | None
    failed_at: datetime | None
    retention_days: int | None = Field(description="null = as the service is set.")
    expires_at: datetime | None = Field(
        description="When it is deleted, once it has ended; null = never."
    )


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
    box: Box | None = Field(
        description="null when no face was detected and the whole image was classified."
    )


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
    trained_labels: list[str] = Field(
        description="Those of the labels it has seen examples of; none: unknown."
    )
    metrics: dict[str, float]
    is_default: bool
    created_at: datetime


SourceText = Annotated[Text, Field(min_length=1, max_length=4096)]


def _known(value: str) -> str:
    if value not in CANDIDATES:
        raise ValueError(f"no such candidate; there are: {', '.join(CANDIDATES)}")
    return value


class TrainingRequest(BaseModel):
    """Candidates to fit on labelled images within the image roots."""

    model_config = ConfigDict(extra="forbid")

    data: Annotated[
        list[SourceText],
        Field(
            min_length=1,
            max_length=16,
            description="Sources, as `cuemill train --help` describes them.",
        ),
    ]
    validation: Annotated[
        list[SourceText],
        Field(
            max_length=16, description="Others, to choose by; else a fifth of `data` is held out."
        ),
    ] = []
    candidates: Annotated[
        list[Annotated[str, AfterValidator(_known)]],
        Field(min_length=1, max_length=16, description="Networks, by name."),
    ] = ["cuemill1"]
    select_by: Literal["accuracy", "macro_f1"] = "accuracy"
    weights: Literal["imagenet", "none"] = "imagenet"
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0


class Epoch(BaseModel):
    candidate: str
    epoch: int = Field(description="Counted from 1.")
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    seconds: float


class Training(BaseModel):
    """`candidate` is the one being fitted, `epochs` how many it takes at most, `history` all that are done."""

    id: int
    plan: dict[str, Any]
    status: JobStatus
    candidate: str | None
    epochs: int | None
    history: list[Epoch]
    comparison: list[dict[str, Any]] | None
    model_release_id: int | None = Field(description="At the end, what to promote.")
    error: ErrorInfo | None
    queued_at: datetime
    running_at: datetime | None
    completed_at: datetime | None
    cancelled_at: datetime | None
    failed_at: datetime | None


class TrainingPage(BaseModel):
    trainings: list[Training]
    next: str | None = Field(description="Pass as `after` for the next page; null at the end.")


class Emotion(BaseModel):
    index: int
    name: str
    title: str
