"""The order of results: that of the scan, or by scores. A cursor says where a page begins in one.

By an emotion's score, scores below `NOTABLE` count as equal: their faces are in the order of the
scan, before or after the others. That makes an index of each emotion short enough to afford
(docs/decisions/0017).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Self

import sqlalchemy as sa
from sqlalchemy.engine import Row

from models.errors import CursorError, UsageError
from models.labels import EMOTIONS
from models.store.filters import as_stored
from models.store.tables import NOTABLE, Prediction

_COLUMNS: Final = Prediction.__table__.c
_TIES: Final = (_COLUMNS.number, _COLUMNS.face)
_SCAN: Final = "number"
_TOP: Final = "score"

SORTS: Final = (
    _SCAN,
    *(
        f"{sign}{name}"
        for name in (_TOP, *(f"{_TOP}.{emotion}" for emotion in EMOTIONS))
        for sign in ("", "-")
    ),
)
"""How results can be sorted, as users write it: `-` puts the highest score first."""

CURSOR: Final = (
    r"^(-?score(\.[a-z_]{1,32})?~[01]\.[0-9]{12}~|[0-9]{1,18}\.)[0-9]{1,18}\.[0-9]{1,9}$"
)
"""How a cursor looks: `sort~score~number.face`, or `job.number.face` in the order of the scan."""


def notable(scores: sa.ColumnElement[float]) -> sa.ColumnElement[bool]:
    """The condition of an emotion's index, to the letter."""
    return sa.literal_column(f"NOT ({_is_low(scores)})")


def _is_low(scores: sa.ColumnElement[float]) -> sa.ColumnElement[bool]:
    # SQLAlchemy would write the opposite of a comparison of its own without NOT.
    return sa.literal_column(f"predictions.{scores.name} < {NOTABLE}")


@dataclass(frozen=True)
class Part:
    """Faces that one index holds in order: those that meet the condition, by these columns.

    Args:
        is_low: whether they are those that score below `NOTABLE`; None = there are no other parts.
    """

    condition: sa.ColumnElement[bool]
    columns: tuple[sa.ColumnElement[Any], ...]
    is_low: bool | None = None


@dataclass(frozen=True)
class Sort:
    """
    Args:
        text: one of `SORTS`.
    """

    text: str = _SCAN

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Raises:
            UsageError: no such order.
        """
        if text not in SORTS:
            raise UsageError(
                f"Unknown order {text!r}. Expected {_SCAN}, {_TOP} or {_TOP}.EMOTION, such as "
                f"{_TOP}.fear, the lowest score first; -{_TOP} and so on put the highest first."
            )
        return cls(text)

    @property
    def is_scan(self) -> bool:
        return self.text == _SCAN

    @property
    def is_descending(self) -> bool:
        return self.text.startswith("-")

    @property
    def column(self) -> sa.ColumnElement[float]:
        """The scores that are compared."""
        return _COLUMNS[self.text.removeprefix("-").removeprefix(f"{_TOP}.")]

    def parts(self, emotion: str | None = None) -> list[Part]:
        """What follows each other in this order, which is by scores.

        Args:
            emotion: the only top emotion that is asked for. Its score is the top score then.
        """
        top, column = _COLUMNS.score, self.column
        if emotion is not None and column.name in (top.name, emotion):
            low, column = Part(_is_low(top), (top, *_TIES), True), _COLUMNS[emotion]
        elif column is top:
            return [Part(sa.true(), (top, *_TIES))]
        else:
            low = Part(_is_low(column), _TIES, True)

        parts = [low, Part(notable(column), (column, *_TIES), False)]
        return parts[::-1] if self.is_descending else parts

    def order_by(self, part: Part) -> list[sa.ColumnElement[Any]]:
        columns = (_COLUMNS.job_id, *part.columns)
        return [column.desc() if self.is_descending else column.asc() for column in columns]

    def cursor(self, row: Row[Any]) -> str:
        """The cursor of what follows a row."""
        if self.is_scan:
            return f"{row.job_id}.{row.number}.{row.face or 0}"
        score = row._mapping[self.column.name]
        return f"{self.text}~{as_stored(score):.12f}~{row.number}.{row.face}"


@dataclass(frozen=True)
class Place:
    """Where a page begins in an order by scores: after this face."""

    score: float
    number: int
    face: int

    @classmethod
    def parse(cls, sort: Sort, cursor: str) -> Self:
        """
        Raises:
            UsageError: no cursor.
            CursorError: the cursor of another order.
        """
        score, face = check_cursor(sort, cursor).split("~")
        number, index = face.split(".")
        return cls(as_stored(float(score)), int(number), int(index))

    def is_in(self, part: Part) -> bool:
        """Whether the face is one of this part's."""
        return part.is_low in (None, self.score < NOTABLE)

    def following(self, sort: Sort, part: Part) -> sa.ColumnElement[bool]:
        """The condition that a face of the same part follows this one."""
        values: tuple[float, ...] = (self.number, self.face)
        if part.columns is not _TIES:
            values = (self.score, *values)

        columns = sa.tuple_(*part.columns)
        return columns < values if sort.is_descending else columns > values


def parts_after(
    sort: Sort, cursor: str | None, emotion: str | None
) -> Iterator[tuple[Part, list[sa.ColumnElement[bool]]]]:
    """The parts of an order that are not before the cursor, with the conditions on their faces.

    Args:
        emotion: as in `Sort.parts`.
    """
    place = None if cursor is None else Place.parse(sort, cursor)
    for part in sort.parts(emotion):
        if place is None:
            yield part, [part.condition]
        elif place.is_in(part):
            yield part, [part.condition, place.following(sort, part)]
            place = None


def check_cursor(sort: Sort, cursor: str) -> str:
    """
    Returns:
        What it says of its place.

    Raises:
        UsageError: no cursor.
        CursorError: the cursor of another order.
    """
    if re.match(CURSOR, cursor) is None:
        raise UsageError(f"Invalid cursor {cursor!r}. Use `next` from the previous page unchanged.")

    *texts, place = cursor.split("~", 1)
    text = texts[0] if texts else _SCAN
    if text != sort.text:
        raise CursorError(
            f"This cursor is of a list sorted by {text}, not by {sort.text}. Send it with the same "
            "`sort`, or begin without a cursor."
        )
    return place
