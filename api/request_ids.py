"""An id for each request: in the answer's `X-Request-ID`, in problems and in logs."""

import re
import secrets
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.logs import add_ids, current_ids

HEADER: Final = "X-Request-ID"

_SOUND: Final = re.compile(r"[A-Za-z0-9._~:/+=@-]{1,128}", re.ASCII)


class RequestIds:
    """ASGI middleware that takes the id that a client sends, or else makes one.

    The id is that of the task that answers the request, which no other request shares. So even
    what is logged and answered after an error has passed through all middleware has it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        sent = Headers(scope=scope).get(HEADER, "")
        request_id = sent if _SOUND.fullmatch(sent) else secrets.token_hex(8)
        add_ids(request_id=request_id)

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        await self._app(scope, receive, send_with_id)


def current_request_id() -> str | None:
    """The id of the request that is being answered."""
    request_id = current_ids().get("request_id")
    return None if request_id is None else str(request_id)
