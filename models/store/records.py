"""What a worker records of an image, and what its prediction was made from."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.labels import EMOTIONS
from models.store.states import Outcome


@dataclass(frozen=True)
class Origin:
    """What a prediction was made from: `models/store/reuse.py` explains the fingerprint; the others are None for links."""

    fingerprint: bytes | None = None
    size: int | None = None
    mtime_ns: int | None = None


@dataclass(frozen=True)
class ImageRecord:
    """What became of one image, to be recorded. `scores` is float32 (28,), summing to 1, or None.

    A row is `reused` when its scores are an earlier job's.
    """

    number: int
    path: str
    outcome: Outcome
    error_code: str | None = None
    error_message: str | None = None
    scores: NDArray[np.float32] | None = None
    origin: Origin = Origin()
    reused: bool = False

    def prediction(self) -> tuple[Any, ...]:
        """The highest emotion, its score, and all 28."""
        scores = [] if self.scores is None else self.scores.tolist()
        highest = max(scores)
        return (EMOTIONS[scores.index(highest)], highest, *scores)
