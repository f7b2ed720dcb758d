"""Connections and migrations, on both databases."""

import errno
import os
import socket
import sqlite3
import threading
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import psycopg
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import DBAPIError

from models.errors import DatabaseError, UsageError
from models.settings import Settings
from models.store import database
from models.store.database import MIGRATIONS, Database, open_database
from models.store.tables import REVISION, Base
from models.store.watchdog import WatchedConnection
from tests.services import Postgres


# SQLite's reflection shows no such index.
@pytest.mark.filterwarnings("ignore:autogenerate skipping metadata-specified expression-based")
def test_the_migrations_create_the_tables_that_the_code_declares(db: Database) -> None:
    dialect = "sqlite" if db.is_sqlite else "postgresql"

    def is_for_this_database(declared: Any, *_: object) -> bool:
        ddl_if = getattr(declared, "_ddl_if", None)
        return ddl_if is None or ddl_if.dialect == dialect

    with db.read() as connection:
        options = {"compare_type": True, "include_object": is_for_this_database}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []


def test_the_newest_migration_is_the_one_that_the_code_names() -> None:
    assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == REVISION


def test_the_migrations_go_down_and_up_again(db: Database, release_id: int) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with db.write() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        assert sa.inspect(connection).get_table_names() == ["alembic_version"]

    assert db.revision() is None

    db.upgrade()
    db.check_revision()


def test_a_claim_does_not_wait_for_the_disk_but_a_result_does(db: Database) -> None:
    setting = sa.text("PRAGMA synchronous" if db.is_sqlite else "SHOW synchronous_commit")
    settings = []
    for synced in (False, True):
        with db.write(synced=synced) as connection:
            settings.append(connection.scalar(setting))
    assert settings == ([1, 2] if db.is_sqlite else ["off", "on"])


def test_a_new_file_waits_for_another_program_that_is_writing_it(tmp_path: Path) -> None:
    """SQLite itself fails at once when a locked file is switched to WAL."""
    with closing(
        sqlite3.connect(tmp_path / "new.db", isolation_level=None, check_same_thread=False)
    ) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("CREATE TABLE t (n)")
        end = threading.Timer(0.3, other.execute, ["COMMIT"])
        end.start()
        assert Database(f"sqlite:///{tmp_path}/new.db").revision() is None
        end.join()


def test_programs_that_start_together_upgrade_once(database_url: str) -> None:
    url = database_url.replace("postgresql://", "postgresql+psycopg://")
    failures: list[BaseException] = []

    def upgrade() -> None:
        try:
            database = Database(url)
            database.upgrade()
            database.close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=upgrade) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_database_newer_than_the_program_is_refused(db: Database) -> None:
    with db.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(
        DatabaseError, match=r"revision 9999; this program knows .* Upgrade Cuemill"
    ):
        db.upgrade()


def test_an_error_about_missing_tables_says_how_to_create_them(database_url: str) -> None:
    database = Database(database_url.replace("postgresql://", "postgresql+psycopg://"))
    with pytest.raises(DatabaseError, match="cuemill db upgrade"), database.read() as connection:
        connection.execute(sa.text("SELECT * FROM jobs"))
    database.close()


@pytest.mark.parametrize("url", ["nonsense", "mysql://localhost/x", "postgresql+nothing://x"])
def test_a_url_of_another_kind_of_database_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="CUEMILL_DATABASE_URL"):
        Database(url)


@pytest.mark.parametrize("driver", ["psycopg2", "asyncpg", "pg8000"])
def test_a_url_with_another_driver_is_refused_with_the_one_to_write(driver: str) -> None:
    with pytest.raises(
        UsageError, match=rf"driver {driver}.* Write postgresql://u:\*\*\*@host/name instead"
    ) as caught:
        Database(f"postgresql+{driver}://u:secret@host/name")
    assert "secret" not in str(caught.value)


def test_a_password_in_place_of_the_port_is_not_shown() -> None:
    with pytest.raises(UsageError, match="port in CUEMILL_DATABASE_URL is not a number") as caught:
        Database("postgresql://host:secret/name")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_all_ways_to_write_postgresql_mean_the_same(scheme: str) -> None:
    assert Database(f"{scheme}://host/name").url.drivername == "postgresql+psycopg"


