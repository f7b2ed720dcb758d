"""The worker program: a Celery worker if there is a broker, else processes that poll."""

import signal
from functools import partial

from models.queue import make_sender
from models.settings import Settings
from models.store import hints, recovery
from models.store.database import Database
from worker.embedded import Supervisor
from worker.heartbeat import heartbeat
from worker.lease import worker_name
from worker.stop import Stop
from worker.sweep import sweep


def run_worker(settings: Settings, db: Database) -> None:
    """Works until SIGTERM or Ctrl-C, and finishes the batches in progress first."""
    if settings.broker_url:
        _run_with_broker(settings, db)
    else:
        _run_embedded(settings)


def _run_embedded(settings: Settings) -> None:
    stop = Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    with Supervisor(settings):
        stop.wait()


def _run_with_broker(settings: Settings, db: Database) -> None:
    # Celery takes long to import, and is not needed without a broker.
    from worker.broker.app import make_worker_app
    from worker.broker.program import CeleryWorker

    app = make_worker_app(settings.broker_url, tasks=["worker.broker.tasks"])
    send = make_sender(app)

    def sweep_and_send() -> bool:
        sweep(db, settings)
        hints.send_due(db, send, settings)
        return hints.work_is_waiting(db)

    requeue = partial(recovery.requeue_worker, db, killed=True)
    celery_worker = CeleryWorker(app, settings, sweep_and_send, requeue)
    beside = heartbeat(db, worker_name(), celery_worker.count_processes)
    celery_worker.run(f"--concurrency={settings.worker_count}", beside=beside)
