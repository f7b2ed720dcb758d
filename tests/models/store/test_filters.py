"""Results are filtered by scores, certainty, error codes, patterns of paths, and models."""

from dataclasses import replace

import numpy as np
import pytest
import sqlalchemy as sa

from models.errors import UsageError
from models.labels import EMOTIONS
from models.store import batches, results
from models.store.database import Database
from models.store.filters import ResultFilter, ScoreRange
from models.store.records import FaceRecord
from models.store.releases import UNCERTAIN_BELOW
from models.store.states import Outcome
from models.store.tables import ModelRelease, Prediction
from tests.builders import add_release, claim_batch, list_folder, queue_job, records_of


def face(**scores: float) -> FaceRecord:
    return FaceRecord(np.array([scores.get(name, 0) for name in EMOTIONS], np.float32))


def ranges(*texts: str) -> tuple[ScoreRange, ...]:
    return tuple(ScoreRange.parse(*text.split("=")) for text in texts)


@pytest.fixture
def job_id(db: Database, release_id: int) -> int:
    """Three faces with more and more fear, and two images with errors."""
    job = queue_job(db, release_id)
    list_folder(db, job, 8)
    claim = claim_batch(db)
    rows = [
        replace(row, faces=[face(neutral=1 - fear, fear=fear)], path=f"a/{row.number}.jpg")
        for row, fear in zip(records_of(claim), (0.1, 0.4, 0.9), strict=False)
    ]
    batches.complete(db, claim, [*rows, *records_of(claim, Outcome.UNREADABLE)[3:]])

    claim = claim_batch(db)
    failed = replace(records_of(claim, Outcome.FAILED)[0], error_code="timeout")
    batches.complete(db, claim, [failed, *records_of(claim, Outcome.NO_FACE)[1:]])
    return job.id


def test_results_are_filtered_by_each_condition(db: Database, job_id: int) -> None:
    def numbers(**conditions: object) -> list[int]:
        found = results.page(db, ResultFilter(job_id, **conditions))  # type: ignore[arg-type]
        return [int(record.cursor.split(".")[1]) for record in found]

    # Of a float32, its shortest digits are what users see.
    assert numbers(scores=ranges("fear=gte:0.9")) == numbers(min_score=0.9)[1:] == [2]
    assert numbers(scores=ranges("fear=gt:0.4")) == [2]
    assert numbers(scores=ranges("fear=lte:0.4")) == [0, 1]
    assert numbers(scores=ranges("fear=lt:0.4")) == [0]
    assert numbers(scores=ranges("fear=gte:0.4", "fear=lt:0.9", "neutral=gt:0.5")) == [1]

    assert numbers(code="timeout") == [4]
    assert numbers(glob="a/*") == [0, 1, 2]
    assert numbers(glob="0*.jpg") == [3, 4, 5, 6, 7]
    assert numbers(glob="*[2-4].jpg", outcome=Outcome.CLASSIFIED) == [2]


def test_a_face_is_uncertain_by_the_threshold_of_the_release_that_made_it(
    db: Database, job_id: int
) -> None:
    def paths(uncertain: bool) -> list[str]:
        return [
            record.path for record in results.page(db, ResultFilter(job_id, uncertain=uncertain))
        ]

    assert paths(uncertain=True) == paths(uncertain=False) == []  # It has no threshold.

    other = add_release(db, "other")
    with db.write() as connection:
        connection.execute(
            sa.update(ModelRelease)
            .where(ModelRelease.id == other)
            .values(metrics={UNCERTAIN_BELOW: 0.7})
        )
        connection.execute(
            sa.update(Prediction).where(Prediction.number < 2).values(model_release_id=other)
        )

    assert paths(uncertain=True) == ["a/1.jpg"]
    assert paths(uncertain=False) == ["a/0.jpg"]


def test_results_are_filtered_by_the_release_that_made_them(db: Database, job_id: int) -> None:
    other = add_release(db, "other")
    with db.write() as connection:
        connection.execute(
            sa.update(Prediction).where(Prediction.number == 1).values(model_release_id=other)
        )
        sha256 = connection.scalar(sa.select(ModelRelease.sha256).where(ModelRelease.id == other))

    def count(model: str) -> int:
        return len(results.page(db, ResultFilter(job_id, model=model)))

    # Images without a face count as the job's release.
    assert (count("other"), count(str(sha256)), count("tiny"), count("%")) == (1, 1, 7, 0)


@pytest.mark.parametrize(
    ("emotion", "comparison"),
    [("joy", "gte:0.4"), ("fear", "0.4"), ("fear", "eq:0.4"), ("fear", "gte:1.5"), ("fear", "lt:")],
)
def test_an_invalid_range_is_refused_with_what_was_expected(emotion: str, comparison: str) -> None:
    with pytest.raises(UsageError, match=r"Expected (one of: affection|gte, gt, lte, lt)"):
        ScoreRange.parse(emotion, comparison)
