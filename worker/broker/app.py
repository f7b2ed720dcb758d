"""The Celery application of a worker: the producer's, with the settings that only it needs."""

from collections.abc import Sequence
from typing import Final

from celery import Celery, signals

from models.logs import start_logs
from models.queue import make_app
from models.settings import load_settings

TASK_TIME_LIMIT_S: Final = 600


@signals.setup_logging.connect  # type: ignore[untyped-decorator]
def _start_logs(**_: object) -> None:
    """Celery calls this in each process, and then leaves the logs alone."""
    start_logs(load_settings().log_format)


def make_worker_app(broker_url: str, tasks: Sequence[str] = ()) -> Celery:
    """Creates the application of a worker.

    Args:
        tasks: the modules whose tasks the worker imports and runs.
    """
    app = make_app(broker_url)
    app.conf.update(
        imports=tuple(tasks),
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        # Nobody may command workers through the broker, and its user needs no channels.
        worker_enable_remote_control=False,
    )

    # Processes are spawned: forking one that has threads can deadlock.
    app.conf.update(
        worker_pool="worker.broker.pool:TaskPool",
        worker_pool_start_method="spawn",
        worker_proc_alive_timeout=120,
    )

    # A message is acknowledged after its task, so that the messages of a program that dies are
    # delivered again. If only a process of the pool dies, its message is not: the task may have
    # killed it, and would kill the next process too.
    app.conf.update(task_acks_late=True, task_reject_on_worker_lost=False)

    # A hard limit. A soft one raises an exception at an arbitrary point of the code.
    app.conf.update(task_time_limit=TASK_TIME_LIMIT_S)

    # A worker waits for its broker without limit, and finishes its tasks meanwhile.
    app.conf.update(
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        worker_cancel_long_running_tasks_on_connection_loss=False,
    )

    # After how long, and how often, messages that were never acknowledged are delivered again.
    app.conf.broker_transport_options |= {
        "visibility_timeout": 3 * TASK_TIME_LIMIT_S,
        "unacked_restore_interval": 10,
        "unacked_restore_throttle": 1,
    }
    return app
