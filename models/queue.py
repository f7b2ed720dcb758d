"""The queue as a producer sees it: its tasks, how to send one, and whether the broker answers.

A message holds a task's name and an id, as JSON. Results are in SQL, so there is no result backend,
and the sweep sends again whatever is lost on the way. `worker/broker/app.py` adds what only a
worker needs. Celery takes long to import and is not needed without a broker, so each function
imports it when called.
"""

import logging
import ssl
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from models.errors import QueueError

if TYPE_CHECKING:
    from celery import Celery

SCAN: Final = "cuemill.scan"
CLASSIFY: Final = "cuemill.classify"
TRAIN: Final = "cuemill.train"

QUEUE: Final = "cuemill"
TRAINING_QUEUE: Final = "training"

Send = Callable[[str, int], bool]
"""Sends a task's name and an id; False if the broker is unreachable: the sweep sends it again."""

Ping = Callable[[], None]
"""Returns if the broker answers, and raises QueueError, which says why not, if it does not."""

_log = logging.getLogger(__name__)


def make_app(broker_url: str) -> "Celery":
    """Creates a Celery application that sends, with the settings that senders and workers share."""
    from celery import Celery

    app = Celery("cuemill", broker=_verifying(broker_url), set_as_current=False)
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


def _verifying(broker_url: str) -> str:
    """The URL, with verification of the server's certificate unless it says otherwise.

    Without it, kombu would verify nothing.
    """
    if not broker_url.startswith("rediss:") or "ssl_cert_reqs=" in broker_url:
        return broker_url
    return f"{broker_url}{'&' if '?' in broker_url else '?'}ssl_cert_reqs=required"


def make_sender(app: "Celery") -> Send:
    """Returns a function that sends a message and does not wait for an unreachable broker."""
    from kombu.exceptions import OperationalError
    from redis import RedisError

    def send(task: str, record_id: int) -> bool:
        try:
            app.send_task(task, args=[record_id], retry=False, ignore_result=True)
        except (OperationalError, RedisError, OSError) as error:
            _log.warning("task=%s was not sent: %s", task, explain(error))
            return False

        return True

    return send


def make_ping(app: "Celery") -> Ping:
    """Returns a function that says within a few seconds whether the broker can be used."""
    from kombu.exceptions import OperationalError
    from redis import RedisError

    def ping() -> None:
        try:
            with app.connection_for_write() as connection:
                connection.ensure_connection(max_retries=1, interval_start=0.2, timeout=3)
        except (OperationalError, RedisError, OSError) as error:
            raise explain(error) from error

    return ping


def explain(error: BaseException) -> QueueError:
    """What a failure of the broker means, by the classes of the errors that led to it."""
    from redis import exceptions

    causes: tuple[tuple[type[BaseException], str, bool], ...] = (
        (
            ssl.SSLCertVerificationError,
            "Redis's certificate cannot be verified. Name its authority in CUEMILL_BROKER_URL: "
            "?ssl_ca_certs=/path/to/ca.pem.",
            False,
        ),
        (ssl.SSLError, "No TLS connection to Redis: does it serve rediss:// there?", False),
        (
            exceptions.AuthenticationError,
            "Redis refuses the user or the password. Correct CUEMILL_BROKER_URL.",
            False,
        ),
        (
            exceptions.NoPermissionError,
            "Redis denies its user a command or a key. docs/deployment.md says which are needed.",
            False,
        ),
        (exceptions.ReadOnlyError, "This Redis is a replica. Name its primary.", True),
        (exceptions.OutOfMemoryError, "Redis has no memory left. Raise its maxmemory.", True),
        (exceptions.BusyLoadingError, "Redis is starting and still loads its data.", True),
        (
            exceptions.ResponseError,
            "Redis refuses a command. Check the number of the database in CUEMILL_BROKER_URL.",
            False,
        ),
    )
    chain = list(_chain(error))
    for kind, sentence, passing in causes:
        for link in chain:
            if isinstance(link, kind):
                return QueueError(f"{sentence} ({link})", public=sentence, passing=passing)

    sentence = (
        "The broker at CUEMILL_BROKER_URL cannot be reached. Start Redis again. Jobs are kept and "
        "sent then."
    )
    return QueueError(f"{sentence} ({error})", public=sentence)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that led to it: the libraries wrap one another's."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
