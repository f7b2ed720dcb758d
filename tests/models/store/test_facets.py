"""Facets, and the images beside one: both agree with the pages of results."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from models.labels import EMOTIONS
from models.store import batches, facets, neighbours, results
from models.store.database import Database
from models.store.facets import MANY, SCORES
from models.store.filters import ResultFilter
from models.store.records import FaceRecord, ImageRecord
from models.store.states import Outcome
from tests.builders import claim_batch, list_folder, queue_job

FILTERS: tuple[dict[str, Any], ...] = (
    {},
    {"emotion": "fear"},
    {"outcome": Outcome.CLASSIFIED},
    {"min_score": 0.7},
    {"min_faces": 2, "max_faces": 2},
    {"path_prefix": "00"},
    {"code": "truncated"},
    {"model": "tiny"},
    {"model": "tiny", "emotion": "fear", "path_prefix": "00", "min_score": 0.5},
    {"uncertain": True},
)


def faces(*scores: float) -> list[FaceRecord]:
    """Faces of fear, or of happiness below a half."""
    rows = np.zeros((len(scores), len(EMOTIONS)), np.float32)
    for row, score in zip(rows, scores, strict=True):
        row[EMOTIONS.index("fear")] = score
        row[EMOTIONS.index("happiness")] = 1 - score
    return [FaceRecord(row) for row in rows]


@pytest.fixture
def job_id(db: Database, release_id: int) -> int:
    """A job with images of every outcome, and another job with one face."""
    job = queue_job(db, release_id)
    list_folder(db, job, 6, batch_size=6)
    batches.complete(
        db,
        claim_batch(db),
        [
            ImageRecord(0, "000.jpg", Outcome.CLASSIFIED, faces=faces(0.9)),
            ImageRecord(1, "001.jpg", Outcome.CLASSIFIED, faces=faces(0.25, 0.65)),
            ImageRecord(2, "012.jpg", Outcome.NO_FACE),
            ImageRecord(3, "013.jpg", Outcome.UNREADABLE, "truncated", "Cut off."),
            ImageRecord(4, "014.jpg", Outcome.FAILED, "worker_died", "Died."),
            ImageRecord(5, "015.jpg", Outcome.CLASSIFIED, faces=faces(*[0.75] * (MANY + 1))),
        ],
    )
    other = queue_job(db, release_id)
    list_folder(db, other, 1)
    record = ImageRecord(0, "000.jpg", Outcome.CLASSIFIED, faces=faces(0.95))
    batches.complete(db, claim_batch(db), [record])
    return job.id


def test_each_count_is_the_number_of_results_that_its_choice_leaves(
    db: Database, job_id: int
) -> None:
    for conditions in FILTERS:
        within = ResultFilter(job_id, **conditions)
        counts = facets.count(db, within)

        def left(chosen: ResultFilter) -> int:
            return len(results.page(db, chosen))

        for emotion in ("fear", "happiness", "pain"):
            chosen = replace(within, emotion=emotion)
            assert counts.emotions.get(emotion, 0) == left(chosen), (conditions, emotion)
        for outcome in Outcome:
            chosen = replace(within, outcome=outcome)
            assert counts.outcomes.get(outcome, 0) == left(chosen), (conditions, outcome)
        for least in SCORES:
            chosen = replace(within, min_score=least)
            assert counts.scores[least] == left(chosen), (conditions, least)
        for number in range(MANY):
            chosen = replace(within, min_faces=number, max_faces=number)
            assert counts.faces.get(number, 0) == left(chosen), (conditions, number)
        many = replace(within, min_faces=MANY, max_faces=None)
        assert counts.faces.get(MANY, 0) == left(many), conditions


def test_the_images_beside_one_are_those_of_the_results_before_and_after(
    db: Database, job_id: int
) -> None:
    for conditions in FILTERS:
        within = ResultFilter(job_id, **conditions)
        numbers = [int(record.cursor.split(".")[1]) for record in results.page(db, within)]
        for number in range(6):
            before = max((other for other in numbers if other < number), default=None)
            after = min((other for other in numbers if other > number), default=None)
            assert neighbours.find(db, within, number) == (before, after), (conditions, number)
