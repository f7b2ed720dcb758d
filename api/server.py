"""The API program: builds the application and serves it."""

import uvicorn
from fastapi import FastAPI

from api.context import Context
from api.guards import Guards
from api.problems import RESPONSES, add_handlers
from api.routes import emotions, health, jobs, metrics, models, results, trainings
from models.errors import DatabaseError
from models.queue import make_app, make_ping, make_sender
from models.settings import Settings
from models.store import hints, releases
from models.store.database import Database

MAX_BODY_BYTES = 65_536


def make_api(context: Context) -> FastAPI:
    api = FastAPI(
        title="Cuemill",
        summary="Classify folders of face images into 28 emotions, on your own machines.",
        description="A predicted expression is not a felt emotion. Images never travel through "
        "this API: workers read them from folders within CUEMILL_IMAGE_ROOTS.",
        version="1",
        responses=RESPONSES,
        max_body_size=MAX_BODY_BYTES,
        # FastAPI's pages load their scripts from a CDN. Cuemill makes no request to the outside.
        docs_url=None,
        redoc_url=None,
    )
    api.state.context = context
    add_handlers(api)
    api.add_middleware(Guards, allowed_hosts=context.settings.allowed_hosts)

    for module in (jobs, results, trainings, models, emotions, health, metrics):
        api.include_router(module.router)

    return api


def run_server(settings: Settings, db: Database) -> None:
    """Serves until SIGTERM or Ctrl-C."""
    # Register the default model now, so that GET /v1/models lists it before the first job.
    releases.resolve(db, None, settings.model)

    api = make_api(_make_context(settings, db))
    uvicorn.run(api, host=settings.host, port=settings.port, log_level="info")


def _make_context(settings: Settings, db: Database) -> Context:
    if not settings.broker_url:
        return Context(db, settings, announce=lambda: None, ping_queue=lambda: True)

    app = make_app(settings.broker_url)
    send = make_sender(app)

    def announce() -> None:
        try:
            hints.send_due(db, send, settings)
            hints.send_due_trainings(db, send, settings.rehint_s)
        except DatabaseError:
            return  # The job is committed; a worker's sweep announces it.

    return Context(db, settings, announce, make_ping(app))
