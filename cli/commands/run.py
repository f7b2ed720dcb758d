"""Commands that run something: classify, enqueue, up, serve, worker."""

import signal
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)

from cli.context import announce, connect, submission, trainer_extra
from cli.output import Format, choose_format, complain, counts_line, err, print_json, write_results
from models.store import jobs, results
from models.store.database import Database
from models.store.jobs import JobView
from models.store.states import JobStatus

POLL_S = 0.1

Folder = Annotated[
    Path, typer.Argument(help="Folder of images.", show_default=False, readable=False)
]
Model = Annotated[
    str | None, typer.Option(help="Pickle file, release name or digest.", show_default=False)
]
Recursive = Annotated[bool, typer.Option(help="Look into subfolders too.")]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="Classify images again whose prediction an earlier job has.")
]
TrustMtime = Annotated[
    bool,
    typer.Option(
        "--trust-mtime", help="Don't even read files whose size and time are those of the last job."
    ),
]
RetentionDays = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=36_500,
        help="Delete the job so long after its end; 0 = never.",
        show_default=False,
    ),
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Worker processes; one a core if not given.")
]


def add_to(app: typer.Typer) -> None:
    for command in (classify, enqueue, up, serve, worker):
        app.command()(command)


def classify(
    folder: Folder,
    model: Model = None,
    form: Annotated[
        Format | None, typer.Option("--format", help="How to print the results.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File for the results.")
    ] = None,
    recursive: Recursive = True,
    fresh: Fresh = False,
    trust_mtime: TrustMtime = False,
    retention_days: RetentionDays = None,
    workers: Workers = None,
) -> None:
    """Classify a folder here and now, and print the results.

    Interrupted, it goes on where it was when it is run again. Of images that haven't changed since an earlier job with
    the same model, the predictions are used again.
    """
    chosen = choose_format(form, output)
    settings, db = connect(workers=workers)
    more = {"fresh": fresh, "trust_mtime": trust_mtime, "retention_days": retention_days}
    asked = submission(settings, db, folder, model, recursive, **more)
    job = jobs.find_live(db, asked)
    if job is not None:
        err.print(f"Going on with job {job.id}, which hasn't ended.")
    else:
        job, _ = jobs.submit(db, asked)
    from worker.embedded import Supervisor

    try:
        with Supervisor(db, settings, job.id):
            job = watch(db, job.id)
            if (
                job.status is JobStatus.COMPLETED
            ):  # Before the workers are seen off, which takes a moment.
                write_results(results.every(db, results.Filter(job_id=job.id)), chosen, output)
    except KeyboardInterrupt:
        err.print(f"Interrupted. Run the same command again to go on with job {job.id}.")
        raise typer.Exit(130) from None
    finish(db, job)


def finish(db: Database, job: JobView) -> None:
    """The last lines on stderr, and the exit code."""
    if job.error is not None:
        complain(job.error["message"])
    if (found := results.uncertain(db, job.id)) and found[0]:
        err.print(
            f"{found[0]:,} are uncertain: below a score of {found[1]:.2f}, from which on four in five were right."
        )
    err.print(counts_line(job))
    if job.status is not JobStatus.COMPLETED:
        raise typer.Exit(1)


def watch(db: Database, job_id: int) -> JobView:
    """Shows a job's progress until it has ended."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("looking for images", total=None, rate="")
        while True:
            job = jobs.get(db, job_id)
            rate = f"{job.images_per_second:,.0f}/s" if job.images_per_second else ""
            progress.update(
                task,
                description="classifying" if job.scanned_at else "looking for images, classifying",
                completed=job.counts.total - job.counts.pending,
                total=job.counts.total or None,
                rate=rate,
            )
            if job.status.ended:
                return job
            time.sleep(POLL_S)


def enqueue(
    folder: Folder,
    model: Model = None,
    recursive: Recursive = True,
    fresh: Fresh = False,
    trust_mtime: TrustMtime = False,
    retention_days: RetentionDays = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the job as JSON.")] = False,
) -> None:
    """Queue a folder for workers that run elsewhere, and print the job's id."""
    settings, db = connect()
    more = {"fresh": fresh, "trust_mtime": trust_mtime, "retention_days": retention_days}
    job, _ = jobs.submit(db, submission(settings, db, folder, model, recursive, **more))
    announce(settings, db)
    if as_json:
        print_json(job.to_dict(settings.retention_days))
    else:
        typer.echo(job.id)
    if not settings.broker_url:
        err.print("It waits for workers on this database: `cuemill worker`, or `cuemill up`.")


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
) -> None:
    """Run the HTTP API alone; workers run elsewhere."""
    from api.server import run_server

    settings, db = connect(host=host, port=port)
    run_server(settings, db)


class Queue(StrEnum):
    IMAGES = "images"
    TRAINING = "training"


def worker(
    workers: Workers = None,
    queue: Annotated[
        Queue, typer.Option(help="What to work on: images, or trainings (cuemill[trainer]).")
    ] = (Queue.IMAGES),
) -> None:
    """Run workers alone: on the queue that CUEMILL_BROKER_URL names, else polling the database."""
    settings, db = connect(workers=workers)
    if queue is Queue.TRAINING:
        with trainer_extra():
            from trainer.service import run_training_worker
        run_training_worker(settings, db)
    else:
        from worker.main import run_worker

        run_worker(settings, db)


def up(
    images: Annotated[
        list[Path] | None, typer.Option(help="Folder the API may read; give it several times.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    workers: Workers = None,
) -> None:
    """Run everything in one command: API, workers and sweep, without a broker."""
    from api.server import run_server
    from worker.embedded import Supervisor

    roots = tuple(images) if images else None
    settings, db = connect(host=host, port=port, workers=workers, image_roots=roots, broker_url="")
    # The server ends by raising SIGTERM again; without a handler, the workers wouldn't be let finish.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with Supervisor(db, settings):
        run_server(settings, db)
