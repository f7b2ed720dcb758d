"""Whether a picture is a crop, which is one face and little else, or a photograph to find faces in.

The rule of `--faces auto`. The figures were chosen by measurement
(docs/decisions/0015-crop-or-photograph.md).
"""

from typing import Final

from worker.engines.faces.base import Faces

SURE_CROP_PX: Final = 64
"""A picture whose longer side is at most this shows one face, or faces too small to classify."""
FILLED: Final = 0.40
"""A single face that covers at least this share of the picture is the picture."""
SMALL_PX: Final = 128
"""In a nearly square picture with a longer side of at most this, the face may just not be found."""
SQUARE: Final = 4 / 3
"""The longest shape, longer by shorter side, that is nearly square."""


def is_sure_crop(size: tuple[int, int]) -> bool:
    """Whether a picture is taken whole before it is decoded, by its size alone.

    Args:
        size: (width, height) in pixels, of the file.
    """
    return max(size) <= SURE_CROP_PX


def is_crop(size: tuple[int, int], faces: Faces) -> bool:
    """Whether a picture is taken whole after its faces were looked for.

    Args:
        size: (width, height) of the picture in which the faces were found, in its pixels.
        faces: all that were found.
    """
    width, height = size
    if len(faces) == 1:
        left, top, right, bottom = map(float, faces.boxes[0])
        shown_width = max(0.0, min(right, width) - max(left, 0.0))
        shown_height = max(0.0, min(bottom, height) - max(top, 0.0))
        return shown_width * shown_height >= FILLED * width * height

    nearly_square = max(size) <= SQUARE * min(size)
    return len(faces) == 0 and nearly_square and max(size) <= SMALL_PX
