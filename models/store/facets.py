"""Facets: how many results each further choice would leave, beside a page of results.

A choice replaces the condition of its own kind and keeps all others. The counts are therefore those
of the results without that condition.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from models.store.database import Database
from models.store.filters import ResultFilter, as_stored
from models.store.tables import Image, Job, Prediction

SCORES: Final = (0.9, 0.8, 0.7, 0.6, 0.5)
"""The least top scores that are counted."""
MANY: Final = 5
"""Images with this many faces or more are counted together."""

_SAME: Final = sa.and_(Prediction.job_id == Image.job_id, Prediction.number == Image.number)


@dataclass(frozen=True)
class Facets:
    """Counts of results: of faces, and of images without one.

    Args:
        scores: by the least top score.
        faces: by how many faces the image has.
    """

    emotions: Mapping[str, int]
    outcomes: Mapping[str, int]
    scores: Mapping[float, int]
    faces: Mapping[int, int]


def count(db: Database, conditions: ResultFilter) -> Facets:
    number = sa.case((Image.faces >= MANY, MANY), else_=Image.faces)
    without_number = replace(conditions, min_faces=None, max_faces=None)

    with db.read() as connection:
        return Facets(
            emotions=_of_faces(connection, replace(conditions, emotion=None)),
            outcomes=_of_images(connection, replace(conditions, outcome=None), Image.outcome),
            scores=_of_scores(connection, replace(conditions, min_score=None)),
            faces=_of_images(connection, without_number, number),
        )


def _of_faces(connection: Connection, conditions: ResultFilter) -> dict[str, int]:
    query = sa.select(Prediction.emotion, sa.func.count()).group_by(Prediction.emotion)
    return _to_dict(connection.execute(_from_faces(query, conditions)))


def _of_scores(connection: Connection, conditions: ResultFilter) -> dict[float, int]:
    sums = [
        sa.func.sum(sa.case((Prediction.score >= as_stored(least), 1), else_=0)) for least in SCORES
    ]
    row = connection.execute(_from_faces(sa.select(*sums), conditions)).one()
    return {least: int(number or 0) for least, number in zip(SCORES, row, strict=True)}


def _of_images(
    connection: Connection, conditions: ResultFilter, column: sa.SQLColumnExpression[Any]
) -> dict[Any, int]:
    if conditions.is_of_faces:
        query = sa.select(column, sa.func.count()).group_by(column)
        rows = connection.execute(_from_faces(query, conditions, with_images=True))
    elif conditions.model is not None:
        query = sa.select(column, sa.func.count()).select_from(Image).join(Job)
        query = query.outerjoin(Prediction, _SAME).where(*conditions.where(Image))
        rows = connection.execute(query.group_by(column))
    else:
        # An image is as many results as it has faces, so that no face need be read.
        results = sa.func.sum(sa.case((Image.faces > 0, Image.faces), else_=1))
        query = sa.select(column, results).where(*conditions.where(Image)).group_by(column)
        rows = connection.execute(query)
    return _to_dict(rows)


def _from_faces(
    query: sa.Select[*tuple[Any, ...]], conditions: ResultFilter, *, with_images: bool = False
) -> sa.Select[*tuple[Any, ...]]:
    query = query.select_from(Prediction)
    if with_images or conditions.is_of_images:
        query = query.join(Image, _SAME)
    if conditions.model is not None:
        query = query.join(Job, Job.id == Prediction.job_id)
    return query.where(*conditions.where(Prediction))


def _to_dict(rows: Iterable[Any]) -> dict[Any, int]:
    return {value: int(number) for value, number in rows}
