"""Routes of trainings. `cuemill worker --queue training` runs them."""

from http import HTTPStatus

from fastapi import APIRouter, BackgroundTasks, Response
from fastapi.concurrency import run_in_threadpool

from api.context import InjectedContext
from api.pages import InjectedPager
from api.schemas.common import After, IdempotencyKey, Limit, Page, parse_id_cursor
from api.schemas.trainings import Training, TrainingId, TrainingRequest
from models.store import trainings
from models.training_data import check_source

router = APIRouter(prefix="/v1/trainings", tags=["trainings"])


@router.post(
    "",
    status_code=HTTPStatus.ACCEPTED,
    summary="Submit a training",
    response_description="The training, committed to the database. `Location` is its URL.",
)
async def submit_training(
    request: TrainingRequest,
    context: InjectedContext,
    background: BackgroundTasks,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> Training:
    """Queue a training. Its best candidate becomes a model release.

    New jobs use the release once it is promoted. To retry safely after a network error, send an
    `Idempotency-Key`: the same key and request return the same training.
    """
    plan = request.model_dump()
    roots, spool = context.settings.image_roots, context.settings.spool_folder

    def check_sources() -> None:
        for name in ("data", "validation"):
            plan[name] = [check_source(text, roots, spool) for text in plan[name]]

    await context.folders.run(check_sources)
    view = await run_in_threadpool(trainings.submit, context.db, plan, idempotency_key)

    # After the response, so that an unreachable queue does not delay it.
    background.add_task(context.announce)

    response.headers["Location"] = f"/v1/trainings/{view.id}"
    return Training.model_validate(view)


@router.get("", summary="List trainings", response_description="A page of trainings.")
def list_trainings(
    context: InjectedContext, pager: InjectedPager, limit: Limit = 50, after: After = None
) -> Page[Training]:
    """List trainings, newest first."""
    views = trainings.list_newest(context.db, limit + 1, parse_id_cursor(after))

    return pager.page(
        views, limit, to_item=Training.model_validate, cursor=lambda view: str(view.id)
    )


@router.get("/{training_id}", summary="Get a training", response_description="The training.")
def get_training(training_id: TrainingId, context: InjectedContext) -> Training:
    """Get a training's status and the metrics of its completed epochs."""
    return Training.model_validate(trainings.get(context.db, training_id))


@router.post(
    "/{training_id}/cancel", summary="Cancel a training", response_description="The training."
)
def cancel_training(training_id: TrainingId, context: InjectedContext) -> Training:
    """Stop a training within a second or two. A training that has ended is left as it is."""
    return Training.model_validate(trainings.cancel(context.db, training_id))
