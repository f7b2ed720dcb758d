"""Reuse: a file that an earlier job classified with the same release is not classified again.

A file's fingerprint is a digest of its bytes, keyed by the release's digest: files with equal
fingerprints have equal scores. It is looked up among the jobs that were submitted earlier, newest
first.

On request, sizes and modification times replace fingerprints, and unchanged files are not even
read. They are compared only with the newest job of the same folder and release. The user vouches
that they change whenever a file does.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from models.labels import EMOTIONS
from models.store.database import Database
from models.store.records import Origin
from models.store.tables import Image, Job, ModelRelease, Prediction

DIGEST_BYTES: Final = 16


@dataclass(frozen=True)
class ReuseScope:
    """Which earlier predictions a job may reuse.

    Args:
        release_sha256: the release that made them.
        lookup: whether there can be any; False if the user asked for fresh ones.
        previous: the job whose files' sizes and times are trusted, if any.
    """

    release_sha256: str
    lookup: bool = False
    previous: int | None = None

    def fingerprint(self, data: bytes) -> bytes:
        """The fingerprint of a file with these bytes."""
        key = bytes.fromhex(self.release_sha256)
        return hashlib.blake2b(data, digest_size=DIGEST_BYTES, key=key).digest()


def find_scope(db: Database, job_id: int, release_id: int) -> ReuseScope:
    """The scope of a job as it is run with a release; it does not change while the job runs."""
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
            return ReuseScope(sha256)
        if not job.trust_mtime:
            return ReuseScope(sha256, lookup=True)

        previous = connection.scalar(
            earlier.where(Job.folder == job.folder, Job.deleted_at.is_(None)).order_by(
                Job.id.desc()
            )
        )
        return ReuseScope(sha256, lookup=True, previous=previous)


def find_by_fingerprint(
    db: Database, job_id: int, fingerprints: Sequence[bytes]
) -> dict[bytes, NDArray[np.float32]]:
    """The scores, float32 (28,), of each fingerprint that an earlier job has."""
    if not fingerprints:
        return {}
    values = {"job_id": job_id, "count": len(fingerprints), "fingerprints": b"".join(fingerprints)}
    with db.read() as connection:
        rows = connection.execute(_BY_FINGERPRINT, values)
        return {bytes(fingerprint): _scores(scores) for fingerprint, *scores in rows}


# The same statement for any number of fingerprints: they are passed as one value, end to end, and
# taken apart again in `wanted`. Each is looked up by itself, so that one that thousands of images
# share costs no more than another.
_NEWEST: Final = """
    FROM images WHERE images.fingerprint = wanted.fingerprint AND images.job_id < :job_id
    ORDER BY images.job_id DESC, images.number DESC LIMIT 1
"""
_BY_FINGERPRINT: Final = sa.text(
    f"""
    WITH RECURSIVE
    steps(step) AS (SELECT 0 UNION ALL SELECT step + 1 FROM steps WHERE step + 1 < :count),
    wanted AS (
        SELECT substr(:fingerprints, 1 + {DIGEST_BYTES} * step, {DIGEST_BYTES}) AS fingerprint
        FROM steps
    )
    SELECT wanted.fingerprint, {", ".join(EMOTIONS)}
    FROM wanted JOIN predictions ON face = 0
    AND predictions.job_id = (SELECT images.job_id {_NEWEST})
    AND predictions.number = (SELECT images.number {_NEWEST})
    """  # noqa: S608
).bindparams(sa.bindparam("fingerprints", type_=sa.LargeBinary))


def find_by_mtime(
    db: Database, previous: int, release_id: int, paths: Sequence[str]
) -> dict[str, tuple[Origin, NDArray[np.float32]]]:
    """The previous job's predictions for these paths: origin, and scores as float32 (28,)."""
    columns = Prediction.__table__.c
    query = (
        sa.select(
            Image.path,
            Image.fingerprint,
            Image.size,
            Image.mtime_ns,
            *[columns[emotion] for emotion in EMOTIONS],
        )
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
    if not db.is_sqlite:
        # PostgreSQL's index has digests: paths may be longer than its rows.
        query = query.where(sa.func.md5(Image.path).in_([_md5(path) for path in paths]))

    with db.read() as connection:
        return {
            path: (Origin(fingerprint, size, mtime_ns), _scores(scores))
            for path, fingerprint, size, mtime_ns, *scores in connection.execute(query)
        }


def _md5(path: str) -> str:
    return hashlib.md5(path.encode(), usedforsecurity=False).hexdigest()


def _scores(values: Sequence[float]) -> NDArray[np.float32]:
    return np.array(values, np.float32)
