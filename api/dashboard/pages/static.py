"""Styles, scripts and the logo. Their addresses change with their content."""

from http import HTTPStatus
from typing import Final

from fastapi import APIRouter, Response
from starlette.exceptions import HTTPException

from api.dashboard.render import STATIC

_MEDIA_TYPES: Final = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_HEADERS: Final = {"Cache-Control": "public, max-age=31536000, immutable"}

router = APIRouter(include_in_schema=False)


@router.get("/static/{version}/{name}")
async def get_static(version: str, name: str) -> Response:
    content = STATIC.get(name)
    if content is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"No file {name}.")
    return Response(content, headers=_HEADERS, media_type=_MEDIA_TYPES[name.rpartition(".")[2]])
