"""A watch beside the work on a claim: it renews the lease, and ends a process that hangs.

A drive that does not answer stops the thread that reads from it, for hours perhaps, and no signal
but SIGKILL gets through. So another thread watches it. Work that is only slow keeps its claim.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import Final

from models.errors import DatabaseError, ImageError, PlaceError
from models.sources.names import to_bytes
from models.sources.read import read_image
from worker.lease import RENEWALS_PER_LEASE, ClaimLostError
from worker.repeat import repeat_in_background

HANGS_LEASES: Final = 1.75
"""Reading that gets no byte for this many leases hangs: no process is held for more than two."""
IMAGE_LEASES: Final = 10.0
"""Within this many leases an image is read and classified, or its worker counts as lost."""
CHECKS_PER_LEASE: Final = 10
HUNG: Final = 75
"""The exit code of a process that hangs. SysExits calls it EX_TEMPFAIL."""

_log = logging.getLogger(__name__)


class Watch:
    """What the work reports to its watch.

    Attributes:
        reading: the path that is being read; "" for the folder itself, None if nothing is.
    """

    def __init__(self) -> None:
        self.reading: str | None = None
        self.lost = False
        self._alive_at = self._began_at = time.monotonic()

    @property
    def silent_s(self) -> float:
        """For how long no sign of life has come."""
        return time.monotonic() - self._alive_at

    @property
    def image_s(self) -> float:
        """How long the present image has taken."""
        return time.monotonic() - self._began_at

    def read(self, path: str = "") -> None:
        """Says that a file is read from now on, or the folder.

        Raises:
            ClaimLostError: the work was cancelled or claimed by another worker.
        """
        self.alive()
        self._began_at = self._alive_at
        self.reading = path

    def alive(self) -> None:
        """Says that reading goes on.

        Raises:
            ClaimLostError: as `read`.
        """
        self._alive_at = time.monotonic()
        if self.lost:
            raise ClaimLostError

    def compute(self) -> None:
        """Says that nothing is read from now on."""
        self.reading = None


@contextmanager
def watch(
    renew: Callable[[], bool],
    give_back: Callable[[str], object],
    lease_s: float,
    image_leases: float = IMAGE_LEASES,
) -> Iterator[Watch]:
    """Watches the block, which works on a claim.

    Args:
        renew: extends the lease; False if the claim is lost.
        give_back: gives the claim back, because this path hangs ("" = the folder).
        image_leases: within which the block must begin the next image.
    """
    state = Watch()
    renewed_at = time.monotonic()

    def look() -> None:
        nonlocal renewed_at
        if state.lost:
            # The work ends at its next sign of life. If there is none, it hangs.
            if state.reading is not None and state.silent_s > lease_s / 2:
                _end("claim lost, and reading hangs")
            return

        path, takes_long = state.reading, state.image_s > image_leases * lease_s
        if path is not None and (state.silent_s > HANGS_LEASES * lease_s or takes_long):
            try:
                give_back(path)
            finally:
                _end(f"reading hangs: {path or 'the folder'}")
        if takes_long:
            _end("an image takes too long")

        if time.monotonic() - renewed_at >= lease_s / RENEWALS_PER_LEASE:
            renewed_at = time.monotonic()
            try:
                state.lost = not renew()
            except DatabaseError as error:
                _log.warning("renewal of a lease postponed: %s", error)

    with repeat_in_background(look, lease_s / CHECKS_PER_LEASE, name="watch"):
        yield state


def answers(folder: str, paths: Sequence[str], timeout_s: float) -> bool:
    """Whether a folder can be listed, and the first bytes of these files read, within this time.

    The thread that tries is left behind if it hangs.
    """
    root = to_bytes(folder)
    answered = Event()

    def probe() -> None:
        with suppress(OSError), os.scandir(root) as entries:
            next(entries, None)
        for path in paths:
            with suppress(OSError, ImageError, PlaceError):
                read_image(root, to_bytes(path))
        answered.set()

    Thread(target=probe, daemon=True).start()
    return answered.wait(timeout_s)


def _end(reason: str) -> None:
    """Ends this process: nothing else ends a thread that hangs."""
    _log.error("This process ends: %s.", reason)
    logging.shutdown()
    os._exit(HUNG)
