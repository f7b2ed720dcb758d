"""The queue as a producer sees it: its tasks, how to send one, and whether the broker answers.

A message holds a task's name and an id, as JSON. Results are in SQL, so there is no result backend,
and the sweep sends again whatever is lost on the way. `worker/broker/app.py` adds what only a
worker needs. Celery takes long to import and is not needed without a broker, so each function
imports it when called.
"""

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

Send = Callable[[str, int], bool]
"""Sends a task's name and an id; False if the broker is unreachable: the sweep sends it again."""

_log = logging.getLogger(__name__)


def make_app(broker_url: str) -> "Celery":
    """Creates a Celery application that sends, with the settings that senders and workers share."""
    from celery import Celery

    app = Celery("cuemill", broker=broker_url, set_as_current=False)
    app.conf.update(
        # Where a message goes.
        task_default_queue=QUEUE,
        task_routes={TRAIN: {"queue": TRAINING_QUEUE}},
        # What a message holds.
        task_serializer="json",
        accept_content=["json"],
        result_accept_content=["json"],
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        # How long to wait for a broker that does not answer.
        broker_pool_acquire_timeout=5,
        broker_transport_options={
            "socket_timeout": 10,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 10,
        },
    )
    return app


def make_sender(app: "Celery") -> Send:
    """Returns a function that sends a message and does not wait for an unreachable broker."""
    from kombu.exceptions import OperationalError

    def send(task: str, record_id: int) -> bool:
        try:
            app.send_task(task, args=[record_id], retry=False, ignore_result=True)
        except (OperationalError, OSError) as error:
            _log.warning("The queue is unreachable; the sweep will send again: %s", error)
            return False

        return True

    return send


def make_ping(app: "Celery") -> Callable[[], bool]:
    """Returns a function that says within a few seconds whether the broker can be reached."""
    from kombu.exceptions import OperationalError

    def ping() -> bool:
        try:
            with app.connection_for_write() as connection:
                connection.ensure_connection(max_retries=1, timeout=3)
        except (OperationalError, OSError):
            return False

        return True

    return ping
