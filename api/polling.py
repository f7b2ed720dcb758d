"""What is asked for again and again: an `ETag`, by which an answer that has not changed is a 304.

A client sends the `ETag` it was given in `If-None-Match`. By itself, the tag is a digest of the
body. A route whose answer has figures that move all the time, such as rates, makes its own of what
matters.
"""

from hashlib import blake2b
from http import HTTPStatus
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BYTES: Final = 262_144
"""A body with more is not polled, and its digest would hold up the event loop."""
POLL_S: Final = 1
"""After how long to ask for what a 202 has accepted."""


def make_tag(body: str | bytes) -> str:
    """A weak tag: two answers with the same mean the same."""
    data = body.encode() if isinstance(body, str) else body
    return f'W/"{blake2b(data, digest_size=16).hexdigest()}"'


class Polling:
    """ASGI middleware that tags answers to GET, and says after a 202 when to ask again."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        known = Headers(scope=scope).get("if-none-match", "")
        start: Message | None = None

        async def send_tagged(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                if _may_have_tag(scope, message):
                    start = message  # Until the body is known.
                    return
                if message["status"] == HTTPStatus.ACCEPTED:
                    MutableHeaders(scope=message).setdefault("Retry-After", str(POLL_S))

            elif start is not None:
                begun, start = start, None
                if not message.get("more_body"):
                    message = _tag(begun, message, known)
                await send(begun)

            await send(message)

        await self._app(scope, receive, send_tagged)


def _may_have_tag(scope: Scope, start: Message) -> bool:
    headers = Headers(raw=start["headers"])
    if scope["method"] != "GET" or start["status"] != HTTPStatus.OK:
        return False
    return "etag" in headers or 0 <= int(headers.get("content-length", -1)) <= MAX_BYTES


def _tag(start: Message, body: Message, known: str) -> Message:
    """Adds the tag to the start of an answer; returns its body, which is empty for a 304."""
    headers = MutableHeaders(scope=start)
    tag = headers.setdefault("ETag", make_tag(body["body"]))
    if not _matches(tag, known):
        return body

    start["status"] = HTTPStatus.NOT_MODIFIED
    del headers["Content-Length"], headers["Content-Type"]
    return {"type": "http.response.body", "body": b""}


def _matches(tag: str, known: str) -> bool:
    """RFC 9110's weak comparison."""
    tags = [each.strip().removeprefix("W/") for each in known.split(",")]
    return tag.removeprefix("W/") in tags or tags == ["*"]
