"""Failures by code."""

from models.store import batches, failures
from models.store.database import Database
from models.store.failures import Failure
from models.store.records import ImageRecord
from models.store.states import Outcome
from tests.builders import FACES, claim_batch, list_folder, queue_job


def test_failures_are_grouped_by_code_with_the_most_frequent_first(
    db: Database, release_id: int
) -> None:
    job = queue_job(db, release_id)
    list_folder(db, job, 4)
    records = [
        ImageRecord(0, "000.jpg", Outcome.FAILED, "worker_died", "Died."),
        ImageRecord(1, "001.jpg", Outcome.UNREADABLE, "truncated", "Cut at 2."),
        ImageRecord(2, "002.jpg", Outcome.UNREADABLE, "truncated", "Cut at 1."),
        ImageRecord(3, "003.jpg", Outcome.CLASSIFIED, "too_many_faces", "Too many.", faces=FACES),
    ]
    batches.complete(db, claim_batch(db), records)
    assert failures.group(db, job.id) == [
        Failure("truncated", Outcome.UNREADABLE, 2, "Cut at 1."),
        Failure("worker_died", Outcome.FAILED, 1, "Died."),
    ]
    assert failures.group(db, job.id + 1) == []
