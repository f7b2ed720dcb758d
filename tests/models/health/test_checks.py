"""What each check reports of workers, work, disks and folders, over both databases."""

import subprocess
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from models.errors import FolderError
from models.health.checks import (
    Check,
    State,
    check_database,
    check_disk,
    check_images,
    check_progress,
    check_trainings,
    check_workers,
    check_writes,
)
from models.health.snapshot import take_snapshot
from models.settings import Settings
from models.store import batches, heartbeats, trainings
from models.store.database import Database
from models.store.records import ImageRecord
from models.store.states import Outcome
from models.store.tables import Training, Worker
from tests.builders import age_rows, submit_job
from tests.services import Postgres

SETTINGS = Settings(_env_file=None)
HOUR_S = 3600.0


def test_work_without_a_worker_is_a_problem_that_says_how_much_waits_and_what_to_do(
    db: Database, release_id: int
) -> None:
    assert check_workers(take_snapshot(db)) == Check(
        "workers", State.OK, "No worker is running, and no work is waiting."
    )
    submit_job(db, release_id, images=3)
    check = check_workers(take_snapshot(db))
    assert check.state is State.PROBLEM
    assert (
        check.message == "No worker is running. Waiting: 1 job with 3 images. "
        "Start a worker with `cuemill worker`."
    )


def test_a_worker_that_beats_is_alive_and_one_that_left_is_forgotten(
    db: Database, release_id: int
) -> None:
    submit_job(db, release_id)
    heartbeats.beat(db, "h:1", 2, None, None)
    assert check_workers(take_snapshot(db)) == Check(
        "workers", State.OK, "Running: 1 worker program with 2 processes."
    )
    heartbeats.leave(db, "h:1")
    assert take_snapshot(db).programs == []


def test_a_worker_whose_processes_have_all_died_does_not_count(
    db: Database, release_id: int
) -> None:
    submit_job(db, release_id)
    heartbeats.beat(db, "h:1", 0, None, None)
    check = check_workers(take_snapshot(db))
    assert check.state is State.PROBLEM
    assert "All processes of h:1 have died; its log says why. Waiting: 1 job." in check.message


def test_a_worker_that_fell_silent_is_reported_by_name_even_while_others_are_alive(
    db: Database,
) -> None:
    heartbeats.beat(db, "h:1", 2, None, None)
    age_rows(db, HOUR_S)
    heartbeats.beat(db, "other:1", 1, None, None)
    check = check_workers(take_snapshot(db))
    assert check.state is State.WARNING
    assert "Running: 1 worker program with 1 process. h:1 last reported 60 min ago" in check.message


def test_workers_of_one_job_do_not_count_for_other_jobs(db: Database, release_id: int) -> None:
    job_id = submit_job(db, release_id, images=1)
    submit_job(db, release_id, images=2)
    heartbeats.beat(db, "h:1", 2, job_id, None)
    snapshot = take_snapshot(db)
    assert (snapshot.served.images, snapshot.unserved.images) == (1, 2)
    assert (
        "The only workers belong to `cuemill classify` and work on its job alone. Waiting: 1 job"
        in check_workers(snapshot).message
    )


def test_a_program_whose_sweeps_fail_is_named(db: Database) -> None:
    heartbeats.beat(db, "h:1", 2, None, None)
    heartbeats.note_sweep(db, "h:1")
    assert check_workers(take_snapshot(db)).state is State.OK

    with db.write() as connection:
        connection.execute(sa.update(Worker).values(swept=Worker.swept - 600))
    check = check_workers(take_snapshot(db))
    assert check.state is State.WARNING
    assert "h:1 has not swept without an error for 10 min" in check.message


def test_work_that_no_worker_takes_is_a_standstill_however_much_is_added_to_it(
    db: Database, release_id: int
) -> None:
    submit_job(db, release_id, images=2)
    progress = heartbeats.beat(db, "h:1", 2, None, None)
    assert check_progress(take_snapshot(db), SETTINGS).state is State.OK
    age_rows(db, HOUR_S)
    submit_job(db, release_id)
    heartbeats.beat(db, "h:1", 2, None, progress)
    check = check_progress(take_snapshot(db), SETTINGS)
    assert check.state is State.PROBLEM
    assert (
        "No progress for 60 min, although workers are alive. Waiting: 2 jobs with 2 images."
        in check.message
    )


def test_work_that_arrives_after_a_long_idle_time_is_no_standstill(
    db: Database, release_id: int
) -> None:
    progress = heartbeats.beat(db, "h:1", 2, None, None)
    age_rows(db, HOUR_S)
    submit_job(db, release_id)
    heartbeats.beat(db, "h:1", 2, None, progress)
    assert check_progress(take_snapshot(db), SETTINGS).state is State.OK


def test_a_job_that_waits_for_its_folder_says_why_and_hides_no_standstill(
    db: Database, release_id: int
) -> None:
    submit_job(db, release_id, images=2)
    progress = heartbeats.beat(db, "h:1", 2, None, None)
    claim = batches.claim(db, None, "h:3", lease_s=30)
    assert claim is not None
    assert batches.complete(db, claim, [], FolderError("/faces does not answer."))
    check = check_progress(take_snapshot(db), SETTINGS)
    assert (check.state, check.message) == (
        State.WARNING,
        f"Job {claim.job_id} waits: /faces does not answer.",
    )

    submit_job(db, release_id, images=2)
    progress = heartbeats.beat(db, "h:1", 2, None, progress)
    age_rows(db, HOUR_S)
    heartbeats.beat(db, "h:1", 2, None, progress)
    assert check_progress(take_snapshot(db), SETTINGS).state is State.PROBLEM


