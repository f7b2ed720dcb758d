"""Programs that run until stopped: serve, up, worker."""

import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cli.context import connect, trainer_extra
from cli.options import Host, NoAuth, Port, Workers

app = typer.Typer()


class Queue(StrEnum):
    IMAGES = "images"
    TRAINING = "training"
    WEBHOOKS = "webhooks"


@app.command()
def up(
    images: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder that the API may read. Repeat for several folders.",
            show_default="CUEMILL_IMAGE_ROOTS",
        ),
    ] = None,
    host: Host = None,
    port: Port = None,
    no_auth: NoAuth = None,
    workers: Workers = None,
) -> None:
    """Run the HTTP API and workers together, without a broker."""
    from api.server import check_exposure, run_server
    from worker.embedded import Supervisor
    from worker.outdated import stop_when_outdated

    roots = tuple(images) if images else None
    settings, db = connect(
        host=host, port=port, no_auth=no_auth, workers=workers, image_roots=roots, broker_url=""
    )
    check_exposure(settings, db)

    with stop_when_outdated(db, settings.sweep_s):
        # Uvicorn raises SIGTERM again once it has shut down. By this handler, the program then ends
        # as its workers do: when they have finished their batches, and with 0.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))

        with Supervisor(settings):
            run_server(settings, db)


@app.command()
def serve(host: Host = None, port: Port = None, no_auth: NoAuth = None) -> None:
    """Run only the HTTP API."""
    from api.server import check_exposure, run_server
    from worker.outdated import stop_when_outdated

    settings, db = connect(host=host, port=port, no_auth=no_auth)
    check_exposure(settings, db)
    with stop_when_outdated(db, settings.sweep_s):
        run_server(settings, db)


@app.command()
def worker(
    workers: Workers = None,
    queue: Annotated[
        Queue,
        typer.Option(
            help="Work to take: images, trainings (requires `cuemill[trainer]`), or only the "
            "sending of webhooks, which all workers do unless CUEMILL_WEBHOOK_SENDER is false."
        ),
    ] = Queue.IMAGES,
) -> None:
    """Run only workers.

    With CUEMILL_BROKER_URL, they take work from that queue; without it, they poll the database.
    """
    from worker.outdated import stop_when_outdated

    settings, db = connect(workers=workers)

    with stop_when_outdated(db, settings.sweep_s):
        if queue is Queue.TRAINING:
            with trainer_extra():
                from trainer.service import run_training_worker

            run_training_worker(settings, db)
        elif queue is Queue.WEBHOOKS:
            from worker.courier import run_courier

            run_courier(settings, db)
        else:
            from worker.main import run_worker

            run_worker(settings, db)
