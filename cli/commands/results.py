"""`cuemill results`."""

from typing import Annotated

import typer

from cli.annotate import annotate, check_copies
from cli.context import connect
from cli.options import Annotate, JobId, ResultFile, ResultFormat
from cli.output import choose_format, write_results
from models.store import jobs, results
from models.store.states import Outcome

app = typer.Typer()


@app.command("results")
def print_results(
    job_id: JobId,
    emotion: Annotated[
        str | None, typer.Option(help="Only faces whose highest score is for this emotion.")
    ] = None,
    min_score: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Only faces whose highest score is at least this."),
    ] = None,
    outcome: Annotated[Outcome | None, typer.Option(help="Only images with this outcome.")] = None,
    path_prefix: Annotated[
        str | None, typer.Option(help="Only images whose path starts with this.")
    ] = None,
    min_face: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65_535,
            help="Only faces whose box has a shorter side of at least this, in pixels. Pictures "
            "taken whole have no box.",
        ),
    ] = None,
    min_confidence: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Only faces of which the detector is at least this sure. Pictures taken whole "
            "have no confidence.",
        ),
    ] = None,
    min_faces: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="Only images with at least this many faces."),
    ] = None,
    max_faces: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, help="Only images with at most this many faces."),
    ] = None,
    result_format: ResultFormat = None,
    output: ResultFile = None,
    copies: Annotate = None,
) -> None:
    """Print a job's results, even before it ends.

    All filters must match.
    """
    chosen_format = choose_format(result_format, output)
    _, db = connect()

    job = jobs.get(db, job_id)
    conditions = results.Filter(
        job_id=job.id,
        emotion=emotion,
        min_score=min_score,
        outcome=outcome,
        path_prefix=path_prefix,
        min_face=min_face,
        min_confidence=min_confidence,
        min_faces=min_faces,
        max_faces=max_faces,
    )
    if copies is not None:
        check_copies(copies, job.folder)

    write_results(results.stream(db, conditions), chosen_format, output)
    if copies is not None:
        annotate(results.stream(db, conditions), job.folder, copies, None)
