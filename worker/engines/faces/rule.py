"""Whether a picture is a crop, which is one face and little else, or a photograph to find faces in.

The rule of `--faces auto`. Its figures were chosen by measurement
(docs/decisions/0015-crop-or-photograph.md).
"""

from typing import Final

from worker.engines.faces.base import Faces

SURE_CROP_PX: Final = 64
"""A picture whose longer side is at most this shows one face, or faces too small to classify."""
FILLED: Final = 0.50
"""A single face that covers at least this share of a picture fills it."""
SMALL_PX: Final = 256
"""A nearly square picture whose longer side is at most this may be a crop of an unfound face."""
SQUARE: Final = 1.25
"""The longer side of a nearly square picture, at most, in shorter sides. Photographs have 4:3."""


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
    if len(faces):
        return fills(size, faces)
    return max(size) <= min(SMALL_PX, SQUARE * min(size))


def fills(size: tuple[int, int], faces: Faces) -> bool:
    """Whether there is one face, and it fills a picture of this (width, height)."""
    return len(faces) == 1 and bool(faces.shares(size)[0] >= FILLED)
