"""Work that goes back, uncounted: who takes it again, when, and what becomes of it in the end."""

import sqlalchemy as sa

from models.errors import FolderError, ImageCode, PlaceError
from models.settings import MAX_LEASE_S
from models.store import backoff, batches, cancellation, jobs, recovery, scans
from models.store.database import Database, now_s
from models.store.states import JobStatus
from models.store.tables import Batch, Job
from tests.builders import (
    LEASE_S,
    claim_batch,
    count_in_sql,
    list_folder,
    queue_job,
    records_of,
)

DRIVE = PlaceError("The file cannot be read: Input/output error.", ImageCode.READ_ERROR)
GONE = FolderError("/photos cannot be reached: No such file or directory.")


def batch_rows(db: Database) -> list[tuple[int, int, int, int, bool]]:
    """Of each open batch: its size, tries, losses and attempts, and whether it waits."""
    query = sa.select(
        Batch.size, Batch.tries, Batch.losses, Batch.attempt, Batch.not_before > now_s()
    )
    with db.read() as connection:
        rows = connection.execute(query.where(Batch.state == "queued").order_by(Batch.id))
        return [(row[0], row[1], row[2], row[3], bool(row[4])) for row in rows]


def end_pauses(db: Database) -> None:
    with db.write() as connection:
        for table in (Batch, Job):
            connection.execute(sa.update(table).values(not_before=0.0))


def test_what_a_drive_refused_waits_and_the_rest_of_its_batch_is_recorded(
    db: Database, release_id: int
) -> None:
    job = queue_job(db, release_id)
    list_folder(db, job, 4)
    claim = claim_batch(db)
    assert batches.complete(db, claim, records_of(claim)[:3], DRIVE)

    assert batch_rows(db) == [(1, 1, 0, 0, True)]
    assert count_in_sql(db, job.id)["classified"] == 3
    assert batches.claim(db, None, "another", LEASE_S) is None

    for tries in (1, 2):
        end_pauses(db)
        claim = claim_batch(db, "another")
        assert (claim.items, claim.tries) == ([(3, "003.jpg")], tries)
        assert batches.complete(db, claim, [], DRIVE)

    end_pauses(db)
    claim = claim_batch(db)
    assert batches.complete(db, claim, records_of(claim))
    assert jobs.get(db, job.id).status is JobStatus.COMPLETED


def test_a_pause_grows_with_the_trouble_and_has_a_limit(db: Database) -> None:
    with db.read() as connection:
        now: float = connection.execute(sa.select(now_s())).scalar_one()
        for since, pause_s in ((None, 1.0), (now - 20, 20.0), (now - 3600, 60.0), (now + 9, 1.0)):
            values = backoff.after_try(connection, 1, since)
            assert abs(values["not_before"] - now - pause_s) < 5
            assert values["tries"] == 2


def test_a_pause_that_ends_later_than_any_could_is_over(db: Database, release_id: int) -> None:
    """The database's clock has stepped back since."""
    list_folder(db, queue_job(db, release_id), 4)
    with db.write() as connection:
        connection.execute(sa.update(Batch).values(not_before=now_s() + 3 * MAX_LEASE_S))
    assert claim_batch(db)


def test_a_file_that_hangs_is_set_apart_and_the_others_do_not_wait(
    db: Database, release_id: int
) -> None:
    list_folder(db, queue_job(db, release_id), 4)
    assert batches.complete(db, claim_batch(db), [], DRIVE, culprit=1)

    assert sorted(batch_rows(db)) == [(1, 1, 0, 1, True), (3, 0, 0, 0, False)]
    claim = claim_batch(db)
    assert [number for number, _ in claim.items] == [0, 2, 3]
    assert batches.complete(db, claim, records_of(claim))
    end_pauses(db)
    assert claim_batch(db).items == [(1, "001.jpg")]


def test_a_job_whose_folder_is_gone_waits_is_tried_by_one_worker_and_fails_in_the_end(
    db: Database, release_id: int
) -> None:
    job = queue_job(db, release_id)
    list_folder(db, job, 12)
    other = queue_job(db, release_id)
    list_folder(db, other, 4)
    claim = claim_batch(db)
    assert batches.complete(db, claim, records_of(claim)[:1], GONE)

    assert jobs.get(db, job.id).trouble == str(GONE)
    assert claim_batch(db).job_id == other.id
    assert batches.claim(db, None, "worker", LEASE_S) is None

    end_pauses(db)
    probe = claim_batch(db)
    assert probe.job_id == job.id
    assert batches.claim(db, None, "another", LEASE_S) is None
    assert batches.complete(db, probe, records_of(probe))
    assert jobs.get(db, job.id).trouble is None
    assert [claim_batch(db).job_id for _ in range(2)] == [job.id] * 2
    recovery.requeue_worker(db, "worker", killed=True)

    for _ in range(backoff.MIN_TRIES):
        end_pauses(db)
        assert batches.complete(db, claim_batch(db), [], GONE)
    cancellation.fail_troubled(db, give_up_s=600.0)
    assert jobs.get(db, job.id).status is JobStatus.RUNNING

    with db.write() as connection:
        connection.execute(sa.update(Job).values(troubled_since=Job.troubled_since - 700.0))
    cancellation.fail_troubled(db, give_up_s=600.0)
    failed = jobs.get(db, job.id)
    assert (failed.status, failed.error) == (
        JobStatus.FAILED,
        {"code": "folder", "message": f"{GONE} No try within 600 s succeeded."},
    )


def test_a_scan_whose_folder_is_gone_waits_too(db: Database, release_id: int) -> None:
    job = queue_job(db, release_id)
    claim = scans.claim(db, job.id, "worker", LEASE_S)
    assert claim is not None
    assert scans.give_back(db, claim, GONE)
    assert scans.claim(db, None, "another", LEASE_S) is None

    end_pauses(db)
    claim = scans.claim(db, None, "another", LEASE_S)
    assert claim is not None
    assert scans.record(db, claim, [(0, "000.jpg")], LEASE_S)
    assert jobs.get(db, job.id).trouble is None


def test_a_worker_that_its_program_killed_counts_against_no_image(
    db: Database, release_id: int
) -> None:
    list_folder(db, queue_job(db, release_id), 1)
    for _ in range(5):
        claim_batch(db, "worker")
        recovery.requeue_worker(db, "worker", killed=True)
    assert batch_rows(db) == [(1, 0, 0, 5, False)]
