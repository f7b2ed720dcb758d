"""Results: what a worker records of an image, and how users read it back, in pages that cost the same to the last."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Self

import sqlalchemy as sa
from sqlalchemy.engine import Row

from models.errors import UsageError
from models.labels import EMOTIONS
from models.store.database import Database
from models.store.releases import UNCERTAIN_BELOW
from models.store.states import Outcome
from models.store.tables import Image, Job, ModelRelease, Prediction

PAGE = 1_000

Table = type[Image] | type[Prediction]


@dataclass(frozen=True)
class Filter:
    """Which results: all conditions hold at once."""

    job_id: int | None = None
    emotion: str | None = None
    min_score: float | None = None
    outcome: Outcome | None = None
    path_prefix: str | None = None

    def __post_init__(self) -> None:
        if self.emotion is not None and self.emotion not in EMOTIONS:
            raise UsageError(
                f"{self.emotion!r} is no emotion of ours; these are: {', '.join(EMOTIONS)}."
            )

    def of_job(self, job_id: int) -> Self:
        """The same conditions within one job."""
        return replace(self, job_id=job_id)


@dataclass(frozen=True)
class Record:
    """One face's result, or one image's when it has none: the same in every format."""

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

    def nested(self) -> dict[str, Any]:
        """As JSON has it."""
        return {name: value for name, value in self.__dict__.items() if name != "cursor"}

    def flat(self) -> dict[str, Any]:
        """As CSV has it: a column for each value, and for each of the 28 emotions."""
        box = (self.face or {}).get("box") or {}
        return {
            "job_id": self.job_id,
            "path": self.path,
            "outcome": self.outcome.value,
            "error_code": (self.error or {}).get("code"),
            "error_message": (self.error or {}).get("message"),
            "face_index": (self.face or {}).get("index"),
            **{f"box_{side}": box.get(side) for side in ("x", "y", "width", "height")},
            "emotion": self.emotion,
            "score": self.score,
            **{emotion: (self.scores or {}).get(emotion) for emotion in EMOTIONS},
            "model": self.model,
        }


COLUMNS = tuple(Record(0, "", Outcome.FAILED, None, None, None, None, None, None, "").flat())


def page(db: Database, which: Filter, limit: int = PAGE, after: str | None = None) -> list[Record]:
    """Up to `limit` records in the order of the scan, behind the one whose cursor is `after`.

    Raises:
        UsageError: the cursor is none of ours.
    """
    with db.read() as connection:
        return [_record(row) for row in connection.execute(page_query(which, limit, after))]


def page_query(which: Filter, limit: int, after: str | None = None) -> sa.Select[Any]:
    """What `page` asks the database. An index leads to the page's first row, and with an emotion or an outcome
    from each row to the next; rows with a lower score or another path are passed over one by one.

    Only the first table is told where the page begins. Were the joined one told too, either database might, without
    statistics, look for each of its rows from there to the end.

    Raises:
        UsageError: the cursor is none of ours.
    """
    first, other = (
        (Prediction, Image)
        if which.emotion is not None or which.min_score is not None
        else (Image, Prediction)
    )
    joined = sa.and_(Prediction.job_id == Image.job_id, Prediction.number == Image.number)
    return (
        sa.select(Image, Prediction.__table__, ModelRelease.name.label("model"))
        .select_from(first)
        .join(
            other, joined, isouter=first is Image
        )  # An image without a face has its row, but where faces are asked for.
        .join(Job, Job.id == first.job_id)
        .outerjoin(
            ModelRelease,
            ModelRelease.id == sa.func.coalesce(Prediction.model_release_id, Job.model_release_id),
        )
        .where(*_conditions(which, first), *_behind(which, first, after), Job.deleted_at.is_(None))
        .order_by(first.job_id, first.number, Prediction.face)
        .limit(limit)
    )


def _behind(which: Filter, first: Table, after: str | None) -> Iterator[sa.ColumnElement[bool]]:
    """First the condition by which the index finds where the page begins, then what leaves out the cursor's own row.

    One comparison of (job, number, face) would say the same, but of that PostgreSQL weighs the job alone: behind the
    newest it expects no row, and so reads the whole job rather than the index until the page is full.
    """
    if after is None:
        return
    job, number, face = _cursor(after)
    yield (
        first.number >= number
        if which.job_id == job
        else sa.tuple_(first.job_id, first.number) >= (job, number)
    )
    yield sa.or_(
        first.job_id != job, first.number != number, sa.func.coalesce(Prediction.face, 0) > face
    )


def every(db: Database, which: Filter) -> Iterator[Record]:
    """All records, a page at a time, so that memory stays flat."""
    after: str | None = None
    while found := page(db, which, PAGE, after):
        yield from found
        after = found[-1].cursor


def distribution(db: Database, job_id: int) -> dict[str, dict[str, float]]:
    """For each emotion: on how many faces it scored highest, and its mean score over all faces (0 when none)."""
    top = (
        sa.select(Prediction.emotion, sa.func.count())
        .where(Prediction.job_id == job_id)
        .group_by(Prediction.emotion)
    )
    columns = Prediction.__table__.c
    means = sa.select(*(sa.func.avg(columns[e]).label(e) for e in EMOTIONS)).where(
        Prediction.job_id == job_id
    )
    with db.read() as connection:
        counts = dict(connection.execute(top).all())
        mean = connection.execute(means).one()._mapping
    return {e: {"count": counts.get(e, 0), "mean_score": float(mean[e] or 0.0)} for e in EMOTIONS}


def uncertain(db: Database, job_id: int) -> tuple[int, float] | None:
    """How many faces scored below what their release calls uncertain, and where that is; None if it doesn't say."""
    release = (
        sa.select(ModelRelease.metrics)
        .join(Job, Job.model_release_id == ModelRelease.id)
        .where(Job.id == job_id)
    )
    with db.read() as connection:
        threshold = (connection.scalar(release) or {}).get(UNCERTAIN_BELOW)
        if threshold is None:
            return None
        below = sa.select(sa.func.count()).where(
            Prediction.job_id == job_id, Prediction.score < threshold
        )
        return int(connection.execute(below).scalar_one()), float(threshold)


