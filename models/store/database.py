"""Connections to the user's database, SQLite or PostgreSQL, and its migrations."""

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    DisconnectionError,
    PendingRollbackError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from models.atomic import make_private
from models.errors import DatabaseError, OutdatedError, UsageError
from models.settings import Settings
from models.store.causes import CHOOSE_FOLDER, explain
from models.store.tables import REVISION, Base, UtcDateTime

FROZEN_S = 30
"""PostgreSQL ends a transaction that is idle this long; ours are idle for milliseconds."""
BUSY_S: Final = 30.0
"""How long to wait for another program's lock in SQLite; ours hold it for milliseconds."""
KEPT_CONNECTIONS: Final = 5
"""Connections that a process keeps open; further ones are closed after use."""
MAX_CONNECTIONS: Final = 48
"""Enough for each of the API's 40 threads and for the health checks."""
POOL_WAIT_S: Final = 10.0
"""How long to wait for a connection if all are in use."""
APPLICATION: Final = "cuemill"
MIGRATIONS: Final = Path(__file__).parents[2] / "migrations"
# Without these, a connection whose other end vanished silently is waited for for hours: Linux's
# own keepalives begin after two, and data is sent again for 15 minutes.
_NETWORK_TIMEOUTS: Final = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # Milliseconds, unlike the others.
}
_NOT_NOW: Final = (
    DBAPIError,
    PoolTimeoutError,
    DisconnectionError,
    PendingRollbackError,  # The connection broke earlier in the transaction.
)
"""SQLAlchemy's errors that depend on the state of the database, not on the program."""
_MIGRATION_LOCK: Final = 0x63_75_65_6D
"""The number of a PostgreSQL advisory lock: "cuem"."""


class now_s(FunctionElement[float]):
    """The database's own clock, in seconds since 1970: all workers read the same one."""

    type = sa.Double()
    inherit_cache = True


@compiles(now_s, "postgresql")
def _now_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    return "extract(epoch from clock_timestamp())::double precision"


@compiles(now_s, "sqlite")
def _now_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


class now(FunctionElement[datetime]):
    """The same clock, as a time."""

    type = UtcDateTime()
    inherit_cache = True


@compiles(now, "postgresql")
def _time_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    return "clock_timestamp()"


@compiles(now, "sqlite")
def _time_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    # As SQLAlchemy writes times: text with six digits of the second's fraction.
    return "strftime('%Y-%m-%d %H:%M:%f000', 'now')"


