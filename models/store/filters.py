"""Which results a user asks for."""

import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import numpy as np
import sqlalchemy as sa

from models.errors import UsageError
from models.labels import EMOTIONS, find
from models.store import globs
from models.store.releases import UNCERTAIN_BELOW
from models.store.states import Outcome
from models.store.tables import NOTABLE, Image, Job, ModelRelease, Prediction

OPERATORS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "gte": operator.ge,
    "gt": operator.gt,
    "lte": operator.le,
    "lt": operator.lt,
}
"""How a score can be compared, by the name that users write."""

RELEASE_ID: Final = sa.func.coalesce(Prediction.model_release_id, Job.model_release_id)
"""The release of a result: the one that made it, or else the job's."""

_NUMBER: Final = r"(?:0(?:\.[0-9]{1,20})?|1(?:\.0{1,20})?)"
COMPARISON: Final = f"^(?:{'|'.join(OPERATORS)}):{_NUMBER}$"
"""How a comparison looks, such as `gte:0.4`."""


@dataclass(frozen=True)
class ScoreRange:
    """A limit to the score of one emotion.

    Args:
        operator: one of `OPERATORS`.
        limit: in [0, 1].
    """

    emotion: str
    operator: str
    limit: float

    @classmethod
    def parse(cls, emotion: str, comparison: str) -> Self:
        """
        Args:
            comparison: such as `gte:0.4`.

        Raises:
            UsageError: no such emotion, or no such comparison.
        """
        name, _, number = comparison.partition(":")
        if re.match(COMPARISON, comparison) is None:
            raise UsageError(
                f"Invalid range {comparison!r} for a score. Expected {', '.join(OPERATORS)} with a "
                "number from 0 to 1, such as gte:0.4."
            )
        return cls(find_emotion(emotion), name, float(number))

    @property
    def condition(self) -> sa.ColumnElement[bool]:
        column = Prediction.__table__.c[self.emotion]
        return OPERATORS[self.operator](column, as_stored(self.limit))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class ResultFilter:
    """Which results: those that meet all conditions.

    Args:
        number: of the image in its job.
        emotion: the one with the highest score.
        min_score: of the highest score.
        scores: limits to the scores of any emotions.
        uncertain: whether the highest score is below the threshold of the release that made the
            prediction. Of a release without a threshold, no result is certain or uncertain.
        code: the error's.
        glob: of the path, as `globs.py` explains it.
        model: a release's name, or how its SHA-256 begins.
        min_face: pixels of the shorter side of a face's box.
        min_confidence: the detector's, in [0, 1]. A picture taken whole has neither box nor
            confidence, so it meets neither of these two conditions.
        min_faces, max_faces: how many faces an image has; 0 if it was not classified.

    Raises:
        UsageError: the emotion is unknown.
    """

    job_id: int | None = None
    number: int | None = None
    emotion: str | None = None
    min_score: float | None = None
    outcome: Outcome | None = None
    path_prefix: str | None = None
    min_face: int | None = None
    min_confidence: float | None = None
    min_faces: int | None = None
    max_faces: int | None = None
    scores: tuple[ScoreRange, ...] = ()
    uncertain: bool | None = None
    code: str | None = None
    glob: str | None = None
    model: str | None = None

    def __post_init__(self) -> None:
        if self.emotion is not None:
            # The class is frozen.
            object.__setattr__(self, "emotion", find_emotion(self.emotion))

    @property
    def is_of_faces(self) -> bool:
        """Whether only faces can meet the conditions, and no image without one."""
        of_faces = (
            self.emotion,
            self.min_score,
            self.min_face,
            self.min_confidence,
            self.uncertain,
        )
        return bool(self.scores) or any(condition is not None for condition in of_faces)

    @property
    def is_of_images(self) -> bool:
        """Whether a condition is about the image, and not about a face alone."""
        of_images = (self.outcome, self.code, self.glob, self.min_faces, self.max_faces)
        return bool(self.path_prefix) or any(condition is not None for condition in of_images)

    def asks_for_notable(self, emotion: str) -> bool:
        """Whether a face must score `NOTABLE` or more for an emotion to meet the conditions."""
        return any(
            score.emotion == emotion and score.operator in ("gte", "gt") and score.limit >= NOTABLE
            for score in self.scores
        )

    def of_job(self, job_id: int) -> Self:
        """The same conditions within one job."""
        return replace(self, job_id=job_id)

    def where(self, leading: type[Image] | type[Prediction]) -> Iterator[sa.ColumnElement[bool]]:
        """The conditions in SQL, on images, predictions and their jobs.

        Args:
            leading: the table whose index leads to the rows.
        """
        if self.job_id is not None:
            yield leading.job_id == self.job_id
        if self.number is not None:
            yield leading.number == self.number
        yield from self._where_faces()
        yield from self._where_images()
        if self.model is not None:
            is_named = sa.or_(
                ModelRelease.name == self.model,
                ModelRelease.sha256.startswith(self.model, autoescape=True),
            )
            yield RELEASE_ID.in_(sa.select(ModelRelease.id).where(is_named).correlate(None))

    def _where_faces(self) -> Iterator[sa.ColumnElement[bool]]:
        if self.emotion is not None:
            yield Prediction.emotion == self.emotion
        if self.min_score is not None:
            yield Prediction.score >= as_stored(self.min_score)
        for score in self.scores:
            yield score.condition
        if self.uncertain is not None:
            compare = operator.lt if self.uncertain else operator.ge
            yield compare(Prediction.score, _THRESHOLD)
        if self.min_face is not None:
            yield Prediction.box_width >= self.min_face
            yield Prediction.box_height >= self.min_face
        if self.min_confidence is not None:
            yield Prediction.face_confidence >= as_stored(self.min_confidence)

    def _where_images(self) -> Iterator[sa.ColumnElement[bool]]:
        if self.outcome is not None:
            yield Image.outcome == self.outcome
        if self.code is not None:
            yield Image.error_code == self.code
        if self.path_prefix:
            # Not LIKE, which ignores case in SQLite.
            prefix = self.path_prefix
            yield sa.func.substr(Image.path, 1, len(prefix)) == prefix
        if self.glob is not None:
            yield globs.matches(Image.path, self.glob)
        if self.min_faces is not None:
            yield Image.faces >= self.min_faces
        if self.max_faces is not None:
            yield Image.faces <= self.max_faces


_Release: Final = ModelRelease.__table__.alias("threshold_release")
_THRESHOLD: Final = (
    sa.select(_Release.c.metrics[UNCERTAIN_BELOW].as_float())
    .where(_Release.c.id == Prediction.model_release_id)
    .correlate(Prediction)
    .scalar_subquery()
)


def find_emotion(text: str) -> str:
    """The emotion that a text names, as results do or as tables print it.

    Raises:
        UsageError: it names none.
    """
    emotion = find(text)
    if emotion is None:
        raise UsageError(f"Unknown emotion {text!r}. Expected one of: {', '.join(EMOTIONS)}.")
    return emotion


def as_stored(score: float) -> float:
    """The number as columns of scores hold it, so that a score equals its own shortest digits."""
    return float(np.float32(score))
