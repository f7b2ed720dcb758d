"""Repeating an action on a thread beside the work, so that neither delays the other."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread


@contextmanager
def repeat_in_background(
    action: Callable[[], None], interval_s: float, name: str
) -> Iterator[Thread]:
    """Calls `action` at once and then every `interval_s` while the block runs.

    The end of the block waits for a call in progress, but no longer than `interval_s`: a database
    may never answer. The thread that the block is given is then still alive.
    """
    ended = Event()

    def repeat() -> None:
        while not ended.is_set():
            action()
            ended.wait(interval_s)

    thread = Thread(target=repeat, name=name, daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        ended.set()
        thread.join(interval_s)
