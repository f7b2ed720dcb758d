"""The database's clock decides, and nothing is deleted while the host's disagrees with it."""

import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from models.health.checks import State, check_clocks
from models.health.snapshot import take_snapshot
from models.store import batches, cancellation, clocks, deletion, heartbeats, jobs, trainings
from models.store.database import Database
from models.store.states import JobStatus
from models.store.tables import Base, Job, Training
from tests.builders import (
    LEASE_S,
    claim_batch,
    list_folder,
    queue_job,
    records_of,
)

MONTH = timedelta(days=31)

SetClocks = Callable[[float], None]


@pytest.fixture
def set_apart(db: Database, monkeypatch: pytest.MonkeyPatch) -> SetClocks:
    """Sets the database's clock forward, by so many seconds in all."""
    if db.is_sqlite:
        zero_s = clocks._STEADY_ZERO_S
        # The host's clock, which is SQLite's, cannot be set here. This is how it looks if it was.
        return lambda by_s: monkeypatch.setattr(clocks, "_STEADY_ZERO_S", zero_s - by_s)

    def shift(by_s: float) -> None:
        with db.write() as connection:
            # Found before PostgreSQL's own function of this name.
            connection.exec_driver_sql(
                "CREATE OR REPLACE FUNCTION public.clock_timestamp() RETURNS timestamptz "
                "LANGUAGE sql VOLATILE AS "
                f"$$ SELECT pg_catalog.clock_timestamp() + interval '{by_s} s' $$"
            )
            name = connection.exec_driver_sql("SELECT current_database()").scalar_one()
            path = "search_path = public, pg_catalog"
            connection.exec_driver_sql(f"ALTER DATABASE {name} SET {path}")
        db.close()

    return shift


def stamps(db: Database, table: type[Base]) -> list[datetime]:
    columns = [column for column in table.__table__.c if column.name.endswith("_at")]
    with db.read() as connection:
        rows = connection.execute(sa.select(*columns)).all()
    return [value for row in rows for value in row if isinstance(value, datetime)]


def finished(db: Database, release_id: int) -> int:
    job = queue_job(db, release_id)
    list_folder(db, job, 4)
    claim = claim_batch(db)
    assert batches.complete(db, claim, records_of(claim))
    return job.id


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_every_stamp_of_a_job_and_a_training_is_the_databases(
    db: Database, release_id: int, set_apart: SetClocks
) -> None:
    before = jobs.get(db, queue_job(db, release_id).id).queued_at
    set_apart(MONTH.total_seconds())
    with db.write() as connection:
        connection.execute(sa.delete(Job))

    view = jobs.get(db, finished(db, release_id))
    assert view.status is JobStatus.COMPLETED
    assert view.images_per_second
    cancellation.cancel(db, queue_job(db, release_id).id)
    training = trainings.submit(db, {"candidates": ["model1"]})
    claim = trainings.claim(db, None, "worker", LEASE_S)
    assert claim
    assert trainings.fail(db, claim, ValueError())
    trainings.cancel(db, trainings.submit(db, {"candidates": ["model1"]}).id)
    assert training.queued_at

    moments = stamps(db, Job) + stamps(db, Training)
    assert len(moments) == 4 + 2 + 3 + 2
    assert min(moments) > before + MONTH - timedelta(hours=1)


def test_nothing_is_deleted_while_the_clocks_are_apart(
    db: Database, release_id: int, set_apart: SetClocks, caplog: pytest.LogCaptureFixture
) -> None:
    young, old = finished(db, release_id), finished(db, release_id)
    with db.write() as connection:
        queued_at = connection.execute(sa.select(Job.queued_at).where(Job.id == old)).scalar_one()
        earlier = {"completed_at": queued_at - MONTH}
        connection.execute(sa.update(Job).where(Job.id == old).values(earlier))

    for by_s in (MONTH.total_seconds(), 2 * clocks.APART_S, -2 * clocks.APART_S):
        set_apart(by_s)
        assert deletion.delete_due(db, 30) == 0
    assert {job.id for job in jobs.list_newest(db)} == {young, old}
    assert "Nothing is deleted by its retention" in caplog.text

    set_apart(clocks.APART_S / 2)
    assert deletion.delete_due(db, 30) > 0
    assert {job.id for job in jobs.list_newest(db)} == {young}


def test_a_clock_that_is_set_right_amid_the_decision_deletes_nothing(
    db: Database, release_id: int, set_apart: SetClocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = finished(db, release_id)
    read = db.read
    reads: list[bool] = []

    def read_before_correction() -> AbstractContextManager[Connection]:
        if reads:
            set_apart(0.0)
        reads.append(True)
        return read()

    set_apart(MONTH.total_seconds())
    monkeypatch.setattr(db, "read", read_before_correction)
    assert deletion.delete_due(db, 30) == 0
    assert len(reads) > 1
    assert [job.id for job in jobs.list_newest(db)] == [job_id]


def test_a_slow_answer_does_not_set_clocks_apart(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings = iter([0.0, 10 * clocks.APART_S])
    zero_s = time.time() - 5 * clocks.APART_S
    for name in ("_host_now_s", "_steady_now_s"):
        monkeypatch.setattr(clocks, name, lambda: zero_s + next(readings))
    assert clocks.read(db).ahead_s == 0.0


def test_clocks_that_are_apart_are_a_warning_that_names_both_and_the_remedy(
    db: Database, set_apart: SetClocks
) -> None:
    def check() -> Any:
        heartbeats.beat(db, "kiosk:7:abcd", 1, None, None)
        return check_clocks(take_snapshot(db), is_sqlite=db.is_sqlite)

    assert check().state is State.OK
    set_apart(86_400.0)
    assert check().state is State.WARNING
    assert check().message.startswith("The clock of kiosk says ")
    named = re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", check().message)
    first, second = [datetime.fromisoformat(moment) for moment in named]
    assert abs(abs(first - second) - timedelta(days=1)) < timedelta(minutes=10)
    assert ("restart Cuemill" if db.is_sqlite else "the database's server") in check().message
    set_apart(0.0)
    assert check().state is State.OK
