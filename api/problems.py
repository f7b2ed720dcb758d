"""Errors as RFC 9457 problem details, each with its stable `code` from `models/errors.py`."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from api.request_ids import HEADER, current_request_id
from api.schemas.common import FieldError, Problem
from models.errors import (
    AddressError,
    BusyError,
    CuemillError,
    CursorError,
    DatabaseError,
    DataError,
    FolderError,
    IdempotencyError,
    LimitError,
    NotFoundError,
    OutsideRootsError,
    PictureError,
    ScopeError,
    SpoolError,
    SpoolFullError,
    TooLargeError,
    UnauthenticatedError,
    UploadUsedError,
    UsageError,
)

# The first matching class decides, so subclasses come first.
_STATUSES: Final[tuple[tuple[type[CuemillError], HTTPStatus], ...]] = (
    (NotFoundError, HTTPStatus.NOT_FOUND),
    (CursorError, HTTPStatus.CONFLICT),
    (IdempotencyError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (OutsideRootsError, HTTPStatus.FORBIDDEN),
    (AddressError, HTTPStatus.FORBIDDEN),
    (UnauthenticatedError, HTTPStatus.UNAUTHORIZED),
    (ScopeError, HTTPStatus.FORBIDDEN),
    (LimitError, HTTPStatus.TOO_MANY_REQUESTS),
    (TooLargeError, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (UploadUsedError, HTTPStatus.CONFLICT),
    (UsageError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (PictureError, HTTPStatus.CONFLICT),
    (FolderError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (DataError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (SpoolFullError, HTTPStatus.INSUFFICIENT_STORAGE),
    (SpoolError, HTTPStatus.SERVICE_UNAVAILABLE),
    (DatabaseError, HTTPStatus.SERVICE_UNAVAILABLE),
    (BusyError, HTTPStatus.SERVICE_UNAVAILABLE),
)
_CODES: Final = {HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "content_too_large"}
"""Where the phrase differs between versions of Python."""
_RETRY_AFTER_S: Final = 5

ERRORS_PATH: Final = "/docs/errors"
"""Of the page that explains each code. Relative to the API, so that it can be read offline."""

_log = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"


def make_response(
    status: HTTPStatus,
    code: str,
    detail: str,
    headers: Mapping[str, str] | None = None,
    errors: Iterable[FieldError] = (),
) -> JSONResponse:
    body = Problem(
        type=f"{ERRORS_PATH}#{code}",
        title=status.phrase,
        status=status.value,
        code=code,
        detail=_encodable(detail),
        errors=list(errors),
        request_id=current_request_id(),
    )
    return JSONResponse(
        body.model_dump(exclude_defaults=True), status, headers, media_type=MEDIA_TYPE
    )


def explain(method: str, path: str, error: CuemillError) -> JSONResponse:
    """The problem that an error is to the client whose request met it."""
    status, detail = status_of(error), str(error)
    if isinstance(error, DatabaseError):
        _log.error("%s %s: %s", method, path, error)
        detail = error.public

    headers = {}
    if status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = str(_RETRY_AFTER_S)
    if isinstance(error, LimitError):
        headers["Retry-After"] = str(error.retry_s)
    if isinstance(error, UnauthenticatedError):
        headers["WWW-Authenticate"] = "Bearer"
    return make_response(status, error.code, detail, headers)


def add_handlers(app: FastAPI) -> None:
    """Makes the application answer every error with a problem."""

    @app.exception_handler(CuemillError)
    async def handle_cuemill_error(request: Request, error: CuemillError) -> JSONResponse:
        return explain(request.method, request.url.path, error)

    @app.exception_handler(RequestValidationError)
    async def handle_invalid_request(
        request: Request, error: RequestValidationError
    ) -> JSONResponse:
        reasons = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        return make_response(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "invalid_request",
            "; ".join(reasons),
            errors=[_field_error(e["loc"], e["msg"]) for e in error.errors()],
        )

    @app.exception_handler(HTTPException)
    async def handle_http_exception(request: Request, error: HTTPException) -> Response:
        status = HTTPStatus(error.status_code)
        if status is HTTPStatus.NO_CONTENT:  # No error, but the end of a route's dependencies.
            return Response(status_code=status)

        code = _CODES.get(status) or status.phrase.lower().replace(" ", "_")
        return make_response(status, code, str(error.detail), error.headers)

    @app.exception_handler(Exception)
    async def handle_unexpected_error(request: Request, error: Exception) -> JSONResponse:
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        # This answer has passed by all middleware.
        headers = {HEADER: current_request_id() or ""}
        return make_response(status, "internal", "Internal error. See the server log.", headers)


def _field_error(place: Sequence[str | int], message: str) -> FieldError:
    """
    Args:
        place: such as `("body", "exclude", 0)` or `("query", "limit")`.
    """
    kind, *path = place
    detail = _encodable(message)
    if kind != "body":
        return FieldError(parameter=".".join(map(str, path)), detail=detail)

    # By RFC 6901, as the fragment of a URI.
    steps = [str(step).replace("~", "~0").replace("/", "~1") for step in path]
    pointer = "".join(f"/{quote(step, errors='replace')}" for step in steps)
    return FieldError(pointer=f"#{pointer}", detail=detail)


def _encodable(text: str) -> str:
    """The same text; what UTF-8 cannot encode, such as a surrogate that was sent, is escaped."""
    return text.encode(errors="backslashreplace").decode()


def status_of(error: CuemillError) -> HTTPStatus:
    if isinstance(error, DatabaseError) and not error.passing:
        return HTTPStatus.INTERNAL_SERVER_ERROR

    for kind, status in _STATUSES:
        if isinstance(error, kind):
            return status
    return HTTPStatus.INTERNAL_SERVER_ERROR
