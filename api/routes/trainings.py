"""Routes of trainings. They are done by a training worker: `cuemill worker --queue training`."""

from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Path, Response

from api.context import Injected
from api.schemas.schemas import Limit, Training, TrainingPage, TrainingRequest, cursor
from models.store import trainings
from models.training_data import check_source

router = APIRouter(prefix="/v1/trainings", tags=["trainings"])

TrainingId = Annotated[int, Path(ge=1, le=2**63 - 1)]


@router.post("", status_code=HTTPStatus.ACCEPTED, response_model=Training)
def submit(
    request: TrainingRequest, context: Injected, background: BackgroundTasks, response: Response
) -> Any:
    """Queue a training. The best candidate becomes a release; it is used when it is promoted."""
    roots = context.settings.image_roots
    plan = request.model_dump()
    plan |= {
        name: [check_source(source, roots) for source in plan[name]]
        for name in ("data", "validation")
    }
    training = trainings.submit(context.db, plan)
    background.add_task(
        context.announce
    )  # After the answer: a queue that is away must not hold it up.
    response.headers["Location"] = f"/v1/trainings/{training.id}"
    return asdict(training)


@router.get("", response_model=TrainingPage)
def newest(context: Injected, limit: Limit = 50, after: str | None = None) -> Any:
    """Trainings, newest first."""
    found = trainings.newest(context.db, limit, cursor(after))
    return {
        "trainings": [asdict(one) for one in found],
        "next": str(found[-1].id) if len(found) == limit else None,
    }


@router.get("/{training_id}", response_model=Training)
def get(training_id: TrainingId, context: Injected) -> Any:
    """Where a training stands, epoch by epoch."""
    return asdict(trainings.get(context.db, training_id))


@router.post("/{training_id}/cancel", response_model=Training)
def cancel(training_id: TrainingId, context: Injected) -> Any:
    """Stop a training, between two batches. On one that has ended it does nothing."""
    return asdict(trainings.cancel(context.db, training_id))
