"""Summaries count faces by emotion, score and folder, and are made only when they must be."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from models.errors import NotFoundError
from models.labels import EMOTIONS
from models.store import batches, deletion, jobs, retries, summaries
from models.store.database import Database
from models.store.records import FaceRecord
from models.store.states import Outcome
from models.store.tables import Summary
from tests.builders import claim_batch, count_rows, list_folder, queue_job, records_of

PATHS = ("top.jpg", "a/1.jpg", "a/2.jpg", "a/b/3.jpg")
FEAR = (0.05, 0.1, 0.7, 1.0)


def complete(db: Database, fear: tuple[float, ...] = FEAR, unreadable: int = 0) -> None:
    """Records the next batch, with that much fear in its images, and the rest neutral."""
    claim = claim_batch(db)
    rows = []
    for row, score in zip(records_of(claim), fear, strict=False):
        scores = np.zeros(28, np.float32)
        scores[[EMOTIONS.index("fear"), EMOTIONS.index("neutral")]] = score, 1 - score
        rows.append(replace(row, path=PATHS[row.number], faces=[FaceRecord(scores)]))
    unread = records_of(claim, Outcome.UNREADABLE)[len(rows) - unreadable :]
    batches.complete(db, claim, [*rows[: len(rows) - unreadable], *unread])


@pytest.fixture
def job_id(db: Database, release_id: int) -> int:
    job = queue_job(db, release_id)
    list_folder(db, job, 4)
    return job.id


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The jobs whose summaries were made."""
    made: list[int] = []
    make = summaries._make

    def note(connection: Any, job_id: int) -> dict[str, Any]:
        made.append(job_id)
        return make(connection, job_id)

    monkeypatch.setattr(summaries, "_make", note)
    return made


def age(db: Database, seconds: float) -> None:
    with db.write() as connection:
        connection.execute(sa.update(Summary).values(made=Summary.made - seconds))


def test_faces_are_counted_by_emotion_score_and_folder(
    db: Database, job_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    complete(db)
    summary = summaries.get(db, job_id)

    assert list(summary["emotions"]) == list(EMOTIONS)
    fear = summary["emotions"]["fear"]
    assert (fear["count"], fear["histogram"]) == (2, [1, 1, 0, 0, 0, 0, 0, 1, 0, 1])
    assert fear["mean_score"] == pytest.approx(sum(FEAR) / 4)
    assert summary["emotions"]["neutral"]["histogram"] == [1, 0, 0, 1, 0, 0, 0, 0, 0, 2]
    assert summary["emotions"]["peace"]["histogram"] == [4, *[0] * 9]

    tops = [
        (row["folder"], row["faces"], row["emotions"]["fear"], row["emotions"]["neutral"])
        for row in summary["folders"]
    ]
    assert tops == [("", 1, 0, 1), ("a", 2, 1, 1), ("a/b", 1, 1, 0)]
    assert summary["folders_left_out"] == 0

    monkeypatch.setattr(summaries, "MAX_FOLDERS", 2)
    with db.write() as connection:
        connection.execute(sa.delete(Summary))
    summary = summaries.get(db, job_id)
    assert [row["folder"] for row in summary["folders"]] == ["", "a"]
    assert summary["folders_left_out"] == 1


def test_that_of_an_ended_job_is_made_once(db: Database, job_id: int, made: list[int]) -> None:
    complete(db)
    first = summaries.get(db, job_id)
    age(db, 3600)
    assert summaries.get(db, job_id) == first
    assert list(summaries.get(db, job_id)["emotions"]) == list(EMOTIONS)
    assert made == [job_id]


def test_that_of_a_running_job_is_made_every_few_seconds(
    db: Database, job_id: int, made: list[int]
) -> None:
    summaries.get(db, job_id)
    age(db, summaries.KEPT_S - 2)
    summaries.get(db, job_id)
    assert made == [job_id]

    with db.write() as connection:
        connection.execute(sa.update(Summary).values(took_s=2))
    age(db, 4)
    summaries.get(db, job_id)
    assert made == [job_id]  # It takes long: so seldom that it does not matter.

    age(db, 2 * summaries.KEPT_TIMES)
    complete(db)
    assert summaries.get(db, job_id)["emotions"]["fear"]["count"] == 2
    assert made == 2 * [job_id]


def test_one_made_before_the_end_or_a_retry_is_made_again(
    db: Database, job_id: int, made: list[int]
) -> None:
    summaries.get(db, job_id)
    complete(db, unreadable=1)
    assert jobs.get(db, job_id).status.ended
    assert summaries.get(db, job_id)["emotions"]["fear"]["count"] == 1

    age(db, 3600)
    retries.retry(db, job_id)
    complete(db, (0.9,))
    assert summaries.get(db, job_id)["emotions"]["fear"]["count"] == 2
    assert len(made) == 3


def test_it_goes_with_its_job(db: Database, job_id: int) -> None:
    summaries.get(db, job_id)
    deletion.delete(db, job_id)
    assert count_rows(db, Summary) == 0
    with pytest.raises(NotFoundError):
        summaries.get(db, job_id)
