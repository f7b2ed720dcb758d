"""Route of images."""

from fastapi import APIRouter

from api.context import InjectedContext
from api.routes.pictures import Number
from api.schemas.images import Image
from api.schemas.jobs import JobId
from models.store import images

router = APIRouter(prefix="/v1/jobs/{job_id}/images", tags=["results"])


@router.get("/{number}", summary="Get an image", response_description="The image.")
def get_image(job_id: JobId, number: Number, context: InjectedContext) -> Image:
    """Get the result of one image: all its faces, and the numbers of its neighbours."""
    return Image.from_view(images.get(context.db, job_id, number))
