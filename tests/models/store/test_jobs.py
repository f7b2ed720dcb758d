"""The state machine over real SQLite and PostgreSQL."""

import threading
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import psycopg
import pytest
import sqlalchemy as sa

from models.errors import FolderError, IdempotencyError, NotFoundError
from models.settings import Settings
from models.store import (
    batches,
    cancellation,
    deletion,
    hints,
    jobs,
    recovery,
    releases,
    results,
    retries,
    scans,
)
from models.store.batches import Claim
from models.store.database import Database
from models.store.jobs import JobView, Submission
from models.store.records import ImageRecord
from models.store.results import Filter
from models.store.states import JobStatus, Outcome
from models.store.tables import Batch, Image, Job, Prediction
from tests.services import Postgres, wait_until

LEASE_S = 30.0
SCORES = np.linspace(0, 2 / 28, 28, dtype=np.float32)


def submit(db: Database, release_id: int) -> JobView:
    return jobs.submit(db, Submission("/photos", release_id, batch_size=4))[0]


def scan_whole(db: Database, job: JobView, count: int, size: int = 4) -> None:
    claim = scans.claim(db, job.id, "scanner", LEASE_S)
    assert claim is not None
    items = [(i, f"{i:03}.jpg") for i in range(count)]
    assert scans.record(db, replace(claim, batch_size=size), items, LEASE_S)
    assert scans.finish(db, claim)


def claim_one(db: Database, worker: str = "worker") -> Claim:
    claim = batches.claim(db, None, worker, LEASE_S)
    assert claim is not None
    return claim


def rows_of(claim: Claim, outcome: Outcome = Outcome.CLASSIFIED) -> list[ImageRecord]:
    if outcome is Outcome.CLASSIFIED:
        return [ImageRecord(number, path, outcome, scores=SCORES) for number, path in claim.items]
    return [
        ImageRecord(number, path, outcome, "truncated", "Cut off.") for number, path in claim.items
    ]


def lose_leases(db: Database) -> None:
    with db.write() as connection:
        connection.execute(sa.update(Batch).values(lease_until=0.0))


def count(db: Database, table: type) -> int:
    with db.read() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def test_a_job_runs_from_queued_to_completed_with_true_counts_throughout(
    db: Database, release_id: int
) -> None:
    job = submit(db, release_id)
    assert (job.status, job.counts.total) == (JobStatus.QUEUED, 0)
    scan_whole(db, job, 10)
    for done in (4, 8, 10):
        claim = claim_one(db)
        assert batches.complete(db, claim, rows_of(claim))
        job = jobs.get(db, job.id)
        assert (job.counts.classified, job.counts.pending) == (done, 10 - done)
    assert job.status is JobStatus.COMPLETED
    assert None not in (job.running_at, job.scanned_at, job.completed_at, job.images_per_second)
    assert count(db, Image) == count(db, Prediction) == 10


def test_a_job_stays_running_while_its_folder_is_still_being_listed(
    db: Database, release_id: int
) -> None:
    job = submit(db, release_id)
    scan = scans.claim(db, job.id, "scanner", LEASE_S)
    assert scan is not None
    scans.record(db, scan, [(0, "a.jpg")], LEASE_S)
    claim = claim_one(db)
    batches.complete(db, claim, rows_of(claim))
    assert jobs.get(db, job.id).status is JobStatus.RUNNING
    scans.finish(db, scan)
    assert jobs.get(db, job.id).status is JobStatus.COMPLETED


def test_a_batch_is_claimed_once(db: Database, release_id: int) -> None:
    scan_whole(db, submit(db, release_id), 4)
    claim = claim_one(db)
    assert batches.claim(db, claim.batch_id, "another", LEASE_S) is None
    assert batches.claim(db, None, "another", LEASE_S) is None


