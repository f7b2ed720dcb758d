"""Only the worker that holds a batch's claim can renew or complete it."""

from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from models.store import batches, jobs, recovery, results, retries
from models.store.database import Database
from models.store.filters import ResultFilter
from models.store.records import Origin
from models.store.states import JobStatus, Outcome
from models.store.tables import Image, Job
from tests.builders import (
    LEASE_S,
    add_release,
    claim_batch,
    count_rows,
    expire_leases,
    list_folder,
    queue_job,
    records_of,
)


def test_a_batch_is_claimed_once(db: Database, release_id: int) -> None:
    list_folder(db, queue_job(db, release_id), 4)
    claim = claim_batch(db)
    assert batches.claim(db, claim.batch_id, "another", LEASE_S) is None
    assert batches.claim(db, None, "another", LEASE_S) is None


def test_a_worker_that_lost_its_claim_can_neither_renew_nor_complete(
    db: Database, release_id: int
) -> None:
    job = queue_job(db, release_id)
    list_folder(db, job, 4)
    sleeper = claim_batch(db, "sleeper")
    expire_leases(db)
    assert recovery.requeue_expired(db) == 1

    second = claim_batch(db, "second")
    assert second.attempt == sleeper.attempt + 1
    assert not batches.renew(db, sleeper, LEASE_S)
    assert not batches.complete(db, sleeper, records_of(sleeper, Outcome.UNREADABLE))
    assert count_rows(db, Image) == 0
    assert batches.complete(db, second, records_of(second))
    assert not batches.complete(db, second, records_of(second))
    assert jobs.get(db, job.id).counts.classified == 4


ODD_NAME = "Odd names are refused."
IS_ODD = "substr(new.path, 1, 3) = 'odd' AND new.outcome <> 'failed'"
REFUSE_ODD_NAMES = {
    "sqlite": f"""
        CREATE TRIGGER refuse BEFORE INSERT ON images WHEN {IS_ODD}
        BEGIN SELECT RAISE(ABORT, "{ODD_NAME}"); END
    """,
    "postgresql": f"""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
            AS $body$ BEGIN RAISE EXCEPTION $text${ODD_NAME}$text$; END $body$;
        CREATE TRIGGER refuse BEFORE INSERT ON images FOR EACH ROW
            WHEN ({IS_ODD}) EXECUTE FUNCTION refuse()
    """,
}


@pytest.mark.parametrize(
    "refused",
    [
        {"origin": Origin(size=2**63)},
        {"origin": Origin(size=2**70)},
        {"path": "odd.jpg"},
        {"error_message": "a lone \udc80"},
    ],
    ids=str,
)
def test_a_row_that_the_database_refuses_becomes_one_that_says_so_and_stops_no_other(
    db: Database, release_id: int, refused: dict[str, Any]
) -> None:
    with db.write() as connection:
        connection.exec_driver_sql(REFUSE_ODD_NAMES[connection.dialect.name])
    job = queue_job(db, release_id)
    list_folder(db, job, 9, batch_size=9)
    claim = claim_batch(db)
    rows = records_of(claim)
    rows[6] = replace(rows[6], **refused)
    rows[1] = replace(rows[1], path="odd1.jpg")

    assert batches.complete(db, claim, rows)

    view = jobs.get(db, job.id)
    assert view.status is JobStatus.COMPLETED
    assert (view.counts.classified, view.counts.failed, view.faces) == (7, 2, 7)
    records = list(results.stream(db, ResultFilter(job.id)))
    for number, record in enumerate(records):
        assert (record.outcome, record.scores is None) == (
            (Outcome.FAILED, True) if number in (1, 6) else (Outcome.CLASSIFIED, False)
        )
    errors = [record.error for record in records if record.error]
    assert [error["code"] for error in errors] == ["not_recorded"] * 2
    assert ODD_NAME in errors[0]["message"]


def test_a_rerun_whose_row_the_database_refuses_keeps_the_old_result(
    db: Database, release_id: int
) -> None:
    job = queue_job(db, release_id)
    list_folder(db, job, 4)
    claim = claim_batch(db)
    assert batches.complete(db, claim, records_of(claim))
    newer = add_release(db, "newer")
    retries.retry(db, job.id, present_release=newer)
    claim = claim_batch(db)
    rows = records_of(claim)
    rows[2] = replace(rows[2], origin=Origin(size=2**63))

    assert batches.complete(db, claim, rows)

    view = jobs.get(db, job.id)
    assert (view.status, view.counts.classified, view.faces) == (JobStatus.COMPLETED, 4, 4)
    models = [record.model for record in results.stream(db, ResultFilter(job.id))]
    assert models == ["newer", "newer", job.model, "newer"]


def test_results_of_another_release_than_the_jobs_are_refused_and_the_batch_runs_again(
    db: Database, release_id: int
) -> None:
    """In PostgreSQL, a batch that is being claimed can escape `retry --stale`."""
    newer = add_release(db, "newer")
    job = queue_job(db, release_id)
    list_folder(db, job, 4)
    escaped = claim_batch(db)
    with db.write() as connection:
        connection.execute(sa.update(Job).values(model_release_id=newer))

    assert not batches.complete(db, escaped, records_of(escaped))
    assert count_rows(db, Image) == 0

    again = claim_batch(db)
    assert (again.items, again.model_release_id) == (escaped.items, newer)
    assert not batches.complete(db, escaped, records_of(escaped))
    assert batches.complete(db, again, records_of(again))
    assert jobs.get(db, job.id).status is JobStatus.COMPLETED
