"""What the charts show: shares of a whole, ready to be drawn."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from models.store.jobs import Counts

OUTCOMES: Final = {
    "classified": "classified",
    "no_face": "without a face",
    "unreadable": "unreadable",
    "failed": "failed",
    "cancelled": "cancelled",
    "pending": "waiting",
}
"""What images of a job are, in words."""

STEPS: Final = (0.0, 0.05, 0.1, 0.2, 0.35, 0.5)
"""Where each shade of a heat table begins, as a share. Finer below, where most shares are."""


@dataclass(frozen=True)
class Bar:
    """One value among several.

    Args:
        length: in [0, 1]; the longest bar of a chart has 1, or those of a stack sum to 1.
        share: of the whole, in [0, 1].
        start: where it begins, in a stack.
    """

    name: str
    count: int
    length: float
    share: float
    start: float = 0.0


@dataclass(frozen=True)
class Cell:
    """An emotion in a row of a heat table.

    Args:
        share: of the row's faces, in [0, 1].
        step: of its shade, from 1 to the number of `STEPS`; 0 if there is no such face.
    """

    emotion: str
    count: int
    share: float
    step: int


@dataclass(frozen=True)
class Row:
    """A row of a heat table."""

    name: str
    faces: int
    cells: list[Cell]


def heat(name: str, counts: Mapping[str, int], columns: Sequence[str]) -> Row:
    """How the faces of a row spread over the columns."""
    faces = sum(counts.values())
    cells = []
    for emotion in columns:
        count = counts[emotion]
        share = count / max(faces, 1)
        cells.append(Cell(emotion, count, share, bisect_right(STEPS, share) if count else 0))
    return Row(name, faces, cells)


def stack(counts: Counts) -> list[Bar]:
    """How the images of a job are divided, without what there is none of."""
    total = max(counts.total, 1)
    bars = []
    start = 0.0
    for name in OUTCOMES:
        count = getattr(counts, name)
        share = count / total
        if count:
            bars.append(Bar(name, count, share, share, start))
        start += share
    return bars


def chart(counts: Mapping[str, int]) -> list[Bar]:
    """Bars for counts, the longest first, without what there is none of."""
    total = max(sum(counts.values()), 1)
    longest = max(counts.values(), default=0)
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return [Bar(name, count, count / longest, count / total) for name, count in ordered if count]


def done(counts: Counts) -> float:
    """The share of a job's images that are done, in [0, 1]."""
    return 1 - counts.pending / counts.total if counts.total else 0.0
