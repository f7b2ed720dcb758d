"""The route that takes a job and its files in one request.

It has the path of JSON requests for jobs, which jobs.py describes for both; the media type decides.
"""

from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, BackgroundTasks, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.routing import Match
from starlette.types import Scope

from api.context import Context, InjectedContext
from api.forms import Form
from api.pieces import pieces_of
from api.schemas.common import IdempotencyKey
from api.schemas.jobs import Job, JobOptions
from api.submission import Source, submit
from models.errors import BusyError, CuemillError
from models.sources.archives import unpack
from models.sources.spool import Limits
from models.store import uploads
from models.store.jobs import JobView
from models.store.uploads import UploadView

MEDIA_TYPE: Final = "multipart/form-data"


class _FormRoute(APIRoute):
    """A route for forms alone."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        content_type = Headers(scope=scope).get("content-type", "")
        if content_type.split(";")[0].strip().lower() != MEDIA_TYPE:
            return Match.NONE, {}
        return super().matches(scope)


router = APIRouter(prefix="/v1/jobs", route_class=_FormRoute)

_OPTIONS: Final = JobOptions.model_json_schema(ref_template="#/components/schemas/{model}")
del _OPTIONS["$defs"]  # Requests in JSON refer to the same.

BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "content": {
            MEDIA_TYPE: {
                "schema": {
                    "type": "object",
                    "properties": {
                        "job": _OPTIONS,
                        "files": {
                            "type": "array",
                            "items": {"type": "string", "format": "binary"},
                            "minItems": 1,
                            "description": "Files, each with its relative path as filename.",
                        },
                        "archive": {
                            "type": "string",
                            "format": "binary",
                            "description": "A zip, tar or tar.gz, instead of files.",
                        },
                    },
                    "additionalProperties": False,
                    "oneOf": [{"required": ["files"]}, {"required": ["archive"]}],
                }
            }
        }
    }
}
"""How OpenAPI describes the form."""


@router.post("", status_code=HTTPStatus.ACCEPTED, include_in_schema=False)
async def submit_form(
    request: Request,
    context: InjectedContext,
    background: BackgroundTasks,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> Job:
    """Store files, or those of an archive, and queue them for classification."""
    async with context.arrival():
        upload = await run_in_threadpool(uploads.create, context.db, context.settings.spool_folder)
        is_new = False
        try:
            view, is_new = await _receive(request, context, upload, idempotency_key)
        finally:
            if not is_new:
                await _remove(context, upload)

    background.add_task(context.announce)
    response.headers["Location"] = f"/v1/jobs/{view.id}"
    return Job.from_view(view, context.settings.retention_days)


async def _receive(
    request: Request, context: Context, upload: UploadView, idempotency_key: str | None
) -> tuple[JobView, bool]:
    limits = Limits.of(context.settings)
    form = Form(request.headers["content-type"], upload.root, limits)
    try:
        async for piece in pieces_of(request):
            await context.spooling.run(partial(form.write, piece))
        form.finish()
    finally:
        with suppress(BusyError):
            await context.spooling.run(form.discard)

    sizes = form.sizes
    if form.archive is not None:
        unpacked = await context.unpacking.run(partial(unpack, form.archive, upload.root, limits))
        form.archive.unlink()
        sizes = unpacked.sizes
        note = partial(uploads.note_skipped, context.db, upload.id)
        await run_in_threadpool(note, unpacked.skipped, unpacked.skipped_files)

    await run_in_threadpool(uploads.add_files, context.db, upload.id, sizes, limits)
    source = Source(upload.folder, upload=upload.id, content=form.digest)
    return await run_in_threadpool(submit, context, form.options, source, idempotency_key)


async def _remove(context: Context, upload: UploadView) -> None:
    """Removes an upload of which no job was made. What fails here is left to the sweep."""
    with suppress(CuemillError):
        await context.spooling.run(partial(uploads.delete, context.db, upload.id))
