"""`/jobs/{job_id}/folders`: which emotions are on top in which folder, as a heat table."""

from functools import partial
from typing import Annotated, Final

from fastapi import APIRouter, Query, Response

from api.context import Context, InjectedContext
from api.dashboard.figures import STEPS, Row, heat
from api.dashboard.render import respond
from api.schemas.common import Text
from api.schemas.jobs import JobId
from models.store import jobs, summaries
from models.store.filters import find_emotion

FACES: Final = "faces"

router = APIRouter(include_in_schema=False)


@router.get("/jobs/{job_id}/folders")
async def show_folders(
    job_id: JobId, context: InjectedContext, sort: Annotated[Text | None, Query()] = None
) -> Response:
    """
    Args:
        sort: an emotion, whose highest share comes first, or `faces`; None = by name.
    """
    column = sort if sort in (None, FACES) else find_emotion(sort)
    return await context.costly.run(partial(_show, context, job_id, column))


def _show(context: Context, job_id: int, sort: str | None) -> Response:
    job = jobs.get(context.db, job_id)
    summary = summaries.get(context.db, job_id)

    counts = {name: share["count"] for name, share in summary["emotions"].items()}
    emotions = sorted((name for name in counts if counts[name]), key=lambda name: -counts[name])
    rows = [heat(row["folder"], row["emotions"], emotions) for row in summary["folders"]]
    if sort is not None:
        rows.sort(key=lambda row: -_measure(row, sort))

    return respond(
        "folders",
        refresh_s=None if job.status.ended else 5,
        job=job,
        emotions=emotions,
        whole=heat("", counts, emotions),
        rows=rows,
        left_out=summary["folders_left_out"],
        sort=sort,
        steps=STEPS,
    )


def _measure(row: Row, sort: str) -> float:
    if sort == FACES:
        return row.faces
    return sum(cell.share for cell in row.cells if cell.emotion == sort)
