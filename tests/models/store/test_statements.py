"""The statements that show a query give the same results, in the same order, without Cuemill."""

import sqlite3
from dataclasses import replace

import numpy as np
import psycopg
import pytest
import sqlalchemy as sa

from models.labels import EMOTIONS
from models.store import batches, globs, results, statements
from models.store.database import Database
from models.store.filters import ResultFilter, ScoreRange
from models.store.order import Sort
from models.store.records import FaceRecord, ImageRecord
from models.store.releases import UNCERTAIN_BELOW
from models.store.states import Outcome
from models.store.tables import ModelRelease
from tests.builders import claim_batch, list_folder, queue_job

ODD = "it's 100%\\% \nAND  ORDER BY [x"


def face(fear: float, anger: float) -> FaceRecord:
    scores = np.full(len(EMOTIONS), 0.001, np.float32)
    scores[[EMOTIONS.index("fear"), EMOTIONS.index("anger")]] = fear, anger
    return FaceRecord(scores)


@pytest.fixture
def job_id(db: Database, release_id: int) -> int:
    """Faces with high, low and equal scores, some in one image, and an image without one."""
    with db.write() as connection:
        connection.execute(sa.update(ModelRelease).values(metrics={UNCERTAIN_BELOW: 0.5}))
    other = queue_job(db, release_id)
    job = queue_job(db, release_id)
    for each in (other, job):
        list_folder(db, each, 4)
        faces = [face(0.4, 0.05), face(0.05, 0.6)], [face(0.02, 0.4)], [face(0.9, 0.1)]
        records = [
            ImageRecord(number, path, Outcome.CLASSIFIED, faces=some)
            for number, (path, some) in enumerate(
                zip(("b/0.jpg", "a/1.jpg", f"{ODD}2.jpg"), faces, strict=True)
            )
        ]
        failure = ImageRecord(3, "a/3.jpg", Outcome.UNREADABLE, "truncated", "Cut off.")
        batches.complete(db, claim_batch(db), [*records, failure])
    return job.id


def run(db: Database, statement: str) -> list[tuple[object, ...]]:
    """Runs it with the database's own driver: nothing of Cuemill's or SQLAlchemy's helps."""
    if db.is_sqlite:
        assert db.url.database is not None
        connection = sqlite3.connect(db.url.database)
        rows = connection.execute(statement).fetchall()
        connection.close()
        return rows

    url = db.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as server:
        return server.execute(statement.encode()).fetchall()


@pytest.mark.parametrize("sort", ["number", "score", "-score", "score.fear", "-score.fear"])
def test_a_statement_gives_the_results_in_their_order(db: Database, job_id: int, sort: str) -> None:
    limits = tuple(ScoreRange.parse("fear", text) for text in ("gte:0.4", "lt:0.95"))
    everything = ResultFilter(job_id)
    counts = []
    for conditions in (
        everything,
        replace(everything, emotion="anger"),
        replace(everything, emotion="fear", min_score=0.4),
        replace(everything, scores=limits),
        replace(everything, path_prefix=ODD, outcome=Outcome.CLASSIFIED, min_faces=1),
        replace(everything, glob=ODD.replace("[", "[[]") + "*", max_faces=1),
        replace(everything, glob="[!b]/?.jpg"),
        replace(everything, code="truncated"),
        replace(everything, uncertain=True),
        replace(everything, model="tiny"),
    ):
        order = Sort.parse(sort)
        records = results.page(db, conditions, sort=order)
        expected = [
            (
                record.path,
                record.outcome,
                record.face["index"] if record.face else None,
                record.emotion,
                None if record.score is None else pytest.approx(record.score),
            )
            for record in records
        ]
        rows = run(db, statements.write(db, conditions, order))
        assert [row[:5] for row in rows] == expected, conditions
        counts.append(len(rows))

    failures = sort == "number"
    assert counts == [4 + failures, 2, 2, 2, 1, 1, 1 + failures, failures, 2, 4 + failures]


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("a*", "a/b", "A/b"),
        ("[a-c]?", "bx", "dx"),
        ("[!a]", "b", "a"),
        ("[^a]", "^", "b"),
        ("[^]", "^", "a"),
        ("a[", "a[", "a"),
        ("[]a]", "]", "b"),
        ("", "", "a"),
    ],
)
def test_a_pattern_means_the_same_to_sqlite(pattern: str, matching: str, other: str) -> None:
    connection = sqlite3.connect(":memory:")
    query = "SELECT ? GLOB ?, ? GLOB ?"
    glob = globs.to_sqlite(pattern)
    assert connection.execute(query, (matching, glob, other, glob)).fetchone() == (1, 0)
    connection.close()
