"""One POST to a checked address, within limits of time and size, without following redirects.

Nothing comes between the check and the connection: the name is resolved once, and neither a proxy
nor a second look-up is involved. The name still is what `Host` says and the certificate must show.
"""

import io
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, Final

from models import addresses
from models.addresses import Endpoint
from models.errors import UsageError

CONNECT_S = 5.0
WHOLE_S = 15.0
"""From the first connection to the end of the answer's headers."""
ANSWER_MAX: Final = 65_536
"""Bytes of an answer that are read: its headers. The body does not matter."""


@dataclass(frozen=True)
class Answer:
    """
    Args:
        status: of HTTP; None if there was no answer.
        error: why not; None if there was one.
        retry_after_s: when the receiver wants to be asked again, if it says so.
    """

    status: int | None
    error: str | None = None
    retry_after_s: float = 0.0


def post(url: str, body: bytes, headers: Mapping[str, str], *, private: bool) -> Answer:
    """Sends a body to a URL, and returns what came of it, whatever that is.

    Args:
        private: as of `addresses.check_url`.
    """
    try:
        return _post(url, body, headers, private)
    except UsageError as error:
        return Answer(None, str(error))
    except TimeoutError:
        return Answer(None, "The receiver did not answer in time.")
    except (OSError, HTTPException) as error:
        return Answer(None, f"{type(error).__name__}: {error}")


def _post(url: str, body: bytes, headers: Mapping[str, str], private: bool) -> Answer:
    parts = addresses.check_url(url, private=private)
    host, port = str(parts.hostname), addresses.port_of(parts)
    endpoints = addresses.resolve(host, port, private=private)

    deadline = time.monotonic() + WHOLE_S
    with closing(_connect(endpoints, deadline)) as plain:
        sock, connection = plain, HTTPConnection(host, port)
        if parts.scheme == "https":
            context = ssl.create_default_context()
            sock = context.wrap_socket(plain, server_hostname=host)
            connection = HTTPSConnection(host, port, context=context)

        with closing(sock):
            connection.sock = sock  # Connected already, so it resolves nothing.
            sock.settimeout(_left_s(deadline))
            target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
            connection.request("POST", target, body, {**headers, "Connection": "close"})
            return _read(sock, deadline)


def _connect(endpoints: Sequence[Endpoint], deadline: float) -> socket.socket:
    """A connection to the first address that takes one."""
    last: OSError = TimeoutError()
    until = min(time.monotonic() + CONNECT_S, deadline)

    for endpoint in endpoints:
        sock = socket.socket(endpoint.family, socket.SOCK_STREAM)
        try:
            sock.settimeout(_left_s(until))
            sock.connect(endpoint.address)
        except OSError as error:
            sock.close()
            last = error
        else:
            sock.settimeout(_left_s(deadline))
            return sock
    raise last


def _read(sock: socket.socket, deadline: float) -> Answer:
    with HTTPResponse(_Bounded(sock, deadline), method="HEAD") as response:  # type: ignore[arg-type]
        response.begin()
        wait = response.headers.get("Retry-After", "")
        is_seconds = wait.isascii() and wait.isdigit() and len(wait) < 9
        return Answer(response.status, None, float(wait) if is_seconds else 0.0)


class _Bounded(io.RawIOBase):
    """A socket to read from until a deadline, and no more than `ANSWER_MAX` bytes."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline
        self._left = ANSWER_MAX

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._left == 0:
            raise HTTPException(f"the headers of the answer exceed {ANSWER_MAX:,} bytes")
        self._sock.settimeout(_left_s(self._deadline))
        count = self._sock.recv_into(buffer, min(len(buffer), self._left))
        self._left -= count
        return count


def _left_s(deadline: float) -> float:
    """
    Raises:
        TimeoutError: none are left.
    """
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s
