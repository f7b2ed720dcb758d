"""A query for results as a statement to read and to run elsewhere, with its values in it."""

from collections.abc import Iterator
from dataclasses import replace
from functools import reduce
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.sql.operators import custom_op

from models.store import globs
from models.store.database import Database
from models.store.filters import ResultFilter
from models.store.order import Sort
from models.store.tables import NOTABLE, Image, Job, Prediction

_COLUMNS: Final = Prediction.__table__.c
_AND: Final[custom_op[bool]] = custom_op(
    "\n  AND", precedence=3, is_comparison=True, natural_self_precedent=True
)
"""Binds as AND does, and begins a line."""


def write(db: Database, conditions: ResultFilter, sort: Sort) -> str:
    """The statement for these results of a job in this order, in the database's own SQL.

    It is for people: unlike `results.page`, it has no pages, and leaves the way to the rows to the
    database. SQLite needs no function of Cuemill's to run it.
    """
    with db.read() as connection:  # A dialect knows its server once it has met it.
        dialect = connection.dialect
    is_of_faces = conditions.is_of_faces or not sort.is_scan
    leading = Prediction if is_of_faces else Image
    joined = Image if is_of_faces else Prediction

    tables = sa.join(
        leading,
        joined,
        sa.and_(Prediction.job_id == Image.job_id, Prediction.number == Image.number),
        isouter=joined is Prediction,
    )
    if conditions.model is not None:
        tables = tables.join(Job, Job.id == leading.job_id)

    where = list(_where(conditions, leading, is_sqlite=db.is_sqlite))
    order = [leading.number, _COLUMNS.face] if sort.is_scan else _order(conditions, sort)
    query = sa.select(*_columns(conditions, sort)).select_from(tables).where(reduce(_AND, where))

    # The order apart, on a line of its own.
    parts = [
        str(part.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
        for part in (query, *order)
    ]
    text = f"{parts[0]}\nORDER BY {', '.join(parts[1:])};"
    # The driver would halve what was doubled for it.
    return text.replace("%%", "%") if dialect.paramstyle == "pyformat" else text


def _columns(conditions: ResultFilter, sort: Sort) -> list[Any]:
    """What tells results apart, and the scores that the query is about."""
    emotions = [score.emotion for score in conditions.scores]
    if not sort.is_scan:
        emotions.append(sort.column.name)

    columns = [Image.path, Image.outcome, _COLUMNS.face, _COLUMNS.emotion, _COLUMNS.score]
    return [*columns, *(_COLUMNS[name] for name in dict.fromkeys(emotions) if name != "score")]


def _where(
    conditions: ResultFilter, leading: type[Image] | type[Prediction], *, is_sqlite: bool
) -> Iterator[sa.ColumnElement[bool]]:
    if conditions.glob is not None and is_sqlite:
        # Cuemill's own function for regular expressions is not known elsewhere.
        yield from replace(conditions, glob=None).where(leading)
        yield Image.path.op("GLOB", is_comparison=True)(globs.to_sqlite(conditions.glob))
    else:
        yield from conditions.where(leading)


def _order(conditions: ResultFilter, sort: Sort) -> list[sa.ColumnElement[Any]]:
    column: sa.ColumnElement[Any] = sort.column
    if column.name == conditions.emotion:
        column = _COLUMNS.score
    elif column is not _COLUMNS.score:
        # Lower scores count as equal, as `order.py` explains.
        low: sa.ColumnElement[float] = sa.literal_column(str(NOTABLE))
        column = sa.case((column < low, sa.literal_column("0")), else_=column)

    columns = (column, _COLUMNS.number, _COLUMNS.face)
    return [column.desc() if sort.is_descending else column.asc() for column in columns]
