"""Bulk inserts: many rows in one statement, by the fastest safe way of each database.

docs/decisions/0008 compares the ways.
"""

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from models.store.tables import Base

_POSTGRESQL_TYPES: Final = {
    sa.BigInteger: "int8",
    sa.Boolean: "bool",
    sa.Integer: "int4",
    sa.LargeBinary: "bytea",
    sa.REAL: "float4",
    sa.String: "text",
    sa.Text: "text",
}
"""COPY's binary format converts nothing, so the driver must know the type of each column."""


def insert(
    connection: Connection,
    table: type[Base],
    columns: Sequence[str],
    rows: Sequence[tuple[Any, ...]],
) -> None:
    """Inserts rows of plain Python values. A key that exists undoes the transaction."""
    if not rows:
        return
    names = ", ".join(columns)

    if connection.dialect.name == "sqlite":
        placeholders = ", ".join("?" * len(columns))
        connection.exec_driver_sql(
            f"INSERT INTO {table.__tablename__} ({names}) VALUES ({placeholders})",  # noqa: S608
            list(rows),
        )
        return

    types = [_POSTGRESQL_TYPES[type(table.__table__.c[column].type)] for column in columns]
    statement = f"COPY {table.__tablename__} ({names}) FROM STDIN (FORMAT BINARY)"
    driver_connection: Any = connection.connection
    with driver_connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)
