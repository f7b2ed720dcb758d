"""The states of trainings, over real SQLite and PostgreSQL."""

from typing import Any

import pytest
import sqlalchemy as sa

from models.errors import DataError, IdempotencyError, NotFoundError
from models.store import trainings
from models.store.database import Database
from models.store.states import JobStatus
from models.store.tables import Training
from models.store.trainings import CANDIDATES, TrainingClaim
from trainer import candidates

LEASE_S = 30.0
PLAN: dict[str, Any] = {"data": ["/photos"], "candidates": ["model3", "model1"]}
EPOCH = {"loss": 1.0, "accuracy": 0.5, "val_loss": 1.5, "val_accuracy": 0.25, "seconds": 2.0}


def claim_training(db: Database) -> TrainingClaim:
    claim = trainings.claim(db, None, "worker", LEASE_S)
    assert claim is not None
    return claim


def expire_lease(db: Database) -> None:
    with db.write() as connection:
        connection.execute(sa.update(Training).values(lease_until=0.0))


def test_the_candidates_that_the_api_accepts_are_those_of_the_trainer() -> None:
    assert sorted(CANDIDATES) == sorted(candidates.CANDIDATES)


def test_a_training_runs_from_queued_to_completed_and_records_each_epoch(
    db: Database, release_id: int
) -> None:
    training = trainings.submit(db, PLAN)
    assert (training.status, training.plan, training.history) == (JobStatus.QUEUED, PLAN, [])

    claim = claim_training(db)
    assert claim.plan == PLAN
    assert trainings.begin_candidate(db, claim, "model3", 25)
    assert trainings.record_epochs(db, claim, "model3", [EPOCH])
    assert trainings.record_epochs(db, claim, "model3", [EPOCH, {**EPOCH, "loss": 0.5}])
    assert trainings.record_epochs(db, claim, "model1", [EPOCH])

    seen = trainings.get(db, training.id)
    assert (seen.status, seen.candidate, seen.epochs) == (JobStatus.RUNNING, "model3", 25)

    recorded = [(epoch["candidate"], epoch["epoch"], epoch["loss"]) for epoch in seen.history]
    assert recorded == [("model3", 1, 1.0), ("model3", 2, 0.5), ("model1", 1, 1.0)]
    assert trainings.complete(db, claim, release_id, [{"candidate": "model3"}])

    ended = trainings.get(db, training.id)
    assert (ended.status, ended.model_release_id, ended.error) == (
        JobStatus.COMPLETED,
        release_id,
        None,
    )
    assert ended.comparison == [{"candidate": "model3"}]
    assert None not in (ended.running_at, ended.completed_at)


def test_an_idempotency_key_returns_the_same_training_or_is_refused(db: Database) -> None:
    first = trainings.submit(db, PLAN, "abc")
    assert trainings.submit(db, PLAN, "abc") == first

    with pytest.raises(IdempotencyError, match="another request"):
        trainings.submit(db, PLAN | {"seed": 99}, "abc")

    assert trainings.submit(db, PLAN, "another").id != first.id
    assert trainings.submit(db, PLAN).id != trainings.submit(db, PLAN).id


def test_a_training_is_claimed_once(db: Database) -> None:
    training = trainings.submit(db, PLAN)
    claim_training(db)
    assert trainings.claim(db, None, "other", LEASE_S) is None
    assert trainings.claim(db, training.id, "other", LEASE_S) is None


def test_the_worker_of_a_cancelled_training_loses_its_claim(db: Database, release_id: int) -> None:
    training = trainings.submit(db, PLAN)
    claim = claim_training(db)
    assert trainings.cancel(db, training.id).status is JobStatus.CANCELLED
    assert not trainings.renew(db, claim, LEASE_S)
    assert not trainings.record_epochs(db, claim, "model3", [EPOCH])
    assert not trainings.complete(db, claim, release_id, [])
    assert not trainings.put_back(db, claim)
    assert trainings.cancel(db, training.id) == trainings.get(db, training.id)
    assert trainings.get(db, training.id).history == []


def test_a_queued_training_can_be_cancelled_and_an_ended_one_does_not_change(db: Database) -> None:
    training = trainings.submit(db, PLAN)
    trainings.cancel(db, training.id)
    assert trainings.claim(db, None, "worker", LEASE_S) is None
    other = trainings.submit(db, PLAN)
    trainings.fail(db, claim_training(db), DataError("no images"))
    assert trainings.cancel(db, other.id).status is JobStatus.FAILED


def test_a_failure_keeps_its_reason(db: Database) -> None:
    training = trainings.submit(db, PLAN)
    trainings.fail(db, claim_training(db), DataError("/photos has no image."))
    assert trainings.get(db, training.id).error == {
        "code": "data",
        "message": "/photos has no image.",
    }

    other = trainings.submit(db, PLAN)
    trainings.fail(db, claim_training(db), MemoryError("no room"))
    assert trainings.get(db, other.id).error == {
        "code": "internal",
        "message": "MemoryError: no room",
    }


def test_a_training_with_an_expired_lease_is_claimed_again_and_the_old_claim_is_void(
    db: Database,
) -> None:
    trainings.submit(db, PLAN)
    lost = claim_training(db)
    assert trainings.requeue_expired(db) == 0

    expire_lease(db)
    assert trainings.requeue_expired(db) == 1

    again = claim_training(db)
    assert again.attempt == lost.attempt + 1
    assert not trainings.renew(db, lost, LEASE_S)
    assert not trainings.fail(db, lost, DataError("late"))
    assert trainings.renew(db, again, LEASE_S)


def test_a_training_that_kills_its_workers_fails_with_a_reason(db: Database) -> None:
    training = trainings.submit(db, PLAN)
    for _ in range(3):
        claim_training(db)
        expire_lease(db)
        assert trainings.requeue_expired(db) == 1

    ended = trainings.get(db, training.id)
    assert ended.status is JobStatus.FAILED
    assert ended.error is not None
    assert ended.error["code"] == "worker_died"


def test_a_training_that_is_put_back_does_not_count_as_lost(db: Database) -> None:
    training = trainings.submit(db, PLAN)
    for _ in range(5):
        assert trainings.put_back(db, claim_training(db))
    assert trainings.get(db, training.id).status is JobStatus.QUEUED


def test_trainings_are_listed_newest_first_in_pages(db: Database) -> None:
    ids = [trainings.submit(db, PLAN).id for _ in range(5)]
    first = trainings.list_newest(db, limit=2)
    assert [view.id for view in first] == ids[:2:-1]
    assert [view.id for view in trainings.list_newest(db, before=first[-1].id)] == ids[2::-1]


def test_an_unknown_training_is_named_in_the_error(db: Database) -> None:
    with pytest.raises(NotFoundError, match="No training 7"):
        trainings.get(db, 7)
