"""The embedded queue: supervised processes that poll the database and end with their parent."""

import logging
import math
import multiprocessing
import os
import signal
import threading
import time
from contextlib import ExitStack
from functools import partial
from multiprocessing.process import BaseProcess
from typing import Final, Self

from models.errors import DatabaseError
from models.logs import start_logs
from models.settings import Settings
from models.store import recovery
from models.store.database import Database, open_database
from worker.heartbeat import heartbeat
from worker.lease import program_token, worker_name
from worker.pipeline import Pipeline
from worker.repeat import repeat, start_thread
from worker.scan import scan
from worker.stop import Stop
from worker.sweep import sweep_in_background

POLL_S: Final = 0.1
RETRY_S: Final = 1.0
RETRY_MAX_S: Final = 10.0

_log = logging.getLogger(__name__)


class Supervisor:
    """Keeps worker processes alive and sweeps; use as a context manager.

    A process that dies is replaced, and what it had claimed is queued again at once. One that
    cannot be started, as on a host that has no process or file descriptor left, is tried again.

    Args:
        job_id: the only job to work on; None = all.
    """

    def __init__(self, settings: Settings, job_id: int | None = None) -> None:
        # Its own connections: requests to an API in this program may hold all others.
        self._db = open_database(settings)
        self._settings = settings
        self._job_id = job_id
        # Forking a process that has threads can deadlock.
        self._context = multiprocessing.get_context("spawn")

        self._children: dict[int, BaseProcess] = {}
        self._started: dict[int, float] = {}
        self._stop = threading.Event()
        self._beside = ExitStack()

    def __enter__(self) -> Self:
        self._supervise()
        self._thread = start_thread(
            partial(repeat, self._supervise, POLL_S, self._stop, "supervisor"), "supervisor"
        )
        self._beside.enter_context(sweep_in_background(self._db, self._settings))
        self._beside.enter_context(
            heartbeat(self._db, worker_name(), self._count_processes, self._job_id)
        )
        return self

    def __exit__(self, *_: object) -> None:
        """Lets each process finish its batch, for no longer than a lease."""
        self._stop.set()
        self._thread.join()
        children = self._children.values()
        for child in children:
            child.terminate()

        deadline = time.monotonic() + self._settings.lease_s
        for child in children:
            child.join(max(deadline - time.monotonic(), 0.0))
            killed = child.exitcode is None
            if killed:
                child.kill()
                child.join()
            self._requeue(child, killed=killed)

        self._beside.close()
        self._db.close()

    def _count_processes(self) -> int:
        return sum(child.is_alive() for child in list(self._children.values()))

    def _supervise(self) -> None:
        """Starts the processes that are missing or dead."""
        for slot in range(self._settings.worker_count):
            try:
                self._replace_if_dead(slot)
            except Exception:
                # The other processes are still wanted.
                _log.exception("process=%d cannot be started; trying again", slot)

    def _replace_if_dead(self, slot: int) -> None:
        child = self._children.get(slot)
        if child is not None and child.exitcode is None:
            return

        # A process that dies as soon as it starts is replaced once a second at most.
        if time.monotonic() <= self._started.get(slot, -math.inf) + RETRY_S:
            return

        if child is not None:
            _log.warning(
                "worker=%s died with exit code %s; replacing it", child.pid, child.exitcode
            )
            self._requeue(child)
        self._started[slot] = time.monotonic()
        self._children[slot] = self._start()

    def _start(self) -> BaseProcess:
        # With this program's token, the supervisor knows the name of each process by its pid.
        arguments = (self._settings, self._job_id, program_token())
        child = self._context.Process(target=_run_child, args=arguments, daemon=True)
        child.start()
        return child

    def _requeue(self, child: BaseProcess, *, killed: bool = False) -> None:
        try:
            recovery.requeue_worker(self._db, worker_name(child.pid), killed=killed)
        except Exception as error:
            # Whatever the error is, the process is replaced.
            _log.warning(
                "worker=%s its batches wait until their leases end: %s",
                child.pid,
                error,
                exc_info=not isinstance(error, DatabaseError),
            )


def _run_child(settings: Settings, job_id: int | None, token: str) -> None:
    """The whole life of a worker process."""
    start_logs(settings.log_format)
    stop = Stop()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    # Ctrl-C reaches the whole process group; the supervisor decides when its children stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()

    name, program = worker_name(token=token), worker_name(os.getppid(), token)
    work(open_database(settings), settings, stop, job_id, name, program)


def _die_with_parent() -> None:
    """Ends this process once its parent is gone, even by kill -9. Its leases then run out."""
    parent = multiprocessing.parent_process()
    try:
        if parent is not None:
            parent.join()
    finally:
        os._exit(1)


def work(
    db: Database, settings: Settings, stop: Stop, job_id: int | None, name: str, program: str
) -> None:
    """Claims and runs batches and scans, of one job or of all, until `stop` is set.

    If the database is unreachable or full, it waits and tries again. What it had claimed is run
    again once its lease has run out.
    """
    run_batch = partial(Pipeline(db, settings, name, program).run, job_id=job_id)
    run_scan = partial(scan, db, settings, name, job_id, announce=lambda: None, classify=run_batch)
    pause_s = RETRY_S

    while not stop.is_set():
        try:
            # Batches come first: results are wanted sooner than more images to classify.
            if not run_batch() and not run_scan():
                stop.wait(POLL_S)
            pause_s = RETRY_S
        except DatabaseError as error:
            _log.warning("%s Trying again in %.0f s.", error, pause_s)
            stop.wait(pause_s)
            pause_s = min(2 * pause_s, RETRY_MAX_S)
