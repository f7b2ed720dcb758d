"""What `cuemill status`, `/readyz` and `/metrics` report when something died, hangs or is full."""

import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx2 as httpx
import psycopg
import pytest
import sqlalchemy as sa

from models.health.checks import State, check_progress
from models.health.snapshot import take_snapshot
from models.settings import Settings
from models.store.database import Database
from tests.integration.deployment import Deployment, audit, deployment, make_faces, worker_processes
from tests.integration.test_jobs import wait_for_end, wait_for_progress
from tests.services import Postgres, Redis, patience, run_postgres, wait_until


def checks(cuemill: Deployment, exit_code: int = 0) -> dict[str, tuple[str, str]]:
    """The state and message of each check of `cuemill status`."""
    status = json.loads(cuemill.run("status", "--json", exit_code=exit_code).stdout)
    return {check["name"]: (check["state"], check["message"]) for check in status["checks"]}


def worker_names(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.scalars(sa.text("SELECT name FROM workers")))


def stands_still(database: Database) -> bool:
    settings = Settings(
        _env_file=None, lease_s=3, sweep_s=0.5, rehint_s=5
    )  # As the fixtures set them.
    return check_progress(take_snapshot(database), settings).state is State.PROBLEM


def ready(client: httpx.Client) -> dict[str, Any]:
    answer: dict[str, Any] = client.get("/readyz").json()
    return answer


def test_a_worker_is_reported_while_it_runs_and_not_missed_once_it_was_stopped(
    either: Deployment, tmp_path: Path
) -> None:
    folder = make_faces(tmp_path / "faces", 20)
    client = either.serve(tmp_path)
    assert ready(client)["status"] == "ok"

    job_id = int(either.run("enqueue", folder).stdout)
    assert checks(either, exit_code=1)["workers"] == (
        "problem",
        "No worker is running. Waiting: 1 job. Start a worker with `cuemill worker`.",
    )
    assert ready(client)["status"] == "degraded"
    assert "Waiting: 1 job" in either.run("status", exit_code=1).stdout

    database = either.database()
    worker = either.start("worker")
    wait_for_end(database, job_id)
    wait_until(lambda: ready(client)["status"] == "ok", "all to be well")
    assert checks(either)["workers"] == ("ok", "Running: 1 worker program with 2 processes.")
    assert "cuemill_worker_processes 2.0" in client.get("/metrics").text

    worker.terminate()
    assert worker.wait(patience(60)) == 0
    assert worker_names(database) == []
    assert checks(either)["workers"] == ("ok", "No worker is running, and no work is waiting.")


def test_a_killed_worker_is_reported_by_name_until_another_takes_its_place(
    either: Deployment, tmp_path: Path
) -> None:
    folder = make_faces(tmp_path / "faces", 2000)
    database = either.database()
    worker = either.start("worker")
    job_id = int(either.run("enqueue", folder).stdout)
    wait_for_progress(database, job_id, 50)
    wait_until(lambda: worker_names(database), "the worker's heartbeat")
    (name,) = worker_names(database)
    assert f":{worker.pid}:" in name
    os.killpg(worker.pid, signal.SIGKILL)

    wait_until(lambda: take_snapshot(database).silent, "its death to be reported")
    state, message = checks(either, exit_code=1)["workers"]
    assert state == "problem"
    assert f"{name} last reported" in message

    either.start("worker")
    wait_for_end(database, job_id)
    wait_until(lambda: name not in worker_names(database), "the dead worker's row to be removed")
    assert {state for state, _ in checks(either).values()} == {"ok"}
    audit(database, job_id, 2000)


def stop_between_transactions(processes: list[int], database: Database) -> None:
    """Stops processes while none holds SQLite's lock: that is another fault, with its own check."""

    def stopped() -> bool:
        for process in processes:
            os.kill(process, signal.SIGSTOP)
        if not database.is_sqlite or is_unlocked(str(database.url.database)):
            return True
        for process in processes:
            os.kill(process, signal.SIGCONT)
        return False

    wait_until(stopped, "both to be stopped outside a transaction")


