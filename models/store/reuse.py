"""Reuse: a file that an earlier job classified with the same release is not classified again.

A file's fingerprint is a digest of its bytes, keyed by the release's digest and by how faces are
found: files with equal fingerprints have equal faces and scores. It is looked up among the jobs
that were submitted earlier, newest first.

On request, sizes and modification times replace fingerprints, and unchanged files are not even
read. They are compared only with the newest job of the same folder, release and detection. The user
vouches that they change whenever a file does.
"""

import hashlib
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, TypeVar

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Row

from models.labels import EMOTIONS
from models.pictures.detection import WHOLE, Detection
from models.store import jobs
from models.store.database import Database
from models.store.records import FaceRecord, Origin
from models.store.states import Outcome
from models.store.tables import Image, Job, ModelRelease, Prediction

DIGEST_BYTES: Final = 16

_Key = TypeVar("_Key", bound=Hashable)


@dataclass(frozen=True)
class ReuseScope:
    """Which earlier predictions a job may reuse.

    Args:
        release_sha256: the release that made them.
        detection: how faces are found.
        lookup: whether there can be any; False if the user asked for fresh ones.
        previous: the job whose files' sizes and times are trusted, if any.
    """

    release_sha256: str
    detection: Detection = WHOLE
    lookup: bool = False
    previous: int | None = None

    def fingerprint(self, data: bytes) -> bytes:
        """The fingerprint of a file with these bytes."""
        key = bytes.fromhex(self.release_sha256) + self.detection.digest
        return hashlib.blake2b(data, digest_size=DIGEST_BYTES, key=key).digest()


def find_scope(db: Database, job_id: int, release_id: int) -> ReuseScope:
    """The scope of a job as it is run with a release."""
    earlier = (
        sa.select(Job.id)
        .where(
            Job.id < job_id,
            Job.model_release_id == release_id,
            Job.classified + Job.no_face > 0,
        )
        .limit(1)
    )
    with db.read() as connection:
        sha256 = connection.scalars(
            sa.select(ModelRelease.sha256).where(ModelRelease.id == release_id)
        ).one()
        job = connection.execute(sa.select(Job.__table__).where(Job.id == job_id)).one_or_none()
        if job is None:
            return ReuseScope(sha256)

        detection = jobs.detection_of(job)
        earlier = earlier.where(*jobs.finds_faces_by(detection))
        if job.fresh or connection.scalar(earlier) is None:
            return ReuseScope(sha256, detection)
        if not job.trust_mtime:
            return ReuseScope(sha256, detection, lookup=True)

        previous = connection.scalar(
            earlier.where(Job.folder == job.folder, Job.deleted_at.is_(None)).order_by(
                Job.id.desc()
            )
        )
        return ReuseScope(sha256, detection, lookup=True, previous=previous)


def find_by_fingerprint(
    db: Database, job_id: int, fingerprints: Sequence[bytes]
) -> dict[bytes, list[FaceRecord]]:
    """The faces of each fingerprint that an earlier job has; none if it found none."""
    if not fingerprints:
        return {}
    wanted = set(fingerprints)
    values = {"job_id": job_id, "count": len(wanted), "fingerprints": b"".join(wanted)}
    with db.read() as connection:
        rows = connection.execute(_BY_FINGERPRINT, values).all()
    return _faces_by(lambda row: bytes(row.fingerprint), rows)


# The same statement for any number of fingerprints: they are passed as one value, end to end, and
# taken apart again in `wanted`. Each is looked up by itself, so that one that thousands of images
# share costs no more than another.
_NEWEST: Final = """
    FROM images WHERE images.fingerprint = wanted.fingerprint AND images.job_id < :job_id
    ORDER BY images.job_id DESC, images.number DESC LIMIT 1
"""
_FACE_COLUMNS: Final = (
    "face",
    "box_x",
    "box_y",
    "box_width",
    "box_height",
    "face_confidence",
    "face_roll",
    *EMOTIONS,
)
_BY_FINGERPRINT: Final = sa.text(
    f"""
    WITH RECURSIVE
    steps(step) AS (SELECT 0 UNION ALL SELECT step + 1 FROM steps WHERE step + 1 < :count),
    wanted AS (
        SELECT substr(:fingerprints, 1 + {DIGEST_BYTES} * step, {DIGEST_BYTES}) AS fingerprint
        FROM steps
    )
    SELECT wanted.fingerprint, images.faces, {", ".join(_FACE_COLUMNS)}
    FROM wanted
    JOIN images ON images.job_id = (SELECT images.job_id {_NEWEST})
    AND images.number = (SELECT images.number {_NEWEST})
    LEFT JOIN predictions
    ON predictions.job_id = images.job_id AND predictions.number = images.number
    """  # noqa: S608
).bindparams(sa.bindparam("fingerprints", type_=sa.LargeBinary))


def find_by_mtime(
    db: Database, previous: int, release_id: int, paths: Sequence[str]
) -> dict[str, tuple[Origin, list[FaceRecord]]]:
    """The previous job's results for these paths: origin and faces."""
    columns = Prediction.__table__.c
    query = (
        sa.select(
            Image.path,
            Image.fingerprint,
            Image.size,
            Image.mtime_ns,
            Image.faces,
            *[columns[name] for name in _FACE_COLUMNS],
        )
        .join(
            Prediction,
            sa.and_(Prediction.job_id == Image.job_id, Prediction.number == Image.number),
            isouter=True,
        )
        .where(
            Image.job_id == previous,
            Image.path.in_(paths),
            Image.mtime_ns.is_not(None),
            sa.or_(Image.outcome == Outcome.NO_FACE, Prediction.model_release_id == release_id),
        )
    )
    if not db.is_sqlite:
        # PostgreSQL's index has digests: paths may be longer than its rows.
        query = query.where(sa.func.md5(Image.path).in_([_md5(path) for path in paths]))

    with db.read() as connection:
        rows = connection.execute(query).all()
    origins = {row.path: Origin(row.fingerprint, row.size, row.mtime_ns) for row in rows}
    faces_by_path = _faces_by(lambda row: str(row.path), rows)
    return {path: (origins[path], faces) for path, faces in faces_by_path.items()}


def _md5(path: str) -> str:
    return hashlib.md5(path.encode(), usedforsecurity=False).hexdigest()


def _faces_by(
    key: Callable[[Row[Any]], _Key], rows: Iterable[Row[Any]]
) -> dict[_Key, list[FaceRecord]]:
    """The faces of each image, from rows with `_FACE_COLUMNS` and the number of its faces.

    An image is left out if a deletion has begun to remove its faces.
    """
    rows_by_key: dict[_Key, list[Row[Any]]] = {}
    for row in rows:
        rows_by_key.setdefault(key(row), []).append(row)

    faces_by_key = {}
    for of_image, image_rows in rows_by_key.items():
        face_rows = [row for row in image_rows if row.face is not None]
        if len(face_rows) == image_rows[0].faces:
            face_rows.sort(key=attrgetter("face"))
            faces_by_key[of_image] = [_face(row) for row in face_rows]
    return faces_by_key


def _face(row: Row[Any]) -> FaceRecord:
    box = (row.box_x, row.box_y, row.box_width, row.box_height)
    return FaceRecord(
        np.array(row[-len(EMOTIONS) :], np.float32),
        None if row.box_x is None else box,
        row.face_confidence,
        row.face_roll,
    )
