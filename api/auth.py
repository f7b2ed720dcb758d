"""Who may do what: a key for each request, as soon as any key exists.

`Auth` stands behind the guards and before everything else, so that a body is only read for a key
that is good. A key's scope must include that of the request's method: GET needs read, the others
submit. Routes that need admin say so with `dependencies=[ADMIN]`.

While no key exists, nobody needs one, but only if the API listens on this machine alone or was
started with `--no-auth`. Then whoever asks is anonymous and may do everything.
"""

import logging
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from typing import Annotated, Any, Final
from urllib.parse import unquote

from fastapi import Depends, FastAPI, Request, Security
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import iter_route_contexts
from fastapi.security import HTTPBearer
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.context import Context
from api.guards import SAFE_METHODS
from api.problems import explain, make_response
from api.rates import Allowance, Rates
from api.uses import Uses
from models.errors import CuemillError, LimitError, ScopeError, UnauthenticatedError
from models.store import audit, keys
from models.store.audit import Actor
from models.store.keys import Key

OPEN_PATHS: Final = ("/healthz", "/readyz", "/openapi.json", "/docs")
"""What anybody may read; of `/docs`, everything below it, too."""

_HOW: Final = (
    "Send a key in the header `Authorization: Bearer KEY`. `cuemill keys create` makes one."
)
_IN_URL: Final = (
    "A key is in the URL, which programs on the way write to their logs. Revoke this key, and send "
    "the next one in the header Authorization: Bearer."
)

BEARER: Final = HTTPBearer(
    scheme_name="key",
    description="A key that `cuemill keys create` made. None is needed while none exists.",
    auto_error=False,
)
"""The scheme in OpenAPI; `Auth` is what checks it."""


@dataclass(frozen=True)
class Caller:
    """Who sent a request.

    Args:
        key: None = anonymous, which may do everything.
        allowance: None = any number of requests.
    """

    key: Key | None
    live_jobs: int = 0
    allowance: Allowance | None = None

    def require(self, scope: keys.Scope) -> None:
        """
        Raises:
            ScopeError: the key does not allow it.
        """
        if self.key is not None and not self.key.scope.includes(scope):
            raise ScopeError(
                f"This needs a key of scope {scope}; the key {self.key.name} has scope "
                f"{self.key.scope}."
            )

    @property
    def actor(self) -> Actor:
        if self.key is None:
            return Actor(keys.ANONYMOUS)
        return Actor(self.key.name, self.key.id, self.live_jobs)


def get_caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


async def may_go_on(request: Request) -> bool:
    """Whether a request would still be let in: ask this every few seconds of what stays open.

    Raises:
        DatabaseError: the database cannot be used now.
    """
    db = request.app.state.context.db
    key = get_caller(request).key
    if key is None:
        return not await run_in_threadpool(keys.exist, db)
    return await run_in_threadpool(keys.is_good, db, key.id)


async def _require_admin(request: Request, _: Annotated[Any, Security(BEARER)]) -> None:
    get_caller(request).require(keys.Scope.ADMIN)


ADMIN: Final = Security(_require_admin, scopes=[keys.Scope.ADMIN])
"""For `dependencies` of a route that only a key of scope admin may call."""
KEY: Final = Security(BEARER)
"""Shows in OpenAPI that a route needs a key."""
InjectedCaller = Annotated[Caller, Depends(get_caller)]


class Auth:
    """ASGI middleware that lets in whoever may, says who acts, and counts requests."""

    def __init__(self, app: ASGIApp, api: FastAPI, context: Context) -> None:
        self._app = app
        self._api = api
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

        rate_headers: dict[str, str] = {}

        async def send_with_rate(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(rate_headers)
            await send(message)

        try:
            caller = await self._identify(scope)
            if caller.allowance is not None:
                rate_headers |= caller.allowance.headers
            _check_rate(caller)
            caller.require(self._needed(scope))
        except CuemillError as error:
            response = explain(scope["method"], scope["path"], error)
            await response(scope, receive, send_with_rate)
            return

        scope.setdefault("state", {})["caller"] = caller
        audit.act_as(caller.actor)
        await self._app(scope, receive, send_with_rate)

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
        text = _credential(Headers(scope=scope))
        key = await run_in_threadpool(keys.find, self._db, text) if text else None

        if key is None:
            if self._may_be_open and not await run_in_threadpool(keys.exist, self._db):
                return Caller(None)
            fault = "This request has no key." if text is None else "There is no such key."
            raise UnauthenticatedError(f"{fault} {_HOW}")

        if key.state != "good":
            raise UnauthenticatedError(f"The key {key.name} is {key.state}. {_HOW}")

        self._uses.note(key)
        requests, live_jobs = key.requests_per_minute, key.live_jobs
        if requests is None:
            requests = self._settings.key_requests
        if live_jobs is None:
            live_jobs = self._settings.key_jobs

        allowance = self._rates.take(key.id, requests) if requests else None
        return Caller(key, live_jobs, allowance)


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
    return path in OPEN_PATHS or path.startswith("/docs/")


def _url(scope: Scope) -> str:
    """The path and the query of a request, without escapes."""
    return unquote(f"{scope['path']}?{scope['query_string'].decode('latin-1')}")


def _credential(headers: Headers) -> str | None:
    """The text of the key that a request sends: the one place that looks for it.

    A session's cookie, which a sign-in page would set, belongs here, too.
    """
    values = headers.getlist("authorization")
    scheme, _, text = values[0].partition(" ") if len(values) == 1 else ("", "", "")
    return text.strip() if scheme.lower() == "bearer" else None


def _check_rate(caller: Caller) -> None:
    if caller.allowance is not None and caller.allowance.is_exceeded:
        raise LimitError(
            f"The key {caller.actor.name} may make {caller.allowance.limit:,} requests a minute. "
            "Wait for as long as the header Retry-After says.",
            caller.allowance.retry_s,
        )
