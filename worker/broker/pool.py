"""Celery's process pool, which replaces a dead process within one second; by default it checks every five."""

from collections.abc import Callable
from typing import Final

from celery.concurrency import asynpool, prefork

CHECK_S: Final = 1.0


class _Pool(asynpool.AsynPool):  # type: ignore[misc]
    @property
    def timers(self) -> dict[Callable[[], None], float]:
        """What the event loop calls, and every how many seconds."""
        return {self.maintain_pool: CHECK_S}


class TaskPool(prefork.TaskPool):  # type: ignore[misc]
    Pool = _Pool
