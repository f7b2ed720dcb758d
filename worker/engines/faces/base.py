"""What finds faces in a picture, behind one small protocol."""

from dataclasses import dataclass
from typing import Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MAX_FACES: Final = 1000
"""That are reported of one picture, the surest."""


@dataclass(frozen=True)
class Faces:
    """The faces of one picture, the surest first.

    Attributes:
        boxes: float32 (n, 4): left, top, right, bottom, in pixels of the picture. The box of a face
            at the edge may reach beyond it.
        confidences: float32 (n,), in [0, 1].
        points: float32 (n, 5, 2): x and y of the person's right eye, left eye, tip of the nose,
            right and left corner of the mouth.
    """

    boxes: NDArray[np.float32]
    confidences: NDArray[np.float32]
    points: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.boxes)

    def take(self, chosen: NDArray[np.intp] | NDArray[np.bool_]) -> Self:
        """The chosen faces, in that order."""
        return type(self)(self.boxes[chosen], self.confidences[chosen], self.points[chosen])

    def shares(self, size: tuple[int, int]) -> NDArray[np.float32]:
        """How much of a picture of this (width, height) each face covers: (n,), in [0, 1]."""
        limits = np.array(size, np.float32)
        shown = self.boxes.reshape(-1, 2, 2).clip(0, limits)
        shares: NDArray[np.float32] = ((shown[:, 1] - shown[:, 0]) / limits).prod(axis=1)
        return shares


class Detector(Protocol):
    """A face detector ready to run. Make it in the process that uses it; it is not thread-safe.

    Attributes:
        name: recorded with the job that used it.
        shorter_side: in pixels. A picture may be decoded at a reduced scale that leaves its shorter
            side at least this long: the detector shrinks larger ones.
    """

    name: str
    shorter_side: int

    def detect(self, image: Image.Image, threshold: float) -> Faces:
        """Finds the faces of one picture, at most `MAX_FACES`.

        Args:
            image: RGB, upright.
            threshold: the lowest confidence to report, in [0, 1].
        """
        ...
