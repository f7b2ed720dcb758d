"""The queue's configuration: what is sent, and how Celery and Redis are told to treat it (durability.md, measured)."""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NoReturn

from models.errors import DatabaseError
from models.settings import Settings

if TYPE_CHECKING:
    from celery import Celery

SCAN: Final = "cuemill.scan"
CLASSIFY: Final = "cuemill.classify"
TRAIN: Final = "cuemill.train"

QUEUE: Final = "cuemill"
TRAINING_QUEUE: Final = "training"

TASK_TIME_LIMIT_S: Final = 600
RESTART_S: Final = 1.0
DEAF_S: Final = 10.0
"""The least time without a message after which a worker for whom work waits is taken for deaf."""

Send = Callable[[str, int], bool]
"""Sends a task's name and an id; False when the queue is out of reach, and then the sweep will send it again."""

_log = logging.getLogger(__name__)


def make_app(broker_url: str, tasks: str = "worker.tasks") -> "Celery":
    """A Celery application for sending and for working. A message is a task's name and an id, in JSON; results lie in
    SQL, so there is no result backend; and whatever is lost on the way, the sweep sends again.

    Args:
        tasks: the module that a worker runs tasks from.
    """
    from celery import Celery  # Slow to import, and without a broker not needed.

    app = Celery("cuemill", broker=broker_url, set_as_current=False)
    app.conf.update(
        task_default_queue=QUEUE,
        task_routes={TRAIN: {"queue": TRAINING_QUEUE}},
        task_serializer="json",
        accept_content=["json"],
        result_accept_content=["json"],
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_acks_late=True,
        task_reject_on_worker_lost=False,  # Else a task that kills its process would kill the next one for ever.
        worker_prefetch_multiplier=1,
        task_time_limit=TASK_TIME_LIMIT_S,  # Hard: a soft one raises wherever the code happens to be.
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_pool_acquire_timeout=5,
        broker_transport_options={
            "visibility_timeout": 3 * TASK_TIME_LIMIT_S,
            "unacked_restore_interval": 10,
            "unacked_restore_throttle": 1,
            "socket_timeout": 10,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 10,
        },
        worker_pool="worker.pool:TaskPool",
        worker_pool_start_method="spawn",
        worker_proc_alive_timeout=120,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        imports=(tasks,),
    )
    return app


def work(app: "Celery", *options: str, sweep: Callable[[], bool], settings: Settings) -> None:
    """Runs a worker, and a sweep beside it, until told to stop, by SIGTERM or Ctrl-C.

    The program starts anew, with the same process id, when Celery gives up, as it does at errors that it doesn't know
    (kombu 5.7 raises one when a connection breaks at a bad moment), or hears nothing although work waits: a message
    that it couldn't acknowledge counts as in hand for ever, and after a few of them it takes no more.

    Args:
        options: of `celery worker`.
        sweep: done every `settings.sweep_s`; whether work waits for a worker.
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
                _log.error("Work waits, and nothing was heard of it for %.0f s; this worker starts anew.", patience_s)
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
    if ready.is_set() and not told.wait(RESTART_S):
        _log.error("Celery gave up, for the reason above; this worker starts anew.")
        _start_anew()


def _start_anew() -> NoReturn:
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  # As it was started.


def sender(app: "Celery") -> Send:
    """Sends through an application's broker, without waiting long for one that is away."""
    from kombu.exceptions import OperationalError

    def send(task: str, identity: int) -> bool:
        try:
            app.send_task(task, args=[identity], retry=False, ignore_result=True)
        except (OperationalError, OSError) as error:
            _log.warning("queue out of reach, the sweep will send again: %s", error)
            return False
        return True

    return send


def pinger(app: "Celery") -> Callable[[], bool]:
    """Says whether an application's broker can be reached, within a few seconds."""
    from kombu.exceptions import OperationalError

    def ping() -> bool:
        try:
            with app.connection_for_write() as connection:
                connection.ensure_connection(max_retries=1, timeout=3)
        except (OperationalError, OSError):
            return False
        return True

    return ping
