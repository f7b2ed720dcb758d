"""What a call does, step by step, without doing it: the same for both clients.

A call is a generator. It yields what it needs, a request to be sent, a file to be read or a pause,
gets the outcome, and returns its result. `Client` carries the steps out, and `AsyncClient` awaits
them; everything else, such as when to try again, is said once, here and in `calls.py`.
"""

import random
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx2 as httpx

from cuemill_client.errors import ConnectionFailedError, error_of, retry_after_s

MAX_WAIT_S: Final = 120.0
"""If the server asks a request to wait for longer, the caller gets its error instead."""

_FIRST_PAUSE_S: Final = 0.5
_BACKOFF_S: Final = 8.0
_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)

T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    """A request to send.

    Attributes:
        path: below the server's address, quoted.
        is_repeatable: sending it twice does what sending it once does.
    """

    method: str
    path: str
    params: Sequence[tuple[str, str]] = ()
    json: Any = None
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    is_repeatable: bool = True


@dataclass(frozen=True)
class Read:
    """A file to read."""

    path: Path


@dataclass(frozen=True)
class Pause:
    """A time to wait."""

    seconds: float


@dataclass(frozen=True)
class Together:
    """Calls to run, some at a time; the first that fails ends the others.

    Attributes:
        done: called after each.
    """

    calls: Iterator["Steps[Any]"]
    done: Callable[[], None]


Step = Request | Read | Pause | Together
Steps = Generator[Step, Any, T]


def send(request: Request, retries: int) -> Steps[httpx.Response]:
    """Sends a request, and again if it may have been in vain.

    Raises:
        ApiError: the server refuses it.
        ConnectionFailedError: the server cannot be reached.
    """
    failures = 0
    waited_s = 0.0
    while True:
        asked_s = 0.0
        try:
            response: httpx.Response = yield request
        except httpx.TransportError as error:
            if failures >= retries or not (request.is_repeatable or isinstance(error, _NOT_SENT)):
                reason = str(error) or type(error).__name__
                raise ConnectionFailedError(f"The server does not answer: {reason}") from error
        else:
            is_gone = request.method == "DELETE" and response.status_code == 404
            if response.is_success or (is_gone and failures):
                # An earlier try has deleted it.
                return response

            # Of many requests at a time, some meet a key's limit again and again.
            is_used_up = failures >= retries and (response.status_code != 429 or not retries)
            asked_s = retry_after_s(response) or 0.0
            is_long = waited_s + asked_s > MAX_WAIT_S
            if is_used_up or is_long or not _is_passing(request, response):
                raise error_of(response)

        longest_s = min(_FIRST_PAUSE_S * 2**failures, _BACKOFF_S)
        pause_s = max(asked_s, random.uniform(longest_s / 2, longest_s))  # noqa: S311  # No secret.
        yield Pause(pause_s)
        failures += 1
        waited_s += pause_s


def _is_passing(request: Request, response: httpx.Response) -> bool:
    """Whether the same request may succeed later, and did nothing yet or may be repeated."""
    if response.status_code in (429, 503):
        return True
    return request.is_repeatable and response.status_code in (502, 504)
