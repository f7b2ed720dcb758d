"""Routes of uploads: pictures from machines that share no disk with the workers.

`forms.py` takes a job and its files in one request; these take files one by one, so that a cut
connection costs one file.
"""

from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Annotated
from urllib.parse import unquote_to_bytes

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from api.context import Context, InjectedContext
from api.pages import InjectedPager
from api.pieces import pieces_of
from api.schemas.common import IdempotencyKey, Limit, Page, Text
from api.schemas.uploads import Upload, UploadedFile, UploadId
from models.errors import BusyError, TooLargeError, UsageError
from models.sources import spool
from models.sources.names import to_text
from models.sources.spool import Budget, Limits, Part
from models.store import uploads
from models.store.uploads import UploadView

router = APIRouter(prefix="/v1/uploads", tags=["uploads"])

_RAW_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    responses={507: {}},
    summary="Create an upload",
    response_description="An upload without files. `Location` is its URL.",
)
def create_upload(
    context: InjectedContext, response: Response, idempotency_key: IdempotencyKey = None
) -> Upload:
    """Create a place for the files of one job. Then put files, and submit a job that names it.

    The same `Idempotency-Key` returns the same upload.
    """
    view = uploads.create(context.db, context.settings.spool_folder, idempotency_key)
    response.headers["Location"] = f"/v1/uploads/{view.id}"
    return _to_schema(context, view)


@router.get("/{upload_id}", summary="Get an upload", response_description="The upload.")
def get_upload(upload_id: UploadId, context: InjectedContext) -> Upload:
    """Get how much has arrived, and what was left out of an archive."""
    return _to_schema(context, uploads.get(context.db, upload_id))


@router.get(
    "/{upload_id}/files", summary="List an upload's files", response_description="A page of files."
)
def list_upload_files(
    upload_id: UploadId,
    context: InjectedContext,
    pager: InjectedPager,
    limit: Limit = 1000,
    after: Annotated[
        Text | None,
        Query(description="`next` from the previous page, unchanged. Omit for the first page."),
    ] = None,
) -> Page[UploadedFile]:
    """List the files that have arrived whole, by path. To resume, put the others."""
    files = uploads.list_files(context.db, upload_id, limit + 1, after)

    return pager.page(
        files,
        limit,
        to_item=lambda file: UploadedFile(path=file[0], bytes=file[1]),
        cursor=lambda file: file[0],
    )


@router.put(
    "/{upload_id}/files/{path:path}",
    status_code=HTTPStatus.CREATED,
    summary="Put a file",
    response_description="The file is new.",
    responses={
        200: {"model": UploadedFile, "description": "A file of this path was replaced."},
        409: {},
        507: {},
    },
    openapi_extra=_RAW_BODY,
)
async def put_upload_file(
    upload_id: UploadId,
    path: Annotated[str, Path(description="Path of the file within the upload.")],
    request: Request,
    response: Response,
    context: InjectedContext,
) -> UploadedFile:
    """Add a file: its path in the URL, its bytes as the body. Repeating this is safe.

    The file is part of the upload once it has arrived whole.
    """
    limits = Limits.of(context.settings)

    async with context.arrival():
        upload = await run_in_threadpool(uploads.get, context.db, upload_id, unused=True)
        budget = Budget(limits, upload.files, upload.size)
        part = await context.spooling.run(partial(Part, upload.root, _name_in(request), budget))
        try:
            async for piece in pieces_of(request):
                await context.spooling.run(partial(part.write, piece))
            await context.spooling.run(partial(part.finish, replace=True))
        finally:
            with suppress(BusyError):
                await context.spooling.run(part.discard)

    stored = UploadedFile(path=to_text(part.path), bytes=part.size)
    try:
        sizes = {stored.path: stored.bytes}
        _, new = await run_in_threadpool(uploads.add_files, context.db, upload_id, sizes, limits)
    except TooLargeError:
        await context.spooling.run(partial(spool.remove_file, upload.root, part.path))
        raise

    response.status_code = HTTPStatus.CREATED if new else HTTPStatus.OK
    return stored


@router.delete(
    "/{upload_id}",
    status_code=HTTPStatus.NO_CONTENT,
    response_class=Response,
    responses={409: {}},
    summary="Delete an upload",
    response_description="The upload and its files are deleted.",
)
def delete_upload(upload_id: UploadId, context: InjectedContext) -> None:
    """Delete an upload that has no job. The files of any other are deleted with its job."""
    uploads.delete(context.db, upload_id)


def _name_in(request: Request) -> bytes:
    """The file's path, as bytes: it need not be in UTF-8.

    Raises:
        UsageError: it has a backslash, which on some systems is a separator and on others none.
    """
    raw_path: bytes = request.scope["raw_path"]
    name = unquote_to_bytes(raw_path.split(b"/files/", 1)[1])
    if b"\\" in name:
        raise UsageError("The path has a backslash. Separate folders by /.")
    return name


def _to_schema(context: Context, view: UploadView) -> Upload:
    return Upload.from_view(view, context.settings.upload_expiry_h)
