"""Records: what a worker writes down about each image of a batch."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.engine import Connection

from models.errors import ImageCode, RefusedError
from models.labels import EMOTIONS
from models.store import bulk
from models.store.states import Outcome
from models.store.tables import Image, Job, Prediction

IMAGE_COLUMNS: Final = (
    "job_id",
    "number",
    "path",
    "outcome",
    "error_code",
    "error_message",
    "fingerprint",
    "size",
    "mtime_ns",
    "reused",
    "faces",
)
PREDICTION_COLUMNS: Final = (
    "job_id",
    "number",
    "face",
    "model_release_id",
    "box_x",
    "box_y",
    "box_width",
    "box_height",
    "face_confidence",
    "face_roll",
    "emotion",
    "score",
    *EMOTIONS,
)


@dataclass(frozen=True)
class Origin:
    """The file that a prediction was made from.

    Args:
        fingerprint: as `reuse.py` explains it.
        size, mtime_ns: None for a symbolic link; mtime_ns also if 64 bits cannot hold it.
    """

    fingerprint: bytes | None = None
    size: int | None = None
    mtime_ns: int | None = None


_NO_BOX: Final = (None,) * 4

Box = tuple[int, int, int, int]
"""x, y, width, height, in pixels of the upright picture."""


@dataclass(frozen=True)
class FaceRecord:
    """The result of one face.

    Args:
        scores: float32 (28,), summing to 1.
        box: where it was found, as are `confidence`, the detector's, in [0, 1], and `roll`, in
            degrees clockwise; all None if the whole picture was taken.
    """

    scores: NDArray[np.float32]
    box: Box | None = None
    confidence: float | None = None
    roll: float | None = None


@dataclass(frozen=True)
class ImageRecord:
    """The result of one image.

    Args:
        error_code, error_message: why it has no result, or what its result lacks.
        faces: the surest first; none if the image was not classified.
        reused: the result is that of an earlier job.
    """

    number: int
    path: str
    outcome: Outcome
    error_code: str | None = None
    error_message: str | None = None
    faces: Sequence[FaceRecord] = ()
    origin: Origin = Origin()
    reused: bool = False


def record(
    connection: Connection,
    job_id: int,
    release_id: int,
    records: Sequence[ImageRecord],
    rerun: bool = False,
) -> None:
    """Writes the images and predictions of a batch, and adds them to the job's counts.

    Raises:
        RefusedError: the database does not take one of the rows.
    """
    written: Sequence[ImageRecord] = records
    faces_deleted = 0
    if rerun:
        written, faces_deleted = _delete_replaced(connection, job_id, records)

    counts = Counter(record.outcome.value for record in written)
    counts[Outcome.CLASSIFIED.value] += len(records) - len(written)  # These keep their old result.
    counts["reused"] = sum(
        record.reused and record.outcome is Outcome.CLASSIFIED for record in written
    )
    counts["faces"] = sum(len(record.faces) for record in written) - faces_deleted
    connection.execute(
        sa.update(Job)
        .where(Job.id == job_id)
        .values({name: getattr(Job, name) + n for name, n in counts.items() if n})
    )

    # The keys are free: the scan numbered the images, and only one claim can record them.
    bulk.insert(connection, Image, IMAGE_COLUMNS, [_image(job_id, record) for record in written])
    predictions = [
        _prediction(job_id, record.number, index, release_id, face)
        for record in written
        for index, face in enumerate(record.faces)
    ]
    bulk.insert(connection, Prediction, PREDICTION_COLUMNS, predictions)


def record_by_halves(
    connection: Connection,
    job_id: int,
    release_id: int,
    records: Sequence[ImageRecord],
    rerun: bool = False,
) -> None:
    """Does what `record` does, after the database has refused it.

    The images are halved until each that cannot be recorded is alone; it fails, with the reason.

    Raises:
        RefusedError: not even that can be recorded.
    """
    try:
        with connection.begin_nested():
            record(connection, job_id, release_id, records, rerun)
    except RefusedError as error:
        if len(records) == 1:
            record(connection, job_id, release_id, [_failed(records[0], error)], rerun)
            return

        middle = len(records) // 2
        for half in (records[:middle], records[middle:]):
            record_by_halves(connection, job_id, release_id, half, rerun)


def _failed(refused: ImageRecord, reason: RefusedError) -> ImageRecord:
    message = f"The database refuses the result of this image: {reason}."
    code = ImageCode.NOT_RECORDED.value
    return ImageRecord(refused.number, refused.path, Outcome.FAILED, code, message)


def _delete_replaced(
    connection: Connection, job_id: int, records: Sequence[ImageRecord]
) -> tuple[list[ImageRecord], int]:
    """Deletes the old rows of a re-run where there are new results.

    An image that failed or could not be read this time keeps its old result.

    Returns:
        The new results, and how many predictions were deleted.
    """
    replacing = [
        record for record in records if record.outcome in (Outcome.CLASSIFIED, Outcome.NO_FACE)
    ]
    numbers = [record.number for record in replacing]
    faces_deleted, _ = (
        connection.execute(
            sa.delete(table).where(table.job_id == job_id, table.number.in_(numbers))
        ).rowcount
        for table in (Prediction, Image)
    )
    return replacing, faces_deleted


def _image(job_id: int, record: ImageRecord) -> tuple[Any, ...]:
    return (
        job_id,
        record.number,
        record.path,
        record.outcome.value,
        record.error_code,
        record.error_message,
        record.origin.fingerprint,
        record.origin.size,
        record.origin.mtime_ns,
        record.reused,
        len(record.faces),
    )


def _prediction(
    job_id: int, number: int, index: int, release_id: int, face: FaceRecord
) -> tuple[Any, ...]:
    values = face.scores.tolist()
    highest = max(values)
    return (
        job_id,
        number,
        index,
        release_id,
        *(face.box or _NO_BOX),
        face.confidence,
        face.roll,
        EMOTIONS[values.index(highest)],
        highest,
        *values,
    )
