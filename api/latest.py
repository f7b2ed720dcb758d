"""What many follow, read once a second for all of them."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Final, TypeVar

PERIOD_S: Final = 1.0

T = TypeVar("T")


class Latest:
    """Reads, each shared by whoever asks for the same until a second after it has ended.

    Between reads, nothing is held: no thread and no connection.
    """

    def __init__(self) -> None:
        self._reads: dict[Hashable, asyncio.Task[Any]] = {}

    async def read(self, key: Hashable, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The answer of a call that is not older than a second.

        Args:
            key: the same for calls that have the same answer.

        Raises:
            Exception: what the call has raised, to all who share it.
        """
        task = self._reads.get(key)
        if task is None:
            task = self._reads[key] = asyncio.create_task(call())
            task.add_done_callback(lambda _: self._forget_later(key))

        # Shielded, because others may wait for it when this one goes away.
        answer: T = await asyncio.shield(task)
        return answer

    def _forget_later(self, key: Hashable) -> None:
        asyncio.get_running_loop().call_later(PERIOD_S, self._reads.pop, key)
