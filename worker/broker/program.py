"""The Celery worker program: sweeps beside its work, and restarts when Celery fails."""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from functools import partial
from typing import Any, Final, NoReturn

from celery import Celery, signals
from celery.worker import state

from models.errors import DatabaseError, QueueError
from models.settings import Settings
from worker.lease import program_token, worker_name
from worker.repeat import end_program_on_error, repeat, start_thread
from worker.stop import Stop

SHUTDOWN_GRACE_S: Final = 1.0
"""Celery may announce its shutdown a moment after the call that runs it has returned."""
MIN_STALL_S: Final = 10.0

# Workers learn from the database what they need to know of each other.
OPTIONS: Final = [
    "--loglevel=WARNING",
    "--without-gossip",
    "--without-mingle",
    "--without-heartbeat",
]

_log = logging.getLogger(__name__)


class CeleryWorker:
    """Runs a Celery worker until SIGTERM or Ctrl-C, and sweeps on a thread beside it.

    The program restarts itself, keeping its process id, in two cases:

    * Celery ends by itself, as it does after an error that it does not know. kombu 5.7 raises one
      when a connection breaks at a bad moment.
    * Celery takes no work although some is waiting. It counts a message that it could not
      acknowledge as in progress for ever, and after a few of them it fetches no more.

    Attributes:
        stopping: set as soon as the program is asked to stop.
    """

    def __init__(
        self,
        app: Celery,
        settings: Settings,
        sweep: Callable[[], bool],
        requeue: Callable[[str], object] | None = None,
    ) -> None:
        """
        Args:
            sweep: called every `settings.sweep_s`; returns whether work waits for a worker.
            requeue: called with the name of each process of the pool that did not end its task
                within a lease after the program was asked to stop, and was killed. None = the pool
                has no processes.
        """
        self.stopping = Stop()
        self._app = app
        self._sweep = sweep
        self._sweep_s = settings.sweep_s
        self._requeue = requeue
        self._grace_s = settings.lease_s
        # Long enough for a lost message to be sent again and taken.
        self._stall_s = max(settings.rehint_s + 3 * settings.sweep_s, MIN_STALL_S)

        self._beside = ExitStack()
        self._pool: Any = None
        self._ready = threading.Event()
        self._stalled = threading.Event()
        self._ended = threading.Event()
        self._processes: list[int] = []
        self._last_busy = time.monotonic()

    def run(self, *options: str, beside: AbstractContextManager[object] | None = None) -> None:
        """Runs the worker until it is asked to stop.

        Args:
            options: of `celery worker`.
            beside: entered when the worker is ready, and left when it has ended.

        Raises:
            QueueError: Celery ended before the worker was ready.
        """

        def on_ready(sender: Any, **_: Any) -> None:
            # Celery logs a signal handler's error and works on, but nobody would sweep.
            with end_program_on_error("start of the sweep"):
                self._pool = sender.pool
                self._ready.set()
                self._last_busy = time.monotonic()
                if beside is not None:
                    self._beside.enter_context(beside)
                start_thread(self._sweep_until_stopped, "sweep")
                if self._requeue is not None:
                    start_thread(partial(self._kill_late, self._requeue), "grace")

        def on_shutdown(**_: Any) -> None:
            # Later the pool may be gone.
            if self._requeue is not None and self._ready.is_set():
                self._processes = self._pool.info["processes"]
            self.stopping.set()

        signals.worker_ready.connect(on_ready, weak=False)
        signals.worker_shutting_down.connect(on_shutdown, weak=False)

        # What runs beside ends before a restart: the restarted program has another name.
        with self._beside:
            hostname = f"--hostname={program_token()}@%h"
            self._app.worker_main(["--quiet", "worker", hostname, *OPTIONS, *options])
            self._ended.set()

        if self._stalled.is_set():
            _restart()
        if self.stopping.wait(SHUTDOWN_GRACE_S):
            return
        if not self._ready.is_set():
            raise QueueError("Celery ended before it was ready, for the reason above.")

        _log.error("Celery ended for the reason above. This worker restarts.")
        _restart()

    def count_processes(self) -> int:
        """How many processes the worker's pool has; call it only once the worker is ready."""
        return len(self._pool.info["processes"])

    def _kill_late(self, requeue: Callable[[str], object]) -> None:
        """Kills the processes that have not ended a lease after the program was asked to."""
        self.stopping.wait()
        if self._ended.wait(self._grace_s):
            return
        for process_id in self._processes:
            _log.error("worker=%d did not end its task; it is killed", process_id)
            with suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGKILL)
            requeue(worker_name(process_id))

    def _sweep_until_stopped(self) -> None:
        repeat(self._sweep_and_check, self._sweep_s, self.stopping, "sweep")

    def _sweep_and_check(self) -> None:
        work_waits = self._sweep_once()
        if state.reserved_requests or not work_waits:
            self._last_busy = time.monotonic()
        elif time.monotonic() - self._last_busy > self._stall_s:
            self._end_stall()

    def _sweep_once(self) -> bool:
        try:
            return self._sweep()
        except DatabaseError as error:
            _log.warning("sweep postponed: %s", error)
            return False

    def _end_stall(self) -> NoReturn:
        """Has Celery shut down, so that `run` restarts; if that hangs too, restarts here."""
        _log.error(
            "Work is waiting, but Celery took none for %.0f s. This worker restarts.", self._stall_s
        )
        self._stalled.set()
        os.kill(os.getpid(), signal.SIGTERM)

        time.sleep(self._stall_s)
        _restart()


def _restart() -> NoReturn:
    """Replaces this process by a new one, started with the same command."""
    command = [sys.executable, *sys.orig_argv[1:]]
    with end_program_on_error("restart"):
        os.execv(sys.executable, command)  # noqa: S606  # Our own command.
