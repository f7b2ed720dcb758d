"""Celery's task of training, thin: an id comes in, one function is called. The sweep, not Celery, owns retries."""

from typing import Any

from celery import Task, shared_task

from models.queue import TRAIN


@shared_task(name=TRAIN, bind=True)  # type: ignore[untyped-decorator]
def run_training(self: "Task[Any, Any]", training_id: int) -> None:
    self.app.conf.training(training_id)
