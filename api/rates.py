"""How many requests a minute a key may make: counted in this process, which is the whole API."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

MINUTE_S: Final = 60.0


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
    """A bucket of requests a key: it holds a minute's, and is refilled as time passes.

    There is one for each key that was used, and none for those that do not exist.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, key_id: str, limit: int) -> Allowance:
        """Takes one request from a key's bucket, unless it is empty."""
        now = self._clock()
        left, at = self._buckets.get(key_id, (float(limit), now))
        left = min(limit, left + (now - at) * limit / MINUTE_S)

        is_exceeded = left < 1
        left -= 0 if is_exceeded else 1
        self._buckets[key_id] = (left, now)

        return Allowance(
            limit,
            int(left),
            is_exceeded,
            full_s=math.ceil((limit - left) * MINUTE_S / limit),
            retry_s=math.ceil(max(1 - left, 0) * MINUTE_S / limit),
        )
