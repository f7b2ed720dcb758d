"""What is said of workers, work, disks and servers, over both databases."""

import subprocess
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from models.health.checks import (
    Check,
    State,
    Watch,
    check_database,
    check_disk,
    check_images,
    check_progress,
    check_trainings,
    check_workers,
    check_writes,
    snapshot,
    worst,
)
from models.settings import Settings
from models.store import batches, jobs, scans, trainings
from models.store import heartbeats as workers
from models.store.database import Database
from models.store.records import ImageRecord
from models.store.states import Outcome
from models.store.tables import Job, Training, Worker
from tests.services import Postgres, free_port, wait_until

SETTINGS = Settings(_env_file=None)
HOUR_S = 3600.0


def submit(db: Database, release_id: int, images: int = 0) -> int:
    """A job, queued or, with images, listed and waiting as batches of one."""
    job, _ = jobs.submit(db, jobs.Submission("/faces", release_id, batch_size=1))
    if images:
        claim = scans.claim(db, job.id, "h:9", lease_s=30)
        assert claim is not None
        for i in range(images):
            scans.record(db, claim, [(i, f"{i}.jpg")], lease_s=30)
        scans.finish(db, claim)
    return job.id


def age(db: Database, seconds: float) -> None:
    """As if all that there is were so much older."""
    with db.write() as connection:
        for column in (Worker.started, Worker.seen, Worker.progressed):
            connection.execute(sa.update(Worker).values({column: column - seconds}))
        for row in connection.execute(sa.select(Job.id, Job.queued_at, Job.running_at)).all():
            earlier = {
                name: moment.fromtimestamp(moment.timestamp() - seconds, moment.tzinfo)
                for name, moment in (("queued_at", row.queued_at), ("running_at", row.running_at))
                if moment
            }
            connection.execute(sa.update(Job).where(Job.id == row.id).values(earlier))


def names(db: Database) -> list[str]:
    return [program.name for program in snapshot(db).programs]


def test_work_without_a_worker_is_a_problem_that_says_how_much_waits_and_what_to_do(
    db: Database, release_id: int
) -> None:
    assert check_workers(snapshot(db)) == Check(
        "workers", State.OK, "No worker runs, and nothing waits for one."
    )
    submit(db, release_id, images=3)
    found = check_workers(snapshot(db))
    assert found.state is State.PROBLEM
    assert (
        found.message
        == "No worker runs; 1 job waits, with 3 images. Start one with `cuemill worker`."
    )


def test_a_worker_that_beats_is_alive_and_one_that_left_is_forgotten(
    db: Database, release_id: int
) -> None:
    submit(db, release_id)
    workers.beat(db, "h:1", 2, None, None)
    assert check_workers(snapshot(db)) == Check(
        "workers", State.OK, "Alive: 2 processes in 1 program."
    )
    workers.leave(db, "h:1")
    assert names(db) == []


def test_a_worker_whose_processes_are_all_gone_is_none(db: Database, release_id: int) -> None:
    submit(db, release_id)
    workers.beat(db, "h:1", 0, None, None)
    found = check_workers(snapshot(db))
    assert found.state is State.PROBLEM
    assert "No worker process of h:1 lives; its log says why" in found.message


def test_a_worker_that_fell_silent_is_reported_by_name_also_while_others_live(db: Database) -> None:
    workers.beat(db, "h:1", 2, None, None)
    age(db, HOUR_S)
    workers.beat(db, "other:1", 1, None, None)
    found = check_workers(snapshot(db))
    assert found.state is State.WARNING
    assert "Alive: 1 process in 1 program. h:1 was last heard of 60 min ago" in found.message


def test_a_worker_in_the_place_of_a_dead_one_clears_it_away_and_no_other(db: Database) -> None:
    workers.beat(db, "h:1", 2, None, None)
    workers.beat(db, "h%:1", 2, None, None)
    workers.beat(db, "elsewhere:1", 2, None, None)
    age(db, HOUR_S)
    workers.beat(db, "h:2", 2, None, None)
    assert names(db) == ["elsewhere:1", "h%:1", "h:2"]
    age(db, workers.KEPT_S)
    workers.beat(db, "elsewhere:2", 2, None, None)
    assert names(db) == ["elsewhere:2"]