def test_the_parameters_of_a_postgresql_url_are_honoured(
    postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres_server.create_database()
    monkeypatch.setenv("PGOPTIONS", "-c work_mem=5MB")

    def show(query: str, *names: str) -> list[str]:
        database = Database(f"{url}{query}")
        with database.read() as connection:
            values = [connection.scalar(sa.text(f"SHOW {name}")) for name in names]
        database.close()
        return values

    timeout = "idle_in_transaction_session_timeout"
    assert show("", timeout, "application_name", "work_mem") == ["30s", "cuemill", "5MB"]
    assert show(
        "?options=-c%20search_path%3Dfaces&options=-c%20lock_timeout%3D7s",
        timeout,
        "search_path",
        "lock_timeout",
    ) == ["30s", "faces", "7s"]
    assert show(
        f"?options=-c%20{timeout}%3D9s&application_name=lab&connect_timeout=2",
        timeout,
        "application_name",
    ) == ["9s", "lab"]


def test_tables_are_created_in_the_schema_that_the_url_names(postgres_server: Postgres) -> None:
    url = postgres_server.create_database()
    with psycopg.connect(url) as connection:
        connection.execute("CREATE SCHEMA faces")

    database = Database(f"{url}?options=-csearch_path%3Dfaces")
    database.upgrade()
    database.check_revision()
    database.close()

    with psycopg.connect(url) as connection:
        schemas = connection.execute(
            "SELECT DISTINCT schemaname FROM pg_tables "
            "WHERE tablename IN ('jobs', 'images', 'alembic_version')"
        ).fetchall()
    assert schemas == [("faces",)]


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_is_not_utf8_is_refused_with_the_remedy(
    postgres_server: Postgres, encoding: str
) -> None:
    name = f"in_{encoding.lower()}"
    postgres_server.execute(
        f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0"
    )
    database = Database(postgres_server.url(name))
    for _ in range(2):
        with pytest.raises(
            DatabaseError, match=rf"{name} has the encoding {encoding}.* CREATE DATABASE .*'UTF8'"
        ):
            database.upgrade()
    database.close()


def test_folders_of_any_name_have_databases_of_their_own(tmp_path: Path) -> None:
    names = ["a", "a?b", "a?c", "a#b", "a%20b", "a b", "~", "é:@&=+", "file:a", "a?mode=memory"]
    for name in names:
        database = open_database(Settings(data_dir=tmp_path / name))
        database.upgrade()
        with database.write() as connection:
            connection.execute(sa.text("CREATE TABLE mark (name TEXT)"))
        database.close()
    assert sorted(os.listdir(tmp_path)) == sorted(names)
    assert all((tmp_path / name / "cuemill.db").is_file() for name in names)


def test_an_unreachable_server_is_named_without_its_password() -> None:
    database = Database("postgresql+psycopg://user:secret@127.0.0.1:1/x")
    with pytest.raises(
        DatabaseError, match=r"user:\*\*\*@127.0.0.1:1/x cannot be reached"
    ) as caught:
        database.revision()
    assert "secret" not in str(caught.value)


def test_a_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseError, match=r"cannot be created: .*Set CUEMILL_DATA_DIR"):
        Database(f"sqlite:///{tmp_path}/file/cuemill.db")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, another_user: None) -> None:
    tmp_path.chmod(0o555)
    database = Database(f"sqlite:///{tmp_path}/cuemill.db")
    with pytest.raises(DatabaseError, match=r"cannot be written \(.*Set CUEMILL_DATA_DIR"):
        database.upgrade()
    tmp_path.chmod(0o755)


def test_readers_do_not_wait_for_a_writer(db: Database) -> None:
    with db.write() as writer:
        writer.execute(sa.text("UPDATE alembic_version SET version_num = version_num"))
        assert db.revision() == REVISION


def test_the_transaction_of_a_frozen_program_does_not_block_others_forever(
    postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "FROZEN_S", 1)
    url = postgres_server.create_database().replace("postgresql", "postgresql+psycopg")
    frozen, other = Database(url), Database(url)
    lock = sa.select(sa.func.pg_advisory_xact_lock(1))

    def take_it_from_the_frozen_one() -> None:
        with frozen.write() as held:
            held.execute(lock)
            with other.write() as connection:
                connection.execute(lock)

    with pytest.raises(DatabaseError, match="idle-in-transaction"):
        take_it_from_the_frozen_one()
    frozen.close()
    other.close()


