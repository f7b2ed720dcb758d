"""The API program: builds the application and serves it."""

import logging
import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Final

import uvicorn
from fastapi import FastAPI

from api.auth import KEY, Auth, KeylessLog
from api.bodies import Bodies
from api.connections import PatientProtocol
from api.context import Context
from api.dashboard import pages
from api.dashboard.errors import ErrorPages
from api.description import describe_api
from api.guards import Guards
from api.methods import Methods
from api.polling import Polling
from api.problems import add_handlers
from api.request_ids import RequestIds
from api.routes import (
    audit,
    docs,
    emotions,
    events,
    forms,
    health,
    images,
    jobs,
    limits,
    metrics,
    models,
    pictures,
    results,
    trainings,
    uploads,
    webhooks,
    workers,
)
from models.errors import DatabaseError, UsageError
from models.queue import make_app, make_ping, make_sender
from models.settings import Settings
from models.store import hints, keys, releases
from models.store.database import Database

ANSWER_S: Final = 5
"""How long requests in progress may take to end after SIGTERM; then they are cut off."""
END_S: Final = 10.0
"""How long after SIGTERM the program ends even if a thread hangs in a database or on a drive."""
_NO_AUTHENTICATION: Final = (
    "THE API HAS NO KEY and listens on %s, not on this machine alone. Whoever reaches port %d can "
    "read all results, and cancel and delete jobs. Let only an authenticating proxy reach it, or "
    "make a key with `cuemill keys create`; from then on, every request needs one."
)

_log = logging.getLogger(__name__)


def make_api(context: Context) -> FastAPI:
    api = FastAPI(
        title="Cuemill",
        summary="Classify folders of face images into 28 emotions, on your own machines.",
        description="A predicted expression is not a felt emotion. Workers read images from "
        "folders within CUEMILL_IMAGE_ROOTS.",
        version="1",
        redirect_slashes=False,
        # FastAPI's pages load their scripts from a CDN. `api/routes/docs.py` has ours.
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
        # FastAPI's own description of errors in a request, which are problems here.
        responses={"default": {"description": "A problem."}},
    )
    api.openapi = partial(describe_api, api)  # type: ignore[method-assign]
    api.state.context = context
    add_handlers(api)
    api.add_middleware(Bodies)
    api.add_middleware(Polling)
    api.add_middleware(Methods, api=api)
    api.add_middleware(Auth, api=api, context=context)
    api.add_middleware(ErrorPages)
    api.add_middleware(Guards, allowed_hosts=context.settings.allowed_hosts)
    # The last one stands before the others.
    api.add_middleware(RequestIds)

    for open_to_all in (health, docs):
        api.include_router(open_to_all.router)
    for module in (
        forms,  # Before `jobs`, whose path it has.
        jobs,
        events,
        uploads,
        results,
        images,
        pictures,
        trainings,
        models,
        emotions,
        metrics,
        limits,
        workers,
        webhooks,
        audit,
    ):
        api.include_router(module.router, dependencies=[KEY])
    api.include_router(pages.router)

    return api


def check_exposure(settings: Settings, db: Database) -> None:
    """
    Raises:
        UsageError: the API would listen beyond this machine, without a key.
    """
    if settings.is_local or settings.no_auth or keys.exist(db):
        return
    raise UsageError(
        f"The API would listen on {settings.host}, where others can reach it, and there is no key. "
        "Make one with `cuemill keys create NAME --scope admin`, or let the API listen on "
        "127.0.0.1. If something else keeps strangers out, say --no-auth."
    )


def run_server(settings: Settings, db: Database) -> None:
    """Serves until SIGTERM or Ctrl-C."""
    # Register the default model now, so that GET /v1/models lists it before the first job.
    releases.resolve(db, None, settings.model)

    if not (settings.is_local or keys.exist(db)):
        _log.warning(_NO_AUTHENTICATION, settings.host, settings.port)

    context = _make_context(settings, db)
    config = uvicorn.Config(
        make_api(context),
        host=settings.host,
        port=settings.port,
        http=PatientProtocol,
        log_level="info",
        log_config=None,  # Its lines are of the same form as all others.
        timeout_graceful_shutdown=ANSWER_S,
    )
    logging.getLogger("uvicorn.access").addFilter(KeylessLog())
    server = _Server(config, context.ending)
    try:
        server.run()
    except KeyboardInterrupt:
        pass
    finally:
        server.has_ended()
    if not server.started:
        sys.exit(1)  # Uvicorn has logged why, such as an address in use.


def _address_of(config: uvicorn.Config) -> str:
    """Where a browser on this machine finds the dashboard."""
    host = {"0.0.0.0": "localhost", "::": "localhost"}.get(config.host, config.host)  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host else host}:{config.port}/"


class _Server(uvicorn.Server):
    """Uvicorn, with a limit to how long its end may take."""

    def __init__(self, config: uvicorn.Config, ending: threading.Event) -> None:
        super().__init__(config)
        self._ending = ending
        self._address = _address_of(config)
        self._end = threading.Timer(END_S, os._exit, [128 + signal.SIGTERM])
        self._end.daemon = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            # Uvicorn's own log, which has just said where it listens, shows this level.
            message = "The dashboard is at %s: open it in a browser."
            logging.getLogger("uvicorn.error").info(message, self._address)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._ending.set()
        with suppress(RuntimeError):  # A second signal finds it started.
            self._end.start()

    def has_ended(self) -> None:
        self._end.cancel()


def _make_context(settings: Settings, db: Database) -> Context:
    if not settings.broker_url:
        return Context(db, settings, announce=lambda: None, ping_queue=lambda: None)

    app = make_app(settings.broker_url)
    send = make_sender(app)

    def announce() -> None:
        try:
            hints.send_due(db, send, settings)
            hints.send_due_trainings(db, send, settings.rehint_s)
        except DatabaseError:
            return  # The job is committed; a worker's sweep announces it.

    return Context(db, settings, announce, make_ping(app))
