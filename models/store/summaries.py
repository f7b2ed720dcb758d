"""Summaries: how the faces of a job spread over emotions, scores and folders.

To make one reads all rows of its job. That of an ended job is made once and kept. That of another
is kept for a few seconds, and longer if it took long.
"""

import time
from collections import Counter, defaultdict
from contextlib import suppress
from itertools import pairwise
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from models.errors import DatabaseError
from models.labels import EMOTIONS
from models.store import jobs
from models.store.database import Database, now_s, upsert
from models.store.filters import as_stored
from models.store.order import notable
from models.store.tables import Image, Prediction, Summary

BINS: Final = 10
"""Of a histogram: the first is of the scores below `NOTABLE`."""
MAX_FOLDERS: Final = 200
KEPT_S: Final = 5.0
KEPT_TIMES: Final = 20.0
"""How long a running job's is kept, as a multiple of the time it took to make."""

_COLUMNS: Final = Prediction.__table__.c


def get(db: Database, job_id: int) -> dict[str, Any]:
    """How the faces of a job spread.

    Returns:
        `emotions`: by name, `count` (faces of which it is the top emotion), `mean_score`, and
        `histogram` (faces by score, in tenths). `folders`: those with most faces, in order of their
        names, with `faces` and `emotions` (counts of top emotions); `folders_left_out`.

    Raises:
        NotFoundError: no such job.
    """
    with db.read() as connection:
        ended_at = jobs.view(connection, job_id).ended_at
        age_s = (now_s() - Summary.made).label("age_s")
        query = sa.select(Summary.__table__, age_s).where(Summary.job_id == job_id)
        kept = connection.execute(query).one_or_none()

    if kept is not None:
        is_recent = 0 <= kept.age_s < max(KEPT_S, KEPT_TIMES * kept.took_s)
        if is_recent if ended_at is None else kept.job_ended_at == ended_at:
            return dict(kept.body)

    began = time.monotonic()
    with db.read() as connection:
        body = _make(connection, job_id)
    took_s = time.monotonic() - began

    values = {"made": now_s(), "took_s": took_s, "job_ended_at": ended_at, "body": body}
    # Nobody misses a summary that could not be kept.
    with suppress(DatabaseError), db.write() as connection:
        jobs.view(connection, job_id, lock=True)  # It may have been deleted.
        insert = upsert(connection, Summary).values(job_id=job_id, **values)
        connection.execute(insert.on_conflict_do_update(index_elements=["job_id"], set_=values))
    return body


def _make(connection: Connection, job_id: int) -> dict[str, Any]:
    folders = _folders(connection, job_id)
    tops: Counter[str] = Counter()
    for counts in folders.values():
        tops.update(counts)

    means = sa.select(*(sa.func.avg(_COLUMNS[emotion]).label(emotion) for emotion in EMOTIONS))
    mean_scores = connection.execute(means.where(Prediction.job_id == job_id)).one()._mapping
    emotions = {
        emotion: {
            "count": tops[emotion],
            "mean_score": float(mean_scores[emotion] or 0.0),
            "histogram": _histogram(connection, job_id, emotion, tops.total()),
        }
        for emotion in EMOTIONS
    }

    largest = sorted(folders, key=lambda folder: (-folders[folder].total(), folder))
    return {
        "emotions": emotions,
        "folders": [
            {
                "folder": folder,
                "faces": folders[folder].total(),
                "emotions": {name: folders[folder][name] for name in EMOTIONS},
            }
            for folder in sorted(largest[:MAX_FOLDERS])
        ],
        "folders_left_out": len(largest[MAX_FOLDERS:]),
    }


def _folders(connection: Connection, job_id: int) -> dict[str, Counter[str]]:
    """By folder, on how many faces each emotion scored highest."""
    # What is left of a path without the characters at its end that are no slashes.
    folder = sa.func.rtrim(Image.path, sa.func.replace(Image.path, "/", ""))
    query = (
        sa.select(folder, Prediction.emotion, sa.func.count())
        .select_from(Prediction)
        .join(Image, sa.and_(Image.job_id == Prediction.job_id, Image.number == Prediction.number))
        .where(Prediction.job_id == job_id)
        .group_by(folder, Prediction.emotion)
    )
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for name, emotion, count in connection.execute(query):
        counts[name.removesuffix("/")][emotion] = count
    return counts


def _histogram(connection: Connection, job_id: int, emotion: str, faces: int) -> list[int]:
    """Faces by the emotion's score: from 0 to .1, from .1 to .2 and so on, in the last one 1 too.

    All but the first are counted along the index of the notable scores.
    """
    column = _COLUMNS[emotion]
    limits = [as_stored(tenth / BINS) for tenth in range(1, BINS)]
    at_least = [
        sa.func.coalesce(sa.func.sum(sa.case((column >= x, 1), else_=0)), 0) for x in limits
    ]
    query = sa.select(*at_least).where(Prediction.job_id == job_id, notable(column))

    # Of a running job, more faces may have come meanwhile.
    counts = connection.execute(query).one()
    edges = [max(faces, counts[0]), *counts, 0]
    return [int(more - less) for more, less in pairwise(edges)]