def test_a_worker_that_was_there_before_the_dead_one_fell_silent_does_not_hide_it(
    db: Database,
) -> None:
    before = workers.beat(db, "h:1", 2, None, None)
    workers.beat(db, "h:2", 2, None, None)
    age(db, HOUR_S)
    workers.beat(db, "h:1", 2, None, before)
    assert names(db) == ["h:1", "h:2"]


def test_a_restarted_program_with_the_same_name_starts_anew(db: Database) -> None:
    workers.beat(db, "h:1", 2, None, None)
    age(db, HOUR_S)
    workers.beat(db, "h:1", 2, None, None)
    (program,) = snapshot(db).programs
    assert program.alive
    assert program.idle_s < workers.SILENT_S


def test_workers_of_one_job_are_none_for_the_others(db: Database, release_id: int) -> None:
    mine, _ = submit(db, release_id, images=1), submit(db, release_id, images=2)
    workers.beat(db, "h:1", 2, mine, None)
    found = snapshot(db)
    assert (found.served.images, found.unserved.images) == (1, 2)
    assert (
        "Workers run only for jobs of their own (`cuemill classify`); 1 job waits"
        in check_workers(found).message
    )


def test_work_that_nobody_takes_up_is_a_standstill_however_much_is_added_to_it(
    db: Database, release_id: int
) -> None:
    submit(db, release_id, images=2)
    progress = workers.beat(db, "h:1", 2, None, None)
    assert check_progress(snapshot(db), SETTINGS).state is State.OK
    age(db, HOUR_S)
    submit(db, release_id)
    workers.beat(db, "h:1", 2, None, progress)
    found = check_progress(snapshot(db), SETTINGS)
    assert found.state is State.PROBLEM
    assert (
        "2 jobs wait, with 2 images, and nothing has moved for 60 min although workers are alive"
        in found.message
    )


def test_work_that_comes_after_a_long_rest_is_no_standstill(db: Database, release_id: int) -> None:
    progress = workers.beat(db, "h:1", 2, None, None)
    age(db, HOUR_S)
    submit(db, release_id)
    workers.beat(db, "h:1", 2, None, progress)
    assert check_progress(snapshot(db), SETTINGS).state is State.OK


def test_every_step_of_a_batch_is_progress(db: Database, release_id: int) -> None:
    submit(db, release_id, images=2)
    progress = workers.beat(db, "h:1", 2, None, None)

    def beat_an_hour_later() -> State:
        nonlocal progress
        age(db, HOUR_S)
        progress = workers.beat(db, "h:1", 2, None, progress)
        return check_progress(snapshot(db), SETTINGS).state

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


def test_a_database_out_of_reach_or_of_another_revision_is_a_problem_without_its_password(
    db: Database,
) -> None:
    away = Database("postgresql+psycopg://user:secret@127.0.0.1:1/x")
    (found,) = check_database(away, SETTINGS)
    assert (found.name, found.state) == ("database", State.PROBLEM)
    assert "secret" not in found.message
    with db.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0003'"))
    assert "of revision 0003" in check_database(db, SETTINGS)[0].message


def test_a_training_that_waits_for_a_worker_or_has_lost_it_is_told(db: Database) -> None:
    assert check_trainings(db, SETTINGS).state is State.OK
    first = trainings.submit(db, {"candidates": ["model1"]}).id
    assert check_trainings(db, SETTINGS).state is State.OK
    with db.write() as connection:
        connection.execute(
            sa.update(Training).values(queued_at=datetime.now(UTC) - timedelta(hours=1))
        )
    found = check_trainings(db, SETTINGS)
    assert found.state is State.PROBLEM
    assert found.message.startswith(
        "1 training waits, and no worker trains. `cuemill worker --queue training`"
    )
    assert trainings.claim(db, first, "h:1", lease_s=30)
    trainings.submit(db, {"candidates": ["model1"]})  # It waits for its turn, which is no problem.
    assert check_trainings(db, SETTINGS).state is State.OK
    with db.write() as connection:
        connection.execute(sa.update(Training).where(Training.id == first).values(lease_until=1.0))
    assert f"The worker of training {first} died or hangs." in check_trainings(db, SETTINGS).message