def test_a_worker_thought_dead_can_neither_renew_nor_complete(
    db: Database, release_id: int
) -> None:
    job = submit(db, release_id)
    scan_whole(db, job, 4)
    sleeper = claim_one(db, "sleeper")
    lose_leases(db)
    assert recovery.requeue_expired(db) == 1
    second = claim_one(db, "second")
    assert second.attempt == sleeper.attempt + 1
    assert not batches.renew(db, sleeper, LEASE_S)
    assert not batches.complete(db, sleeper, rows_of(sleeper, Outcome.UNREADABLE))
    assert count(db, Image) == 0
    assert batches.complete(db, second, rows_of(second))
    assert not batches.complete(db, second, rows_of(second))
    assert jobs.get(db, job.id).counts.classified == 4


def test_a_dead_workers_batch_is_queued_again_at_once_when_its_death_is_known(
    db: Database, release_id: int
) -> None:
    scan_whole(db, submit(db, release_id), 4)
    claim_one(db, "dead")
    recovery.requeue_worker(db, "somebody else")
    assert batches.claim(db, None, "worker", LEASE_S) is None
    recovery.requeue_worker(db, "dead")
    assert claim_one(db).attempt == 2


def test_a_worker_frozen_while_it_sends_rows_to_postgresql_is_ended_by_the_sweep(
    postgres_server: Postgres, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.store.database.FROZEN_S", 1)
    url = postgres_server.create_database()
    db = Database(url.replace("postgresql", "postgresql+psycopg"))
    db.upgrade()
    scan_whole(db, submit(db, releases.resolve(db, None, tiny_model)), 4)
    claim = claim_one(db)
    frozen = psycopg.connect(url, application_name="cuemill")
    frozen.execute("SELECT id FROM jobs FOR UPDATE")
    with suppress(psycopg.Error), frozen.cursor().copy("COPY images FROM STDIN") as copy:
        lose_leases(db)
        assert recovery.requeue_expired(db) == 0
        wait_until(lambda: recovery.requeue_expired(db) == 1, "the batch to be queued again")
        copy.write_row([1])
    frozen.close()
    assert claim_one(db).attempt == claim.attempt + 1
    db.close()


def test_an_image_that_kills_its_worker_is_found_by_halving_and_gets_its_row(
    db: Database, release_id: int
) -> None:
    job = submit(db, release_id)
    scan_whole(db, job, 32, size=32)
    poison, deaths = 21, 0
    while (claim := batches.claim(db, None, "worker", LEASE_S)) is not None:
        if poison in [number for number, _ in claim.items]:
            deaths += 1
            lose_leases(db)
            recovery.requeue_expired(db)
        else:
            assert batches.complete(db, claim, rows_of(claim))
    job = jobs.get(db, job.id)
    assert job.status is JobStatus.COMPLETED
    assert (job.counts.classified, job.counts.failed) == (31, 1)
    failed = results.page(db, Filter(job.id, outcome=Outcome.FAILED))
    assert [(r.path, (r.error or {})["code"]) for r in failed] == [("021.jpg", "worker_died")]
    assert deaths == 3 + 4 + 3  # Of 32; of 16, 8, 4 and 2; alone.


def test_an_image_is_not_blamed_for_what_happened_to_its_batch(
    db: Database, release_id: int
) -> None:
    job = submit(db, release_id)
    scan_whole(db, job, 2, size=2)
    for _ in range(5):  # Three times together, and each once alone.
        claim_one(db)
        lose_leases(db)
        recovery.requeue_expired(db)
    while (claim := batches.claim(db, None, "worker", LEASE_S)) is not None:
        assert batches.complete(db, claim, rows_of(claim))
    assert jobs.get(db, job.id).counts.classified == 2


def test_cancel_keeps_what_is_finished_and_drops_what_is_in_hand(
    db: Database, release_id: int
) -> None:
    job = submit(db, release_id)
    scan_whole(db, job, 12)
    first = claim_one(db)
    batches.complete(db, first, rows_of(first))
    in_hand = claim_one(db)
    for _ in range(2):
        cancelled = cancellation.cancel(db, job.id)
        assert (cancelled.status, cancelled.counts.classified, cancelled.counts.cancelled) == (
            JobStatus.CANCELLED,
            4,
            8,
        )
    assert not batches.complete(db, in_hand, rows_of(in_hand))
    assert batches.claim(db, None, "worker", LEASE_S) is None
    assert jobs.get(db, job.id) == cancelled


def test_a_job_cancelled_while_it_is_scanned_gets_no_more_batches(
    db: Database, release_id: int
) -> None:
    job = submit(db, release_id)
    scan = scans.claim(db, job.id, "scanner", LEASE_S)
    assert scan is not None
    cancellation.cancel(db, job.id)
    assert not scans.record(db, scan, [(0, "a.jpg")], LEASE_S)
    assert not scans.finish(db, scan)
    assert jobs.get(db, job.id).counts.total == 0


def test_retry_runs_only_what_was_unreadable_or_failed(db: Database, release_id: int) -> None:
    job = submit(db, release_id)
    scan_whole(db, job, 8)
    first = claim_one(db)
    batches.complete(db, first, rows_of(first))
    second = claim_one(db)
    batches.complete(db, second, rows_of(second, Outcome.UNREADABLE))
    assert retries.retry(db, job.id, ("other_code",))[1] == 0
    again, retried = retries.retry(db, job.id)
    assert (retried, again.status, again.counts.pending, again.counts.unreadable) == (
        4,
        JobStatus.RUNNING,
        4,
        0,
    )
    claim = claim_one(db)
    assert claim.items == second.items
    batches.complete(db, claim, rows_of(claim))
    ended = jobs.get(db, job.id)
    assert (ended.status, ended.counts.classified) == (JobStatus.COMPLETED, 8)


def test_retry_runs_what_a_cancelled_job_left(db: Database, release_id: int) -> None:
    job = submit(db, release_id)
    scan_whole(db, job, 8)
    first = claim_one(db)
    batches.complete(db, first, rows_of(first))
    stale = claim_one(db)
    cancellation.cancel(db, job.id)
    again, retried = retries.retry(db, job.id)
    assert (retried, again.status, again.counts.pending, again.counts.cancelled) == (
        4,
        JobStatus.RUNNING,
        4,
        0,
    )
    claim = claim_one(db)
    assert not batches.complete(db, stale, rows_of(stale))
    assert batches.complete(db, claim, rows_of(claim))
    assert jobs.get(db, job.id).status is JobStatus.COMPLETED


def test_a_job_that_failed_can_be_tried_again(db: Database, release_id: int) -> None:
    job = submit(db, release_id)
    scan = scans.claim(db, job.id, "scanner", LEASE_S)
    assert scan is not None
    cancellation.fail(db, job.id, FolderError("/photos doesn't exist."))
    failed = jobs.get(db, job.id)
    assert (failed.status, failed.error) == (
        JobStatus.FAILED,
        {"code": "folder", "message": "/photos doesn't exist."},
    )
    assert retries.retry(db, job.id)[0].status is JobStatus.QUEUED
    scan_whole(db, job, 1)


def test_batches_begin_small_and_grow_with_the_job(db: Database, release_id: int) -> None:
    job, _ = jobs.submit(db, Submission("/faces", release_id, batch_size=256))
    claim = scans.claim(db, job.id, "worker", LEASE_S)
    assert claim is not None
    assert scans.record(db, claim, [(i, f"{i:05}.jpg") for i in range(10_000)], LEASE_S)
    with db.read() as connection:
        batches_made = connection.execute(
            sa.select(Batch.size, Batch.items).order_by(Batch.id)
        ).all()
    sizes = [row.size for row in batches_made]
    assert (sizes[0], max(sizes), sum(sizes)) == (32, 256, 10_000)
    assert sizes[:-1] == sorted(sizes[:-1])
    assert [number for row in batches_made for number, _ in row.items] == list(range(10_000))


def test_a_scan_whose_worker_died_goes_on_behind_the_last_path(
    db: Database, release_id: int
) -> None:
    job = submit(db, release_id)
    dead = scans.claim(db, job.id, "dead", LEASE_S)
    assert dead is not None
    scans.record(db, dead, [(0, "a.jpg"), (1, "b.jpg")], LEASE_S)
    assert scans.claim(db, None, "early", LEASE_S) is None
    recovery.requeue_worker(db, "dead")
    heir = scans.claim(db, None, "heir", LEASE_S)
    assert heir is not None
    assert (heir.cursor, heir.total) == ("b.jpg", 2)
    assert not scans.record(db, dead, [(2, "c.jpg")], LEASE_S)
    assert scans.record(db, heir, [(2, "c.jpg")], LEASE_S)


def test_delete_removes_every_row_of_the_job_and_no_other(
    db: Database, release_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletion, "DELETE_STEP", 3)
    kept, gone = submit(db, release_id), submit(db, release_id)
    for job in (kept, gone):
        scan_whole(db, job, 10)
    while (claim := batches.claim(db, None, "worker", LEASE_S)) is not None:
        batches.complete(db, claim, rows_of(claim))
    deletion.delete(db, gone.id)
    with pytest.raises(NotFoundError):
        jobs.get(db, gone.id)
    assert jobs.get(db, kept.id).counts.classified == 10
    assert count(db, Image) == count(db, Prediction) == 10


def test_an_idempotency_key_gives_the_same_job_or_a_refusal(db: Database, release_id: int) -> None:
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


def test_requests_with_one_key_at_once_make_one_job_and_refuse_what_asks_for_another(
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
    assert count(db, Job) == 1


def test_whatever_a_request_asks_for_is_part_of_it() -> None:
    asked = Submission("/photos", 1, metadata={"study": 1})
    others = [
        replace(asked, fresh=True),
        replace(asked, trust_mtime=True),
        replace(asked, retention_days=0),
        replace(asked, retention_days=1),
    ]
    assert len({asked.sha256, *(other.sha256 for other in others)}) == 5


def test_a_live_job_that_takes_more_on_trust_than_is_asked_for_is_not_gone_on_with(
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


def test_a_live_job_for_the_same_folder_is_found_to_go_on_with(
    db: Database, release_id: int
) -> None:
    asked = Submission("/photos", release_id)
    assert jobs.find_live(db, asked) is None
    job, _ = jobs.submit(db, asked)
    assert jobs.find_live(db, asked) == job
    assert jobs.find_live(db, replace(asked, recursive=False)) is None
    cancellation.cancel(db, job.id)
    assert jobs.find_live(db, asked) is None


def test_dispatch_announces_a_bounded_window_and_again_what_went_unanswered(
    db: Database, release_id: int
) -> None:
    sent: list[tuple[str, int]] = []
    settings = Settings(dispatch_window=2)

    def send(task: str, identity: int) -> bool:
        sent.append((task, identity))
        return True

    job = submit(db, release_id)
    assert hints.send_due(db, send, settings) == 1
    assert sent == [("cuemill.scan", job.id)]
    scan_whole(db, job, 20)
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


def test_sweeps_and_dispatchers_at_once_do_no_harm(db: Database, release_id: int) -> None:
    scan_whole(db, submit(db, release_id), 80)
    for _ in range(10):
        claim_one(db, "dead")
    lose_leases(db)
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

    for _ in range(2):  # Again, for in PostgreSQL a sweep passes over a job that another one holds.
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (sum(swept), len(sent), len(set(sent))) == (10, 20, 20)
    with db.read() as connection:
        states = connection.execute(sa.select(Batch.state, Batch.attempt).order_by(Batch.id)).all()
    assert states == 10 * [("queued", 1)] + 10 * [("queued", 0)]


def test_work_waits_while_a_scan_or_a_batch_can_be_taken(db: Database, release_id: int) -> None:
    assert not hints.work_is_waiting(db)
    job = submit(db, release_id)
    assert hints.work_is_waiting(db)
    claim = scans.claim(db, job.id, "scanner", LEASE_S)
    assert claim is not None
    assert not hints.work_is_waiting(db)
    scans.record(db, claim, [(0, "a.jpg")], LEASE_S)
    assert hints.work_is_waiting(db)
    claim_one(db)
    assert not hints.work_is_waiting(db)


def test_a_scan_whose_lease_ran_out_is_announced_again_at_once(
    db: Database, release_id: int
) -> None:
    job = submit(db, release_id)
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


def test_what_a_queue_out_of_reach_did_not_take_is_announced_by_the_next_sweep(
    db: Database, release_id: int
) -> None:
    scan_whole(db, submit(db, release_id), 20)
    settings = Settings(dispatch_window=3)
    assert hints.send_due(db, lambda task, identity: False, settings) == 0
    assert hints.send_due(db, lambda task, identity: True, settings) == 3


def test_pages_follow_the_scan_and_join_without_gap_or_overlap(
    db: Database, release_id: int
) -> None:
    job = submit(db, release_id)
    scan_whole(db, job, 11)
    while (claim := batches.claim(db, None, "worker", LEASE_S)) is not None:
        batches.complete(db, claim, rows_of(claim))
    seen: list[str] = []
    after = None
    while found := results.page(db, Filter(job.id), limit=4, after=after):
        seen += [record.path for record in found]
        after = found[-1].cursor
    assert seen == [f"{i:03}.jpg" for i in range(11)]
    assert [r.path for r in results.stream(db, Filter())] == seen


def test_results_are_filtered_by_emotion_score_outcome_and_path(
    db: Database, release_id: int
) -> None:
    job = submit(db, release_id)
    scan_whole(db, job, 8)
    claim = claim_one(db)
    happy = np.eye(28, dtype=np.float32)[16]
    rows = rows_of(claim)
    rows[1] = replace(rows[1], scores=happy)
    batches.complete(db, claim, rows)
    claim = claim_one(db)
    batches.complete(db, claim, rows_of(claim, Outcome.UNREADABLE))

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


def counted_in_sql(db: Database, job_id: int) -> dict[str, int]:
    """The counts as images and batches have them, apart from those that the job keeps."""
    by_outcome = (
        sa.select(Image.outcome, sa.func.count())
        .where(Image.job_id == job_id)
        .group_by(Image.outcome)
    )
    by_state = (
        sa.select(Batch.state, sa.func.sum(Batch.size))
        .where(Batch.job_id == job_id)
        .group_by(Batch.state)
    )
    with db.read() as connection:
        outcomes = dict(connection.execute(by_outcome).all())
        states = dict(connection.execute(by_state).all())
    pending, cancelled = (
        states.get("queued", 0) + states.get("running", 0),
        states.get("cancelled", 0),
    )
    total = sum(outcomes.values()) + pending + cancelled
    return {
        "total": total,
        "pending": pending,
        "cancelled": cancelled,
        **{outcome.value: outcomes.get(outcome, 0) for outcome in Outcome},
    }


def test_a_jobs_counts_are_those_of_its_images_and_batches_after_every_move(
    db: Database, release_id: int
) -> None:
    job = submit(db, release_id)

    def check() -> None:
        assert asdict(jobs.get(db, job.id).counts) == counted_in_sql(db, job.id)

    scan_whole(db, job, 14)
    check()
    for outcome in (Outcome.NO_FACE, Outcome.UNREADABLE):
        claim = claim_one(db)
        check()
        batches.complete(db, claim, rows_of(claim, outcome))
        check()
    cancellation.cancel(db, job.id)
    check()
    retries.retry(db, job.id)
    check()
    while (next_claim := batches.claim(db, None, "worker", LEASE_S)) is not None:
        batches.complete(db, next_claim, rows_of(next_claim))
        check()
    assert jobs.get(db, job.id).status is JobStatus.COMPLETED
