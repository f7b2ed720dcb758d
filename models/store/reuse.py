"""Predictions of earlier jobs, used again for files that are the same, under the same release.

A file's fingerprint is a digest of the release's digest and of its bytes: equal ones have equal scores. It is looked
for among jobs that were submitted earlier, the newest first. Sizes and times are compared with one job alone, the
newest of the same folder and release, and only on request: they are a promise of whoever keeps the files.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from models.labels import EMOTIONS
from models.store.database import Database
from models.store.records import Origin
from models.store.tables import Image, Job, ModelRelease, Prediction

DIGEST_BYTES = 16

_SCORES = tuple(Prediction.__table__.c[emotion] for emotion in EMOTIONS)


@dataclass(frozen=True)
class Sources:
    """Where a job's predictions may come from.

    Args:
        release_sha256: of the release they must be by.
        lookup: some earlier job has predictions by that release, and the job isn't to be classified afresh.
        previous: the job whose files' sizes and times are to be trusted.
    """

    release_sha256: str
    lookup: bool = False
    previous: int | None = None

    def fingerprint(self, data: bytes) -> bytes:
        """Of a file's bytes, under the release."""
        return hashlib.blake2b(
            data, digest_size=DIGEST_BYTES, key=bytes.fromhex(self.release_sha256)
        ).digest()


def sources(db: Database, job_id: int, release_id: int) -> Sources:
    """What `Sources` says, for a job as it is run with a release; it stands for the whole job."""
    earlier = (
        sa.select(Job.id)
        .where(Job.id < job_id, Job.model_release_id == release_id, Job.classified > 0)
        .limit(1)
    )
    with db.read() as connection:
        sha256 = connection.scalars(
            sa.select(ModelRelease.sha256).where(ModelRelease.id == release_id)
        ).one()
        job = connection.execute(
            sa.select(Job.folder, Job.fresh, Job.trust_mtime).where(Job.id == job_id)
        ).one_or_none()
        if job is None or job.fresh or connection.scalar(earlier) is None:
            return Sources(sha256)
        if not job.trust_mtime:
            return Sources(sha256, lookup=True)
        same = earlier.where(Job.folder == job.folder, Job.deleted_at.is_(None)).order_by(
            Job.id.desc()
        )
        return Sources(sha256, lookup=True, previous=connection.scalar(same))


def by_fingerprint(
    db: Database, job_id: int, fingerprints: Sequence[bytes]
) -> dict[bytes, NDArray[np.float32]]:
    """The scores, float32 (28,), of those of the fingerprints that an earlier job has."""
    if not fingerprints:
        return {}
    values = {"job_id": job_id, "count": len(fingerprints), "fingerprints": b"".join(fingerprints)}
    with db.read() as connection:
        return {
            bytes(row[0]): _scores(row[1:]) for row in connection.execute(_BY_FINGERPRINT, values)
        }


_NEWEST = """
    FROM images WHERE images.fingerprint = wanted.fingerprint AND images.job_id < :job_id
    ORDER BY images.job_id DESC, images.number DESC LIMIT 1
"""
# One statement whatever the number of fingerprints, which come as one value, end to end. Each is looked for by itself,
# so that one that thousands of images share costs no more than another.
_BY_FINGERPRINT = sa.text(
    f"""
    WITH RECURSIVE steps(step) AS (SELECT 0 UNION ALL SELECT step + 1 FROM steps WHERE step + 1 < :count),
    wanted AS (SELECT substr(:fingerprints, 1 + {DIGEST_BYTES} * step, {DIGEST_BYTES}) AS fingerprint FROM steps)
    SELECT wanted.fingerprint, {", ".join(EMOTIONS)}
    FROM wanted JOIN predictions ON face = 0
    AND predictions.job_id = (SELECT images.job_id {_NEWEST}) AND predictions.number = (SELECT images.number {_NEWEST})
    """  # noqa: S608
).bindparams(sa.bindparam("fingerprints", type_=sa.LargeBinary))


def by_mtime(
    db: Database, previous: int, release_id: int, paths: Sequence[str]
) -> dict[str, tuple[Origin, NDArray[np.float32]]]:
    """What the previous job's predictions for these paths were made from, and their scores, float32 (28,)."""
    query = (
        sa.select(Image.path, Image.fingerprint, Image.size, Image.mtime_ns, *_SCORES)
        .join(
            Prediction,
            sa.and_(Prediction.job_id == Image.job_id, Prediction.number == Image.number),
        )
        .where(
            Image.job_id == previous,
            Image.path.in_(paths),
            Image.mtime_ns.is_not(None),
            Prediction.model_release_id == release_id,
            Prediction.face == 0,
        )
    )
    with db.read() as connection:
        return {row[0]: (Origin(*row[1:4]), _scores(row[4:])) for row in connection.execute(query)}


def _scores(values: Sequence[float]) -> NDArray[np.float32]:
    return np.array(values, np.float32)