def test_a_transaction_that_gets_no_connection_in_time_is_a_database_error(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "KEPT_CONNECTIONS", 1)
    monkeypatch.setattr(database, "MAX_CONNECTIONS", 1)
    monkeypatch.setattr(database, "POOL_WAIT_S", 0.05)
    crowded = Database(database_url)
    with (
        crowded.read(),
        pytest.raises(DatabaseError, match="no connection left: this program uses all"),
        crowded.read(),
    ):
        pass

    crowded.revision()
    crowded.close()


def test_a_connection_that_the_host_refuses_is_a_database_error(
    postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a full file table, psycopg raises a plain OSError."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    database = Database(postgres_server.create_database())
    with monkeypatch.context() as patch:
        patch.setattr(WatchedConnection, "connect", refuse)
        with pytest.raises(DatabaseError, match=r"open no more files .*Raise its limit"):
            database.revision()
    database.revision()
    database.close()


def test_an_error_of_the_work_in_a_transaction_is_not_one_of_the_database(db: Database) -> None:
    with pytest.raises(FileNotFoundError), db.read():
        raise FileNotFoundError


def test_a_transaction_that_goes_on_after_its_connection_broke_is_a_database_error(
    postgres_server: Postgres,
) -> None:
    url = postgres_server.create_database()
    broken, other = Database(url), Database(url)

    def go_on_after_the_break() -> None:
        with broken.write() as connection:
            process = connection.scalar(sa.text("SELECT pg_backend_pid()"))
            with other.write() as killer:
                killer.execute(sa.text(f"SELECT pg_terminate_backend({process})"))
            with suppress(DBAPIError):
                connection.execute(sa.text("SELECT 1"))
            connection.execute(sa.text("SELECT 1"))

    with pytest.raises(DatabaseError, match=r"broke off the connection\."):
        go_on_after_the_break()
    broken.revision()
    broken.close()
    other.close()


def test_each_thread_of_the_api_gets_a_connection_of_its_own(database_url: str) -> None:
    busy = Database(database_url)
    with ExitStack() as stack:
        for _ in range(anyio.run(_count_threads)):
            stack.enter_context(busy.read())
    busy.close()


async def _count_threads() -> int:
    return int(anyio.to_thread.current_default_thread_limiter().total_tokens)


def test_a_connection_whose_other_end_vanished_is_given_up_within_a_minute(
    postgres_server: Postgres,
) -> None:
    url = postgres_server.create_database()
    names = ("keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout")

    def read_parameters(query: str) -> list[str]:
        database = Database(f"{url}{query}")
        with database.read() as connection:
            info = connection.connection.dbapi_connection.info  # type: ignore[union-attr]
            parameters = info.get_parameters()
        database.close()
        return [parameters[name] for name in names]

    assert read_parameters("") == ["10", "5", "3", "30000"]
    assert read_parameters("?keepalives_idle=60&tcp_user_timeout=9000") == ["60", "5", "3", "9000"]


def test_the_time_limits_of_a_connection_reach_its_socket(postgres_server: Postgres) -> None:
    database = Database(postgres_server.create_database())
    with database.read() as connection:
        descriptor = connection.connection.dbapi_connection.fileno()  # type: ignore[union-attr]
        with socket.socket(fileno=os.dup(descriptor)) as end:
            assert end.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
            assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 10
            assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
    database.close()


def test_only_its_user_can_read_a_new_database_and_what_sqlite_puts_beside_it(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "new" / "data"
    database = open_database(Settings(_env_file=None, data_dir=folder))
    database.upgrade()
    with database.read():
        modes = {path.name: oct(path.stat().st_mode & 0o777) for path in folder.glob("cuemill.db*")}
    assert modes == {
        "cuemill.db": "0o600",
        "cuemill.db-wal": "0o600",
        "cuemill.db-shm": "0o600",
        "cuemill.db.migrating": modes["cuemill.db.migrating"],  # An empty lock file.
    }
    assert oct(folder.stat().st_mode & 0o777) == "0o700"
    database.close()
