"""Bodies of requests: JSON or a page's form, and of a bounded size, except for uploads."""

import re
from http import HTTPStatus
from typing import Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import make_response

MAX_BYTES: Final = 65_536

_TOO_LARGE: Final = f"The body has more than {MAX_BYTES:,} bytes."

_UPLOADS: Final = (
    ("POST", re.compile(r"/v1/jobs"), "multipart/form-data"),
    ("PUT", re.compile(r"/v1/uploads/[^/]+/files/.+", re.DOTALL), None),
)
"""Method, path and media type of bodies that have limits of their own; None = any type."""
_FORM: Final = "application/x-www-form-urlencoded"
_PAGES: Final = {"/submit": _FORM, "/sign-in": _FORM}
"""Pages that send a form of this media type."""


class Bodies:
    """ASGI middleware that refuses other bodies, as problems and before they are read."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        headers = Headers(scope=scope)
        length = headers.get("content-length", "0")
        has_body = length != "0" or "transfer-encoding" in headers
        media_type = headers.get("content-type", "").split(";")[0].strip().lower()

        if _is_upload(scope, media_type):
            await self._app(scope, receive, send)
        elif length.isascii() and length.isdigit() and int(length) > MAX_BYTES:
            response = make_response(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "content_too_large", _TOO_LARGE
            )
            await response(scope, receive, send)
        elif has_body and media_type not in ("application/json", _PAGES.get(scope["path"])):
            detail = "The body must be JSON, with the header Content-Type: application/json."
            response = make_response(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail
            )
            await response(scope, receive, send)
        else:
            await self._app(scope, _limit(receive), send)


def _is_upload(scope: Scope, media_type: str) -> bool:
    return any(
        scope["method"] == method and path.fullmatch(scope["path"]) and kind in (media_type, None)
        for method, path, kind in _UPLOADS
    )


def _limit(receive: Receive) -> Receive:
    size = 0

    async def receive_some() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > MAX_BYTES:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _TOO_LARGE)
        return message

    return receive_some