@pytest.mark.parametrize("small_disk", ["24m"], indirect=True)
def test_a_disk_is_told_full_before_sqlite_runs_into_its_end(
    small_disk: Path, tmp_path: Path
) -> None:
    assert check_disk(tmp_path).state is State.OK
    nearly = check_disk(small_disk)
    assert (nearly.state, nearly.message.split(":")[0]) == (
        State.WARNING,
        "The disk is nearly full",
    )
    (small_disk / "ballast").write_bytes(bytes(10 * 2**20))
    full = check_disk(small_disk)
    assert full.state is State.PROBLEM
    assert f"The disk is full: 14 MB are free for {small_disk}" in full.message
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert "can't be written" in check_disk(small_disk).message


@pytest.mark.parametrize("small_disk", ["100m"], indirect=True)
def test_a_full_disk_of_postgresql_is_told_and_so_is_that_there_is_room_again(
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
        found = {check.name: check for check in check_database(db, SETTINGS)}
        assert found["database"].state is State.OK
        assert found["writes"].state is State.PROBLEM
        assert "The disk of the database" in found["writes"].message
        assert "is full" in found["writes"].message
        ballast.unlink()
        assert check_writes(db).state is State.OK
        db.close()
    finally:
        server.stop(immediately=True)


def test_a_user_who_may_make_no_temporary_tables_is_no_problem(postgres_server: Postgres) -> None:
    url = postgres_server.create_database()
    name = url.rpartition("/")[2]
    postgres_server.execute(f"REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC")
    postgres_server.execute(f"CREATE ROLE humble_{name} LOGIN")
    db = Database(url.replace("cuemill@", f"humble_{name}@"))
    found = check_writes(db)
    assert (found.state, found.message[:14]) == (State.OK, "Not looked at:")
    db.close()


def test_a_disk_too_small_for_what_waits_is_told_before_it_is_full(tmp_path: Path) -> None:
    found = check_disk(tmp_path, images=10**12)
    assert found.state is State.WARNING
    assert "1,000,000,000,000 images that wait need about" in found.message


def test_folders_that_the_api_may_read_and_can_not_are_named(tmp_path: Path) -> None:
    there = Settings(_env_file=None, image_roots=(tmp_path,))
    assert check_images(there).state is State.OK
    gone = Settings(_env_file=None, image_roots=(tmp_path, tmp_path / "absent"))
    found = check_images(gone)
    assert found.state is State.PROBLEM
    assert f"{tmp_path}/absent doesn't exist. Mount it" in found.message


def test_a_server_that_takes_calls_and_never_answers_is_told_and_asked_by_one_thread_at_a_time(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.health.checks.ANSWER_S", 1.0)
    asked, answer = [], threading.Event()

    def ping() -> bool:
        asked.append(True)
        return answer.wait(60)

    watch = Watch(db, SETTINGS, ping)
    for _ in range(2):
        found = {check.name: check for check in watch.look()}
        assert found["database"].state is State.OK
        assert found["queue"].message.startswith(
            "No answer for 1 s. Is Redis overloaded or stopped?"
        )
        assert worst(list(found.values())) is State.PROBLEM
    assert len(asked) == 1
    answer.set()
    wait_until(lambda: worst(watch.look()) is State.OK, "the queue to be found again")


def test_a_writer_that_never_ends_keeps_others_out_of_sqlite_and_is_told(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.health.checks.ANSWER_S", 1.0)
    watch = Watch(db, SETTINGS, lambda: True)
    with db.write():
        found = {check.name: check for check in watch.look()}
        assert found["database"].state is State.OK
        if db.is_sqlite:
            assert "Some process keeps the database locked" in found["writes"].message
        else:
            assert found["writes"].state is State.OK
    wait_until(lambda: worst(watch.look()) is State.OK, "the database to be free again")


def test_a_check_that_fails_in_an_unforeseen_way_is_a_problem_and_leaves_the_others(
    db: Database,
) -> None:
    def ping() -> bool:
        raise RuntimeError("unforeseen")

    found = {check.name: check for check in Watch(db, SETTINGS, ping).look()}
    assert found["database"].state is State.OK
    assert found["queue"] == Check(
        "queue", State.PROBLEM, "It can't be looked at (unforeseen); the log says more."
    )


def test_a_port_where_no_server_answers_does_not_hold_up_the_report() -> None:
    away = Database(f"postgresql+psycopg://user@127.0.0.1:{free_port()}/x")
    assert [check.state for check in Watch(away, SETTINGS, lambda: True, roots=False).look()] == [
        State.PROBLEM,
        State.OK,
    ]
