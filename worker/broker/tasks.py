"""Celery's tasks. Each takes an id and calls one function; the sweep, not Celery, retries."""

import os
import time
from functools import cache, partial
from typing import Any

from celery import Task, shared_task

import worker.broker.app  # noqa: F401  # Decides how each process of the pool logs.
from models.queue import CLASSIFY, SCAN, make_sender
from models.settings import Settings, load_settings
from models.store import hints, troubles
from models.store.database import Database, open_database
from worker.lease import worker_name
from worker.pipeline import Pipeline
from worker.scan import scan


@cache
def _process_state(hostname: str) -> tuple[Settings, Database, str, Pipeline]:
    """What a process of the pool builds once, at its first task: this is its entry point.

    Args:
        hostname: Celery's name of the worker program, which begins with the program's token.

    Returns:
        The settings, the database, the name of this process, and its pipeline.
    """
    settings = load_settings()
    db = open_database(settings)
    token, _, _ = hostname.partition("@")
    name, program = worker_name(token=token), worker_name(os.getppid(), token)
    return settings, db, name, Pipeline(db, settings, name, program)


@shared_task(name=SCAN, bind=True)  # type: ignore[untyped-decorator]
def scan_job(self: "Task[Any, Any]", job_id: int) -> None:
    settings, db, name, pipeline = _process_state(self.request.hostname)
    send = make_sender(self.app)

    scan(
        db,
        settings,
        name,
        job_id,
        announce=lambda: hints.send_due(db, send, settings),
        classify=partial(pipeline.run, job_id=job_id),
    )


@shared_task(name=CLASSIFY, bind=True)  # type: ignore[untyped-decorator]
def classify_batch(self: "Task[Any, Any]", batch_id: int) -> None:
    settings, db, _, pipeline = _process_state(self.request.hostname)
    has_run = pipeline.run(batch_id)
    hints.send_due(db, make_sender(self.app), settings)

    # Otherwise a host that cannot do the work would soon have taken every message.
    if not has_run and troubles.is_in_trouble(db, pipeline.program):
        time.sleep(settings.lease_s)
