"""Comparison of two jobs: how often a face has one emotion in the first, another in the second.

Images are the same if their paths within the jobs' folders are. Their faces are compared by index,
if both jobs found the same number of them: the whole picture, or the faces from the left. Else it
is unknown which face is which, and none of the image is compared.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import aliased
from sqlalchemy.sql.functions import FunctionElement

from models.store.database import Database
from models.store.order import Sort, check_cursor
from models.store.tables import Image, Prediction

SCAN: Final = Sort()

_image, _other_image = aliased(Image), aliased(Image)
_face, _other_face = aliased(Prediction), aliased(Prediction)


class _Key(FunctionElement[str]):
    """Of a path: what the index of paths holds."""

    type = sa.Text()
    inherit_cache = True


@compiles(_Key, "postgresql")
def _key_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    return f"md5({compiler.process(element.clauses, **options)})"


@compiles(_Key, "sqlite")
def _key_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    return str(compiler.process(element.clauses, **options))


@dataclass(frozen=True)
class Comparison:
    """What two jobs say of the same faces.

    Args:
        matrix: counts of faces by their emotion in the first job and in the second.
        images: how many have a result in both jobs.
        uneven: those of them in which the jobs found different numbers of faces.
    """

    matrix: Mapping[tuple[str, str], int]
    images: int
    uneven: int

    @property
    def faces(self) -> int:
        return sum(self.matrix.values())

    @property
    def same(self) -> int:
        """How many faces have the same emotion in both jobs."""
        return sum(count for (one, other), count in self.matrix.items() if one == other)


@dataclass(frozen=True)
class Side:
    """A face in one of the jobs."""

    number: int
    emotion: str
    score: float


@dataclass(frozen=True)
class Pair:
    """The same face in both jobs.

    Args:
        face: its index in its image.
        cursor: where the next page begins.
    """

    path: str
    face: int
    first: Side
    second: Side
    cursor: str


def compare(db: Database, first: int, second: int) -> Comparison:
    """Compares two jobs. Each of their images is read once."""
    uneven = sa.func.sum(sa.case((_image.faces != _other_image.faces, 1), else_=0))
    images = sa.select(sa.func.count(), uneven).select_from(_image).join(*_other_of(second))
    emotions = (_face.emotion, _other_face.emotion)
    faces = _join_faces(sa.select(*emotions, sa.func.count()), second)

    with db.read() as connection:
        total, number = connection.execute(images.where(_image.job_id == first)).one()
        rows = connection.execute(faces.where(_face.job_id == first).group_by(*emotions))
        return Comparison(
            {(one, other): count for one, other, count in rows}, total, int(number or 0)
        )


def page(
    db: Database,
    first: int,
    second: int,
    limit: int,
    *,
    emotion: str | None = None,
    other: str | None = None,
    after: str | None = None,
) -> list[Pair]:
    """Up to `limit` faces that both jobs have, in the order of the first job's scan.

    Args:
        emotion: only those with this emotion in the first job.
        other: only those with this emotion in the second job. With neither of the two, only faces
            with different emotions.
        after: the cursor of the previous page's last face.

    Raises:
        UsageError: invalid cursor.
        CursorError: the cursor of another order.
    """
    columns = (
        _image.path,
        _face.face,
        *(_face.number, _face.emotion, _face.score),
        *(_other_face.number, _other_face.emotion, _other_face.score),
    )
    query = (
        _join_faces(sa.select(*columns), second)
        .where(_face.job_id == first, *_chosen(emotion, other), *_after(after))
        .order_by(_face.number, _face.face)
        .limit(limit)
    )
    with db.read() as connection:
        return [
            Pair(path, face, Side(*one), Side(*two), f"{first}.{one[0]}.{face}")
            for path, face, *sides in connection.execute(query)
            for one, two in [(sides[:3], sides[3:])]
        ]


def _other_of(job_id: int) -> tuple[Any, sa.ColumnElement[bool]]:
    """What joins the same image of another job."""
    same = sa.and_(
        _other_image.job_id == job_id,
        _Key(_other_image.path) == _Key(_image.path),
        # As a second plain condition, PostgreSQL would expect hardly a row to meet both, and would
        # sort all faces of the jobs for each page.
        sa.func.coalesce(_other_image.path == _image.path, sa.false()),
    )
    return _other_image, same


def _join_faces(query: sa.Select[*tuple[Any, ...]], second: int) -> sa.Select[*tuple[Any, ...]]:
    """The faces of a job, with the same face of another one."""
    return (
        query.select_from(_face)
        .join(_image, sa.and_(_image.job_id == _face.job_id, _image.number == _face.number))
        .join(*_other_of(second))
        .join(
            _other_face,
            sa.and_(
                _other_face.job_id == _other_image.job_id,
                _other_face.number == _other_image.number,
                _other_face.face == _face.face,
            ),
        )
        .where(_image.faces == _other_image.faces)
    )


def _chosen(emotion: str | None, other: str | None) -> Iterator[sa.ColumnElement[bool]]:
    if emotion is not None:
        yield _face.emotion == emotion
    if other is not None:
        yield _other_face.emotion == other
    if emotion is None and other is None:
        yield _face.emotion != _other_face.emotion


def _after(cursor: str | None) -> Iterator[sa.ColumnElement[bool]]:
    """As in `results.py`: where the index begins, and without the cursor's own row."""
    if cursor is None:
        yield _face.number >= 0
        return
    _, number, face = map(int, check_cursor(SCAN, cursor).split("."))
    yield _face.number >= number
    yield sa.or_(_face.number != number, _face.face > face)
