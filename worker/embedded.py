"""The embedded queue: supervised worker processes that poll the database and are gone with whoever started them."""

import logging
import multiprocessing
import os
import signal
import socket
import threading
import time
from functools import partial
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Self

from models.errors import DatabaseError
from models.settings import Settings
from models.store import batches, deletion
from models.store.database import Database
from worker.heartbeat import Heartbeat
from worker.pipeline import Pipeline
from worker.scan import scan

POLL_S = 0.1
RETRY_S = 1.0
RETRY_MAX_S = 10.0

_log = logging.getLogger(__name__)


def worker_name(process_id: int) -> str:
    """A name no other process has."""
    return f"{socket.gethostname()}:{process_id}"


def work(db: Database, settings: Settings, stop: threading.Event, job_id: int | None) -> None:
    """Claims and runs batches and scans, of any job or of one, until told to stop, between two batches.

    A database that is away or full is waited for: what was claimed is run again when its lease has run out.
    """
    name = worker_name(os.getpid())
    run = partial(Pipeline(db, settings, name).run, job_id=job_id)
    pause_s = RETRY_S
    while not stop.is_set():
        try:
            # Batches first: the images found are wanted sooner than more images to find.
            if not run() and not scan(
                db, settings, name, job_id, announce=lambda: None, classify=run
            ):
                stop.wait(POLL_S)
            pause_s = RETRY_S
        except DatabaseError as error:
            _log.warning("%s Trying again in %.0f s.", error, pause_s)
            stop.wait(pause_s)
            pause_s = min(2 * pause_s, RETRY_MAX_S)


def _run_child(settings: Settings, job_id: int | None) -> None:
    """A worker process's whole life."""
    logging.basicConfig(format="%(levelname)s %(message)s")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches the whole group; the supervisor decides.
    threading.Thread(target=_die_with_parent, daemon=True).start()
    work(Database(settings.database), settings, stop, job_id)


def _die_with_parent() -> None:
    """Ends this process when its parent is gone, even by kill -9; its leases then run out."""
    handle = multiprocessing.parent_process()
    if handle is not None:
        handle.join()
    os._exit(1)


class Supervisor:
    """Keeps a number of worker processes alive and sweeps; use as a context manager.

    A worker that dies is replaced, and what it had claimed is queued again at once.

    Args:
        job_id: the only job to work on; None = all.
    """

    def __init__(self, db: Database, settings: Settings, job_id: int | None = None) -> None:
        self._db = db
        self._job_id = job_id
        self._settings = settings
        self._context = multiprocessing.get_context(
            "spawn"
        )  # Forking a process with threads can deadlock.
        self._children: list[BaseProcess] = []
        self._started: dict[int, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._supervise, name="supervisor", daemon=True)
        self._heartbeat = Heartbeat(db, worker_name(os.getpid()), self._living, job_id)

    def __enter__(self) -> Self:
        self._children = [self._start(i) for i in range(self._settings.worker_count)]
        self._thread.start()
        self._heartbeat.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Lets each worker finish its batch, for the length of a lease at most."""
        self._stop.set()
        self._thread.join()
        for child in self._children:
            child.terminate()
        deadline = time.monotonic() + self._settings.lease_s
        for child in self._children:
            child.join(max(deadline - time.monotonic(), 0.0))
            if child.exitcode is None:
                child.kill()
                child.join()
            self._release(child)
        self._heartbeat.__exit__(kind, error, trace)

    def _living(self) -> int:
        return sum(child.is_alive() for child in self._children)

    def _start(self, slot: int) -> BaseProcess:
        self._started[slot] = time.monotonic()
        child = self._context.Process(
            target=_run_child, args=(self._settings, self._job_id), daemon=True
        )
        child.start()
        return child

    def _supervise(self) -> None:
        next_sweep = 0.0
        while not self._stop.wait(POLL_S):
            for i, child in enumerate(self._children):
                if child.exitcode is not None and time.monotonic() > self._started[i] + RETRY_S:
                    _log.warning(
                        "worker=%s died with exit code %s, replacing it", child.pid, child.exitcode
                    )
                    self._release(child)
                    self._children[i] = self._start(i)
            if time.monotonic() >= next_sweep:
                next_sweep = time.monotonic() + self._settings.sweep_s
                self._guarded_sweep()

    def _guarded_sweep(self) -> None:
        try:
            batches.sweep(self._db)
            deletion.sweep(self._db, self._settings.retention_days)
        except DatabaseError as error:
            _log.warning("sweep put off: %s", error)

    def _release(self, child: BaseProcess) -> None:
        try:
            batches.release(self._db, worker_name(child.pid or 0))
        except DatabaseError as error:
            _log.warning("worker=%s its batches wait for their leases: %s", child.pid, error)
