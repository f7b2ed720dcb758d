"""`cuemill results`."""

from typing import Annotated

import typer

from cli.annotate import annotate, check_copies
from cli.context import connect
from cli.options import Annotate, JobId, ResultFile, ResultFormat
from cli.output import choose_format, write_results
from models.errors import UsageError
from models.store import jobs, results
from models.store.filters import ResultFilter, ScoreRange
from models.store.order import Sort
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
    score: Annotated[
        list[str] | None,
        typer.Option(
            metavar="EMOTION=RANGE",
            help="Only faces with such a score, whichever is the highest: fear=gte:0.4, or gt, lte "
            "or lt. Repeatable.",
            show_default=False,
        ),
    ] = None,
    uncertain: Annotated[
        bool | None,
        typer.Option(
            "--uncertain/--certain",
            help="Only faces whose highest score is below the model's threshold, or only the "
            "others.",
            show_default=False,
        ),
    ] = None,
    code: Annotated[
        str | None, typer.Option(help="Only images with this error code, such as truncated.")
    ] = None,
    glob: Annotated[
        str | None,
        typer.Option(
            metavar="PATTERN",
            help="Only images whose path matches, such as 'day-[1-3]/*.jpg'; * matches slashes "
            "too.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Only results of this model: its name, or a prefix of its SHA-256."),
    ] = None,
    sort: Annotated[
        str,
        typer.Option(
            metavar="ORDER",
            help="`number`: as scanned. `score`: the least certain face first. `score.fear`: the "
            "least fear first. With `-`, as in -score.fear, the highest first.",
        ),
    ] = "number",
    result_format: ResultFormat = None,
    output: ResultFile = None,
    copies: Annotate = None,
) -> None:
    """Print a job's results, even before it ends.

    All filters must match.
    """
    chosen_format = choose_format(result_format, output)
    order = Sort.parse(sort)
    _, db = connect()

    job = jobs.get(db, job_id)
    conditions = ResultFilter(
        job_id=job.id,
        emotion=emotion,
        min_score=min_score,
        outcome=outcome,
        path_prefix=path_prefix,
        min_face=min_face,
        min_confidence=min_confidence,
        min_faces=min_faces,
        max_faces=max_faces,
        scores=tuple(map(_parse_range, score or ())),
        uncertain=uncertain,
        code=code,
        glob=glob,
        model=model,
    )
    if copies is not None:
        check_copies(copies, job.folder)

    write_results(results.stream(db, conditions, order), chosen_format, output)
    if copies is not None:
        annotate(results.stream(db, conditions), job.folder, copies, None)


def _parse_range(text: str) -> ScoreRange:
    emotion, equals, comparison = text.partition("=")
    if not equals:
        raise UsageError(f"Invalid --score {text!r}. Expected a range such as fear=gte:0.4.")
    return ScoreRange.parse(emotion, comparison)
