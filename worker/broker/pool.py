"""Celery's process pool, replacing dead processes within a second instead of within five."""

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
