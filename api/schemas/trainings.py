"""Trainings over HTTP."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Path
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from api.schemas.common import DIGITS, MAX_ID, WHOLE, ErrorInfo, Text
from models.store.states import JobStatus
from models.store.trainings import CANDIDATES

TrainingId = Annotated[int, Path(ge=1, le=MAX_ID, description="Id of the training."), DIGITS]


def _check_candidate(name: str) -> str:
    if name not in CANDIDATES:
        raise ValueError(f"unknown candidate; expected one of: {', '.join(CANDIDATES)}")
    return name


SourceText = Annotated[Text, Field(min_length=1, max_length=4096)]
CandidateName = Annotated[
    str, AfterValidator(_check_candidate), Field(json_schema_extra={"enum": list(CANDIDATES)})
]


class TrainingRequest(BaseModel):
    """Candidate networks to train on labelled images within CUEMILL_IMAGE_ROOTS."""

    model_config = ConfigDict(extra="forbid", strict=True)

    data: Annotated[
        list[SourceText],
        Field(
            min_length=1,
            max_length=16,
            description="Sources of labelled images, in the syntax of `cuemill train --data`.",
        ),
    ]
    validation: Annotated[
        list[SourceText],
        Field(
            max_length=16,
            description="Sources to validate on; empty = hold out a fifth of `data`.",
        ),
    ] = []
    candidates: Annotated[
        list[CandidateName],
        Field(min_length=1, max_length=16, description="Names of the networks to train."),
    ] = ["cuemill1"]
    select_by: Annotated[
        Literal["accuracy", "macro_f1"],
        Field(description="Validation metric that selects the best candidate."),
    ] = "accuracy"
    weights: Annotated[
        Literal["imagenet", "none"],
        Field(description="Initial weights of pretrained layers."),
    ] = "imagenet"
    seed: Annotated[
        int, Field(ge=0, le=2**31 - 1, description="Seed for all randomness."), WHOLE
    ] = 0


class Epoch(BaseModel):
    candidate: str
    epoch: int = Field(description="Counted from 1.")
    loss: float
    accuracy: float
    val_loss: float
    val_accuracy: float
    seconds: float


class Training(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    plan: dict[str, Any] = Field(description="The request, with defaults filled in.")
    status: JobStatus
    candidate: str | None = Field(description="The candidate being trained.")
    epochs: int | None = Field(description="Maximum number of epochs for this candidate.")
    history: list[Epoch] = Field(description="Completed epochs of all candidates, in order.")
    comparison: list[dict[str, Any]] | None = Field(
        description="One row per candidate, once the training has completed."
    )
    model_release_id: int | None = Field(
        description="The best candidate's release, ready to promote."
    )
    error: ErrorInfo | None = Field(description="Why the training failed.")
    queued_at: datetime
    running_at: datetime | None
    completed_at: datetime | None
    cancelled_at: datetime | None
    failed_at: datetime | None
