"""Repeating an action on a thread beside the work, so that neither delays the other.

The program depends on these threads: they renew leases, sweep and replace dead processes. An
exception does not end one, and if one ends all the same, so does the program.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from threading import Event, Thread

from worker.stop import Stop

_log = logging.getLogger(__name__)


@contextmanager
def repeat_in_background(
    action: Callable[[], None], interval_s: float, name: str
) -> Iterator[Thread]:
    """Calls `action` at once and then every `interval_s` while the block runs.

    The end of the block waits for a call in progress, but no longer than `interval_s`: a database
    may never answer. The thread that the block is given is then still alive.
    """
    ended = Event()
    thread = start_thread(partial(repeat, action, interval_s, ended, name), name)
    try:
        yield thread
    finally:
        ended.set()
        thread.join(interval_s)


def repeat(action: Callable[[], None], interval_s: float, ended: Event | Stop, name: str) -> None:
    """Calls `action` at once and then every `interval_s` until `ended` is set.

    An exception is logged; the next call may succeed.
    """
    while not ended.is_set():
        try:
            action()
        except Exception:
            _log.exception("%s failed; trying again in %.1f s", name, interval_s)
        ended.wait(interval_s)


def start_thread(target: Callable[[], None], name: str) -> Thread:
    """Starts a thread on which the program depends."""

    def run() -> None:
        with end_program_on_error(name):
            target()

    # What the thread logs is about what this one works on.
    context = copy_context()
    thread = Thread(target=context.run, args=[run], name=name, daemon=True)
    thread.start()
    return thread


@contextmanager
def end_program_on_error(name: str) -> Iterator[None]:
    """Ends the program with exit code 1 if the block raises, so that its host restarts it."""
    try:
        yield
    except BaseException:
        try:
            _log.critical("%s ended by an error; so does this program", name, exc_info=True)
        finally:
            # `sys.exit` would end only the thread.
            os._exit(1)
