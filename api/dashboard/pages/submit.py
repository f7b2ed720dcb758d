"""`/submit`: a new job for a folder, which is found by following links."""

from functools import partial
from http import HTTPStatus
from pathlib import PurePosixPath
from typing import Annotated, Any, Final

from fastapi import APIRouter, BackgroundTasks, Form, Query, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse
from pydantic import ValidationError

from api.callers import InjectedCaller
from api.context import Context, InjectedContext
from api.dashboard.render import respond
from api.problems import status_of
from api.schemas.common import Text
from api.schemas.jobs import JobRequest
from api.submission import find_folder, submit
from models.errors import CuemillError, NotFoundError
from models.pictures.detection import FaceMode
from models.sources.contents import read_contents
from models.store import releases
from models.store.keys import Scope

FACES: Final = {
    FaceMode.AUTO: "Decide for each picture",
    FaceMode.DETECT: "Find the faces in each picture",
    FaceMode.WHOLE: "Each picture is a cropped face",
}
EXPECTED: Final = {
    "folder": "Expected the path of a folder. Choose one, or type it.",
    "faces": "Expected one of these. Choose it.",
    "model": "Expected one of these. Choose it.",
    "retention_days": "Expected whole days, at most 36,500, or nothing for the service's default.",
}
"""What is said of a value that no job takes."""
SHOWN: Final = 300
"""Subfolders."""
_EMPTY: Final = {"folder": "", "model": "", "faces": FaceMode.AUTO.value, "retention_days": ""}

router = APIRouter(include_in_schema=False)


@router.get("/submit")
async def show_form(
    context: InjectedContext,
    caller: InjectedCaller,
    folder: Annotated[Text, Query(max_length=4096)] = "",
) -> Response:
    caller.require(Scope.SUBMIT)
    return await _show(context, {**_EMPTY, "folder": folder, "recursive": "on"}, {})


@router.post("/submit")
async def submit_form(
    context: InjectedContext,
    background: BackgroundTasks,
    folder: Annotated[str, Form()] = "",
    model: Annotated[str, Form()] = "",
    faces: Annotated[str, Form()] = "",
    retention_days: Annotated[str, Form()] = "",
    recursive: Annotated[str, Form()] = "",
) -> Response:
    values = {
        "folder": folder,
        "model": model,
        "faces": faces,
        "retention_days": retention_days,
        "recursive": recursive,
    }
    try:
        request = _parse(values)
    except ValidationError as error:
        wrong = {str(item["loc"][0]) for item in error.errors()}
        errors = {name: text for name, text in EXPECTED.items() if name in wrong}
        return await _show(context, values, errors)

    try:
        source = await find_folder(context, request.folder)
    except CuemillError as error:
        return await _show(context, values, {"folder": str(error)}, status_of(error))
    try:
        job, _ = await run_in_threadpool(submit, context, request, source, None)
    except NotFoundError as error:
        return await _show(context, values, {"model": str(error)})

    background.add_task(context.announce)
    return RedirectResponse(f"/jobs/{job.id}", HTTPStatus.SEE_OTHER)


def _parse(values: dict[str, str]) -> JobRequest:
    """
    Raises:
        ValidationError: a value is wrong.
    """
    days = values["retention_days"].strip()
    return JobRequest.model_validate(
        {
            "folder": values["folder"].strip(),
            "recursive": bool(values["recursive"]),
            "model": values["model"] or None,
            "faces": values["faces"],
            # What is no number is left for the schema to refuse.
            "retention_days": int(days) if days.isascii() and days.isdigit() else days or None,
        }
    )


async def _show(
    context: Context,
    values: dict[str, str],
    errors: dict[str, str],
    status: HTTPStatus | None = None,
) -> Response:
    folder = values["folder"].strip()
    beside: dict[str, Any] = {"contents": None, "here": "", "above": []}
    if folder and "folder" not in errors:
        try:
            source = await find_folder(context, folder)
            contents = await context.folders.run(partial(read_contents, source.folder))
        except CuemillError as error:
            errors = {**errors, "folder": str(error)}
        else:
            here = source.folder.decode(errors="replace")
            beside = {"contents": contents, "here": here, "above": _above(context, here)}
            values = {**values, "folder": here}

    rows = await run_in_threadpool(releases.list_all, context.db, context.settings.model)
    return respond(
        "submit",
        status or (HTTPStatus.UNPROCESSABLE_ENTITY if errors else HTTPStatus.OK),
        values=values,
        errors=errors,
        roots=[str(root) for root in context.settings.image_roots],
        releases=rows[::-1],
        faces=FACES,
        shown=SHOWN,
        retention=context.settings.retention_days,
        **beside,
    )


def _above(context: Context, folder: str) -> list[str]:
    """The folder and those above it, up to the root that it is in."""
    path = PurePosixPath(folder)
    roots = [PurePosixPath(root.resolve()) for root in context.settings.image_roots]
    inside = [part for part in (path, *path.parents) if any(map(part.is_relative_to, roots))]
    return [str(part) for part in reversed(inside)]
