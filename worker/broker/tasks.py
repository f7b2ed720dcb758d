"""Celery's tasks. Each takes an id and calls one function; the sweep, not Celery, retries."""

from functools import cache, partial
from typing import Any

from celery import Task, shared_task

from models.queue import CLASSIFY, SCAN, make_sender
from models.settings import Settings, load_settings
from models.store import hints
from models.store.database import Database, open_database
from worker.lease import worker_name
from worker.pipeline import Pipeline
from worker.scan import scan


@cache
def _process_state() -> tuple[Settings, Database, Pipeline]:
    """What a process of the pool builds once, at its first task: this is its entry point."""
    settings = load_settings()
    db = open_database(settings)
    return settings, db, Pipeline(db, settings, worker_name())


@shared_task(name=SCAN, bind=True)  # type: ignore[untyped-decorator]
def scan_job(self: "Task[Any, Any]", job_id: int) -> None:
    settings, db, pipeline = _process_state()
    send = make_sender(self.app)

    scan(
        db,
        settings,
        worker_name(),
        job_id,
        announce=lambda: hints.send_due(db, send, settings),
        classify=partial(pipeline.run, job_id=job_id),
    )


@shared_task(name=CLASSIFY, bind=True)  # type: ignore[untyped-decorator]
def classify_batch(self: "Task[Any, Any]", batch_id: int) -> None:
    settings, db, pipeline = _process_state()
    pipeline.run(batch_id)
    hints.send_due(db, make_sender(self.app), settings)
