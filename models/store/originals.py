"""The file behind a result, for whoever shows it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from models.errors import NotFoundError, PictureError
from models.store.database import Database
from models.store.jobs import detection_of
from models.store.records import Box
from models.store.reuse import ReuseScope
from models.store.tables import Image, Job, ModelRelease, Prediction


@dataclass(frozen=True)
class Original:
    """An image of a job, and how to tell whether its file is still the one that was classified.

    Attributes:
        inode: of the folder, as the scan saw it.
        fingerprint: of the file, by one of `scopes`.
        box: of the face, in pixels of the upright picture; None = the whole picture.
        roll: degrees by which the face is turned clockwise.
    """

    folder: str
    inode: str | None
    path: str
    fingerprint: bytes
    scopes: Sequence[ReuseScope]
    box: Box | None = None
    roll: float = 0.0

    def is_same(self, data: bytes) -> bool:
        """Whether a file has the bytes that were classified."""
        return any(scope.fingerprint(data) == self.fingerprint for scope in self.scopes)


def find(db: Database, job_id: int, number: int, face: int | None = None) -> Original:
    """The file of an image.

    Args:
        face: its index in the image; None = the whole picture.

    Raises:
        NotFoundError: no such job, image or face.
        PictureError: the image was not classified.
    """
    query = (
        sa.select(Job.__table__, Image.path, Image.fingerprint)
        .join(Image, Image.job_id == Job.id)
        .where(Job.id == job_id, Image.number == number, Job.deleted_at.is_(None))
    )
    with db.read() as connection:
        row = connection.execute(query).one_or_none()
        if row is None:
            raise NotFoundError(f"No image {number} of a job {job_id}.")
        if row.fingerprint is None:
            raise PictureError("The image was not classified. Its error says why.")

        prediction = _find_prediction(connection, job_id, number, face or 0)
        if prediction is None and face is not None:
            raise NotFoundError(f"Image {number} of job {job_id} has no face {face}.")

        releases = sa.select(ModelRelease.sha256)
        if prediction is not None:
            releases = releases.where(ModelRelease.id == prediction.model_release_id)
        # An image without a face keeps its fingerprint when its job moves to another release.
        digests = connection.scalars(releases).all()

    detection = detection_of(row)
    original = Original(
        row.folder,
        row.folder_inode,
        row.path,
        row.fingerprint,
        [ReuseScope(digest, detection) for digest in digests],
    )
    if face is None or prediction is None or prediction.box_x is None:
        return original
    box = (prediction.box_x, prediction.box_y, prediction.box_width, prediction.box_height)
    return replace(original, box=box, roll=prediction.face_roll)


def _find_prediction(
    connection: Connection, job_id: int, number: int, face: int
) -> Row[Any] | None:
    return connection.execute(
        sa.select(Prediction.__table__).where(
            Prediction.job_id == job_id, Prediction.number == number, Prediction.face == face
        )
    ).one_or_none()
