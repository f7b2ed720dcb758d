"""Runs every check within a few seconds, even if a server or a drive never answers."""

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Final

from models.health.checks import (
    Check,
    State,
    check_database,
    check_images,
    check_queue,
    check_writes,
)
from models.queue import Ping
from models.settings import Settings
from models.store.database import Database

ANSWER_S: Final = 4.0
"""The checks take no longer than this: monitors usually wait 5 s for a report."""

HANGS: Final = {
    "database": "The database server, or its drive, may be overloaded or stopped: check it.",
    "writes": "A process keeps the database locked: it may be stopped, or its drive may hang.",
    "queue": "Redis may be overloaded or stopped: check it. Jobs are kept and sent later.",
    "images": "The drive of CUEMILL_IMAGE_ROOTS may hang: check its mount.",
}

_log = logging.getLogger(__name__)


class Watch:
    """Checks everything in parallel.

    Each check runs on one thread at a time, so that asking again and again about something that
    hangs does not pile up threads.
    """

    def __init__(self, db: Database, settings: Settings, ping: Ping, *, roots: bool = True) -> None:
        """
        Args:
            ping: whether the broker can be used.
            roots: whether to check the folders that the API may read.
        """
        self._run: dict[str, Callable[[], list[Check]]] = {
            "database": lambda: check_database(db, settings),
            "queue": lambda: [check_queue(settings, ping)],
        }
        if db.is_sqlite:
            self._run["writes"] = lambda: [check_writes(db)]
        if roots:
            self._run["images"] = lambda: [check_images(settings)]

        self._answers: dict[str, Future[list[Check]]] = {}
        self._lock = threading.Lock()

    def look(self) -> list[Check]:
        """Runs the checks; one that does not answer within `ANSWER_S` is a problem."""
        answers = self._begin_all()
        wait(answers.values(), ANSWER_S)
        return _collect(answers)

    async def look_async(self) -> list[Check]:
        """The same without holding a thread, however many ask at once."""
        answers = self._begin_all()
        await asyncio.wait(map(asyncio.wrap_future, answers.values()), timeout=ANSWER_S)
        return _collect(answers)

    def _begin_all(self) -> dict[str, Future[list[Check]]]:
        with self._lock:
            return {name: self._begin(name) for name in self._run}

    def _begin(self, name: str) -> Future[list[Check]]:
        answer = self._answers.get(name)
        if answer is None or answer.done():
            answer = self._answers[name] = Future()
            arguments = (name, self._run[name], answer)
            try:
                threading.Thread(target=_answer, args=arguments, daemon=True).start()
            except RuntimeError as error:
                # The host allows no more threads; the next look may get one.
                _log.warning("check=%s has no thread: %s", name, error)
                answer.set_result([_fails(name, error)])
        return answer


def _answer(name: str, run: Callable[[], list[Check]], answer: Future[list[Check]]) -> None:
    try:
        answer.set_result(run())
    except Exception as error:
        # Whatever went wrong here, the other checks are still wanted.
        _log.warning("check=%s failed", name, exc_info=error)
        answer.set_result([_fails(name, error)])


def _collect(answers: dict[str, Future[list[Check]]]) -> list[Check]:
    checks: list[Check] = []
    for name, answer in answers.items():
        checks += answer.result() if answer.done() else [_hangs(name)]
    return checks


def _fails(name: str, error: Exception) -> Check:
    return Check(name, State.PROBLEM, f"This check itself failed ({error}). See the log.")


def _hangs(name: str) -> Check:
    return Check(name, State.PROBLEM, f"No answer within {ANSWER_S:.0f} s. {HANGS[name]}")
