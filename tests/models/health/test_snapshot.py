"""What a snapshot shows of worker programs, over both databases."""

from models.health.snapshot import take_snapshot
from models.store import heartbeats
from models.store.database import Database
from tests.builders import age_rows

HOUR_S = 3600.0


def names(db: Database) -> list[str]:
    return [program.name for program in take_snapshot(db).programs]


def test_a_worker_that_replaces_a_dead_one_removes_its_row_and_no_other(db: Database) -> None:
    heartbeats.beat(db, "h:1", 2, None, None)
    heartbeats.beat(db, "h%:1", 2, None, None)
    heartbeats.beat(db, "elsewhere:1", 2, None, None)
    age_rows(db, HOUR_S)
    heartbeats.beat(db, "h:2", 2, None, None)
    assert names(db) == ["elsewhere:1", "h%:1", "h:2"]
    age_rows(db, heartbeats.KEPT_S)
    heartbeats.beat(db, "elsewhere:2", 2, None, None)
    assert names(db) == ["elsewhere:2"]


def test_a_worker_with_a_token_replaces_the_dead_of_its_host(db: Database) -> None:
    heartbeats.beat(db, "h:1:0123abcd", 2, None, None)
    heartbeats.beat(db, "elsewhere:1:0123abcd", 2, None, None)
    age_rows(db, HOUR_S)
    heartbeats.beat(db, "h:1:4567ef01", 2, None, None)
    assert names(db) == ["elsewhere:1:0123abcd", "h:1:4567ef01"]


def test_a_worker_that_started_before_the_dead_one_fell_silent_does_not_hide_it(
    db: Database,
) -> None:
    before = heartbeats.beat(db, "h:1", 2, None, None)
    heartbeats.beat(db, "h:2", 2, None, None)
    age_rows(db, HOUR_S)
    heartbeats.beat(db, "h:1", 2, None, before)
    assert names(db) == ["h:1", "h:2"]


def test_a_restarted_program_with_the_same_name_counts_as_new(db: Database) -> None:
    heartbeats.beat(db, "h:1", 2, None, None)
    age_rows(db, HOUR_S)
    heartbeats.beat(db, "h:1", 2, None, None)
    (program,) = take_snapshot(db).programs
    assert program.alive
    assert program.idle_s < heartbeats.SILENT_S
