"""Jobs are submitted once, found again, and keep exact counts."""

import threading
from dataclasses import asdict, replace

import pytest

from models.errors import IdempotencyError
from models.store import (
    batches,
    cancellation,
    jobs,
    retries,
    scans,
)
from models.store.database import Database
from models.store.jobs import Submission
from models.store.states import JobStatus, Outcome
from models.store.tables import Image, Job, Prediction
from tests.builders import (
    LEASE_S,
    claim_batch,
    count_in_sql,
    count_rows,
    list_folder,
    queue_job,
    records_of,
)


def test_a_job_runs_from_queued_to_completed_with_exact_counts_throughout(
    db: Database, release_id: int
) -> None:
    job = queue_job(db, release_id)
    assert (job.status, job.counts.total) == (JobStatus.QUEUED, 0)

    list_folder(db, job, 10)
    for done in (4, 8, 10):
        claim = claim_batch(db)
        assert batches.complete(db, claim, records_of(claim))
        job = jobs.get(db, job.id)
        assert (job.counts.classified, job.counts.pending) == (done, 10 - done)

    assert job.status is JobStatus.COMPLETED
    assert None not in (job.running_at, job.scanned_at, job.completed_at, job.images_per_second)
    assert count_rows(db, Image) == count_rows(db, Prediction) == 10


def test_a_job_stays_running_while_its_folder_is_being_listed(
    db: Database, release_id: int
) -> None:
    job = queue_job(db, release_id)
    scan = scans.claim(db, job.id, "scanner", LEASE_S)
    assert scan is not None
    scans.record(db, scan, [(0, "a.jpg")], LEASE_S)
    claim = claim_batch(db)
    batches.complete(db, claim, records_of(claim))
    assert jobs.get(db, job.id).status is JobStatus.RUNNING

    scans.finish(db, scan)
    assert jobs.get(db, job.id).status is JobStatus.COMPLETED


def test_an_idempotency_key_returns_the_same_job_or_is_refused(
    db: Database, release_id: int
) -> None:
    asked = Submission("/photos", release_id, idempotency_key="abc", metadata={"study": 1})
    first, new = jobs.submit(db, asked)
    again, new_again = jobs.submit(db, asked)
    assert (new, new_again, again) == (True, False, first)

    another_default = replace(asked, model_release_id=release_id + 1)
    assert jobs.submit(db, another_default) == (first, False), (
        "The same request, though a release was promoted meanwhile."
    )

    for other in (
        replace(asked, folder="/elsewhere"),
        replace(asked, model="tiny"),
        replace(asked, fresh=True),
    ):
        with pytest.raises(IdempotencyError, match="another request"):
            jobs.submit(db, other)


def test_simultaneous_requests_with_one_key_create_one_job_and_refuse_other_requests(
    db: Database, release_id: int
) -> None:
    start = threading.Barrier(8)
    ids: list[int] = []
    refused: list[IdempotencyError] = []

    def ask(folder: str) -> None:
        start.wait()
        try:
            ids.append(jobs.submit(db, Submission(folder, release_id, idempotency_key="abc"))[0].id)
        except IdempotencyError as error:
            refused.append(error)

    threads = [
        threading.Thread(target=ask, args=(folder,)) for folder in 4 * ("/photos", "/elsewhere")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(ids), len(set(ids)), len(refused)) == (4, 1, 4)
    assert count_rows(db, Job) == 1


def test_the_digest_of_a_request_covers_all_its_options() -> None:
    asked = Submission("/photos", 1, metadata={"study": 1})
    others = [
        replace(asked, fresh=True),
        replace(asked, trust_mtime=True),
        replace(asked, retention_days=0),
        replace(asked, retention_days=1),
    ]
    assert len({asked.sha256, *(other.sha256 for other in others)}) == 5


def test_a_live_job_that_reuses_more_than_the_request_allows_is_not_resumed(
    db: Database, release_id: int
) -> None:
    asked = Submission("/photos", release_id)
    trusting, _ = jobs.submit(db, replace(asked, trust_mtime=True))
    assert jobs.find_live(db, asked) is None
    assert jobs.find_live(db, replace(asked, trust_mtime=True)) == trusting

    plain, _ = jobs.submit(db, asked)
    assert jobs.find_live(db, replace(asked, fresh=True)) is None

    fresh, _ = jobs.submit(db, replace(asked, fresh=True))
    assert jobs.find_live(db, replace(asked, fresh=True)) == jobs.find_live(db, asked) == fresh
    assert plain.id < fresh.id


def test_a_live_job_for_the_same_folder_is_resumed(db: Database, release_id: int) -> None:
    asked = Submission("/photos", release_id)
    assert jobs.find_live(db, asked) is None
    job, _ = jobs.submit(db, asked)
    assert jobs.find_live(db, asked) == job
    assert jobs.find_live(db, replace(asked, recursive=False)) is None
    cancellation.cancel(db, job.id)
    assert jobs.find_live(db, asked) is None


def test_a_jobs_counts_match_its_images_and_batches_after_every_move(
    db: Database, release_id: int
) -> None:
    job = queue_job(db, release_id)

    def check() -> None:
        assert asdict(jobs.get(db, job.id).counts) == count_in_sql(db, job.id)

    list_folder(db, job, 14)
    check()
    for outcome in (Outcome.NO_FACE, Outcome.UNREADABLE):
        claim = claim_batch(db)
        check()
        batches.complete(db, claim, records_of(claim, outcome))
        check()

    cancellation.cancel(db, job.id)
    check()
    retries.retry(db, job.id)
    check()
    while (next_claim := batches.claim(db, None, "worker", LEASE_S)) is not None:
        batches.complete(db, next_claim, records_of(next_claim))
        check()

    assert jobs.get(db, job.id).status is JobStatus.COMPLETED
