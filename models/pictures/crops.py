"""A face cut out of a picture: square, upright, and framed as in the training data.

FER-2013's faces are framed by the boxes of an older detector. `FRAME` and `LIFT` bring YuNet's
boxes to that frame; `benchmarks/detection.py` shows what the crops cost in accuracy.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FRAME: Final = 1.04
"""The square's side, as a share of the longer side of the face's box."""
LIFT: Final = 0.015
"""How far the square's centre lies above the box's, as a share of its side."""
ROLL_GAIN: Final = 1.8
"""YuNet's points show only about half of a face's roll (docs/decisions/0014-faces.md)."""
MAX_ROLL: Final = 45.0
"""Degrees; a face turned further is turned back by this much."""


def roll_of(points: NDArray[np.float32]) -> float:
    """Estimates how far a face is turned clockwise in the picture, in degrees.

    Args:
        points: (5, 2), as a detector gives them: right eye, left eye, nose, corners of the mouth.
    """
    right_eye, left_eye, _, right_mouth, left_mouth = points
    across = left_eye - right_eye
    down = (right_mouth + left_mouth) / 2 - (right_eye + left_eye) / 2

    by_eyes = math.degrees(math.atan2(across[1], across[0]))
    by_axis = math.degrees(math.atan2(-down[0], down[1]))
    roll = ROLL_GAIN * (by_eyes + by_axis) / 2
    return max(-MAX_ROLL, min(MAX_ROLL, roll))


def crop(
    image: Image.Image, box: NDArray[np.float32], roll: float, size: tuple[int, int]
) -> Image.Image:
    """Cuts out a face, turned upright. Beyond the picture's edge, its last pixels are repeated.

    Args:
        image: RGB or L.
        box: left, top, right, bottom, in pixels of the image.
        roll: degrees by which the face is turned clockwise.
        size: (width, height) of the result.
    """
    left, top, right, bottom = map(float, box)
    side = FRAME * max(right - left, bottom - top)
    radians = math.radians(roll)
    centre_x = (left + right) / 2 + LIFT * side * math.sin(radians)
    centre_y = (top + bottom) / 2 - LIFT * side * math.cos(radians)

    # The turned square fits into this upright one.
    reach = side / 2 * (abs(math.cos(radians)) + abs(math.sin(radians))) + 2
    start_x, start_y = centre_x - reach, centre_y - reach
    region = _region(image, start_x, start_y, start_x + 2 * reach, start_y + 2 * reach)

    # A bicubic transform looks at 4x4 pixels only, so a large face is first averaged down to less
    # than twice the result's size.
    factor = max(1, int(side / max(size)))
    region = region.reduce(factor) if factor > 1 else region

    middle_x = (centre_x - math.floor(start_x)) / factor
    middle_y = (centre_y - math.floor(start_y)) / factor
    scale_x, scale_y = side / factor / size[0], side / factor / size[1]
    a, b = scale_x * math.cos(radians), -scale_y * math.sin(radians)
    d, e = scale_x * math.sin(radians), scale_y * math.cos(radians)
    c = middle_x - a * size[0] / 2 - b * size[1] / 2
    f = middle_y - d * size[0] / 2 - e * size[1] / 2
    return region.transform(
        size, Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BICUBIC
    )


def _region(
    image: Image.Image, left: float, top: float, right: float, bottom: float
) -> Image.Image:
    """A part of an image, its edge repeated where the part reaches beyond."""
    box = [math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom)]
    inside = (
        min(max(box[0], 0), image.width - 1),
        min(max(box[1], 0), image.height - 1),
        max(min(box[2], image.width), 1),
        max(min(box[3], image.height), 1),
    )
    part = image.crop(inside)
    if inside == tuple(box):
        return part
    margins = (
        (max(inside[1] - box[1], 0), max(box[3] - inside[3], 0)),
        (max(inside[0] - box[0], 0), max(box[2] - inside[2], 0)),
    )
    pixels = np.asarray(part)
    return Image.fromarray(np.pad(pixels, (*margins, (0, 0))[: pixels.ndim], "edge"))
