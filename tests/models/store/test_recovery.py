"""Batches whose worker is gone are queued again, split, or given up."""

import threading
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from models.settings import Settings
from models.store import (
    batches,
    hints,
    jobs,
    recovery,
    releases,
    results,
)
from models.store.database import Database
from models.store.filters import ResultFilter
from models.store.states import MAX_ATTEMPTS, JobStatus, Outcome
from models.store.tables import Batch, Image
from tests.builders import (
    LEASE_S,
    claim_batch,
    expire_leases,
    list_folder,
    queue_job,
    records_of,
)
from tests.services import Postgres, wait_until


def test_the_batch_of_a_worker_known_to_be_dead_is_queued_again_at_once(
    db: Database, release_id: int
) -> None:
    list_folder(db, queue_job(db, release_id), 4)
    claim_batch(db, "dead")
    recovery.requeue_worker(db, "somebody else")
    assert batches.claim(db, None, "worker", LEASE_S) is None
    recovery.requeue_worker(db, "dead")
    assert claim_batch(db).attempt == 2


def test_a_sweep_ends_a_worker_that_froze_while_sending_rows_to_postgresql(
    postgres_server: Postgres, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.store.database.FROZEN_S", 1)
    url = postgres_server.create_database()
    db = Database(url.replace("postgresql", "postgresql+psycopg"))
    db.upgrade()
    list_folder(db, queue_job(db, releases.resolve(db, None, tiny_model)), 4)
    claim = claim_batch(db)
    frozen = psycopg.connect(url, application_name="cuemill")
    frozen.execute("SELECT id FROM jobs FOR UPDATE")
    with suppress(psycopg.Error), frozen.cursor().copy("COPY images FROM STDIN") as copy:
        expire_leases(db)
        assert recovery.requeue_expired(db) == 0
        wait_until(lambda: recovery.requeue_expired(db) == 1, "the batch to be queued again")
        copy.write_row([1])

    frozen.close()
    assert claim_batch(db).attempt == claim.attempt + 1

    db.close()


def test_an_image_that_kills_its_worker_is_found_by_splitting_and_recorded_as_failed(
    db: Database, release_id: int
) -> None:
    job = queue_job(db, release_id)
    list_folder(db, job, 32, batch_size=32)
    poison, deaths = 21, 0
    while (claim := batches.claim(db, None, "worker", LEASE_S)) is not None:
        if poison in [number for number, _ in claim.items]:
            deaths += 1
            expire_leases(db)
            recovery.requeue_expired(db)
        else:
            assert batches.complete(db, claim, records_of(claim))

    job = jobs.get(db, job.id)
    assert job.status is JobStatus.COMPLETED
    assert (job.counts.classified, job.counts.failed) == (31, 1)

    failed = results.page(db, ResultFilter(job.id, outcome=Outcome.FAILED))
    assert [(r.path, (r.error or {})["code"]) for r in failed] == [("021.jpg", "worker_died")]
    assert deaths == 3 + 4 + 3  # Of 32; of 16, 8, 4 and 2; alone.


def test_a_batch_that_the_database_refuses_to_change_stops_no_other(
    db: Database, release_id: int, caplog: pytest.LogCaptureFixture
) -> None:
    job = queue_job(db, release_id)
    list_folder(db, job, 3, batch_size=1)
    refused = claim_batch(db, "dead")
    for _ in range(2):
        claim_batch(db, "dead")
    with db.write() as connection:
        # Its image is to be given up, but there is a row already.
        row = {"job_id": job.id, "number": 0, "path": "000.jpg", "outcome": "classified"}
        connection.execute(sa.insert(Image).values(row))
        connection.execute(
            sa.update(Batch).where(Batch.id == refused.batch_id).values(losses=MAX_ATTEMPTS)
        )

    expire_leases(db)
    assert recovery.requeue_expired(db) == 2
    assert f"batch={refused.batch_id} not recovered" in caplog.text
    assert [claim_batch(db).items for _ in range(2)] == [[(1, "001.jpg")], [(2, "002.jpg")]]

    recovery.requeue_worker(db, "dead")
    recovery.requeue_worker(db, "worker")
    assert [claim_batch(db).items for _ in range(2)] == [[(1, "001.jpg")], [(2, "002.jpg")]]


def test_an_image_is_not_blamed_for_the_deaths_of_its_batch(db: Database, release_id: int) -> None:
    job = queue_job(db, release_id)
    list_folder(db, job, 2, batch_size=2)
    for _ in range(5):  # Three times together, and each once alone.
        claim_batch(db)
        expire_leases(db)
        recovery.requeue_expired(db)

    while (claim := batches.claim(db, None, "worker", LEASE_S)) is not None:
        assert batches.complete(db, claim, records_of(claim))
    assert jobs.get(db, job.id).counts.classified == 2


def test_concurrent_sweeps_and_announcements_do_no_harm(db: Database, release_id: int) -> None:
    list_folder(db, queue_job(db, release_id), 80)
    for _ in range(10):
        claim_batch(db, "dead")
    expire_leases(db)
    sent: list[int] = []
    swept: list[int] = []
    start = threading.Barrier(8)

    def send(task: str, identity: int) -> bool:
        sent.append(identity)
        return True

    def work() -> None:
        start.wait()
        swept.append(recovery.requeue_expired(db))
        hints.send_due(db, send, Settings(dispatch_window=99))

    for _ in range(2):
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    # In PostgreSQL, a sweep passes over batches of a job that another one holds at that moment.
    start = threading.Barrier(1)
    work()

    assert (sum(swept), len(sent), len(set(sent))) == (10, 20, 20)

    with db.read() as connection:
        states = connection.execute(sa.select(Batch.state, Batch.attempt).order_by(Batch.id)).all()
    assert states == 10 * [("queued", 1)] + 10 * [("queued", 0)]
