"""Trainings' states and the default release, over real SQLite and PostgreSQL."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from models.errors import DataError, NotFoundError
from models.release.files import save_release
from models.store import hints, releases, trainings
from models.store.database import Database
from models.store.states import JobStatus
from models.store.tables import Training
from models.store.trainings import CANDIDATES, TrainingClaim
from tests.builders import tiny_release
from trainer import candidates

LEASE_S = 30.0
PLAN: dict[str, Any] = {"data": ["/photos"], "candidates": ["model3", "model1"]}
EPOCH = {"loss": 1.0, "accuracy": 0.5, "val_loss": 1.5, "val_accuracy": 0.25, "seconds": 2.0}


def claim_one(db: Database) -> TrainingClaim:
    found = trainings.claim(db, None, "worker", LEASE_S)
    assert found is not None
    return found


def lose_lease(db: Database) -> None:
    with db.write() as connection:
        connection.execute(sa.update(Training).values(lease_until=0.0))


def test_the_names_that_requests_are_checked_by_are_those_of_the_trainer() -> None:
    assert sorted(CANDIDATES) == sorted(candidates.CANDIDATES)


def test_a_training_runs_from_queued_to_completed_and_is_told_epoch_by_epoch(
    db: Database, release_id: int
) -> None:
    made = trainings.submit(db, PLAN)
    assert (made.status, made.plan, made.history) == (JobStatus.QUEUED, PLAN, [])
    claim = claim_one(db)
    assert claim.plan == PLAN
    assert trainings.begin_candidate(db, claim, "model3", 25)
    assert trainings.record_epochs(db, claim, "model3", [EPOCH])
    assert trainings.record_epochs(db, claim, "model3", [EPOCH, {**EPOCH, "loss": 0.5}])
    assert trainings.record_epochs(db, claim, "model1", [EPOCH])
    seen = trainings.get(db, made.id)
    assert (seen.status, seen.candidate, seen.epochs) == (JobStatus.RUNNING, "model3", 25)
    told = [(epoch["candidate"], epoch["epoch"], epoch["loss"]) for epoch in seen.history]
    assert told == [("model3", 1, 1.0), ("model3", 2, 0.5), ("model1", 1, 1.0)]
    assert trainings.complete(db, claim, release_id, [{"candidate": "model3"}])
    ended = trainings.get(db, made.id)
    assert (ended.status, ended.model_release_id, ended.error) == (
        JobStatus.COMPLETED,
        release_id,
        None,
    )
    assert ended.comparison == [{"candidate": "model3"}]
    assert None not in (ended.running_at, ended.completed_at)


def test_only_one_claim_is_given(db: Database) -> None:
    made = trainings.submit(db, PLAN)
    claim_one(db)
    assert trainings.claim(db, None, "other", LEASE_S) is None
    assert trainings.claim(db, made.id, "other", LEASE_S) is None


def test_a_cancelled_training_is_dropped_by_its_worker(db: Database, release_id: int) -> None:
    made = trainings.submit(db, PLAN)
    claim = claim_one(db)
    assert trainings.cancel(db, made.id).status is JobStatus.CANCELLED
    assert not trainings.renew(db, claim, LEASE_S)
    assert not trainings.record_epochs(db, claim, "model3", [EPOCH])
    assert not trainings.complete(db, claim, release_id, [])
    assert not trainings.put_back(db, claim)
    assert trainings.cancel(db, made.id) == trainings.get(db, made.id)
    assert trainings.get(db, made.id).history == []


def test_a_queued_training_can_be_cancelled_and_an_ended_one_stays_as_it_is(db: Database) -> None:
    made = trainings.submit(db, PLAN)
    trainings.cancel(db, made.id)
    assert trainings.claim(db, None, "worker", LEASE_S) is None
    other = trainings.submit(db, PLAN)
    trainings.fail(db, claim_one(db), DataError("no images"))
    assert trainings.cancel(db, other.id).status is JobStatus.FAILED


def test_a_failure_keeps_its_reason(db: Database) -> None:
    made = trainings.submit(db, PLAN)
    trainings.fail(db, claim_one(db), DataError("/photos has no image."))
    assert trainings.get(db, made.id).error == {"code": "data", "message": "/photos has no image."}
    other = trainings.submit(db, PLAN)
    trainings.fail(db, claim_one(db), MemoryError("no room"))
    assert trainings.get(db, other.id).error == {
        "code": "internal",
        "message": "MemoryError: no room",
    }


def test_a_lost_worker_s_training_is_claimed_again_and_the_lost_one_can_do_no_harm(
    db: Database,
) -> None:
    trainings.submit(db, PLAN)
    lost = claim_one(db)
    assert trainings.requeue_expired(db) == 0
    lose_lease(db)
    assert trainings.requeue_expired(db) == 1
    again = claim_one(db)
    assert again.attempt == lost.attempt + 1
    assert not trainings.renew(db, lost, LEASE_S)
    assert not trainings.fail(db, lost, DataError("late"))
    assert trainings.renew(db, again, LEASE_S)


def test_a_training_that_kills_its_workers_fails_with_its_reason(db: Database) -> None:
    made = trainings.submit(db, PLAN)
    for _ in range(3):
        claim_one(db)
        lose_lease(db)
        assert trainings.requeue_expired(db) == 1
    ended = trainings.get(db, made.id)
    assert ended.status is JobStatus.FAILED
    assert ended.error is not None
    assert ended.error["code"] == "worker_died"


def test_being_put_back_is_no_loss(db: Database) -> None:
    made = trainings.submit(db, PLAN)
    for _ in range(5):
        assert trainings.put_back(db, claim_one(db))
    assert trainings.get(db, made.id).status is JobStatus.QUEUED


def test_a_queued_training_is_announced_once_and_again_when_nobody_answers(db: Database) -> None:
    sent: list[tuple[str, int]] = []

    def send(task: str, identity: int) -> bool:
        sent.append((task, identity))
        return True

    made = trainings.submit(db, PLAN)
    assert hints.send_due_trainings(db, lambda *_: False, 30.0) == 0
    assert [hints.send_due_trainings(db, send, 30.0) for _ in range(3)] == [1, 0, 0]
    assert hints.send_due_trainings(db, send, -1.0) == 1
    assert sent == [("cuemill.train", made.id)] * 2


def test_trainings_are_listed_newest_first_in_pages(db: Database) -> None:
    ids = [trainings.submit(db, PLAN).id for _ in range(5)]
    first = trainings.list_newest(db, limit=2)
    assert [view.id for view in first] == ids[:2:-1]
    assert [view.id for view in trainings.list_newest(db, before=first[-1].id)] == ids[2::-1]


def test_an_unknown_training_is_named(db: Database) -> None:
    with pytest.raises(NotFoundError, match="No training 7"):
        trainings.get(db, 7)


# --- The default release ---


@pytest.fixture
def other_model(tmp_path: Path) -> Path:
    save_release(replace(tiny_release(), name="other"), tmp_path / "other.pkl")
    return tmp_path / "other.pkl"


def test_the_promoted_release_is_the_default_until_another_is(
    db: Database, tiny_model: Path, other_model: Path
) -> None:
    first, second = releases.resolve(db, None, tiny_model), releases.register(db, other_model)
    assert [(row.name, row.is_default) for row in releases.list_all(db, tiny_model)] == [
        ("tiny", True),
        ("other", False),
    ]
    for chosen in (second, first, second, second):
        assert releases.promote(db, chosen).is_default
        assert releases.resolve(db, None, tiny_model) == chosen
        assert [row.id for row in releases.list_all(db, tiny_model) if row.is_default] == [chosen]
    assert releases.resolve(db, str(tiny_model), tiny_model) == first


def test_an_unknown_release_is_not_promoted_and_the_default_stays(
    db: Database, tiny_model: Path, other_model: Path
) -> None:
    releases.promote(db, releases.register(db, other_model))
    with pytest.raises(NotFoundError, match="No model release 99"):
        releases.promote(db, 99)
    assert releases.get(db, releases.resolve(db, None, tiny_model)).name == "other"


def test_releases_are_listed_though_the_configured_pickle_is_gone(
    db: Database, other_model: Path
) -> None:
    releases.register(db, other_model)
    assert [row.is_default for row in releases.list_all(db, Path("absent.pkl"))] == [False]
