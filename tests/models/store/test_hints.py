"""Due work is announced to the queue, and again when no worker answers."""

import sqlalchemy as sa

from models.settings import Settings
from models.store import (
    batches,
    hints,
    scans,
    trainings,
)
from models.store.database import Database
from models.store.tables import Batch, Job, Training
from tests.builders import (
    LEASE_S,
    claim_batch,
    list_folder,
    queue_job,
)


def test_a_limited_number_of_batches_is_announced_and_unanswered_ones_again(
    db: Database, release_id: int
) -> None:
    sent: list[tuple[str, int]] = []
    settings = Settings(dispatch_window=2)

    def send(task: str, identity: int) -> bool:
        sent.append((task, identity))
        return True

    job = queue_job(db, release_id)
    assert hints.send_due(db, send, settings) == 1
    assert sent == [("cuemill.scan", job.id)]

    list_folder(db, job, 20)
    assert hints.send_due(db, send, settings) == 2
    assert hints.send_due(db, send, settings) == 0

    batches.claim(db, sent[-1][1], "worker", LEASE_S)
    assert hints.send_due(db, send, settings) == 1
    assert [task for task, _ in sent] == ["cuemill.scan"] + 3 * ["cuemill.classify"]

    with db.write() as connection:
        connection.execute(
            sa.update(Batch).values(hinted_at=Batch.hinted_at - settings.rehint_s - 1)
        )

    assert hints.send_due(db, send, settings) == 2
    assert sent[-2:] == [sent[1], sent[3]]


def test_work_is_waiting_while_a_scan_or_a_batch_can_be_claimed(
    db: Database, release_id: int
) -> None:
    assert not hints.work_is_waiting(db)

    job = queue_job(db, release_id)
    assert hints.work_is_waiting(db)

    claim = scans.claim(db, job.id, "scanner", LEASE_S)
    assert claim is not None
    assert not hints.work_is_waiting(db)

    scans.record(db, claim, [(0, "a.jpg")], LEASE_S)
    assert hints.work_is_waiting(db)

    claim_batch(db)
    assert not hints.work_is_waiting(db)


def test_a_scan_whose_lease_expired_is_announced_again_at_once(
    db: Database, release_id: int
) -> None:
    job = queue_job(db, release_id)
    assert hints.send_due(db, lambda task, identity: True, Settings()) == 1

    scans.claim(db, job.id, "dead", LEASE_S)
    assert hints.send_due(db, lambda task, identity: True, Settings()) == 0

    with db.write() as connection:
        connection.execute(sa.update(Job).values(scan_lease_until=0.0))
    assert (
        hints.send_due(
            db, lambda task, identity: (task, identity) == ("cuemill.scan", job.id), Settings()
        )
        == 1
    )


def test_messages_that_an_unreachable_queue_did_not_take_are_sent_by_the_next_sweep(
    db: Database, release_id: int
) -> None:
    list_folder(db, queue_job(db, release_id), 20)
    settings = Settings(dispatch_window=3)
    assert hints.send_due(db, lambda task, identity: False, settings) == 0
    assert hints.send_due(db, lambda task, identity: True, settings) == 3


def test_a_queued_training_is_announced_once_and_again_if_unanswered(db: Database) -> None:
    sent: list[tuple[str, int]] = []

    def send(task: str, identity: int) -> bool:
        sent.append((task, identity))
        return True

    training = trainings.submit(db, {"data": ["/photos"], "candidates": ["model3"]})
    assert hints.send_due_trainings(db, lambda *_: False, 30.0) == 0
    assert [hints.send_due_trainings(db, send, 30.0) for _ in range(3)] == [1, 0, 0]
    assert hints.send_due_trainings(db, send, -1.0) == 1
    assert sent == [("cuemill.train", training.id)] * 2


def test_messages_sent_before_the_clock_stepped_back_by_an_hour_are_sent_again(
    db: Database, release_id: int
) -> None:
    queue_job(db, release_id)
    list_folder(db, queue_job(db, release_id), 20)
    trainings.submit(db, {"data": ["/photos"], "candidates": ["model3"]})
    settings = Settings(dispatch_window=3)

    def send_all() -> list[int]:
        return [
            hints.send_due(db, lambda *_: True, settings),
            hints.send_due_trainings(db, lambda *_: True, settings.rehint_s),
        ]

    assert send_all() == [1 + 3, 1]
    assert send_all() == [0, 0]

    with db.write() as connection:
        for hinted_at in (Batch.hinted_at, Job.scan_hinted_at, Training.hinted_at):
            later = {hinted_at: hinted_at + 3600}
            connection.execute(sa.update(hinted_at.class_).values(later))
    assert send_all() == [1 + 3, 1]
    assert send_all() == [0, 0]
