"""What stands before every route: which Host a request may name, and which pages may send it.

A browser lets any page send requests to the API, even on loopback. Two rules keep foreign pages
out. The Host must be a name of this machine, so that a foreign domain that resolves to it (DNS
rebinding) reads nothing. And a request that changes something must not come from another site:
browsers name the site in `Sec-Fetch-Site` or `Origin`, and programs such as curl send neither.
"""

import ipaddress
import socket
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import make_response

LOCAL_NAMES: Final = ("localhost", "localhost.localdomain")
SAFE_METHODS: Final = ("GET", "HEAD", "OPTIONS")
HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guards:
    """ASGI middleware that refuses what the module describes, and adds security headers.

    Args:
        allowed_hosts: further names under which the API may be addressed, such as a proxy's.
    """

    def __init__(self, app: ASGIApp, allowed_hosts: Iterable[str] = ()) -> None:
        self._app = app
        own_names = (*LOCAL_NAMES, socket.gethostname(), *allowed_hosts)
        self._names = {name.lower().rstrip(".") for name in own_names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        if not self._is_own(headers.get("host", "")):
            response = make_response(
                HTTPStatus.MISDIRECTED_REQUEST,
                "unknown_host",
                "The Host header names another machine. If this is a name of this one, add it to "
                "CUEMILL_ALLOWED_HOSTS.",
            )
            await response(scope, receive, send_with_headers)
        elif scope["method"] not in SAFE_METHODS and _is_foreign(headers):
            response = make_response(
                HTTPStatus.FORBIDDEN,
                "cross_site",
                "A page of another site sent this request. Only pages of this API may change "
                "anything.",
            )
            await response(scope, receive, send_with_headers)
        else:
            await self._app(scope, receive, send_with_headers)

    def _is_own(self, host: str) -> bool:
        """Whether a Host is this machine's. Any IP address is: rebinding needs a name."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        return name.rstrip(".") in self._names or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_foreign(headers: Headers) -> bool:
    """Whether a page of another site sent a request."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in ("same-origin", "none")

    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != headers.get("host")
