"""A worker program's heartbeat: a thread beside the work, so that the work itself is never held up by it."""

import logging
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from models.errors import DatabaseError
from models.store import heartbeats as workers
from models.store.database import Database

_log = logging.getLogger(__name__)


class Heartbeat:
    """Tells the database every few seconds that a program lives; use as a context manager.

    A program that ends takes its row with it; one that dies leaves it, to be reported. A database that is away is
    tried again at the next beat.

    Args:
        name: `host:pid` of the program.
        processes: how many of its processes live just now.
        job_id: the only job it works on; None = all.
    """

    def __init__(
        self, db: Database, name: str, processes: Callable[[], int], job_id: int | None = None
    ) -> None:
        self._db = db
        self._name = name
        self._processes = processes
        self._job_id = job_id
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(workers.BEAT_S)
        if (
            self._thread.is_alive()
        ):  # It waits for a database that doesn't answer: no reason for us to wait too.
            return
        try:
            workers.leave(self._db, self._name)
        except DatabaseError as away:
            _log.warning("worker=%s will be taken for dead: %s", self._name, away)

    def _beat(self) -> None:
        progress = None
        while not self._stop.is_set():
            try:
                progress = workers.beat(
                    self._db, self._name, self._processes(), self._job_id, progress
                )
            except DatabaseError as error:
                _log.info("heartbeat put off: %s", error)
            self._stop.wait(workers.BEAT_S)
