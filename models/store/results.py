"""Results: what workers recorded, read in pages; the last page costs no more than the first."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Row

from models.errors import PLACE_CODES, DeletedError, UsageError
from models.labels import EMOTIONS
from models.store.database import Database
from models.store.digits import shortest
from models.store.filters import RELEASE_ID, ResultFilter
from models.store.order import Sort, check_cursor, parts_after
from models.store.releases import UNCERTAIN_BELOW
from models.store.states import Outcome
from models.store.tables import Image, Job, ModelRelease, Prediction

PAGE: Final = 1_000
_REALS: Final = ("face_confidence", "face_roll", "score", *EMOTIONS)
SCAN: Final = Sort()

Table = type[Image] | type[Prediction]


@dataclass(frozen=True)
class Record:
    """The result of one face, or of one image without a face.

    Args:
        scores: by emotion.
        cursor: where the next page begins.
    """

    job_id: int
    path: str
    outcome: Outcome
    error: dict[str, str] | None
    face: dict[str, Any] | None
    emotion: str | None
    score: float | None
    scores: dict[str, float] | None
    model: str | None
    cursor: str = field(repr=False)


def page(
    db: Database,
    conditions: ResultFilter,
    limit: int = PAGE,
    after: str | None = None,
    sort: Sort = SCAN,
) -> list[Record]:
    """Up to `limit` records in an order; if that is by scores, of faces only.

    Args:
        after: the cursor of the previous page's last record.

    Raises:
        UsageError: invalid cursor, or an order by scores across jobs.
        CursorError: the cursor of another order.
    """
    queries = _queries(conditions, after, sort)
    rows: list[Row[Any]] = []
    with db.read() as connection:
        for query in queries:
            rows += connection.execute(query.limit(limit - len(rows)))
            if len(rows) == limit:
                break
    return _to_records(rows, sort)


def stream(db: Database, conditions: ResultFilter, sort: Sort = SCAN) -> Iterator[Record]:
    """All records, read a page at a time: memory use does not grow with their number.

    Raises:
        DeletedError: their job was deleted meanwhile. What was read so far is not all of them.
    """
    job_id = conditions.job_id
    after = None
    while True:
        records = page(db, conditions, PAGE, after, sort)
        # Asked after the page was read: a job that is there now was there then.
        if job_id is not None:
            _check_exists(db, job_id)
        yield from records

        if len(records) < PAGE:
            return
        last = records[-1]
        after = last.cursor
        job_id = last.job_id


def _check_exists(db: Database, job_id: int) -> None:
    query = sa.select(Job.id).where(Job.id == job_id, Job.deleted_at.is_(None))
    with db.read() as connection:
        if connection.scalar(query) is None:
            raise DeletedError(
                f"Job {job_id} was deleted while its results were being read. What was read is "
                "incomplete: do not use it."
            )


def _queries(conditions: ResultFilter, after: str | None, sort: Sort) -> list[sa.Select[Any]]:
    """The queries of a page; the next one is needed if those before it have too few rows."""
    if sort.is_scan:
        leading: Table = Prediction if conditions.is_of_faces else Image
        order = (leading.job_id, leading.number, Prediction.face)
        found = _select(leading, conditions).where(*_after(conditions, leading, after))
        return [found.order_by(*order)]

    if conditions.job_id is None:
        raise UsageError("Results of several jobs are not sorted by scores. Choose one job.")
    emotion = conditions.emotion
    query = _select(Prediction, replace(conditions, emotion=None))
    if emotion is not None:
        # Not the column itself, by whose index SQLite would sort all faces of the emotion.
        query = query.where(Prediction.emotion.concat("") == emotion)
    return [
        query.where(*where).order_by(*sort.order_by(part))
        for part, where in parts_after(sort, after, emotion)
        if not (part.is_low and conditions.asks_for_notable(sort.column.name))
    ]


def _select(leading: Table, conditions: ResultFilter) -> sa.Select[Any]:
    """Results that meet the conditions.

    An index leads to the page's first row and, with an emotion, an outcome or a code, from each row
    to the next. Rows that do not meet the other conditions are skipped one by one.

    Only the leading table is restricted to what follows the cursor. With the joined table
    restricted too, either database might, without statistics, search that table to its end for each
    row.
    """
    joined: Table = Image if leading is Prediction else Prediction

    return (
        sa.select(Image, Prediction.__table__, ModelRelease.name.label("model"))
        .select_from(leading)
        .join(
            joined,
            sa.and_(Prediction.job_id == Image.job_id, Prediction.number == Image.number),
            isouter=joined is Prediction,  # An image without a face has no prediction.
        )
        .join(Job, Job.id == leading.job_id)
        .outerjoin(ModelRelease, ModelRelease.id == RELEASE_ID)
        .where(*conditions.where(leading), Job.deleted_at.is_(None))
    )


def _after(
    conditions: ResultFilter, leading: Table, cursor: str | None
) -> Iterator[sa.ColumnElement[bool]]:
    """Restricts a page to what follows the cursor.

    The first condition lets the index find where the page begins; the second leaves out the
    cursor's own row. A single comparison of (job, number, face) would say the same, but PostgreSQL
    estimates such a comparison by the job alone: in the newest job it expects no row, and so reads
    the whole job instead of the index until the page is full.
    """
    if cursor is None:
        if conditions.job_id is not None:
            # Else SQLite might search the scores' index for `min_score`, and sort what it finds.
            yield leading.number >= 0
        return
    job_id, number, face = map(int, check_cursor(SCAN, cursor).split("."))

    if conditions.job_id == job_id:
        yield leading.number >= number
    else:
        yield sa.tuple_(leading.job_id, leading.number) >= (job_id, number)
    yield sa.or_(
        leading.job_id != job_id,
        leading.number != number,
        sa.func.coalesce(Prediction.face, 0) > face,
    )


def _to_records(rows: Sequence[Row[Any]], sort: Sort = SCAN) -> list[Record]:
    decimals = shortest([[row._mapping[name] or 0.0 for name in _REALS] for row in rows])

    return [
        _to_record(row, dict(zip(_REALS, values, strict=True)), sort)
        for row, values in zip(rows, decimals, strict=True)
    ]


def _to_record(row: Row[Any], reals: Mapping[str, float], sort: Sort) -> Record:
    face = None
    scores = None
    if row.emotion is not None:
        box = {side: row._mapping[f"box_{side}"] for side in ("x", "y", "width", "height")}
        face = {
            "index": row.face,
            "box": box if row.box_x is not None else None,
            "confidence": None if row.face_confidence is None else reals["face_confidence"],
            "roll": None if row.face_roll is None else reals["face_roll"],
        }
        scores = {emotion: reals[emotion] for emotion in EMOTIONS}

    return Record(
        job_id=row.job_id,
        path=row.path,
        outcome=Outcome(row.outcome),
        error={"code": row.error_code, "message": row.error_message} if row.error_code else None,
        face=face,
        emotion=row.emotion,
        score=None if row.score is None else reals["score"],
        scores=scores,
        model=row.model,
        cursor=sort.cursor(row),
    )


def count_uncertain(db: Database, job_id: int) -> tuple[int, float] | None:
    """Counts the faces that scored below the release's threshold for certainty.

    Returns:
        The count and the threshold; None if the release has no threshold.
    """
    metrics = (
        sa.select(ModelRelease.metrics)
        .join(Job, Job.model_release_id == ModelRelease.id)
        .where(Job.id == job_id)
    )
    with db.read() as connection:
        threshold = (connection.scalar(metrics) or {}).get(UNCERTAIN_BELOW)
        if threshold is None:
            return None
        below = sa.select(sa.func.count()).where(
            Prediction.job_id == job_id, Prediction.score < threshold
        )
        return connection.execute(below).scalar_one(), float(threshold)


def count_troubled(db: Database, job_id: int) -> int:
    """Counts the images that a drive, a mount or a host kept from being classified."""
    with db.read() as connection:
        return connection.execute(
            sa.select(sa.func.count()).where(
                Image.job_id == job_id, Image.error_code.in_(PLACE_CODES)
            )
        ).scalar_one()
