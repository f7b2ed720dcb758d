"""Connections to the user's database, SQLite or PostgreSQL, and its migrations."""

import fcntl
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from models.errors import DatabaseError, UsageError
from models.store.tables import REVISION

FROZEN_S = 30
"""A PostgreSQL transaction in which nothing happens for so long is rolled back; ours are idle for milliseconds."""
BUSY_S = 30.0
"""So long one waits in SQLite for what another has locked; ours hold it for milliseconds."""
APPLICATION = "cuemill"
MIGRATIONS = Path(__file__).parents[2] / "migrations"
_MIGRATION_LOCK = 0x63_75_65_6D  # An advisory lock's number: "cuem".


class now_s(FunctionElement[float]):
    """The database's own clock, in seconds since 1970: every worker reads the same one."""

    type = sa.Double()
    inherit_cache = True


@compiles(now_s, "postgresql")
def _now_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    return "extract(epoch from clock_timestamp())::double precision"


@compiles(now_s, "sqlite")
def _now_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


class Database:
    """The database at a URL. Transactions are `with database.write() as connection:`, short, and never nested."""

    def __init__(self, url: str) -> None:
        """
        Raises:
            UsageError: the URL is none of SQLite's or PostgreSQL's.
        """
        try:
            self.url = make_url(url)
            if self.url.get_backend_name() not in ("sqlite", "postgresql"):
                raise ArgumentError(self.url.get_backend_name())
            self._engine = _sqlite(self.url) if self.is_sqlite else _postgresql(self.url)
        except (ArgumentError, NoSuchModuleError) as error:
            raise UsageError(
                f"CUEMILL_DATABASE_URL can't be used ({error}). Expected postgresql://user:password@host/name or "
                "sqlite:////absolute/path.db."
            ) from None

    @property
    def is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A read-only snapshot.

        Raises:
            DatabaseError: the database can't be reached or read; trying again later may help.
        """
        with self._begin("DEFERRED") as connection:
            yield connection

    @contextmanager
    def write(self, *, synced: bool = True) -> Iterator[Connection]:
        """A transaction, committed at the end of the block and rolled back by an exception.

        Args:
            synced: wait until it is on the disk. Else a loss of power may undo it (a crash of PostgreSQL too), if no
                later one was synced: enough for a claim, which is then as if it had never been made.

        Raises:
            DatabaseError: the database can't be reached or written; trying again later may help.
        """
        with self._begin("IMMEDIATE", synced=synced) as connection:
            yield connection

    @contextmanager
    def _begin(self, mode: str, *, synced: bool = True) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection:
                prepared = connection.execution_options(sqlite_begin=mode, synced=synced)
                with prepared.begin():
                    yield prepared
        except (
            DBAPIError,
            self._engine.dialect.loaded_dbapi.Error,
        ) as error:  # The driver's own come from a COPY.
            raise DatabaseError(_explain(self.url, error)) from error

    def upgrade(self) -> None:
        """Brings the tables to this program's revision; whoever comes first does it, under a lock.

        Raises:
            DatabaseError: out of reach, or its tables are newer than this program.
        """
        if self.revision() == REVISION:
            return
        from alembic import command  # Slow to import, and needed once in a database's life.
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        with self._migration_lock(), self.write() as connection:
            revision = _revision(connection)
            if revision and revision > REVISION:
                raise DatabaseError(
                    f"The database's tables are of revision {revision}, this program's of {REVISION}. Upgrade Cuemill."
                )
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def end_frozen(self) -> None:
        """Ends our connections to PostgreSQL whose program stopped in the midst of a COPY: others wait for its locks.

        The server itself ends those that are idle in a transaction, but takes this for work, and waits for more rows.

        Raises:
            DatabaseError: out of reach.
        """
        if self.is_sqlite:
            return
        query = sa.text(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
            "AND usename = current_user AND application_name = :application AND state = 'active' "
            "AND wait_event = 'ClientRead' AND query_start < clock_timestamp() - make_interval(secs => :frozen_s)"
        )
        with self.read() as connection:
            connection.execute(query, {"application": APPLICATION, "frozen_s": FROZEN_S})

    def check_revision(self) -> None:
        """
        Raises:
            DatabaseError: out of reach, or its tables are not of this program's revision.
        """
        found = self.revision()
        if found != REVISION:
            raise DatabaseError(
                f"The database's tables are of revision {found}, this program's of {REVISION}. "
                "Run `cuemill db upgrade`."
            )

    def revision(self) -> str | None:
        """The revision of the tables, or None before the first migration."""
        with self.read() as connection:
            return _revision(connection)

    @contextmanager
    def _migration_lock(self) -> Iterator[None]:
        if not self.is_sqlite:
            with self.write() as connection:
                connection.execute(
                    sa.text("SET LOCAL idle_in_transaction_session_timeout = 0")
                )  # Idle by design.
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
                yield
        elif self.url.database:
            with open(f"{self.url.database}.migrating", "w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield
        else:
            yield

    def close(self) -> None:
        self._engine.dispose()


def _revision(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return found


def _sqlite(url: URL) -> sa.Engine:
    if url.database:
        try:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DatabaseError(
                f"The folder of {url.database} can't be made: {error.strerror}."
            ) from error
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_S})

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, record: object) -> None:
        connection.isolation_level = None  # Transactions begin below, where we say how.
        _use_wal(connection)
        # What is deleted is overwritten: it is about people's faces (docs/decisions/0010).
        for pragma in ("foreign_keys = ON", "secure_delete = ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        connection.exec_driver_sql(
            f"PRAGMA synchronous = {'FULL' if options.get('synced', True) else 'NORMAL'}"
        )
        # A deferred transaction that comes to write may fail at once as busy, whatever the time-out.
        connection.exec_driver_sql(f"BEGIN {options.get('sqlite_begin', 'DEFERRED')}")

    return engine


def _use_wal(connection: sqlite3.Connection) -> None:
    """Kept in the file, so a new one's first user switches it; and here alone SQLite doesn't wait for others' locks."""
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _postgresql(url: URL) -> sa.Engine:
    # The server itself ends what a program that is frozen, or cut off, left open: others wait for its locks.
    options = f"-c idle_in_transaction_session_timeout={FROZEN_S}s"
    arguments = {"connect_timeout": 5, "options": options, "application_name": APPLICATION}
    engine = sa.create_engine(url, pool_pre_ping=True, connect_args=arguments)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if not connection.get_execution_options().get("synced", True):
            connection.exec_driver_sql("SET LOCAL synchronous_commit = off")

    return engine


def _explain(url: URL, error: Exception) -> str:
    where = url.render_as_string(hide_password=True)
    reason = str(getattr(error, "orig", error)).strip().split("\n")[0]
    if "full" in reason or "No space left" in reason:
        return f"The disk of the database {where} is full ({reason}). Free some space; nothing recorded is lost."
    if "no such table" in reason or "does not exist" in reason:
        return f"The database {where} isn't set up ({reason}). Run `cuemill db upgrade`."
    return f"The database {where} can't be used: {reason}."
