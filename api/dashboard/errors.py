"""Problems as pages: for a browser that asked for a page, and not for the API."""

import json
from http import HTTPStatus
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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
                    await _show(start, body)(scope, receive, send)

        await self._app(scope, receive, send_page)


def _wants_page(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["path"].startswith(_PROGRAMS):
        return False
    return "text/html" in Headers(scope=scope).get("accept", "")


def _is_problem(start: Message) -> bool:
    return Headers(raw=start["headers"]).get("content-type") == MEDIA_TYPE


def _show(start: Message, body: bytes) -> ASGIApp:
    problem = json.loads(body)
    response = respond("error", HTTPStatus(problem["status"]), problem=problem)

    for name, value in Headers(raw=start["headers"]).items():
        if name not in ("content-type", "content-length"):
            response.headers[name] = value
    return response
