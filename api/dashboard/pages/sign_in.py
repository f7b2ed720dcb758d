"""`/sign-in` and `/sign-out`: a browser exchanges a key for a session, and ends it."""

from http import HTTPStatus
from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import RedirectResponse

from api.context import Context, InjectedContext
from api.credentials import COOKIE, read_credential
from api.dashboard.render import respond
from models.errors import LimitError
from models.store import keys, sessions
from models.store.sessions import LIFE

ATTEMPTS: Final = 20
"""A minute from one address, good ones included."""
_KEPT: Final = ":/%?=@[]!$&'()*+,;"
"""What a path and its query are written with, beside letters and digits."""

router = APIRouter(include_in_schema=False)


@router.get("/sign-in")
async def show_form(
    request: Request, target: Annotated[str, Query(alias="next")] = "/"
) -> Response:
    response = _show(_local(target))

    # A link on another site's page brings no cookie that is SameSite=Strict, even from a reader who
    # has signed in. From this page, the same address is asked for with it.
    if request.headers.get("sec-fetch-site") == "cross-site":
        response.headers["Refresh"] = f"0; url={quote(_local(target), _KEPT)}"
    return response


@router.post("/sign-in")
async def sign_in(
    request: Request,
    context: InjectedContext,
    text: Annotated[str, Form(alias="key")] = "",
    target: Annotated[str, Form(alias="next")] = "/",
) -> Response:
    _count(context, request)
    key = await run_in_threadpool(keys.find, context.db, text.strip())
    if key is None:
        return _show(_local(target), "There is no such key. Check that all of it was pasted.")
    if key.state != "good":
        return _show(_local(target), f"The key {key.name} is {key.state}. Ask for another one.")

    await _end(context, request)
    token = await run_in_threadpool(sessions.begin, context.db, key.id)
    response = RedirectResponse(_local(target), HTTPStatus.SEE_OTHER)
    response.set_cookie(
        COOKIE, token, max_age=int(LIFE.total_seconds()), **_cookie_options(request)
    )
    return response


@router.post("/sign-out")
async def sign_out(request: Request, context: InjectedContext) -> Response:
    await _end(context, request)
    response = RedirectResponse("/sign-in", HTTPStatus.SEE_OTHER)
    response.delete_cookie(COOKIE, **_cookie_options(request))
    return response


def _show(target: str, error: str = "") -> Response:
    status = HTTPStatus.UNAUTHORIZED if error else HTTPStatus.OK
    response = respond("sign_in", status, target=target, error=error, life=LIFE)
    if error:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def _count(context: Context, request: Request) -> None:
    """
    Raises:
        LimitError: too many attempts came from this address.
    """
    address = request.client.host if request.client else ""
    allowance = context.sign_ins.take(address, ATTEMPTS)
    if allowance.is_exceeded:
        raise LimitError(
            f"More than {ATTEMPTS} attempts to sign in came from your address within a minute. "
            f"Wait for {allowance.retry_s} s.",
            allowance.retry_s,
        )


async def _end(context: Context, request: Request) -> None:
    """Ends the session of a request, if it has one."""
    token = read_credential(request.headers).session
    if token:
        await run_in_threadpool(sessions.end, context.db, token)


def _cookie_options(request: Request) -> dict[str, Any]:
    # Behind a proxy that terminates TLS, the browser's own word for it.
    origin = request.headers.get("origin", "")
    is_https = request.url.scheme == "https" or origin.startswith("https:")
    return {"path": "/", "secure": is_https, "httponly": True, "samesite": "strict"}


def _local(target: str) -> str:
    """Where to go after signing in: a path of this service, else its first page.

    Browsers read `//host` and `/\\host` as another host, and leave out tabs and line ends.
    """
    is_path = target.startswith("/") and not target.startswith("//")
    return target if is_path and "\\" not in target and target.isprintable() else "/"
