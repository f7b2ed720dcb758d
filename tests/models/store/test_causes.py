"""Why the database failed: real errors of both databases, and whether trying again can help."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from models.errors import DatabaseError
from models.store.database import Database
from tests.services import Postgres


@contextmanager
def failing(database: Database) -> Iterator[list[DatabaseError]]:
    """Gives the block a list, which afterwards holds the error that the block raised."""
    errors: list[DatabaseError] = []
    try:
        with pytest.raises(DatabaseError) as caught:
            yield errors
        errors.append(caught.value)
    finally:
        database.close()


def fail(database: Database, statement: str, **parameters: object) -> DatabaseError:
    with failing(database) as errors, database.read() as connection:
        connection.execute(sa.text(statement), parameters)
    return errors[0]


@pytest.mark.parametrize("name", ["fuller", "no such table"])
def test_a_name_is_not_taken_for_a_cause(postgres_server: Postgres, name: str) -> None:
    url = sa.make_url(postgres_server.create_database())
    for changed in (url.set(username=name), url.set(database=name)):
        error = fail(Database(changed), "SELECT 1")
        assert "cannot be reached" in error.public
        assert "disk" not in str(error)
        assert "upgrade" not in str(error)
        assert name in str(error)
        assert name not in error.public


def test_missing_tables_are_told_from_a_missing_database(database_url: str) -> None:
    error = fail(Database(database_url), "SELECT * FROM jobs")
    assert error.public == (
        "The database does not have this program's tables. Run `cuemill db upgrade`."
    )
    assert not error.passing


def test_a_statement_that_takes_too_long_may_succeed_later(postgres_server: Postgres) -> None:
    url = f"{postgres_server.create_database()}?options=-cstatement_timeout%3D50ms"
    error = fail(Database(url), "SELECT pg_sleep(9)")
    assert "took too long" in error.public
    assert error.passing


def test_a_value_that_does_not_fit_is_not_worth_another_try(postgres_server: Postgres) -> None:
    database = Database(postgres_server.create_database())
    error = fail(database, "SELECT CAST(:number AS smallint)", number=70_000)
    assert "refused a statement" in error.public
    assert not error.passing


def test_a_right_that_is_missing_is_named_as_that(postgres_server: Postgres) -> None:
    url = postgres_server.create_database()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE secrets (n int)")
        connection.execute("DROP ROLE IF EXISTS full_no_space")
        connection.execute("CREATE ROLE full_no_space LOGIN")

    error = fail(Database(sa.make_url(url).set(username="full_no_space")), "SELECT * FROM secrets")
    assert error.sqlstate == "42501"
    assert "denies its user a right" in error.public


def test_a_file_that_is_no_database_is_not_worth_another_try(tmp_path: Path) -> None:
    (tmp_path / "notes.db").write_text(1_000 * "This is prose. ")
    error = fail(Database(f"sqlite:///{tmp_path}/notes.db"), "SELECT 1")
    assert "is damaged, or is no database" in error.public
    assert not error.passing
    assert str(tmp_path) not in error.public


def test_a_lock_that_does_not_end_may_end_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.store.database.BUSY_S", 0.05)
    url = f"sqlite:///{tmp_path}/cuemill.db"
    holder, waiter = Database(url), Database(url)
    with holder.write() as lock:
        lock.execute(sa.text("CREATE TABLE t (n)"))
        with failing(waiter) as errors, waiter.write():
            pass
    holder.close()
    assert "is locked by another program" in errors[0].public
    assert errors[0].passing
