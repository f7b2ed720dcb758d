"""Routes of pictures, made small while they are asked for and kept nowhere."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path as FilePath
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Path, Response

from api.context import Context, InjectedContext
from api.schemas.common import DIGITS, MAX_ID
from api.schemas.jobs import JobId
from models.errors import FolderError, ImageError, PictureError, PlaceError
from models.sources.names import to_bytes
from models.sources.read import read_image
from models.sources.roots import check_identity, within
from models.store import originals
from models.store.originals import Original

THUMBNAIL_SIDE: Final = 192
PICTURE_SIDE: Final = 1280
FACE_SIDE: Final = 192

Number = Annotated[
    int, Path(ge=0, le=MAX_ID, description="Number of the image in its job, from 0."), DIGITS
]
FaceIndex = Annotated[
    int, Path(ge=0, le=2**31 - 1, description="Index of the face in its image, from 0."), DIGITS
]
IfNoneMatch = Annotated[str | None, Header(include_in_schema=False)]

_JPEG: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "A JPEG without metadata.",
        "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}},
    },
    304: {"description": "As the `ETag` in `If-None-Match` says."},
    409: {},
}

router = APIRouter(prefix="/v1/jobs/{job_id}/images/{number}", tags=["pictures"])


@router.get("/thumbnail", summary="A small picture", response_class=Response, responses=_JPEG)
async def get_thumbnail(
    job_id: JobId, number: Number, context: InjectedContext, if_none_match: IfNoneMatch = None
) -> Response:
    """The picture with at most 192 pixels a side. It is read from its folder, within the roots."""
    find = partial(originals.find, context.db, job_id, number)
    return await _answer(context, find, THUMBNAIL_SIDE, if_none_match)


@router.get("/picture", summary="A picture", response_class=Response, responses=_JPEG)
async def get_picture(
    job_id: JobId, number: Number, context: InjectedContext, if_none_match: IfNoneMatch = None
) -> Response:
    """The picture with at most 1,280 pixels a side."""
    find = partial(originals.find, context.db, job_id, number)
    return await _answer(context, find, PICTURE_SIDE, if_none_match)


@router.get("/faces/{index}", summary="A face", response_class=Response, responses=_JPEG)
async def get_face(
    job_id: JobId,
    number: Number,
    index: FaceIndex,
    context: InjectedContext,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """The face as the network saw it, 192 pixels square; the whole picture if it was taken so."""
    find = partial(originals.find, context.db, job_id, number, index)
    return await _answer(context, find, FACE_SIDE, if_none_match)


async def _answer(
    context: Context, find: Callable[[], Original], side: int, if_none_match: str | None
) -> Response:
    """
    Raises:
        PictureError: it cannot be shown.
        NotFoundError: there is none.
        OutsideRootsError: its folder is not within the roots.
        BusyError: too many are being made, or its drive does not answer.
    """
    original = await _find(context, find)
    # The browser asks each time, so that it shows nothing once that is no longer allowed.
    headers = {
        "ETag": f'"{original.fingerprint.hex()}"',
        "Cache-Control": "private, no-cache",
    }
    if headers["ETag"] == if_none_match:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)

    jpeg = await context.pictures.run(lambda: _make(original, _roots(context), side))
    return Response(jpeg, media_type="image/jpeg", headers=headers)


async def measure(context: Context, job_id: int, number: int) -> tuple[int, int]:
    """The width and height of an upright picture, in pixels. Raises as `_answer` does."""
    original = await _find(context, partial(originals.find, context.db, job_id, number))
    return await context.pictures.run(lambda: _measure(original, _roots(context)))


async def _find(context: Context, find: Callable[[], Original]) -> Original:
    if not context.settings.pictures:
        raise PictureError("This service shows no pictures: CUEMILL_PICTURES is false.")
    return await context.pictures.run(find)


def _roots(context: Context) -> Sequence[FilePath]:
    return (*context.settings.image_roots, context.settings.spool_folder)


def _measure(original: Original, roots: Sequence[FilePath]) -> tuple[int, int]:
    from models.pictures import thumbnail

    with _data_of(original, roots) as data:
        return thumbnail.measure(data)


def _make(original: Original, roots: Sequence[FilePath], side: int) -> bytes:
    from models.pictures.thumbnail import make_face, make_thumbnail

    with _data_of(original, roots) as data:
        if original.box is None:
            return make_thumbnail(data, side)
        return make_face(data, original.box, original.roll, side)


@contextmanager
def _data_of(original: Original, roots: Sequence[FilePath]) -> Iterator[bytes]:
    """Only what a worker has decoded before is decoded here, where a crash would end the API."""
    folder = within(to_bytes(original.folder), roots)
    try:
        check_identity(folder, original.inode)
        data, _ = read_image(folder, to_bytes(original.path))
        if not original.is_same(data):
            raise PictureError("The file has changed since it was classified.")
        yield data
    except (FolderError, ImageError, PlaceError) as error:
        raise PictureError(str(error)) from error
