"""Many rows at once, in one statement, by the fastest sound way of each database (docs/decisions/0008)."""

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from models.store.tables import Base

_POSTGRESQL: Final = {
    sa.BigInteger: "int8",
    sa.Boolean: "bool",
    sa.Integer: "int4",
    sa.LargeBinary: "bytea",
    sa.REAL: "float4",
    sa.String: "text",
    sa.Text: "text",
}
"""How the driver is to write our types in COPY's binary format, which converts nothing."""


def insert(
    connection: Connection,
    table: type[Base],
    columns: Sequence[str],
    rows: Sequence[tuple[Any, ...]],
) -> None:
    """Inserts rows as plain Python values. A key that is taken is an error, and undoes the transaction."""
    name, names = table.__tablename__, ", ".join(columns)
    if connection.dialect.name == "sqlite":
        places = ", ".join("?" * len(columns))
        connection.exec_driver_sql(f"INSERT INTO {name} ({names}) VALUES ({places})", list(rows))  # noqa: S608
        return
    statement = f"COPY {name} ({names}) FROM STDIN (FORMAT BINARY)"
    raw: Any = connection.connection
    with raw.cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types([_POSTGRESQL[type(table.__table__.c[column].type)] for column in columns])
        for row in rows:
            copy.write_row(row)
