"""What the routes work with: the database, the settings, and access to the queue."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Final

from fastapi import Depends, Request

from api.latest import Latest
from api.rates import Rates
from api.threads import Threads
from models.errors import BusyError
from models.health.watch import Watch
from models.queue import Ping
from models.settings import Settings
from models.store.database import Database

COSTLY_THREADS: Final = 8
"""Far fewer than `models.store.database.MAX_CONNECTIONS`, so that other routes have some left."""
COSTLY_WAIT_S: Final = 10.0
FOLDER_THREADS: Final = 8
FOLDER_WAIT_S: Final = 4.0
PICTURE_THREADS: Final = 4
PICTURE_WAIT_S: Final = 20.0
SPOOL_THREADS: Final = 8
SPOOL_WAIT_S: Final = 30.0
UNPACK_THREADS: Final = 2
UNPACK_WAIT_S: Final = 60.0
ARRIVALS: Final = 64
"""Files and forms that arrive at a time. Each holds about a megabyte."""


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
    ping_queue: Ping

    @cached_property
    def watch(self) -> Watch:
        return Watch(self.db, self.settings, self.ping_queue)

    @cached_property
    def latest(self) -> Latest:
        return Latest()

    @cached_property
    def ending(self) -> threading.Event:
        """Set when the program is about to end; what goes on for long ends by itself."""
        return threading.Event()

    @cached_property
    def costly(self) -> Threads:
        """Runs what reads many rows of the database."""
        busy = f"Too many requests like this one ran for {COSTLY_WAIT_S:.0f} s. Try again later."
        return Threads(COSTLY_THREADS, COSTLY_WAIT_S, None, busy)

    @cached_property
    def folders(self) -> Threads:
        """Runs what looks at folders, which may be on a drive that does not answer."""
        busy = (
            f"The folder did not answer within {FOLDER_WAIT_S:.0f} s: its drive may be overloaded "
            "or may hang. Check its mount, and try again."
        )
        return Threads(FOLDER_THREADS, FOLDER_WAIT_S, FOLDER_WAIT_S, busy)

    @cached_property
    def pictures(self) -> Threads:
        """Makes thumbnails; few at a time, for each may hold a picture of 40 megapixels."""
        busy = f"No picture was ready within {PICTURE_WAIT_S:.0f} s. Try again later."
        return Threads(PICTURE_THREADS, PICTURE_WAIT_S, PICTURE_WAIT_S, busy)

    @cached_property
    def spooling(self) -> Threads:
        """Writes a piece of what is uploaded."""
        busy = f"The disk of uploads did not take a piece within {SPOOL_WAIT_S:.0f} s. Try again."
        return Threads(SPOOL_THREADS, SPOOL_WAIT_S, SPOOL_WAIT_S, busy)

    @cached_property
    def unpacking(self) -> Threads:
        """Unpacks uploaded archives."""
        busy = f"Other archives were unpacked for {UNPACK_WAIT_S:.0f} s. Try again later."
        return Threads(UNPACK_THREADS, UNPACK_WAIT_S, None, busy)

    @cached_property
    def sign_ins(self) -> Rates:
        """Counts attempts to sign in, by the address that they come from."""
        return Rates()

    @asynccontextmanager
    async def arrival(self) -> AsyncIterator[None]:
        """Lets one of a limited number of large bodies arrive.

        Raises:
            BusyError: so many arrive already.
        """
        if self._arrivals.locked():
            raise BusyError(f"{ARRIVALS} uploads arrive already. Try again later.")
        async with self._arrivals:
            yield

    @cached_property
    def _arrivals(self) -> asyncio.Semaphore:
        return asyncio.Semaphore(ARRIVALS)


async def _get_context(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


InjectedContext = Annotated[Context, Depends(_get_context)]
