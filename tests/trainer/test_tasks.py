"""Celery's training task."""

from models.queue import TRAIN
from trainer.tasks import add_task
from worker.broker.app import make_worker_app


def test_the_task_runs_the_training_with_the_id_of_its_message() -> None:
    app = make_worker_app("redis://127.0.0.1:6379/0")
    ran: list[int] = []
    add_task(app, ran.append)
    app.tasks[TRAIN](7)
    assert ran == [7]
