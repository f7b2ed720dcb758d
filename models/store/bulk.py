"""Bulk inserts: many rows in one statement, by the fastest safe way of each database.

docs/decisions/0008 compares the ways.
"""

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from models.errors import RefusedError
from models.store.tables import Base, Reason

_POSTGRESQL_TYPES: Final = {
    sa.BigInteger: "int8",
    sa.Boolean: "bool",
    sa.Integer: "int4",
    sa.LargeBinary: "bytea",
    sa.REAL: "float4",
    sa.String: "text",
    sa.Text: "text",
    Reason: "text",
}
"""COPY's binary format converts nothing, so the driver must know the type of each column."""
_REFUSALS: Final = (
    "22",  # Data exception: a value that its column cannot hold.
    "23",  # Integrity constraint violation.
    "54",  # Program limit exceeded, such as an index row that is too long.
    "P0",  # A trigger that raises an error.
)
"""How PostgreSQL's error codes begin that blame the data."""


def insert(
    connection: Connection,
    table: type[Base],
    columns: Sequence[str],
    rows: Sequence[tuple[Any, ...]],
) -> None:
    """Inserts rows of plain Python values. A key that exists undoes the transaction.

    Raises:
        RefusedError: the database does not take one of the rows.
    """
    if not rows:
        return
    try:
        if connection.dialect.name == "sqlite":
            _execute(connection, table, columns, rows)
        else:
            _copy(connection, table, columns, rows)
    except (OverflowError, UnicodeEncodeError) as error:
        # A value that the driver cannot pass on.
        raise RefusedError(_describe(error)) from error
    except (DBAPIError, connection.dialect.loaded_dbapi.Error) as error:
        if _is_refusal(error):
            raise RefusedError(_describe(error)) from error
        raise


def _execute(
    connection: Connection,
    table: type[Base],
    columns: Sequence[str],
    rows: Sequence[tuple[Any, ...]],
) -> None:
    names = ", ".join(columns)
    placeholders = ", ".join("?" * len(columns))
    connection.exec_driver_sql(
        f"INSERT INTO {table.__tablename__} ({names}) VALUES ({placeholders})",  # noqa: S608
        list(rows),
    )


def _copy(
    connection: Connection,
    table: type[Base],
    columns: Sequence[str],
    rows: Sequence[tuple[Any, ...]],
) -> None:
    types = [_POSTGRESQL_TYPES[type(table.__table__.c[column].type)] for column in columns]
    statement = f"COPY {table.__tablename__} ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)"
    driver_connection: Any = connection.connection
    with driver_connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)


def _is_refusal(error: Exception) -> bool:
    """Whether the data is to blame, and not the state of the database."""
    # COPY raises the driver's own errors.
    sqlstate = getattr(error, "sqlstate", None) or ""
    return isinstance(error, (DataError, IntegrityError)) or sqlstate.startswith(_REFUSALS)


def _describe(error: Exception) -> str:
    """The reason in one line that any database can store."""
    reason = str(getattr(error, "orig", error)).strip().split("\n")[0]
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in reason)
