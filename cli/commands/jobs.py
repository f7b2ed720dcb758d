"""Commands for existing jobs: jobs, status, cancel, retry, delete."""

import os
import socket
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from cli.context import announce, check_queue, connect, load, make_queue_ping
from cli.options import JobId, Json, OptionalJobId
from cli.output import (
    count_of,
    counts_line,
    err,
    print_checks,
    print_jobs,
    print_json,
    printable,
    say,
)
from cli.progress import report_end, watch_job
from models.errors import DatabaseError, UsageError
from models.health.checks import State, worst
from models.health.snapshot import take_snapshot
from models.health.watch import Watch
from models.settings import Settings, find_settings_file
from models.sources.names import to_text
from models.sources.skipped import describe
from models.store import cancellation, deletion, jobs, releases, retries
from models.store.database import open_database
from models.store.job_filters import JobFilter
from models.store.jobs import JobView
from models.store.states import LIVE, JobStatus
from models.times import to_utc

LIVE_JOBS_SHOWN: Final = 20
"""In `cuemill status`, for each state."""

app = typer.Typer()


@app.command()
def status(
    job_id: OptionalJobId = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show progress until the job ends.")
    ] = False,
    worker: Annotated[
        bool,
        typer.Option(
            "--worker",
            help="Only check that a worker of this host is alive: a health check of its container.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Show a job or, without JOB, the health of the system.

    Without JOB, the exit code is 1 if a check finds a problem; each says what to do.
    """
    if worker:
        _check_own_worker()
        return
    if job_id is None:
        if watch:
            raise UsageError("--watch requires JOB. Run `cuemill jobs` to list jobs.")
        _show_system(as_json)
        return

    settings, db = connect()
    job = jobs.get(db, job_id)

    if not watch:
        _show_job(job, settings, as_json)
        return

    job = watch_job(db, job_id)
    if as_json:
        print_json(job.to_plain(settings.retention_days))
    report_end(db, job)


@app.command("jobs")
def list_jobs(
    state: Annotated[
        JobStatus | None, typer.Option("--status", help="Only jobs with this status.")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(help="Only jobs of this folder, or of one within it.", readable=False),
    ] = None,
    metadata: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Only jobs whose metadata has this value. Repeatable.",
            show_default=False,
        ),
    ] = None,
    submitted_after: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Only jobs submitted at this time or later."),
    ] = None,
    submitted_before: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only jobs submitted before this time.")
    ] = None,
    ended_after: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only jobs that ended at this time or later.")
    ] = None,
    ended_before: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only jobs that ended before this time.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Maximum number of jobs.")] = 20,
    as_json: Json = False,
) -> None:
    """List jobs, newest first.

    All filters must match. A TIME is as in 2026-12-01 or 2026-12-01T15:30, in UTC, or with a zone,
    as in 2026-12-01T15:30+01:00.
    """
    conditions = JobFilter(
        status=state,
        folder=None if folder is None else to_text(os.fsencode(folder.absolute())),
        metadata=dict(map(_parse_pair, metadata or ())),
        submitted_after=_parse_time(submitted_after),
        submitted_before=_parse_time(submitted_before),
        ended_after=_parse_time(ended_after),
        ended_before=_parse_time(ended_before),
    )
    settings, db = connect()
    views = jobs.list_newest(db, conditions, limit=limit)

    if as_json:
        print_json([job.to_plain(settings.retention_days) for job in views])
    elif views:
        print_jobs(views)
    elif conditions != jobs.EVERY:
        err.print("No jobs match.")
    else:
        err.print("No jobs yet. Run `cuemill classify FOLDER` to create one.")


@app.command()
def cancel(job_id: JobId, as_json: Json = False) -> None:
    """Stop a job and keep the results it has."""
    settings, db = connect()
    _show_job(cancellation.cancel(db, job_id), settings, as_json)


@app.command()
def retry(
    job_id: JobId,
    code: Annotated[
        list[str] | None,
        typer.Option(help="Only images with this error code. Repeat for several codes."),
    ] = None,
    stale: Annotated[
        bool,
        typer.Option(
            "--stale", help="Retry images predicted by a model other than the current default."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Queue a job's failed and unreadable images again.

    With --stale, switch the job to the current default model and instead queue the images that
    another model predicted. Each image keeps its old result until the new one is recorded; if it
    can no longer be read, it keeps the old one.
    """
    settings, db = connect()

    release_id = releases.resolve(db, None, settings.model) if stale else None
    queue_answers = check_queue(settings)
    job, count = retries.retry(db, job_id, tuple(code or ()), release_id)
    if queue_answers:
        announce(settings, db)

    err.print(f"Queued {count_of(count, 'image')} again.")
    if count and not settings.broker_url:
        err.print("Workers on this database take them: run `cuemill worker` or `cuemill up`.")
    _show_job(job, settings, as_json)


@app.command()
def delete(
    job_id: JobId,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Delete a job and its results. The image files are not touched."""
    _, db = connect()

    if not yes:
        job = jobs.get(db, job_id)
        images = count_of(job.counts.total, "image")
        question = f"Delete job {job.id} with the results of {images} in {printable(job.folder)}?"
        typer.confirm(question, abort=True, err=True)

    deletion.delete(db, job_id)
    err.print(f"Deleted job {job_id}.")


def _parse_pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"Invalid --metadata {text!r}. Expected KEY=VALUE, such as study=pilot.")
    return key, value


def _parse_time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return to_utc(datetime.fromisoformat(text))
    except ValueError:
        raise UsageError(
            f"Invalid time {text!r}. Expected one such as 2026-12-01 or 2026-12-01T15:30."
        ) from None


def _check_own_worker() -> None:
    snapshot = take_snapshot(open_database(load()))
    host = socket.gethostname()
    own = [program for program in snapshot.alive if program.name.split(":")[0] == host]
    processes = sum(program.processes for program in own)

    say(f"Worker processes alive on {host}: {processes}.")
    if not processes:
        raise typer.Exit(1)


def _show_system(as_json: bool) -> None:
    settings = load()
    settings_file = find_settings_file()
    db = open_database(settings)

    # The checks report a database that cannot be used.
    with suppress(DatabaseError):
        db.upgrade()

    checks = Watch(db, settings, make_queue_ping(settings), roots=False).look()
    state = worst(checks)

    live: list[JobView] = []
    if checks[0].state is State.OK:
        for job_status in LIVE:
            live += jobs.list_newest(db, JobFilter(job_status), limit=LIVE_JOBS_SHOWN)

    if as_json:
        print_json(
            {
                "status": state.value,
                "settings_file": None if settings_file is None else str(settings_file),
                "checks": [
                    {"name": check.name, "state": check.state, "message": check.message}
                    for check in checks
                ],
                "jobs": [job.to_plain(settings.retention_days) for job in live],
            }
        )
    else:
        print_checks(checks)
        places = "the environment"
        if settings_file is not None:
            places += f" and {settings_file}"
        say(f"Settings come from {places}.")
        if live:
            print_jobs(live)

    if state is State.PROBLEM:
        raise typer.Exit(1)


def _show_job(job: JobView, settings: Settings, as_json: bool) -> None:
    if as_json:
        print_json(job.to_plain(settings.retention_days))
        return

    say(counts_line(job))
    for sentence in describe(job.skipped, job.exclude):
        say(sentence)

    if job.trouble is not None and not job.status.ended:
        typer.echo(f"Waiting: {printable(job.trouble)} It is tried again.")

    if job.eta_seconds is not None:
        say(f"About {job.eta_seconds:,.0f} s left.")

    if job.error is not None:
        say(f"{job.error['code']}: {job.error['message']}")

    expires_at = job.expires_at(settings.retention_days)
    if expires_at is not None:
        say(f"Will be deleted after {expires_at:%Y-%m-%d %H:%M} UTC.")