def _conditions(which: Filter, first: Table) -> Iterator[sa.ColumnElement[bool]]:
    if which.job_id is not None:
        yield first.job_id == which.job_id
    if which.emotion is not None:
        yield Prediction.emotion == which.emotion
    if which.min_score is not None:
        yield Prediction.score >= which.min_score
    if which.outcome is not None:
        yield Image.outcome == which.outcome
    if which.path_prefix:
        yield Image.path.startswith(which.path_prefix, autoescape=True)


def _cursor(text: str) -> tuple[int, int, int]:
    parts = re.fullmatch(r"(\d{1,18})\.(\d{1,18})\.(\d{1,9})", text, re.ASCII)
    if parts is None:
        raise UsageError(
            f"The cursor {text!r} is none of ours; pass on the one a page gave, unchanged."
        )
    return int(parts[1]), int(parts[2]), int(parts[3])


def _record(row: Row[Any]) -> Record:
    values = row._mapping
    classified = row.emotion is not None
    box = {side: values[f"box_{side}"] for side in ("x", "y", "width", "height")}
    return Record(
        job_id=row.job_id,
        path=row.path,
        outcome=Outcome(row.outcome),
        error={"code": row.error_code, "message": row.error_message} if row.error_code else None,
        face={"index": row.face, "box": box if row.box_x is not None else None}
        if classified
        else None,
        emotion=row.emotion,
        score=row.score,
        scores={emotion: values[emotion] for emotion in EMOTIONS} if classified else None,
        model=row.model,
        cursor=f"{row.job_id}.{row.number}.{row.face or 0}",
    )
