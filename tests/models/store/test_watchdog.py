"""Connections through a proxy that acknowledges everything and, once frozen, passes nothing on."""

import threading
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from models.errors import DatabaseError
from models.store.database import Database
from models.store.watchdog import WatchedConnection
from tests.faults.proxy import Proxy, run_proxy
from tests.services import Postgres, wait_until

SLEEP = sa.text("SELECT pg_sleep(1.5)")


@pytest.fixture
def proxy(postgres_server: Postgres) -> Iterator[Proxy]:
    with run_proxy(postgres_server.port) as running:
        yield running


@pytest.fixture
def db(
    postgres_server: Postgres, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Database]:
    monkeypatch.setattr(WatchedConnection, "silent_s", 0.3)
    direct = postgres_server.create_database()
    database = Database(direct.replace(f":{postgres_server.port}", f":{proxy.port}"))
    yield database
    database.close()


def copy(connection: Connection) -> None:
    """Sends more than the buffers on the way hold."""
    connection.execute(sa.text("CREATE TEMPORARY TABLE t (text text)"))
    driver_connection = connection.connection.driver_connection
    assert driver_connection is not None
    with driver_connection.cursor() as cursor, cursor.copy("COPY t FROM STDIN") as rows:
        for _ in range(100):
            rows.write_row(["x" * 1000])


STATEMENTS: dict[str, Callable[[Connection], object]] = {
    "query": lambda connection: connection.execute(sa.text("SELECT 1")),
    "copy": copy,
    "commit": lambda connection: connection.commit(),
}


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_request_that_a_proxy_swallows_is_given_up_and_the_next_works(
    db: Database, proxy: Proxy, statement: str
) -> None:
    def swallowed() -> None:
        with db.write() as connection:
            connection.execute(sa.text("SELECT 1"))
            proxy.freeze()
            STATEMENTS[statement](connection)

    with pytest.raises(DatabaseError, match="no answer"):
        swallowed()
    db.revision()


def test_an_answer_that_a_proxy_swallows_is_given_up(db: Database, proxy: Proxy) -> None:
    def is_asleep() -> bool:
        with db.read() as connection:
            query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
            return bool(connection.scalar(sa.text(query)))

    def freeze_while_asleep() -> None:
        wait_until(is_asleep, "the server to be at work")
        proxy.freeze()

    freezing = threading.Thread(target=freeze_while_asleep)
    freezing.start()
    with pytest.raises(DatabaseError, match="no answer"), db.read() as connection:
        connection.execute(SLEEP)
    freezing.join()
    db.revision()


def test_a_statement_that_takes_long_is_not_given_up(db: Database) -> None:
    with db.read() as connection:
        connection.execute(SLEEP)


def test_a_statement_that_waits_for_a_lock_is_not_given_up(db: Database) -> None:
    lock = sa.text("SELECT pg_advisory_xact_lock(7)")
    has_waited = threading.Event()

    def wait_for_lock() -> None:
        with db.write() as connection:
            connection.execute(lock)
        has_waited.set()

    with db.write() as connection:
        connection.execute(lock)
        waiting = threading.Thread(target=wait_for_lock)
        waiting.start()
        connection.execute(SLEEP)
        assert not has_waited.is_set()
    waiting.join()
    assert has_waited.is_set()


def test_a_connection_is_given_up_if_the_server_cannot_be_asked(db: Database, proxy: Proxy) -> None:
    def swallowed() -> None:
        with db.read() as connection:
            proxy.freeze()
            proxy.refuse()
            connection.execute(sa.text("SELECT 1"))

    with pytest.raises(DatabaseError, match="no answer"):
        swallowed()
    proxy.restore()
    db.revision()
