"""Problems as pages: for a browser that asked for a page, and not for the API.

One that has not signed in is led to the page where it can, and from there to what it asked for.
"""

import json
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from fastapi.responses import RedirectResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.credentials import read_credential
from api.dashboard.query import link
from api.dashboard.render import respond
from api.problems import MEDIA_TYPE

_PROGRAMS: Final = ("/v1/", "/metrics", "/healthz", "/readyz", "/openapi.json")


class ErrorPages:
    """ASGI middleware that shows a problem as a page with the same status and the same words."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not _wants_page(scope):
            await self._app(scope, receive, send)
            return

        start: Message | None = None
        body = b""

        async def send_page(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start" and _is_problem(message):
                start = message
            elif start is None:
                await send(message)
            else:
                body += message.get("body", b"")
                if not message.get("more_body", False):
                    await _show(scope, start, body)(scope, receive, send)

        await self._app(scope, receive, send_page)


def _wants_page(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["path"].startswith(_PROGRAMS):
        return False
    return "text/html" in Headers(scope=scope).get("accept", "")


def _is_problem(start: Message) -> bool:
    return Headers(raw=start["headers"]).get("content-type") == MEDIA_TYPE


def _show(scope: Scope, start: Message, body: bytes) -> ASGIApp:
    problem = json.loads(body)
    # A key that was sent, by a proxy for example, would only be sent again.
    is_keyless = read_credential(Headers(scope=scope)).key is None
    if problem["status"] == HTTPStatus.UNAUTHORIZED and is_keyless:
        return RedirectResponse(_sign_in(scope), HTTPStatus.SEE_OTHER)

    response = respond("error", HTTPStatus(problem["status"]), problem=problem)

    for name, value in Headers(raw=start["headers"]).items():
        if name not in ("content-type", "content-length"):
            response.headers[name] = value
    return response


def _sign_in(scope: Scope) -> str:
    """The address to sign in at. What a form would have changed is not done afterwards."""
    if scope["method"] not in ("GET", "HEAD"):
        return "/sign-in"
    query = scope["query_string"].decode("latin-1")
    return link("/sign-in", {"next": quote(scope["path"]) + (f"?{query}" if query else "")})
