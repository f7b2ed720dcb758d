"""Celery's pool of processes, which looks oftener for one that died: by itself it looks every 5 s."""

from collections.abc import Callable

from celery.concurrency import asynpool, prefork


class _Pool(asynpool.AsynPool):  # type: ignore[misc]
    @property
    def timers(self) -> dict[Callable[[], None], float]:
        """What is done how often, in seconds."""
        return {self.maintain_pool: 1.0}


class TaskPool(prefork.TaskPool):  # type: ignore[misc]
    Pool = _Pool