def upsert(connection: Connection, table: type[Base]) -> postgresql.Insert | sqlite.Insert:
    """An INSERT to which `on_conflict_do_nothing` or `on_conflict_do_update` can be added."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)


class Database:
    """The database at a URL.

    A transaction is `with database.write() as connection:`, short, and never nested.
    """

    def __init__(self, url: str | URL) -> None:
        """
        Raises:
            UsageError: not a URL of a SQLite or PostgreSQL database.
            DatabaseError: the folder for a SQLite database cannot be created.
        """
        self.url = _parse(url)
        self._engine = _sqlite(self.url) if self.is_sqlite else _postgresql(self.url)

    @property
    def is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A read-only snapshot.

        Raises:
            DatabaseError: the database cannot be reached or read; trying again later may help.
        """
        with self._begin("DEFERRED") as connection:
            yield connection

    @contextmanager
    def write(self, *, synced: bool = True) -> Iterator[Connection]:
        """A transaction, committed at the end of the block and rolled back by an exception.

        Args:
            synced: wait until the commit is on disk. Without it, a power failure (or a crash of
                PostgreSQL) may undo the transaction, unless a later one was synced. That is enough
                for a claim: it is then as if never made.

        Raises:
            DatabaseError: the database cannot be reached or written; trying again later may help.
        """
        with self._begin("IMMEDIATE", synced=synced) as connection:
            yield connection

    @contextmanager
    def _begin(self, mode: str, *, synced: bool = True) -> Iterator[Connection]:
        # COPY raises the driver's own errors.
        driver_error = self._engine.dialect.loaded_dbapi.Error
        try:
            with self._connect() as connection:
                prepared = connection.execution_options(sqlite_begin=mode, synced=synced)
                with prepared.begin():
                    yield prepared
        except (*_NOT_NOW, driver_error) as error:
            raise explain(self.url, error) from error

    def _connect(self) -> Connection:
        try:
            return self._engine.connect()
        except OSError as error:
            # psycopg passes on what its sockets raise, such as "Too many open files".
            raise explain(self.url, error) from error

    def upgrade(self) -> None:
        """Brings the tables to this program's revision. Programs that start together take turns.

        Raises:
            OutdatedError: its tables are newer than this program.
            DatabaseError: it cannot be reached.
        """
        if self.revision() == REVISION:
            return
        from alembic import command  # Slow to import, and rarely needed.
        from alembic.config import Config

        from models.store.revocation import revoke_all  # It stands on this module.

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        with self._migration_lock(), self.write() as connection:
            _check_not_newer(_revision(connection))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            # Programs of the version before may be at work.
            revoke_all(connection)

    def end_frozen(self) -> None:
        """Releases the locks of programs that froze during a COPY, by ending their connections.

        PostgreSQL ends connections that are idle in a transaction by itself, but a COPY that waits
        for rows counts as active.

        Raises:
            DatabaseError: the database cannot be reached.
        """
        if self.is_sqlite:
            return
        query = sa.text(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND usename = current_user "
            "AND application_name = current_setting('application_name') "
            "AND state = 'active' AND wait_event = 'ClientRead' "
            "AND query_start < clock_timestamp() - make_interval(secs => :frozen_s)"
        )
        with self.read() as connection:
            connection.execute(query, {"frozen_s": FROZEN_S})

    def check_revision(self) -> None:
        """
        Raises:
            DatabaseError: it cannot be reached, or its tables have another revision.
        """
        revision = self.revision()
        if revision != REVISION:
            raise DatabaseError(
                f"The database's tables have revision {revision}; this program needs {REVISION}. "
                "Run `cuemill db upgrade`.",
                passing=False,
            )

    def check_not_newer(self) -> None:
        """
        Raises:
            OutdatedError: another program has upgraded the tables beyond what this one knows.
            DatabaseError: it cannot be reached.
        """
        _check_not_newer(self.revision())

    def revision(self) -> str | None:
        """The revision of the tables, or None before the first migration."""
        with self.read() as connection:
            return _revision(connection)

    @contextmanager
    def _migration_lock(self) -> Iterator[None]:
        if not self.is_sqlite:
            with self.write() as connection:
                # This transaction is idle on purpose while the migrations run in another one.
                connection.execute(sa.text("SET LOCAL idle_in_transaction_session_timeout = 0"))
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


def open_database(settings: Settings) -> Database:
    """The database at DATABASE_URL or, if that is empty, the SQLite database in DATA_DIR.

    Raises:
        UsageError: DATABASE_URL cannot be used, or there is no folder for data.
        DatabaseError: the folder for data cannot be created.
    """
    if settings.database_url:
        return Database(settings.database_url)

    # Built from its parts: in a pasted URL, a `?` would end the path, and folders whose names
    # differ only after it would share one database.
    path = settings.data_folder / "cuemill.db"
    return Database(URL.create("sqlite", database=str(path)))


def _parse(url: str | URL) -> URL:
    """A URL of a database that Cuemill supports, with the driver that it uses."""
    expected = "Expected postgresql://user:password@host/name or sqlite:////absolute/path.db."
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise UsageError(f"CUEMILL_DATABASE_URL is not a URL. {expected}") from None
    except ValueError:
        # The error itself is not shown, because it may quote a part of a misplaced password.
        raise UsageError(f"The port in CUEMILL_DATABASE_URL is not a number. {expected}") from None

    backend, _, driver = parsed.drivername.partition("+")
    if backend == "sqlite" and driver in ("", "pysqlite"):
        return parsed

    if backend in ("postgres", "postgresql"):
        if driver in ("", "psycopg"):
            return parsed.set(drivername="postgresql+psycopg")

        plain = parsed.set(drivername="postgresql").render_as_string(hide_password=True)
        raise UsageError(
            f"CUEMILL_DATABASE_URL names the driver {driver}, but Cuemill uses another. "
            f"Write {plain} instead."
        )

    raise UsageError(
        f"CUEMILL_DATABASE_URL names {parsed.drivername}, which Cuemill does not support. "
        f"{expected}"
    )


