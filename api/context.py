"""What the routes work with: the database, the settings, and access to the queue."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from fastapi import Depends, Request

from models.health.watch import Watch
from models.settings import Settings
from models.store.database import Database


@dataclass(frozen=True)
class Context:
    """Built once, when the program starts.

    Attributes:
        announce: sends a hint for all work that is due.
        ping_queue: whether the queue answers.
    """

    db: Database
    settings: Settings
    announce: Callable[[], object]
    ping_queue: Callable[[], bool]

    @cached_property
    def watch(self) -> Watch:
        return Watch(self.db, self.settings, self.ping_queue)


def _get_context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


InjectedContext = Annotated[Context, Depends(_get_context)]
