"""Results are read in pages, filtered and summed."""

from dataclasses import replace

import numpy as np
import pytest

from models.store import (
    batches,
    results,
)
from models.store.database import Database
from models.store.records import FaceRecord
from models.store.results import Filter
from models.store.states import Outcome
from tests.builders import (
    LEASE_S,
    SCORES,
    claim_batch,
    list_folder,
    queue_job,
    records_of,
)


def test_pages_follow_the_scan_order_without_gaps_or_overlaps(
    db: Database, release_id: int
) -> None:
    job = queue_job(db, release_id)
    list_folder(db, job, 11)
    while (claim := batches.claim(db, None, "worker", LEASE_S)) is not None:
        batches.complete(db, claim, records_of(claim))
    seen: list[str] = []
    after = None
    while records := results.page(db, Filter(job.id), limit=4, after=after):
        seen += [record.path for record in records]
        after = records[-1].cursor

    assert seen == [f"{i:03}.jpg" for i in range(11)]
    assert [r.path for r in results.stream(db, Filter())] == seen


def test_results_are_filtered_by_emotion_score_outcome_and_path(
    db: Database, release_id: int
) -> None:
    job = queue_job(db, release_id)
    list_folder(db, job, 8)
    claim = claim_batch(db)
    happy = np.eye(28, dtype=np.float32)[16]
    rows = records_of(claim)
    rows[1] = replace(rows[1], faces=[FaceRecord(happy)])
    batches.complete(db, claim, rows)
    claim = claim_batch(db)
    batches.complete(db, claim, records_of(claim, Outcome.UNREADABLE))

    def paths(**conditions: object) -> list[str]:
        return [r.path for r in results.page(db, Filter(job.id, **conditions))]  # type: ignore[arg-type]

    assert paths(emotion="happiness") == ["001.jpg"]
    assert paths(emotion="neutral") == ["000.jpg", "002.jpg", "003.jpg"]
    assert paths(min_score=0.5) == ["001.jpg"]
    assert paths(outcome=Outcome.UNREADABLE) == ["004.jpg", "005.jpg", "006.jpg", "007.jpg"]
    assert paths(path_prefix="00") == [f"00{i}.jpg" for i in range(8)]
    assert paths(path_prefix="%") == []

    shares = results.distribution(db, job.id)
    assert (shares["happiness"]["count"], shares["neutral"]["count"]) == (1, 3)
    assert shares["happiness"]["mean_score"] == pytest.approx((1 + 3 * SCORES[16]) / 4, abs=1e-6)
