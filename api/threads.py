"""Threads for what may take long, few enough that nothing else waits for them."""

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import TypeVar

from models.errors import BusyError

T = TypeVar("T")


class Threads:
    """A bounded number of threads of the API's own.

    They are daemons: one that hangs, on a drive that does not answer, keeps its place but does not
    keep the program from ending.

    Args:
        count: how many run at a time; further calls wait for them.
        wait_s: how long a call waits for its turn.
        answer_s: how long a call then waits for its answer; None = without limit.
        busy: what the client is told if one of the two is exceeded.
    """

    def __init__(self, count: int, wait_s: float, answer_s: float | None, busy: str) -> None:
        self._free = asyncio.Semaphore(count)
        self._wait_s = wait_s
        self._answer_s = answer_s
        self._busy = busy

    async def run(self, call: Callable[[], T]) -> T:
        """Runs a call in a thread.

        Raises:
            BusyError: it had no turn, or no answer, in time.
        """
        return await self._run(call, self._wait_s)

    async def stream(self, pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
        """Yields the same pieces, and holds no thread while they are sent.

        A piece waits for its turn without limit: the answer has begun.
        """
        while (piece := await self._run(partial(next, pieces, None), None)) is not None:
            if piece:
                yield piece

    async def _run(self, call: Callable[[], T], wait_s: float | None) -> T:
        try:
            async with asyncio.timeout(wait_s):
                await self._free.acquire()
            async with asyncio.timeout(self._answer_s):
                return await asyncio.wrap_future(self._start(call))
        except TimeoutError:
            raise BusyError(self._busy) from None

    def _start(self, call: Callable[[], T]) -> Future[T]:
        loop = asyncio.get_running_loop()
        answer: Future[T] = Future()
        # So that a client that stops waiting does not give the thread's place away.
        answer.set_running_or_notify_cancel()

        # What holds for the request, such as who acts, also holds in the thread.
        context = contextvars.copy_context()

        def run() -> None:
            try:
                answer.set_result(context.run(call))
            except BaseException as error:
                answer.set_exception(error)
            finally:
                with suppress(RuntimeError):  # The program has ended meanwhile.
                    loop.call_soon_threadsafe(self._free.release)

        try:
            threading.Thread(target=run, name="api", daemon=True).start()
        except RuntimeError:
            # The host allows no more threads.
            self._free.release()
            raise BusyError(self._busy) from None
        return answer
