"""The scan of real folders into either database: how it streams, and how it resumes."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from models.settings import Settings
from models.sources.walk import walk
from models.store import batches, cancellation, jobs, recovery, scans
from models.store.database import Database
from models.store.jobs import JobView, Submission
from models.store.states import BatchState, JobStatus, Outcome
from models.store.tables import Batch, Job
from tests.builders import records_of, touch
from tests.services import wait_until
from worker.lease import ClaimLostError
from worker.scan import scan
from worker.watch import watch

SETTINGS = Settings(lease_s=30.0)


def nothing() -> None:
    pass


def submit(db: Database, release_id: int, folder: Path, images: int) -> JobView:
    folder.mkdir()
    for i in range(images):
        (folder / f"{i:03}.jpg").touch()
    return jobs.submit(db, Submission(str(folder), release_id, batch_size=4))[0]


@pytest.fixture(autouse=True)
def _commit_by_count_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.scan.COMMIT_S", 1e9)
    monkeypatch.setattr("worker.scan.CLASSIFY_AFTER_S", 0.0)


def recorded_items(db: Database, job: JobView) -> list[tuple[int, str]]:
    with db.read() as connection:
        query = sa.select(Batch.items).where(Batch.job_id == job.id).order_by(Batch.id)
        return [
            (number, path) for items in connection.scalars(query) for number, path in items or ()
        ]


def run(
    db: Database,
    job: JobView,
    announce: Callable[[], object] = nothing,
    classify: Callable[[], object] = nothing,
) -> None:
    assert scan(db, SETTINGS, "worker", job.id, announce, classify)


def test_the_first_batch_is_announced_while_the_folder_is_still_being_listed(
    db: Database, release_id: int, tmp_path: Path
) -> None:
    job = submit(db, release_id, tmp_path / "faces", 30)
    seen: list[tuple[int, bool]] = []

    def announce() -> None:
        now = jobs.get(db, job.id)
        seen.append((now.counts.total, now.scanned_at is None))

    run(db, job, announce)
    assert seen == [(4, True), (30, True)]
    assert recorded_items(db, job) == [(i, f"{i:03}.jpg") for i in range(30)]
    assert jobs.get(db, job.id).scanned_at is not None


def test_no_commit_has_more_paths_than_its_limit(
    db: Database, release_id: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.scan.COMMIT_PATHS", 8)
    job = submit(db, release_id, tmp_path / "faces", 30)
    totals: list[int] = []
    run(db, job, lambda: totals.append(jobs.get(db, job.id).counts.total))
    assert totals == [4, 12, 20, 28, 30]


def test_a_lone_worker_gives_results_while_it_lists(
    db: Database, release_id: int, tmp_path: Path
) -> None:
    job = submit(db, release_id, tmp_path / "faces", 30)
    seen: list[JobView] = []

    def classify() -> None:
        claim = batches.claim(db, None, "worker", 30.0)
        assert claim is not None
        batches.complete(db, claim, records_of(claim, Outcome.UNREADABLE))
        seen.append(jobs.get(db, job.id))

    run(db, job, classify=classify)
    assert (seen[0].scanned_at, seen[0].counts.unreadable, seen[0].counts.total) == (None, 4, 4)


@pytest.mark.parametrize("commits", [1, 2, 4])
def test_a_scan_killed_after_any_commit_resumes_even_if_the_folder_changed(
    db: Database, release_id: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commits: int
) -> None:
    monkeypatch.setattr("worker.scan.COMMIT_PATHS", 4)
    monkeypatch.setattr("models.sources.walk.PASS", 3)
    job = submit(db, release_id, tmp_path / "faces", 30)
    left = commits

    class KilledError(Exception):
        pass

    def die() -> None:
        nonlocal left
        left -= 1
        if not left:
            raise KilledError

    with pytest.raises(KilledError):
        run(db, job, die)
    for late in ("000-late.jpg", "029-late.jpg"):
        (tmp_path / "faces" / late).touch()
    recovery.requeue_worker(db, "worker")
    run(db, job)
    items = recorded_items(db, job)
    assert [number for number, _ in items] == list(range(31))
    assert [path for _, path in items] == sorted(
        [*(f"{i:03}.jpg" for i in range(30)), "029-late.jpg"]
    )
    assert jobs.get(db, job.id).counts.total == 31


def test_a_scan_cancelled_between_two_commits_stops_and_leaves_true_counts(
    db: Database, release_id: int, tmp_path: Path
) -> None:
    job = submit(db, release_id, tmp_path / "faces", 30)
    run(db, job, lambda: cancellation.cancel(db, job.id))
    ended = jobs.get(db, job.id)
    assert (ended.status, ended.counts.total, ended.counts.cancelled) == (JobStatus.CANCELLED, 4, 4)
    assert ended.scanned_at is None
    with db.read() as connection:
        assert set(connection.scalars(sa.select(Batch.state))) == {BatchState.CANCELLED}


def test_a_scan_that_another_worker_took_over_adds_nothing(
    db: Database, release_id: int, tmp_path: Path
) -> None:
    job = submit(db, release_id, tmp_path / "faces", 30)

    def take_over() -> None:
        recovery.requeue_worker(db, "worker")
        assert scans.claim(db, job.id, "another", 30.0) is not None

    run(db, job, take_over)
    assert len(recorded_items(db, job)) == 4
    assert jobs.get(db, job.id).scanned_at is None


def test_a_scan_keeps_its_lease_while_it_lists_and_stops_when_it_is_cancelled(
    db: Database, release_id: int, tmp_path: Path
) -> None:
    job = submit(db, release_id, tmp_path / "faces", 1)
    claim = scans.claim(db, job.id, "worker", 30.0)
    assert claim is not None

    def lease() -> float | None:
        with db.read() as connection:
            return connection.execute(sa.select(Job.scan_lease_until)).scalar_one()

    folder = os.fsencode(tmp_path / "faces")
    before = lease()
    with watch(lambda: scans.renew(db, claim, 30.0), pytest.fail, lease_s=0.3) as state:
        wait_until(lambda: lease() != before, "the renewal")
        assert list(walk(folder, True, alive=state.alive))
        cancellation.cancel(db, job.id)
        wait_until(lambda: state.lost, "the loss of the claim")
        with pytest.raises(ClaimLostError):
            list(walk(folder, True, alive=state.alive))


def test_what_a_scan_passes_over_is_counted_once_though_it_is_interrupted(
    db: Database, release_id: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.scan.COMMIT_PATHS", 2)
    touch(tmp_path / "faces", "1.jpg", "2.jpg", "a.txt", "b/3.jpg", "b/b.jxl", "c/c.txt")
    touch(tmp_path / "faces", "@eaDir/1.jpg")
    submission = Submission(str(tmp_path / "faces"), release_id, batch_size=2, exclude=("@eaDir",))
    job, _ = jobs.submit(db, submission)

    def fail() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        run(db, job, fail)
    assert jobs.get(db, job.id).skipped == {"@eaDir": 1, "other": 1}

    with db.write() as connection:
        connection.execute(sa.update(Job).values(scan_lease_until=None))
    run(db, job)
    done = jobs.get(db, job.id)
    assert done.skipped == {"@eaDir": 1, "other": 2, ".jxl": 1}
    assert done.exclude == ["@eaDir"]
    assert done.counts.total == 3


def test_a_folder_without_a_readable_picture_says_which_it_has(
    db: Database, release_id: int, tmp_path: Path
) -> None:
    touch(tmp_path / "faces", "1.jxl", "2.jxl")
    job, _ = jobs.submit(db, Submission(str(tmp_path / "faces"), release_id))
    run(db, job)
    error = jobs.get(db, job.id).error
    assert error is not None
    assert error["message"].endswith("2 files skipped: 2 .jxl.")


def test_single_files_are_recorded_without_listing_their_folder_even_after_an_interruption(
    db: Database, release_id: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.scan.COMMIT_PATHS", 2)
    touch(tmp_path / "faces", "1.jpg", "2.jpg", "3.jpg", ".4")
    only = ("3.jpg", "gone.jpg", ".4", "1.jpg", "3.jpg")
    submission = Submission(str(tmp_path / "faces"), release_id, batch_size=2, only=only)
    job, _ = jobs.submit(db, submission)
    assert job.is_selection
    assert jobs.find_live(db, replace(submission, only=only[1:])) == job  # The same, less often.
    assert jobs.find_live(db, replace(submission, only=None)) is None

    def fail() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        run(db, job, fail)
    with db.write() as connection:
        connection.execute(sa.update(Job).values(scan_lease_until=None))
    run(db, job)
    assert recorded_items(db, job) == [(0, ".4"), (1, "1.jpg"), (2, "3.jpg"), (3, "gone.jpg")]


def test_a_job_is_resumed_only_by_one_that_passes_over_the_same(
    db: Database, release_id: int, tmp_path: Path
) -> None:
    submission = Submission(str(tmp_path / "faces"), release_id, exclude=("@eaDir", "*.gif"))
    job, _ = jobs.submit(db, submission)
    found = jobs.find_live(db, submission)
    assert found is not None
    assert found.id == job.id
    assert jobs.find_live(db, replace(submission, exclude=())) is None
