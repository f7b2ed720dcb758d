"""Who may do what: a key for each request, as soon as any key exists.

`Auth` stands behind the guards and before everything else, so that a body is only read for a key
that is good, or to sign in. A key's scope must include that of the request's method: GET needs
read, the others submit. Routes that need admin say so with `dependencies=[ADMIN]`. The session of
a browser that has signed in stands for its key.

While no key exists, nobody needs one, but only if the API listens on this machine alone or was
started with `--no-auth`. Then whoever asks is anonymous and may do everything.
"""

import logging
import time
from functools import cached_property, partial
from http import HTTPStatus
from typing import Annotated, Any, Final
from urllib.parse import unquote

from fastapi import FastAPI, Request, Security
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import iter_route_contexts
from fastapi.security import HTTPBearer
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.callers import Caller, act_as, get_caller
from api.context import Context
from api.credentials import read_credential
from api.guards import SAFE_METHODS
from api.problems import explain, make_response
from api.rates import Rates
from api.uses import Uses
from models.errors import CuemillError, LimitError, UnauthenticatedError
from models.store import keys

OPEN_PATHS: Final = ("/healthz", "/readyz", "/openapi.json", "/docs", "/sign-in", "/sign-out")
"""What anybody may ask for; of `/docs`, everything below it, too, and all below `/static`."""

_HOW: Final = (
    "Send a key in the header `Authorization: Bearer KEY`. `cuemill keys create` makes one."
)
_IN_URL: Final = (
    "A key is in the URL, which programs on the way write to their logs. Revoke this key, and send "
    "the next one in the header Authorization: Bearer."
)

RECHECK_S: Final = 5.0
"""How long at most what is being sent goes on after its key is revoked."""

BEARER: Final = HTTPBearer(
    scheme_name="key",
    description="A key that `cuemill keys create` made. None is needed while none exists.",
    auto_error=False,
)
"""The scheme in OpenAPI; `Auth` is what checks it."""


async def may_go_on(request: Request) -> bool:
    """Whether a request would still be let in, for what ends by itself when it would not.

    What goes on sending all the same is cut off.

    Raises:
        DatabaseError: the database cannot be used now.
    """
    return await _may_stay(request.app.state.context, get_caller(request))


async def _may_stay(context: Context, caller: Caller) -> bool:
    """Asked once a second for all that goes on with the same key or session."""
    may_stay = partial(caller.may_stay, context.db)
    return await context.latest.read(("key", caller.actor.key_id, caller.session), may_stay)


async def _require_admin(request: Request, _: Annotated[Any, Security(BEARER)]) -> None:
    get_caller(request).require(keys.Scope.ADMIN)


ADMIN: Final = Security(_require_admin, scopes=[keys.Scope.ADMIN])
"""For `dependencies` of a route that only a key of scope admin may call."""
KEY: Final = Security(BEARER)
"""Shows in OpenAPI that a route needs a key."""


class Auth:
    """ASGI middleware that lets in whoever may, says who acts, and counts requests."""

    def __init__(self, app: ASGIApp, api: FastAPI, context: Context) -> None:
        self._app = app
        self._api = api
        self._context = context
        self._db = context.db
        self._settings = context.settings
        self._may_be_open = context.settings.is_local or context.settings.no_auth
        self._rates = Rates()
        self._uses = Uses(context.db)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        if keys.KEY.search(_url(scope)):
            response = make_response(HTTPStatus.BAD_REQUEST, "key_in_url", _IN_URL)
            await response(scope, receive, send)
            return

        if _is_open(scope["path"]):
            await self._app(scope, receive, send)
            return

        answer = _Answer(send, self._context)
        try:
            answer.caller = caller = await self._identify(scope)
            _check_rate(caller)
            caller.require(self._needed(scope))
        except CuemillError as error:
            response = explain(scope["method"], scope["path"], error)
            await response(scope, receive, answer.send)
            return

        scope.setdefault("state", {})["caller"] = caller
        act_as(caller)
        await self._app(scope, receive, answer.send)

    def _needed(self, scope: Scope) -> keys.Scope:
        """What a request needs. For one that only looks, `ADMIN` has the last word."""
        if scope["method"] in SAFE_METHODS:
            return keys.Scope.READ

        for route in self._for_admins:
            if scope["method"] in route.methods and route.path_regex.match(scope["path"]):
                return keys.Scope.ADMIN
        return keys.Scope.SUBMIT

    @cached_property
    def _for_admins(self) -> list[Any]:
        """The routes that are marked with `ADMIN`."""
        routes = iter_route_contexts(self._api.routes)
        return [route for route in routes if ADMIN in getattr(route, "dependencies", ())]

    async def _identify(self, scope: Scope) -> Caller:
        credential = read_credential(Headers(scope=scope))
        key = await run_in_threadpool(credential.find, self._db)

        if key is None:
            if self._may_be_open and not await run_in_threadpool(keys.exist, self._db):
                return Caller(None)
            raise UnauthenticatedError(f"{credential.fault} {_HOW}")

        if key.state != "good":
            raise UnauthenticatedError(f"The key {key.name} is {key.state}. {_HOW}")

        self._uses.note(key)
        requests, live_jobs = key.requests_per_minute, key.live_jobs
        if requests is None:
            requests = self._settings.key_requests
        if live_jobs is None:
            live_jobs = self._settings.key_jobs

        allowance = self._rates.take(key.id, requests) if requests else None
        return Caller(key, live_jobs, allowance, credential.session)


class _Answer:
    """Says with an answer what is left to its key, and cuts it off once the key is revoked."""

    def __init__(self, send: Send, context: Context) -> None:
        self.caller = Caller(None)
        self._send = send
        self._context = context
        self._checked = time.monotonic()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and self.caller.allowance is not None:
            MutableHeaders(scope=message).update(self.caller.allowance.headers)

        # What is short was let in a moment ago; exports and events may go on for hours.
        elif message.get("more_body") and time.monotonic() - self._checked > RECHECK_S:
            self._checked = time.monotonic()
            if not await _may_stay(self._context, self.caller):
                raise UnauthenticatedError(f"The key {self.caller.actor.name} is good no longer.")
        await self._send(message)


class KeylessLog(logging.Filter):
    """Takes keys out of the URLs that a log quotes, even of requests that are refused earlier."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                keys.KEY.sub("cm_...", value) if isinstance(value, str) else value
                for value in record.args
            )
        return True


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith(("/docs/", "/static/"))


def _url(scope: Scope) -> str:
    """The path and the query of a request, without escapes."""
    return unquote(f"{scope['path']}?{scope['query_string'].decode('latin-1')}")


def _check_rate(caller: Caller) -> None:
    if caller.allowance is not None and caller.allowance.is_exceeded:
        raise LimitError(
            f"The key {caller.actor.name} may make {caller.allowance.limit:,} requests a minute. "
            "Wait for as long as the header Retry-After says.",
            caller.allowance.retry_s,
        )
