"""`/compare`: what two jobs say of the same faces, as a matrix that leads to them."""

from functools import partial
from typing import Annotated, Final

from fastapi import APIRouter, Query, Response

from api.context import Context, InjectedContext
from api.dashboard.figures import chart, heat
from api.dashboard.render import respond
from api.schemas.common import AfterResult
from models.errors import UsageError
from models.labels import EMOTIONS
from models.store import comparison, jobs, releases
from models.store.filters import find_emotion
from models.store.jobs import JobView

PAGE: Final = 40
CHANGES: Final = 12
"""The most frequent are listed beside the matrix."""

Jobs = Annotated[str, Query(pattern="^[1-9][0-9]{0,17},[1-9][0-9]{0,17}$")]

router = APIRouter(prefix="/compare", include_in_schema=False)


@router.get("")
async def show_comparison(context: InjectedContext, jobs: Jobs) -> Response:
    return await context.costly.run(partial(_show, context, jobs))


@router.get("/faces")
async def show_faces(
    context: InjectedContext,
    jobs: Jobs,
    first: str = "",
    second: str = "",
    after: AfterResult = None,
) -> Response:
    return await context.costly.run(partial(_show_faces, context, jobs, first, second, after))


def _show(context: Context, text: str) -> Response:
    one, two = _read_jobs(context, text)
    found = comparison.compare(context.db, one.id, two.id)
    columns = [name for name in EMOTIONS if any(name == other for _, other in found.matrix)]
    rows = [
        heat(name, {other: found.matrix.get((name, other), 0) for other in columns}, columns)
        for name in EMOTIONS
    ]
    changes = {pair: count for pair, count in found.matrix.items() if pair[0] != pair[1]}
    largest = chart({",".join(pair): count for pair, count in changes.items()})[:CHANGES]
    return respond(
        "compare",
        jobs=(one, two),
        releases=[releases.get(context.db, job.model_release_id) for job in (one, two)],
        found=found,
        changed=sum(changes.values()),
        largest=[(*bar.name.split(","), bar) for bar in largest],
        rows=[row for row in rows if row.faces],
        columns=columns,
        alone=[_recorded(job) - found.images for job in (one, two)],
    )


def _show_faces(
    context: Context, text: str, first: str, second: str, after: str | None
) -> Response:
    one, two = _read_jobs(context, text)
    pairs = comparison.page(
        context.db,
        one.id,
        two.id,
        PAGE + 1,
        emotion=find_emotion(first) if first else None,
        other=find_emotion(second) if second else None,
        after=after,
    )
    return respond(
        "compare_faces",
        jobs=(one, two),
        first=first,
        second=second,
        pairs=pairs[:PAGE],
        after=after,
        following=pairs[PAGE - 1].cursor if len(pairs) > PAGE else None,
    )


def _read_jobs(context: Context, text: str) -> tuple[JobView, JobView]:
    """
    Raises:
        NotFoundError: no such job.
        UsageError: twice the same.
    """
    one, two = map(int, text.split(","))
    if one == two:
        raise UsageError(f"Job {one} is the same as itself. Choose two jobs.")
    return jobs.get(context.db, one), jobs.get(context.db, two)


def _recorded(job: JobView) -> int:
    return job.counts.total - job.counts.pending - job.counts.cancelled
