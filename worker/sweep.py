"""The sweep: periodic duties that keep work moving after something was interrupted."""

import logging
from contextlib import AbstractContextManager
from threading import Thread

from models.errors import DatabaseError
from models.settings import Settings
from models.store import deletion, recovery, trainings
from models.store.database import Database
from worker.repeat import repeat_in_background

_log = logging.getLogger(__name__)


def sweep(db: Database, settings: Settings) -> None:
    """Queues work again whose lease has run out, and deletes some of what is past its retention.

    Every worker program calls this every `settings.sweep_s`. It is safe at any time, in any number
    of processes.

    Raises:
        DatabaseError: the next sweep does what is left.
    """
    recovery.requeue_expired(db)
    trainings.requeue_expired(db)
    deletion.delete_due(db, settings.retention_days)


def sweep_in_background(db: Database, settings: Settings) -> AbstractContextManager[Thread]:
    """Sweeps every `settings.sweep_s`, on a thread, while the block runs."""

    def sweep_once() -> None:
        try:
            sweep(db, settings)
        except DatabaseError as error:
            _log.warning("sweep postponed: %s", error)

    return repeat_in_background(sweep_once, settings.sweep_s, name="sweep")
