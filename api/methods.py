"""The methods that a path has: HEAD for each GET, OPTIONS for all, and a true `Allow`."""

from http import HTTPStatus
from typing import Final

from fastapi import FastAPI
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import make_response

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")


class Methods:
    """ASGI middleware: FastAPI by itself knows the methods of a route, but not of a path.

    Args:
        api: whose routes are asked.
    """

    def __init__(self, app: ASGIApp, api: FastAPI) -> None:
        self._app = app
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._has(scope, scope["method"]):
            await self._app(scope, receive, send)
            return

        allowed = [method for method in METHODS if self._has(scope, method)]
        if not allowed:
            await self._app(scope, receive, send)
        elif scope["method"] == "HEAD" and "GET" in allowed:
            await _answer_head(self._app, scope, receive, send)
        else:
            await _refuse(scope["method"], allowed)(scope, receive, send)

    def _has(self, scope: Scope, method: str) -> bool:
        """Whether this path has a method."""
        asked = {**scope, "method": method}
        return any(route.matches(asked)[0] is Match.FULL for route in self._api.routes)


def _refuse(method: str, allowed: list[str]) -> Response:
    more = ["HEAD", "OPTIONS"] if "GET" in allowed else ["OPTIONS"]
    headers = {"Allow": ", ".join([*allowed, *more])}
    if method == "OPTIONS":
        return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)

    detail = f"This path has no method {method}. It has {headers['Allow']}."
    return make_response(HTTPStatus.METHOD_NOT_ALLOWED, "method_not_allowed", detail, headers)


async def _answer_head(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers as GET does, without the body."""
    has_begun = False

    async def send_head(message: Message) -> None:
        nonlocal has_begun
        if message["type"] == "http.response.start":
            await send(message)
        elif not has_begun:
            has_begun = True
            await send({"type": "http.response.body", "body": b""})

    async def receive_until_begun() -> Message:
        # Ends a stream, whose body would be read for nothing.
        return {"type": "http.disconnect"} if has_begun else await receive()

    await app({**scope, "method": "GET"}, receive_until_begun, send_head)
