"""A worker program: Celery with a sweep beside it when there is a broker, supervised polling processes when not."""

import logging
import os
import signal
import threading
from contextlib import ExitStack
from typing import Any

from celery import signals

from models import batches, deletion
from models.database import Database
from models.errors import DatabaseError
from models.queue import make_app, sender, work
from models.settings import Settings
from worker.heartbeat import Heartbeat
from worker.process import Supervisor, worker_name

_log = logging.getLogger(__name__)


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
    stop = threading.Event()
    sweeper = threading.Thread(target=sweep_forever, args=(settings, db, app, stop), name="sweep", daemon=True)
    alive = ExitStack()

    def on_ready(sender: Any, **_: Any) -> None:
        sweeper.start()
        alive.enter_context(Heartbeat(db, worker_name(os.getpid()), lambda: len(sender.pool.info["processes"])))

    signals.worker_ready.connect(on_ready, weak=False)
    try:
        work(app, f"--concurrency={settings.worker_count}")
    finally:
        stop.set()
        alive.close()


def sweep_forever(settings: Settings, db: Database, app: Any, stop: threading.Event) -> None:
    """Sweeps and dispatches until told to stop; each worker program does, and it does no harm."""
    send = sender(app)
    while not stop.is_set():
        try:
            batches.sweep(db)
            batches.dispatch(db, send, settings)
            deletion.sweep(db, settings.retention_days)
        except DatabaseError as error:
            _log.warning("sweep put off: %s", error)
        stop.wait(settings.sweep_s)
