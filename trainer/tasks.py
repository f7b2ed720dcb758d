"""Celery's training task. It takes an id and calls one function; the sweep, not Celery, retries."""

from collections.abc import Callable

from celery import Celery

from models.queue import TRAIN


def add_task(app: Celery, run: Callable[[int], object]) -> None:
    """Registers the task with an application.

    Args:
        run: claims and runs the training with this id, in the worker's own process.
    """

    @app.task(name=TRAIN)  # type: ignore[untyped-decorator]
    def run_training(training_id: int) -> None:
        run(training_id)
