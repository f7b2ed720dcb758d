"""Route of images."""

from dataclasses import replace

from fastapi import APIRouter

from api.context import InjectedContext
from api.routes.pictures import Number
from api.schemas.images import Image
from api.schemas.jobs import JobId
from models.errors import NotFoundError
from models.store import jobs, neighbours, results
from models.store.filters import ResultFilter

router = APIRouter(prefix="/v1/jobs/{job_id}/images", tags=["results"])


@router.get("/{number}", summary="Get an image", response_description="The image.")
def get_image(job_id: JobId, number: Number, context: InjectedContext) -> Image:
    """Get the result of one image: all its faces, and the numbers of its neighbours."""
    of_job = ResultFilter(jobs.get(context.db, job_id).id)
    records = results.page(context.db, replace(of_job, number=number))
    if not records:
        raise NotFoundError(f"No result of an image {number} in job {job_id}.")
    return Image.from_records(number, records, *neighbours.find(context.db, of_job, number))