def _revision(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return revision


def _check_not_newer(revision: str | None) -> None:
    if revision and revision > REVISION:
        raise OutdatedError(
            f"The database's tables have revision {revision}; this program knows {REVISION}. "
            "Upgrade Cuemill.",
            passing=False,
        )


def _sqlite(url: URL) -> sa.Engine:
    if url.database:
        try:
            _prepare_file(Path(url.database))
        except OSError as error:
            raise DatabaseError(
                f"The folder of the database {url.database} cannot be created: {error.strerror}. "
                f"{CHOOSE_FOLDER}"
            ) from error
    # A database in memory has a pool of another kind.
    limits = _pool_limits() if url.database else {}
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_S}, **limits)

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, record: object) -> None:
        connection.isolation_level = None  # The driver begins no transactions; `_begin` below does.
        _use_wal(connection)
        connection.execute("PRAGMA foreign_keys = ON")
        # Deleted data is overwritten, because it is about people's faces (docs/decisions/0010).
        connection.execute("PRAGMA secure_delete = ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        synchronous = "FULL" if options.get("synced", True) else "NORMAL"
        connection.exec_driver_sql(f"PRAGMA synchronous = {synchronous}")
        # A writer begins with IMMEDIATE: a deferred transaction that turns to writing may fail as
        # busy without waiting.
        connection.exec_driver_sql(f"BEGIN {options.get('sqlite_begin', 'DEFERRED')}")

    return engine


def _prepare_file(path: Path) -> None:
    """Creates a database that only its user can read: it is about people's faces.

    SQLite gives the files beside it (-wal, -shm) the same permissions.
    """
    make_private(path.parent)
    # Missing rights are reported when the database is opened.
    with suppress(FileExistsError, PermissionError, IsADirectoryError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switches the file to WAL mode, which it keeps.

    For this statement alone, SQLite does not wait for the locks of others.
    """
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
    # Not everybody has PostgreSQL, whose driver takes a moment to import.
    from models.store.watchdog import WatchedConnection

    engine = sa.create_engine(
        url, pool_pre_ping=True, connect_args=_connect_arguments(url), **_pool_limits()
    )

    @event.listens_for(engine, "do_connect")
    def _connect(
        dialect: object, record: object, arguments: Any, parameters: Any
    ) -> WatchedConnection:
        return WatchedConnection.connect(*arguments, **parameters)

    # Inserted before SQLAlchemy's own listener, whose first query fails if text arrives as bytes.
    @event.listens_for(engine, "connect", insert=True)
    def _check_encoding(connection: Any, record: object) -> None:
        encoding = connection.info.parameter_status("server_encoding")
        if encoding in ("UTF8", None):  # None: a proxy does not say.
            return

        connection.close()
        raise DatabaseError(
            f"The database {url.database} has the encoding {encoding}, which cannot hold all "
            "paths; Cuemill needs UTF8. Create another for it, and change CUEMILL_DATABASE_URL: "
            "CREATE DATABASE cuemill ENCODING 'UTF8' TEMPLATE template0;",
            public="The database has an encoding that cannot hold all paths.",
            passing=False,
        )

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if not connection.get_execution_options().get("synced", True):
            connection.exec_driver_sql("SET LOCAL synchronous_commit = off")

    return engine


def _pool_limits() -> dict[str, Any]:
    return {
        "pool_size": KEPT_CONNECTIONS,
        "max_overflow": MAX_CONNECTIONS - KEPT_CONNECTIONS,
        "pool_timeout": POOL_WAIT_S,
    }


def _connect_arguments(url: URL) -> dict[str, Any]:
    """What Cuemill adds to a URL's own parameters, which take precedence."""
    # PostgreSQL ends what a frozen or disconnected program left open: others wait for its locks.
    options = [f"-c idle_in_transaction_session_timeout={FROZEN_S}s"]

    # Of two values for a setting the last one holds. As in libpq, the URL replaces the variable.
    own_options = url.query.get("options", os.environ.get("PGOPTIONS", ""))
    options += [own_options] if isinstance(own_options, str) else own_options

    arguments: dict[str, Any] = {
        "options": " ".join(options),
        "fallback_application_name": APPLICATION,
    }
    for name, value in _NETWORK_TIMEOUTS.items():
        if name not in url.query:
            arguments[name] = value
    return arguments
