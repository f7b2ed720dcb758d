"""The supervisor of the embedded queue: it outlives whatever befalls its host."""

import errno
import multiprocessing
from collections.abc import Callable
from multiprocessing.context import SpawnProcess
from pathlib import Path

import pytest
import sqlalchemy as sa

from models.health.snapshot import take_snapshot
from models.settings import Settings
from models.store import batches, database, jobs, recovery, releases
from models.store.database import Database, open_database
from models.store.jobs import Submission
from models.store.states import BatchState
from models.store.tables import Batch, Job
from tests.builders import submit_job
from tests.services import wait_until
from worker import embedded
from worker.embedded import Supervisor
from worker.lease import worker_name

NO_JOB = 2**40
"""A job that isn't there, so that the processes claim nothing."""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Of one process, over a database of its own; a dead process is replaced soon."""
    monkeypatch.setattr(embedded, "RETRY_S", 0.1)
    settings = Settings(_env_file=None, data_dir=tmp_path, workers=1)
    db = open_database(settings)
    db.upgrade()
    db.close()
    return settings


def fail_at_first(
    function: Callable[..., object], errors: list[Exception]
) -> Callable[..., object]:
    """Raises each of the errors, and then calls the function."""

    def fail_or_call(*arguments: object, **options: object) -> object:
        if errors:
            raise errors.pop()
        return function(*arguments, **options)

    return fail_or_call


def processes() -> list[int]:
    return [child.pid for child in multiprocessing.active_children() if child.pid]


def test_a_process_that_cannot_be_started_is_tried_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    limit = BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
    files = OSError(errno.EMFILE, "Too many open files")
    errors: list[Exception] = [limit, files]
    monkeypatch.setattr(SpawnProcess, "start", fail_at_first(SpawnProcess.start, errors))
    with Supervisor(settings):
        assert processes() == []
        wait_until(processes, "the process to be started")
    assert errors == []
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == [files, limit]


def test_a_dead_process_is_replaced_even_if_its_batches_cannot_be_requeued(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    error = RuntimeError("A fault of the program.")
    requeue_worker = fail_at_first(recovery.requeue_worker, [error])
    monkeypatch.setattr(recovery, "requeue_worker", requeue_worker)
    with Supervisor(settings):
        (dead,) = multiprocessing.active_children()
        dead.kill()
        wait_until(lambda: processes() not in ([], [dead.pid]), "another process")
    assert error in [record.exc_info[1] for record in caplog.records if record.exc_info]


def test_requests_that_hold_every_connection_of_the_api_do_not_starve_the_supervisor(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    observer = open_database(settings)
    monkeypatch.setattr(database, "KEPT_CONNECTIONS", 1)
    monkeypatch.setattr(database, "MAX_CONNECTIONS", 1)
    api = open_database(settings)
    with api.read(), Supervisor(settings):
        wait_until(lambda: has_heartbeat(observer), "the heartbeat")
    assert not has_heartbeat(observer)
    api.close()
    observer.close()


def has_heartbeat(db: Database) -> bool:
    return bool(take_snapshot(db).programs)


def test_a_supervisor_requeues_the_batch_of_its_own_dead_process_and_no_other(
    settings: Settings, tiny_model: Path
) -> None:
    db = open_database(settings)
    release_id = releases.resolve(db, None, tiny_model)
    for _ in range(2):
        submit_job(db, release_id, images=1)
    with Supervisor(settings, job_id=NO_JOB):
        (dead,) = multiprocessing.active_children()
        assert batches.claim(db, None, worker_name(dead.pid), lease_s=600)
        assert batches.claim(db, None, worker_name(dead.pid, "of another"), lease_s=600)
        dead.kill()
        wait_until(lambda: count_queued(db) == 1, "its batch to be queued again")
    db.close()


def test_a_process_claims_work_under_the_name_that_its_supervisor_knows(
    settings: Settings, tiny_model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    db = open_database(settings)
    release_id = releases.resolve(db, None, tiny_model)
    jobs.submit(db, Submission(folder=str(folder), model_release_id=release_id))
    with Supervisor(settings):
        (child,) = processes()
        wait_until(lambda: scan_worker(db), "the folder to be claimed")
        assert scan_worker(db) == worker_name(child)
    db.close()


def count_queued(db: Database) -> int:
    with db.read() as connection:
        query = sa.select(sa.func.count()).where(Batch.state == BatchState.QUEUED)
        return connection.execute(query).scalar_one()


def scan_worker(db: Database) -> str | None:
    with db.read() as connection:
        return connection.scalar(sa.select(Job.scan_worker))
