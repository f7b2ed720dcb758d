"""Keeping a claim while one works on it."""

import time
from collections.abc import Callable


class ClaimLostError(Exception):
    """Somebody else has the work now, or it was cancelled: what was done of it is dropped."""


def keeper(renew: Callable[[], bool], lease_s: float) -> Callable[[], None]:
    """What to call at each step of the work: it renews each third of the lease. A worker that hangs loses its claim.

    Args:
        renew: extends the lease; False when the claim is lost, and then the call raises `ClaimLostError`.
    """
    due = time.monotonic() + lease_s / 3

    def keep_alive() -> None:
        nonlocal due
        if time.monotonic() >= due:
            if not renew():
                raise ClaimLostError
            due = time.monotonic() + lease_s / 3

    return keep_alive
