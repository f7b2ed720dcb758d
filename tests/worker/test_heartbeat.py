"""The heartbeat of a worker program, over both databases."""

from contextlib import suppress

import pytest

from models.errors import DatabaseError
from models.health.snapshot import take_snapshot
from models.store import heartbeats
from models.store.database import Database
from tests.services import wait_until
from worker.heartbeat import heartbeat


def test_a_program_is_alive_while_the_block_runs_and_gone_after_it(db: Database) -> None:
    with heartbeat(db, "h:1", lambda: 3):
        wait_until(lambda: take_snapshot(db).programs, "the first beat")
        (program,) = take_snapshot(db).programs
        assert (program.name, program.processes, program.alive) == ("h:1", 3, True)
    assert take_snapshot(db).programs == []


def test_a_program_that_is_interrupted_removes_its_row(db: Database) -> None:
    with suppress(KeyboardInterrupt), heartbeat(db, "h:1", lambda: 3):
        wait_until(lambda: take_snapshot(db).programs, "the first beat")
        raise KeyboardInterrupt
    assert take_snapshot(db).programs == []


def test_a_beat_that_the_database_refuses_is_tried_again(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat = heartbeats.beat
    refusals = [DatabaseError("The database cannot be used.")]

    def refuse_once(*arguments: object) -> heartbeats.Progress:
        if refusals:
            raise refusals.pop()
        return beat(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(heartbeats, "beat", refuse_once)
    monkeypatch.setattr(heartbeats, "BEAT_S", 0.05)
    with heartbeat(db, "h:1", lambda: 3):
        wait_until(lambda: take_snapshot(db).programs, "the second beat")
    assert refusals == []
