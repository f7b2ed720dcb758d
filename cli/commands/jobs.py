"""Commands about jobs that exist: status, jobs, results, cancel, retry, delete."""

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer

from cli.commands.run import finish, watch
from cli.context import announce, connect, queue_ping
from cli.output import (
    Format,
    checks_table,
    choose_format,
    counts_line,
    err,
    jobs_table,
    print_json,
    printable,
    write_results,
)
from models.errors import DatabaseError, UsageError
from models.health.checks import State, Watch, worst
from models.settings import Settings, load_settings
from models.store import deletion, releases, retries
from models.store import jobs as store
from models.store.database import Database
from models.store.jobs import JobView
from models.store.results import Filter, every
from models.store.states import LIVE, JobStatus, Outcome

SHOWN_JOBS: Final = 20

JobId = Annotated[
    int,
    typer.Argument(metavar="JOB", min=1, max=2**63 - 1, help="Id of a job.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def add_to(app: typer.Typer) -> None:
    for command in (status, jobs, results, cancel, retry, delete):
        app.command()(command)


def status(
    job: Annotated[
        int | None,
        typer.Argument(
            metavar="[JOB]", min=1, max=2**63 - 1, help="Id of a job.", show_default=False
        ),
    ] = None,
    watching: Annotated[
        bool, typer.Option("--watch", help="Show progress until the job has ended.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show where a job stands; without JOB, whether everything works, and what to do if not (exit code 1)."""
    if job is None:
        if watching:
            raise UsageError("--watch needs a JOB; `cuemill jobs` lists them.")
        _show_system(as_json)
        return
    settings, db = connect()
    if watching:
        store.get(db, job)
        ended = watch(db, job)
        if as_json:
            print_json(ended.to_dict(settings.retention_days))
        finish(db, ended)
        return
    _show(settings, store.get(db, job), as_json)


def _show_system(as_json: bool) -> None:
    settings = load_settings()
    db = Database(settings.database)
    with suppress(DatabaseError):  # The checks will say so.
        db.upgrade()
    checks = Watch(db, settings, queue_ping(settings), roots=False).look()
    live: list[JobView] = []
    if checks[0].state is State.OK:
        for state in LIVE:
            live += store.newest(db, status=state, limit=SHOWN_JOBS)
    if as_json:
        jobs_shown = [job.to_dict(settings.retention_days) for job in live]
        print_json(
            {
                "status": worst(checks).value,
                "checks": [asdict(check) for check in checks],
                "jobs": jobs_shown,
            }
        )
    else:
        checks_table(checks)
        if live:
            jobs_table(live)
    if worst(checks) is State.PROBLEM:
        raise typer.Exit(1)


def _show(settings: Settings, job: JobView, as_json: bool) -> None:
    if as_json:
        print_json(job.to_dict(settings.retention_days))
        return
    typer.echo(counts_line(job))
    if job.eta_seconds is not None:
        typer.echo(f"About {job.eta_seconds:,.0f} s to go.")
    if job.error is not None:
        typer.echo(f"{job.error['code']}: {job.error['message']}")
    if expires_at := job.expires_at(settings.retention_days):
        typer.echo(f"It is deleted after {expires_at:%Y-%m-%d %H:%M} UTC.")


def jobs(
    state: Annotated[
        JobStatus | None, typer.Option("--status", help="Only jobs in this state.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most this many.")] = 20,
    as_json: Json = False,
) -> None:
    """List jobs, newest first."""
    settings, db = connect()
    found = store.newest(db, status=state, limit=limit)
    if as_json:
        print_json([job.to_dict(settings.retention_days) for job in found])
    elif found:
        jobs_table(found)
    else:
        err.print("No jobs yet. `cuemill classify FOLDER` makes one.")


def results(
    job: JobId,
    emotion: Annotated[str | None, typer.Option(help="Only faces with this top emotion.")] = None,
    min_score: Annotated[
        float | None, typer.Option(min=0, max=1, help="Only with at least this top score.")
    ] = None,
    outcome: Annotated[Outcome | None, typer.Option(help="Only images with this outcome.")] = None,
    path_prefix: Annotated[str | None, typer.Option(help="Only paths that begin so.")] = None,
    form: Annotated[
        Format | None, typer.Option("--format", help="How to print the results.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File for the results.")
    ] = None,
) -> None:
    """Print a job's results, whether or not it has ended."""
    chosen = choose_format(form, output)
    _, db = connect()
    which = Filter(store.get(db, job).id, emotion, min_score, outcome, path_prefix)
    write_results(every(db, which), chosen, output)


def cancel(job: JobId, as_json: Json = False) -> None:
    """Stop a job; what is finished stays."""
    settings, db = connect()
    _show(settings, store.cancel(db, job), as_json)


def retry(
    job: JobId,
    code: Annotated[
        list[str] | None,
        typer.Option(help="Only images with this error code; give it several times."),
    ] = None,
    stale: Annotated[
        bool,
        typer.Option(
            "--stale", help="Instead, those whose prediction isn't by the model that new jobs use."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Queue again the images of a job that failed or were unreadable.

    With --stale, the job goes over to the model that new jobs use. Each image keeps its old result until it has a new
    one, and for good if it can't be read any more.
    """
    settings, db = connect()
    present = releases.resolve(db, None, settings.model) if stale else None
    view, count = retries.retry(db, job, tuple(code or ()), present)
    announce(settings, db)
    err.print(f"{count:,} images are queued again.")
    _show(settings, view, as_json)


def delete(
    job: JobId,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Delete a job and all its results. The images themselves are not touched."""
    _, db = connect()
    if not yes:
        view = store.get(db, job)
        typer.confirm(
            f"Delete job {view.id} and {view.counts.total:,} results of {printable(view.folder)}?",
            abort=True,
            err=True,
        )
    deletion.delete(db, job)
    err.print(f"Job {job} is deleted.")
