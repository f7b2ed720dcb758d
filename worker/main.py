"""A worker program: Celery with a sweep beside it when there is a broker, supervised polling processes when not."""

import os
import signal
import threading
from contextlib import ExitStack
from typing import Any

from celery import signals

from models.queue import make_app, sender
from models.settings import Settings
from models.store import batches, deletion
from models.store.database import Database
from worker.broker.program import work
from worker.embedded import Supervisor, worker_name
from worker.heartbeat import Heartbeat


def run_worker(settings: Settings, db: Database) -> None:
    """Works until SIGTERM or Ctrl-C; what is in hand is finished first."""
    if settings.broker_url:
        _run_celery(settings, db)
    else:
        _run_embedded(settings, db)


def _run_embedded(settings: Settings, db: Database) -> None:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with Supervisor(db, settings):
        stop.wait()


def _run_celery(settings: Settings, db: Database) -> None:
    app = make_app(settings.broker_url)
    send = sender(app)

    def sweep() -> bool:
        batches.sweep(db)
        batches.dispatch(db, send, settings)
        deletion.sweep(db, settings.retention_days)
        return batches.waiting(db)

    with ExitStack() as alive:

        def on_ready(sender: Any, **_: Any) -> None:
            alive.enter_context(
                Heartbeat(db, worker_name(os.getpid()), lambda: len(sender.pool.info["processes"]))
            )

        signals.worker_ready.connect(on_ready, weak=False)
        work(app, f"--concurrency={settings.worker_count}", sweep=sweep, settings=settings)