def is_unlocked(path: str) -> bool:
    with closing(sqlite3.connect(path, timeout=0.5, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        connection.execute("ROLLBACK")
        return True


def test_workers_that_hang_are_distinguished_from_workers_that_work(
    either: Deployment, tmp_path: Path
) -> None:
    folder = make_faces(tmp_path / "faces", 2000)
    database = either.database()
    worker = either.start("worker")
    job_id = int(either.run("enqueue", folder).stdout)
    wait_for_progress(database, job_id, 50)

    processes = worker_processes(worker.pid)
    assert len(processes) == 2

    stop_between_transactions(processes, database)
    try:
        wait_until(lambda: stands_still(database), "the standstill to be reported")
        reported = checks(either, exit_code=1)
        assert reported["workers"] == ("ok", "Running: 1 worker program with 2 processes.")
        assert "although workers are alive" in reported["progress"][1]
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)

    wait_for_end(database, job_id)
    assert checks(either)["progress"][0] == "ok"
    audit(database, job_id, 2000)


def test_an_unreachable_broker_is_reported_until_it_is_back(
    scaled: Deployment, redis_server: Redis, tmp_path: Path
) -> None:
    client = scaled.serve(tmp_path)

    redis_server.kill()
    try:
        state, message = checks(scaled, exit_code=1)["queue"]
        assert state == "problem"
        assert "CUEMILL_BROKER_URL cannot be reached. Start Redis again. Jobs are kept" in message
        assert (client.get("/readyz").status_code, ready(client)["status"]) == (503, "unavailable")
    finally:
        redis_server.start()

    wait_until(lambda: client.get("/readyz").is_success, "the broker to be reported well again")
    assert checks(scaled)["queue"][0] == "ok"


class Stoppable:
    """The processes of a PostgreSQL server, to be stopped and continued by signals."""

    def __init__(self, server: Postgres) -> None:
        with psycopg.connect(server.url("postgres")) as connection:
            row = connection.execute("SHOW data_directory").fetchone()
        assert row is not None
        self._main = int(Path(row[0], "postmaster.pid").read_text().split()[0])

    def signal(self, number: signal.Signals) -> None:
        children = Path(f"/proc/{self._main}/task/{self._main}/children").read_text().split()
        for process in [self._main, *map(int, children)]:
            with suppress(ProcessLookupError):  # A child ends with its connection.
                os.kill(process, number)


@pytest.fixture
def own_postgres() -> Iterator[tuple[Postgres, Stoppable]]:
    with run_postgres() as server:
        yield server, Stoppable(server)


def test_a_database_that_hangs_or_ended_is_reported_until_it_is_back(
    own_postgres: tuple[Postgres, Stoppable], tmp_path: Path, tiny_model: Path
) -> None:
    server, processes = own_postgres
    environment = {
        "CUEMILL_DATABASE_URL": server.create_database(),
        "CUEMILL_MODEL": str(tiny_model),
    }
    with deployment(
        "polling", environment | {"CUEMILL_DATA_DIR": str(tmp_path / "data")}
    ) as polling:
        client = polling.serve(tmp_path)
        assert ready(client)["status"] == "ok"

        processes.signal(signal.SIGSTOP)
        try:
            # Shorter than any time limit of the server: the report itself must be quick.
            answer = client.get("/readyz", timeout=patience(10))
            assert (answer.status_code, answer.json()["status"]) == (503, "unavailable")
            assert answer.json()["checks"]["database"].startswith("No answer within 4 s.")
            assert checks(polling, exit_code=1)["database"][0] == "problem"
        finally:
            processes.signal(signal.SIGCONT)
        wait_until(
            lambda: client.get("/readyz").is_success, "the database to be reported well again"
        )

        processes.signal(signal.SIGQUIT)
        wait_until(lambda: not client.get("/readyz").is_success, "its end to be reported")
        assert "cannot be reached" in ready(client)["checks"]["database"]


@pytest.mark.parametrize("small_disk", ["24m"], indirect=True)
def test_a_full_disk_is_reported_and_makes_the_api_unready_until_there_is_room(
    embedded: Deployment, tmp_path: Path, small_disk: Path
) -> None:
    embedded.environment["CUEMILL_DATA_DIR"] = str(small_disk / "data")
    client = embedded.serve(tmp_path)
    assert ready(client)["status"] == "degraded"
    assert "The disk is nearly full" in ready(client)["checks"]["disk"]

    (small_disk / "ballast").write_bytes(bytes(12 * 2**20))
    assert client.get("/readyz").status_code == 503
    assert "The disk is full" in ready(client)["checks"]["disk"]
    assert checks(embedded, exit_code=1)["disk"][0] == "problem"

    (small_disk / "ballast").unlink()
    assert client.get("/readyz").is_success


def test_a_missing_folder_that_the_api_should_read_is_reported(
    embedded: Deployment, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    client = embedded.serve(images)
    assert ready(client)["status"] == "ok"

    images.rmdir()
    assert ready(client) == {
        "status": "degraded",
        "checks": {
            **dict.fromkeys(
                (
                    "database",
                    "writes",
                    "workers",
                    "progress",
                    "clocks",
                    "trainings",
                    "disk",
                    "queue",
                ),
                "ok",
            ),
            "images": f"{images} does not exist. Mount it, or change CUEMILL_IMAGE_ROOTS.",
        },
    }


def test_watching_needs_a_job(embedded: Deployment) -> None:
    assert "--watch requires JOB" in embedded.run("status", "--watch", exit_code=2).stderr
