"""How many requests a minute a key, or an address, may make: counted in this process, which is
the whole API.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

MINUTE_S: Final = 60.0
MOST: Final = 10_000
"""Buckets. Addresses are many: beyond this number, all begin anew."""


@dataclass(frozen=True)
class Allowance:
    """What is left to a key after a request.

    Args:
        limit: requests a minute.
        is_exceeded: whether this request is one too many.
        full_s: seconds until all of `limit` are left again.
        retry_s: seconds until there is one.
    """

    limit: int
    remaining: int
    is_exceeded: bool
    full_s: int
    retry_s: int

    @property
    def headers(self) -> dict[str, str]:
        """As draft-ietf-httpapi-ratelimit-headers names them."""
        return {
            "RateLimit-Policy": f'"requests";q={self.limit};w={MINUTE_S:.0f}',
            "RateLimit": f'"requests";r={self.remaining};t={self.full_s}',
        }


class Rates:
    """A bucket of requests for each name that was used, such as a key's id: it holds a minute's,
    and is refilled as time passes.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, name: str, limit: int) -> Allowance:
        """Takes one request from a bucket, unless it is empty."""
        now = self._clock()
        if len(self._buckets) >= MOST and name not in self._buckets:
            self._buckets.clear()

        left, at = self._buckets.get(name, (float(limit), now))
        left = min(limit, left + (now - at) * limit / MINUTE_S)

        is_exceeded = left < 1
        left -= 0 if is_exceeded else 1
        self._buckets[name] = (left, now)

        return Allowance(
            limit,
            int(left),
            is_exceeded,
            full_s=math.ceil((limit - left) * MINUTE_S / limit),
            retry_s=math.ceil(max(1 - left, 0) * MINUTE_S / limit),
        )
