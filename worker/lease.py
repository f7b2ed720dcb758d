"""Claims: the name under which a process claims work, and how it keeps its claim while it works."""

import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from threading import Event
from typing import Final

from models.errors import DatabaseError
from worker.repeat import repeat_in_background

RENEWALS_PER_LEASE: Final = 3
"""So that the next renewal is in time even if one fails."""

_log = logging.getLogger(__name__)


class ClaimLostError(Exception):
    """The work was cancelled or claimed by another worker; this worker discards its results."""


@cache
def program_token() -> str:
    """Eight hexadecimal digits that tell this start of the program from every other."""
    return os.urandom(4).hex()


def worker_name(process_id: int | None = None, token: str | None = None) -> str:
    """`host:pid:token` of a process.

    Host and pid alone are not unique: containers may share a host name, and each counts its
    processes from 1.

    Args:
        process_id: None = this process.
        token: of the program that supervises the process; None = this program.
    """
    host = socket.gethostname()
    return f"{host}:{process_id or os.getpid()}:{token or program_token()}"


@contextmanager
def renew_in_background(
    renew: Callable[[], bool], lease_s: float, at_least_every_s: float
) -> Iterator[Event]:
    """Renews a lease while the block runs, for work that makes steps longer than a lease.

    Args:
        renew: extends the lease. If it returns False, the claim is lost, and the event that the
            block is given is set.
    """
    lost = Event()

    def renew_once() -> None:
        if lost.is_set():
            return

        try:
            if not renew():
                lost.set()
        except DatabaseError as error:
            _log.warning("renewal of a lease postponed: %s", error)

    interval_s = min(lease_s / RENEWALS_PER_LEASE, at_least_every_s)
    with repeat_in_background(renew_once, interval_s, name="lease"):
        yield lost
