"""The heartbeat of a worker program: a row in `workers`, written again every few seconds."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from models.errors import DatabaseError
from models.store import heartbeats
from models.store.database import Database
from worker.repeat import repeat_in_background

_log = logging.getLogger(__name__)


@contextmanager
def heartbeat(
    db: Database, name: str, count_processes: Callable[[], int], job_id: int | None = None
) -> Iterator[None]:
    """Tells the database that a program lives, while the block runs.

    A program that ends removes its row. One that dies leaves it, and `cuemill status` reports it.

    Args:
        name: `host:pid:token` of the program.
        count_processes: how many of its processes are alive.
        job_id: the only job that it works on; None = all.
    """
    progress = None

    def beat() -> None:
        nonlocal progress
        try:
            progress = heartbeats.beat(db, name, count_processes(), job_id, progress)
        except DatabaseError as error:
            _log.info("heartbeat postponed: %s", error)

    try:
        with repeat_in_background(beat, heartbeats.BEAT_S, name="heartbeat") as thread:
            yield
    finally:
        # A thread that is still alive waits for a database that does not answer.
        if not thread.is_alive():
            _leave(db, name)


def _leave(db: Database, name: str) -> None:
    try:
        heartbeats.leave(db, name)
    except DatabaseError as error:
        _log.warning("worker=%s will be reported as dead: %s", name, error)