def test_every_step_of_a_batch_is_progress(db: Database, release_id: int) -> None:
    submit_job(db, release_id, images=2)
    progress = heartbeats.beat(db, "h:1", 2, None, None)

    def beat_an_hour_later() -> State:
        nonlocal progress
        age_rows(db, HOUR_S)
        progress = heartbeats.beat(db, "h:1", 2, None, progress)
        return check_progress(take_snapshot(db), SETTINGS).state

    claim = batches.claim(db, None, "h:3", lease_s=30)
    assert claim is not None
    assert beat_an_hour_later() is State.OK
    assert batches.renew(db, claim, lease_s=31)
    assert beat_an_hour_later() is State.OK
    (number, path) = claim.items[0]
    assert batches.complete(
        db, claim, [ImageRecord(number, path, Outcome.UNREADABLE, "empty", "The file is empty.")]
    )
    assert beat_an_hour_later() is State.OK
    assert beat_an_hour_later() is State.PROBLEM


def test_an_unreachable_or_outdated_database_is_a_problem_and_its_password_stays_hidden(
    db: Database,
) -> None:
    away = Database("postgresql+psycopg://user:secret@127.0.0.1:1/x")
    (check,) = check_database(away, SETTINGS)
    assert (check.name, check.state) == ("database", State.PROBLEM)
    assert "secret" not in check.message
    with db.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0003'"))
    assert "have revision 0003" in check_database(db, SETTINGS)[0].message


def test_a_training_that_has_no_worker_or_has_lost_it_is_a_problem(db: Database) -> None:
    assert check_trainings(db, SETTINGS).state is State.OK
    first = trainings.submit(db, {"candidates": ["model1"]}).id
    assert check_trainings(db, SETTINGS).state is State.OK
    with db.write() as connection:
        connection.execute(
            sa.update(Training).values(queued_at=datetime.now(UTC) - timedelta(hours=1))
        )
    check = check_trainings(db, SETTINGS)
    assert check.state is State.PROBLEM
    assert check.message.startswith(
        "No training worker is running. Waiting: 1 training. Start one with `cuemill worker"
    )
    assert trainings.claim(db, first, "h:1", lease_s=30)
    trainings.submit(db, {"candidates": ["model1"]})  # It waits for its turn, which is no problem.
    assert check_trainings(db, SETTINGS).state is State.OK
    with db.write() as connection:
        connection.execute(sa.update(Training).where(Training.id == first).values(lease_until=1.0))
    assert (
        f"The worker of training {first} has died or hangs."
        in check_trainings(db, SETTINGS).message
    )


@pytest.mark.parametrize("small_disk", ["24m"], indirect=True)
def test_a_disk_is_reported_full_before_sqlite_fails(small_disk: Path, tmp_path: Path) -> None:
    assert check_disk(tmp_path).state is State.OK
    nearly = check_disk(small_disk)
    assert (nearly.state, nearly.message.split(":")[0]) == (
        State.WARNING,
        "The disk is nearly full",
    )
    (small_disk / "ballast").write_bytes(bytes(10 * 2**20))
    full = check_disk(small_disk)
    assert full.state is State.PROBLEM
    assert f"The disk is full: 14 MB are free in {small_disk}" in full.message
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert "is not writable" in check_disk(small_disk).message


@pytest.mark.parametrize("small_disk", ["100m"], indirect=True)
def test_a_full_disk_of_postgresql_is_reported_and_so_is_room_again(
    small_disk: Path,
) -> None:
    server = Postgres(small_disk)
    server.start()
    try:
        db = Database(server.create_database())
        db.upgrade()
        assert check_writes(db).state is State.OK
        ballast = small_disk / "ballast"
        with suppress(OSError), ballast.open("wb") as file:
            while file.write(bytes(4096)):
                file.flush()
        checks = {check.name: check for check in check_database(db, SETTINGS)}
        assert checks["database"].state is State.OK
        assert checks["writes"].state is State.PROBLEM
        assert "is on a full disk" in checks["writes"].message
        ballast.unlink()
        assert check_writes(db).state is State.OK
        db.close()
    finally:
        server.stop(immediately=True)


def test_a_user_who_may_not_create_temporary_tables_is_no_problem(
    postgres_server: Postgres,
) -> None:
    url = postgres_server.create_database()
    name = url.rpartition("/")[2]
    postgres_server.execute(f"REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC")
    postgres_server.execute(f"CREATE ROLE humble_{name} LOGIN")
    db = Database(url.replace("cuemill@", f"humble_{name}@"))
    check = check_writes(db)
    assert (check.state, check.message[:12]) == (State.OK, "Not checked:")
    db.close()


def test_a_disk_too_small_for_the_waiting_work_is_reported_before_it_is_full(
    tmp_path: Path,
) -> None:
    check = check_disk(tmp_path, images=10**12)
    assert check.state is State.WARNING
    assert "results of 1,000,000,000,000 waiting images need about" in check.message


def test_a_folder_that_the_api_should_read_but_cannot_is_named(tmp_path: Path) -> None:
    there = Settings(_env_file=None, image_roots=(tmp_path,))
    assert check_images(there).state is State.OK
    gone = Settings(_env_file=None, image_roots=(tmp_path, tmp_path / "absent"))
    check = check_images(gone)
    assert check.state is State.PROBLEM
    assert f"{tmp_path}/absent does not exist. Mount it" in check.message
