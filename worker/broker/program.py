"""Running a Celery worker that neither stays away nor stays deaf, whatever becomes of its connections."""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NoReturn

from models.errors import DatabaseError, QueueError
from models.settings import Settings

if TYPE_CHECKING:
    from celery import Celery

RESTART_S: Final = 1.0
DEAF_S: Final = 10.0
"""The least time without a message after which a worker for whom work waits is taken for deaf."""

_log = logging.getLogger(__name__)


def work(app: "Celery", *options: str, sweep: Callable[[], bool], settings: Settings) -> None:
    """Runs a worker, and a sweep beside it, until told to stop, by SIGTERM or Ctrl-C.

    The program starts anew, with the same process id, when Celery gives up, as it does at errors that it doesn't know
    (kombu 5.7 raises one when a connection breaks at a bad moment), or hears nothing although work waits: a message
    that it couldn't acknowledge counts as in hand for ever, and after a few of them it takes no more.

    Args:
        options: of `celery worker`.
        sweep: done every `settings.sweep_s`; whether work waits for a worker.

    Raises:
        QueueError: Celery ended before it was ready.
    """
    from celery import signals
    from celery.worker import state

    ready, told, deaf = threading.Event(), threading.Event(), threading.Event()
    patience_s = max(settings.rehint_s + 3 * settings.sweep_s, DEAF_S)

    def sweep_forever() -> None:
        heard = time.monotonic()
        while not told.is_set():
            try:
                waits = sweep()
            except DatabaseError as error:
                _log.warning("sweep put off: %s", error)
                waits = False
            if not waits or state.reserved_requests:
                heard = time.monotonic()
            elif time.monotonic() - heard > patience_s:
                _log.error(
                    "Work waits, and nothing was heard of it for %.0f s; this worker starts anew.",
                    patience_s,
                )
                deaf.set()
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(patience_s)
                _start_anew()  # Even its end hangs.
            told.wait(settings.sweep_s)

    def on_ready(**_: object) -> None:
        ready.set()
        threading.Thread(target=sweep_forever, name="sweep", daemon=True).start()

    def on_shutdown(**_: object) -> None:
        told.set()

    signals.worker_ready.connect(on_ready, weak=False)
    signals.worker_shutting_down.connect(on_shutdown, weak=False)
    # Workers learn all they need of one another from the database.
    alone = ("--without-gossip", "--without-mingle", "--without-heartbeat")
    app.worker_main(["--quiet", "worker", "--loglevel=WARNING", *alone, *options])
    if deaf.is_set():
        _start_anew()
    if told.wait(RESTART_S):
        return
    if not ready.is_set():
        raise QueueError("Celery ended before it was ready, for the reason above.")
    _log.error("Celery gave up, for the reason above; this worker starts anew.")
    _start_anew()


def _start_anew() -> NoReturn:
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  # As it was started.
