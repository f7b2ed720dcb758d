"""Two jobs compared: what is matched, how it is counted, and the pages of faces behind a count."""

from collections import Counter

import numpy as np
import pytest

from models.errors import UsageError
from models.labels import EMOTIONS
from models.store import batches, comparison
from models.store.comparison import Comparison, Pair
from models.store.database import Database
from models.store.records import FaceRecord, ImageRecord
from models.store.states import Outcome
from tests.builders import LEASE_S, list_folder, queue_job

FIRST = {"a.jpg": "fear", "b.jpg": "fear anger", "c.jpg": "joy", "gone.jpg": "fear", "é'.jpg": ""}
SECOND = {"é'.jpg": "fear", "c.jpg": "joy joy", "b.jpg": "joy anger", "a.jpg": "fear"}
"""Paths with the emotions of their faces, in the order of the scan."""


def record(db: Database, release_id: int, images: dict[str, str]) -> int:
    job = queue_job(db, release_id)
    list_folder(db, job, len(images), batch_size=len(images))
    rows = []
    for number, (path, emotions) in enumerate(images.items()):
        faces = []
        for emotion in emotions.replace("joy", "happiness").split():
            scores = np.full(len(EMOTIONS), 0.01, np.float32)
            scores[EMOTIONS.index(emotion)] = 0.73
            faces.append(FaceRecord(scores))
        outcome = Outcome.CLASSIFIED if faces else Outcome.NO_FACE
        rows.append(ImageRecord(number, path, outcome, faces=faces))
    while claim := batches.claim(db, None, "worker", LEASE_S):
        batches.complete(db, claim, [rows[number] for number, _ in claim.items])
    return job.id


@pytest.fixture
def jobs(db: Database, release_id: int) -> tuple[int, int]:
    return record(db, release_id, FIRST), record(db, release_id, SECOND)


def test_faces_are_compared_by_path_and_index_if_both_jobs_found_as_many(
    db: Database, jobs: tuple[int, int]
) -> None:
    matrix = {("fear", "fear"): 1, ("fear", "happiness"): 1, ("anger", "anger"): 1}
    found = comparison.compare(db, *jobs)
    assert found == Comparison(matrix, images=4, uneven=2)
    assert (found.faces, found.same) == (3, 2)

    turned = {(other, one): count for (one, other), count in matrix.items()}
    assert comparison.compare(db, *jobs[::-1]) == Comparison(turned, images=4, uneven=2)


def test_jobs_without_common_images_have_nothing_to_compare(
    db: Database, release_id: int, jobs: tuple[int, int]
) -> None:
    other = record(db, release_id, {"elsewhere.jpg": "fear"})
    assert comparison.compare(db, jobs[0], other) == Comparison({}, images=0, uneven=0)
    assert comparison.page(db, jobs[0], other, 9) == []


def read_all(db: Database, jobs: tuple[int, int], one: str | None, two: str | None) -> list[Pair]:
    """All pages, of one face each."""
    pairs: list[Pair] = []
    after = None
    while rows := comparison.page(db, *jobs, 1, emotion=one, other=two, after=after):
        pairs += rows
        after = rows[-1].cursor
    return pairs


def test_the_pages_of_a_cell_have_as_many_faces_as_it_counts(
    db: Database, jobs: tuple[int, int]
) -> None:
    found = comparison.compare(db, *jobs)
    for one in (None, "fear", "anger", "joy"):
        for two in (None, "fear", "happiness"):
            wanted = {
                pair: count
                for pair, count in found.matrix.items()
                if (pair[0] == one if one else True)
                and (pair[1] == two if two else True)
                and (one or two or pair[0] != pair[1])
            }
            pairs = read_all(db, jobs, one, two)
            assert Counter((pair.first.emotion, pair.second.emotion) for pair in pairs) == wanted

    (pair,) = read_all(db, jobs, None, None)
    assert (pair.path, pair.face, pair.first.number, pair.second.number) == ("b.jpg", 0, 1, 2)
    assert pair.first.score == pytest.approx(0.73)


def test_the_cursor_of_another_list_is_refused(db: Database, jobs: tuple[int, int]) -> None:
    with pytest.raises(UsageError, match="Invalid cursor"):
        comparison.page(db, *jobs, 9, after="x")
