"""What routes are given: the database, the settings, and a way to announce work."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from models.database import Database
from models.settings import Settings


@dataclass(frozen=True)
class Context:
    """Built once, when the program starts. `announce` tells the queue that work is due, `ping_queue` whether it
    is there."""

    db: Database
    settings: Settings
    announce: Callable[[], object]
    ping_queue: Callable[[], bool]


def _context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


Injected = Annotated[Context, Depends(_context)]
