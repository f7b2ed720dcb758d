"""The queue's configuration: what is sent, and how Celery and Redis are told to treat it (durability.md, measured)."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from celery import Celery

SCAN: Final = "cuemill.scan"
CLASSIFY: Final = "cuemill.classify"
TRAIN: Final = "cuemill.train"

QUEUE: Final = "cuemill"
TRAINING_QUEUE: Final = "training"

TASK_TIME_LIMIT_S: Final = 600

Send = Callable[[str, int], bool]
"""Sends a task's name and an id; False when the queue is out of reach, and then the sweep will send it again."""

_log = logging.getLogger(__name__)


def make_app(broker_url: str, tasks: str = "worker.broker.tasks") -> "Celery":
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
        worker_pool="worker.broker.pool:TaskPool",
        worker_pool_start_method="spawn",
        worker_proc_alive_timeout=120,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        imports=(tasks,),
    )
    return app


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
