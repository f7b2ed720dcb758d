"""What routes are given: the database, the settings, and a way to announce work."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from fastapi import Depends, Request

from models.health.checks import Watch
from models.settings import Settings
from models.store.database import Database


@dataclass(frozen=True)
class Context:
    """Built once, when the program starts. `announce` tells the queue that work is due, `ping_queue` whether it
    is there."""

    db: Database
    settings: Settings
    announce: Callable[[], object]
    ping_queue: Callable[[], bool]

    @cached_property
    def watch(self) -> Watch:
        """What looks after all this."""
        return Watch(self.db, self.settings, self.ping_queue)


def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


Injected = Annotated[Context, Depends(_context)]
