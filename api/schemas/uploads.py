"""Uploads over HTTP."""

from datetime import datetime, timedelta
from typing import Annotated, Self

from fastapi import Path
from pydantic import BaseModel, Field

from models.store.uploads import UploadView

UploadId = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="Id of the upload.")]


class Skipped(BaseModel):
    path: str
    reason: str = Field(description="Explanation for a person; its wording may change.")


class Upload(BaseModel):
    """Files that were uploaded for a job."""

    id: str
    files: int = Field(description="Files that have arrived whole.")
    bytes: int = Field(description="Size of these files.")
    skipped: list[Skipped] = Field(description="The first files of its archive that were left out.")
    skipped_files: int = Field(description="How many were left out.")
    created_at: datetime
    expires_at: datetime | None = Field(
        description="When it will be removed if no file is added and no job submitted; null once "
        "it has a job."
    )
    job_id: int | None = Field(description="Its job; null until it is submitted.")

    @classmethod
    def from_view(cls, view: UploadView, expiry_h: float) -> Self:
        expires_at = view.used_at + timedelta(hours=expiry_h)

        return cls(
            id=view.id,
            files=view.files,
            bytes=view.size,
            skipped=[Skipped(**file) for file in view.skipped],
            skipped_files=view.skipped_files,
            created_at=view.created_at,
            expires_at=expires_at if view.job_id is None else None,
            job_id=view.job_id,
        )


class UploadedFile(BaseModel):
    path: str = Field(description="Below the upload's folder, as in results.")
    bytes: int
