"""Celery's tasks, thin: an id comes in, one function is called. The sweep, not Celery, owns retries."""

import os
from functools import cache, partial
from typing import Any

from celery import Task, shared_task

from models.queue import CLASSIFY, SCAN, Send, sender
from models.settings import Settings, load_settings
from models.store import batches
from models.store.database import Database
from worker.embedded import worker_name
from worker.pipeline import Pipeline
from worker.scan import scan


@cache
def _process() -> tuple[Settings, Database, Pipeline]:
    """What each worker process makes once, at its first task: it is the entry point of a process of its own."""
    settings = load_settings()
    db = Database(settings.database)
    return settings, db, Pipeline(db, settings, worker_name(os.getpid()))


@shared_task(name=SCAN, bind=True)  # type: ignore[untyped-decorator]
def scan_job(self: "Task[Any, Any]", job_id: int) -> None:
    settings, db, pipeline = _process()
    send, classify = sender(self.app), partial(pipeline.run, job_id=job_id)
    scan(
        db,
        settings,
        worker_name(os.getpid()),
        job_id,
        lambda: _dispatch(db, settings, send),
        classify,
    )


@shared_task(name=CLASSIFY, bind=True)  # type: ignore[untyped-decorator]
def classify_batch(self: "Task[Any, Any]", batch_id: int) -> None:
    settings, db, pipeline = _process()
    pipeline.run(batch_id)
    _dispatch(db, settings, sender(self.app))


def _dispatch(db: Database, settings: Settings, send: Send) -> None:
    batches.dispatch(db, send, settings)
