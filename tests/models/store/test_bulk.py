"""Bulk inserts: exact values, existing keys, and a server that dies during a write."""

import math
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from models.errors import DatabaseError
from models.labels import EMOTIONS
from models.store import batches, bulk, jobs, releases, results
from models.store.database import Database
from models.store.filters import ResultFilter
from models.store.records import FaceRecord, ImageRecord
from models.store.states import Outcome
from models.store.tables import Image, Job
from tests.builders import claim_batch, count_rows, list_folder, queue_job, records_of
from tests.services import Postgres


def test_results_are_read_back_exactly_as_written(db: Database, release_id: int) -> None:
    job = queue_job(db, release_id)
    list_folder(db, job, 3)
    claim = claim_batch(db)
    scores = np.random.default_rng(0).dirichlet(np.ones(28)).astype(np.float32)
    scores[:3] = (0.0, np.finfo(np.float32).tiny, np.nextafter(np.float32(0.1), np.float32(1)))
    path = "Bär\\xe9\t\n\"'\\N,{}.jpg"
    written = [
        ImageRecord(0, path, Outcome.CLASSIFIED, faces=[FaceRecord(scores)]),
        ImageRecord(1, "b.jpg", Outcome.UNREADABLE, "truncated", "Cut \\off\tby\nsomeone."),
        ImageRecord(2, "c.jpg", Outcome.NO_FACE),
    ]
    assert batches.complete(db, claim, written)

    first, second, third = results.page(db, ResultFilter(job.id))
    assert (first.path, first.emotion, first.error) == (path, EMOTIONS[int(scores.argmax())], None)
    assert first.scores is not None
    assert np.array_equal(np.array(list(first.scores.values()), np.float32), scores)
    assert np.float32(first.score or math.nan) == scores.max()
    assert second.error == {"code": "truncated", "message": "Cut \\off\tby\nsomeone."}
    assert (third.error, third.face, third.scores) == (None, None, None)


def test_an_existing_key_undoes_the_batch_and_is_reported(db: Database, release_id: int) -> None:
    job = queue_job(db, release_id)
    list_folder(db, job, 4)
    with db.write() as connection:
        connection.execute(
            sa.insert(Image).values(job_id=job.id, number=2, path="002.jpg", outcome="no_face")
        )

    claim = claim_batch(db)
    with pytest.raises(DatabaseError, match=r"(?i)unique"):
        batches.complete(db, claim, records_of(claim))
    assert count_rows(db, Image) == 1
    assert jobs.get(db, job.id).counts.pending == 4
    assert batches.renew(db, claim, 30.0)


def test_a_server_that_dies_during_a_write_records_nothing(
    postgres_server: Postgres, tiny_model: Path
) -> None:
    db = Database(
        postgres_server.create_database().replace("postgresql://", "postgresql+psycopg://")
    )
    db.upgrade()
    job = queue_job(db, releases.resolve(db, None, tiny_model))
    list_folder(db, job, 4)

    def write() -> None:
        with db.write() as connection:
            connection.execute(sa.update(Job).values(classified=4))
            process = connection.scalar(sa.text("SELECT pg_backend_pid()"))
            with db.write() as another:
                another.execute(sa.select(sa.func.pg_terminate_backend(process)))
            bulk.insert(
                connection,
                Image,
                ("job_id", "number", "path", "outcome"),
                [(job.id, 0, "a.jpg", "no_face")],
            )

    with pytest.raises(DatabaseError):
        write()
    assert jobs.get(db, job.id).counts.pending == 4

    claim = claim_batch(db)
    assert batches.complete(db, claim, records_of(claim))
    assert count_rows(db, Image) == 4

    db.close()
