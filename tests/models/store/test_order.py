"""Results are sorted by scores, in pages that neither repeat nor skip a face."""

from typing import Final

import numpy as np
import pytest

from models.errors import CursorError, UsageError
from models.labels import EMOTIONS
from models.store import batches, results
from models.store.database import Database
from models.store.filters import ResultFilter
from models.store.order import SORTS, Sort
from models.store.records import FaceRecord, ImageRecord
from models.store.states import Outcome
from tests.builders import claim_batch, list_folder, queue_job

FEAR: Final = (0.5, 0.1, 0.02, 0.9, 0.5, 0.099, 0.0, 0.5, 0.3, 0.9)
"""Of the faces of five images, two each; of some it is the same."""


@pytest.fixture
def job_id(db: Database, release_id: int) -> int:
    job = queue_job(db, release_id)
    list_folder(db, job, 6, batch_size=6)
    claim = claim_batch(db)
    faces = []
    for fear in FEAR:
        scores = np.zeros(28, np.float32)
        scores[[EMOTIONS.index("fear"), EMOTIONS.index("neutral")]] = fear, 1 - fear
        faces.append(FaceRecord(scores))
    rows = [
        ImageRecord(number, f"{number}.jpg", Outcome.CLASSIFIED, faces=faces[2 * number :][:2])
        for number in range(5)
    ]
    batches.complete(db, claim, [*rows, ImageRecord(5, "5.jpg", Outcome.NO_FACE)])
    return job.id


def paged(db: Database, job_id: int, sort: Sort, limit: int) -> list[int]:
    """Positions in FEAR of the faces of all pages."""
    seen: list[int] = []
    after = None
    while records := results.page(db, ResultFilter(job_id), limit, after, sort):
        seen += [
            2 * int(record.path[0]) + record.face["index"] for record in records if record.face
        ]
        after = records[-1].cursor
        assert len(records) <= limit
    return seen


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_each_order_is_complete_and_its_reverse_the_other_way(
    db: Database, job_id: int, limit: int
) -> None:
    faces = range(len(FEAR))
    by_fear = sorted(faces, key=lambda i: (FEAR[i] if FEAR[i] >= 0.1 else 0.0, i))
    by_top = sorted(faces, key=lambda i: (max(np.float32(FEAR[i]), np.float32(1 - FEAR[i])), i))

    assert paged(db, job_id, Sort("score.fear"), limit) == by_fear
    assert paged(db, job_id, Sort("-score.fear"), limit) == by_fear[::-1]
    assert paged(db, job_id, Sort("score"), limit) == by_top
    assert paged(db, job_id, Sort("-score"), limit) == by_top[::-1]
    assert paged(db, job_id, Sort("score.peace"), limit) == list(faces)


def test_filters_hold_in_every_order(db: Database, job_id: int) -> None:
    conditions = ResultFilter(job_id, emotion="fear", glob="[14].jpg")
    for sort in ("-score.fear", "-score"):  # Its score is the highest.
        records = list(results.stream(db, conditions, Sort(sort)))
        faces = [(record.path, record.face and record.face["index"]) for record in records]
        assert faces == [("4.jpg", 1), ("1.jpg", 1)]


def test_faces_of_one_emotion_are_sorted_below_the_notable_scores_too(
    db: Database, release_id: int
) -> None:
    list_folder(db, queue_job(db, release_id), 4)
    claim = claim_batch(db)
    flat = np.full(28, 1 / 28, np.float32)
    rows = [
        ImageRecord(
            number,
            f"{number}.jpg",
            Outcome.CLASSIFIED,
            faces=[FaceRecord(flat + more * np.eye(28, dtype=np.float32)[15])],
        )
        for number, more in enumerate((0.5, 0.02, 0.01, 0.07))
    ]
    batches.complete(db, claim, rows)

    conditions = ResultFilter(1, emotion="fear")
    for text in ("score", "score.fear"):
        seen: list[str] = []
        after = None
        while records := results.page(db, conditions, 1, after, Sort(text)):
            seen += [record.path for record in records]
            after = records[-1].cursor
        assert seen == ["2.jpg", "1.jpg", "3.jpg", "0.jpg"]


def test_a_cursor_of_another_order_is_refused(db: Database, job_id: int) -> None:
    cursors = {
        sort: results.page(db, ResultFilter(job_id), 1, sort=Sort(sort))[0].cursor
        for sort in ("number", "score", "-score", "score.fear", "-score.fear")
    }
    for of, cursor in cursors.items():
        for sort in cursors:
            if sort == of:
                continue
            with pytest.raises(CursorError, match=f"sorted by {of}, not by {sort}"):
                results.page(db, ResultFilter(job_id), 1, cursor, Sort(sort))

    with pytest.raises(UsageError, match="Choose one job"):
        results.page(db, ResultFilter(), 1, sort=Sort("score"))


def test_an_unknown_order_is_refused_with_what_was_expected() -> None:
    assert [Sort.parse(text).text for text in SORTS] == list(SORTS)
    for text in ("score.joy", "-number", "fear", ""):
        with pytest.raises(UsageError, match=r"Expected number, score or score\.EMOTION"):
            Sort.parse(text)
