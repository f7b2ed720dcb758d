"""Records: what a worker writes down about each image of a batch."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.engine import Connection

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
)
PREDICTION_COLUMNS: Final = (
    "job_id",
    "number",
    "face",
    "model_release_id",
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


@dataclass(frozen=True)
class ImageRecord:
    """The result of one image.

    Args:
        scores: float32 (28,), summing to 1; None if the image was not classified.
        reused: the scores are those of an earlier job.
    """

    number: int
    path: str
    outcome: Outcome
    error_code: str | None = None
    error_message: str | None = None
    scores: NDArray[np.float32] | None = None
    origin: Origin = Origin()
    reused: bool = False


def record(
    connection: Connection,
    job_id: int,
    release_id: int,
    records: Sequence[ImageRecord],
    rerun: bool = False,
) -> None:
    """Writes the images and predictions of a batch, and adds them to the job's counts."""
    written = _delete_replaced(connection, job_id, records) if rerun else list(records)

    counts = Counter(record.outcome.value for record in written)
    counts[Outcome.CLASSIFIED.value] += len(records) - len(written)  # These keep their old result.
    counts["reused"] = sum(record.reused for record in written)
    connection.execute(
        sa.update(Job)
        .where(Job.id == job_id)
        .values({name: getattr(Job, name) + n for name, n in counts.items() if n})
    )

    # The keys are free: the scan numbered the images, and only one claim can record them.
    bulk.insert(connection, Image, IMAGE_COLUMNS, [_image(job_id, record) for record in written])
    predictions = [
        _prediction(job_id, release_id, record, record.scores)
        for record in written
        if record.scores is not None
    ]
    bulk.insert(connection, Prediction, PREDICTION_COLUMNS, predictions)


def _delete_replaced(
    connection: Connection, job_id: int, records: Sequence[ImageRecord]
) -> list[ImageRecord]:
    """Deletes the old rows of a re-run where there are new results, and returns those.

    An image that failed or could not be read this time keeps its old result.
    """
    replacing = [
        record for record in records if record.outcome in (Outcome.CLASSIFIED, Outcome.NO_FACE)
    ]
    numbers = [record.number for record in replacing]
    for table in (Prediction, Image):
        connection.execute(
            sa.delete(table).where(table.job_id == job_id, table.number.in_(numbers))
        )
    return replacing


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
    )


def _prediction(
    job_id: int, release_id: int, record: ImageRecord, scores: NDArray[np.float32]
) -> tuple[Any, ...]:
    values = scores.tolist()
    highest = max(values)
    emotion = EMOTIONS[values.index(highest)]
    return (job_id, record.number, 0, release_id, emotion, highest, *values)
