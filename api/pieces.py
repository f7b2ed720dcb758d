"""Large bodies, in pieces: nothing holds a whole one, nor a thread while the next part arrives."""

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Final

from fastapi import HTTPException, Request
from starlette.requests import ClientDisconnect

PIECE_BYTES: Final = 262_144


async def pieces_of(request: Request) -> AsyncIterator[bytes]:
    """Yields a request's body.

    Raises:
        HTTPException: the connection was cut.
    """
    piece = bytearray()
    try:
        async for part in request.stream():
            piece += part
            if len(piece) >= PIECE_BYTES:
                yield bytes(piece)
                piece.clear()
    except ClientDisconnect:
        # Nobody is there to read this, but the log is.
        raise HTTPException(HTTPStatus.BAD_REQUEST, "The body broke off.") from None
    if piece:
        yield bytes(piece)
