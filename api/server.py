"""The API program: wires the application and serves it."""

import uvicorn
from fastapi import FastAPI

from api.context import Context
from api.problems import add_handlers
from api.routes import health, jobs, results, trainings
from api.routes import models as catalogue
from models.errors import DatabaseError
from models.queue import make_app, pinger, sender
from models.settings import Settings
from models.store import batches, releases
from models.store import trainings as queued
from models.store.database import Database

MAX_BODY_BYTES = 65_536


def make_api(context: Context) -> FastAPI:
    """The application over a context."""
    api = FastAPI(
        title="Cuemill",
        summary="Classifies folders of face images into 28 emotions, on your own machines.",
        description="A predicted expression is not a felt emotion. No image ever travels through this API.",
        version="1",
        max_body_size=MAX_BODY_BYTES,
        docs_url=None,  # These pages would fetch their scripts from elsewhere; nothing of ours leaves the machine.
        redoc_url=None,
    )
    api.state.context = context
    add_handlers(api)
    for module in (jobs, results, trainings, catalogue, health):
        api.include_router(module.router)
    return api


def run_server(settings: Settings, db: Database) -> None:
    """Serves until SIGTERM or Ctrl-C."""
    releases.resolve(
        db, None, settings.model
    )  # So that the default stands in the list of models from the start.
    uvicorn.run(
        make_api(_context(settings, db)), host=settings.host, port=settings.port, log_level="info"
    )


def _context(settings: Settings, db: Database) -> Context:
    if not settings.broker_url:
        return Context(db, settings, announce=lambda: None, ping_queue=lambda: True)
    app = make_app(settings.broker_url)
    send = sender(app)

    def announce() -> None:
        try:
            batches.dispatch(db, send, settings)
            queued.dispatch(db, send, settings.rehint_s)
        except DatabaseError:
            return  # The job is committed; a worker's sweep announces it.

    return Context(db, settings, announce, pinger(app))
