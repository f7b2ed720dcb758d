"""What a network expects of its input, as plain data that is kept in its pickle.

Cuemill's networks take RGB or grey and antialiased resizing; the reference's takes OpenCV's channel
order and OpenCV's bicubic, which does not antialias. `models/pictures/resize.py` makes the pixels.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from models.errors import PickleCorruptError


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the network's input.

    Attributes:
        height, width: input size in pixels.
        channel_order: of the last axis; grey = luminance, three times, for networks trained without
            colour.
        antialias: True = Pillow's bicubic, which averages when it shrinks; False = OpenCV's (a =
            -0.75), which does not.
        scale, offset: input = pixel * scale + offset. The defaults are MobileNetV2's x / 127.5 - 1,
            so [-1, 1].
    """

    height: int = 48
    width: int = 48
    channel_order: Literal["rgb", "bgr", "grey"] = "rgb"
    resampling: Literal["bicubic"] = "bicubic"
    antialias: bool = True
    scale: float = 1 / 127.5
    offset: float = -1.0

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), in Pillow's order."""
        return self.width, self.height

    def to_input(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Scales pixels to the network's range.

        Args:
            pixels: uint8 (n, height, width, 3).

        Returns:
            float32 of the same shape, in [-1, 1] with the default constants.
        """
        # In place: a new array for each step would take four times as long.
        scaled = pixels.astype(np.float32)
        scaled *= np.float32(self.scale)
        scaled += np.float32(self.offset)
        return scaled

    def to_plain(self) -> dict[str, Any]:
        """Plain values for the pickle."""
        return asdict(self)

    @classmethod
    def from_plain(cls, values: Any) -> Self:
        """The inverse of `to_plain`; checks every constant.

        Raises:
            PickleCorruptError: a constant is missing, unknown or outside what this program
                supports.
        """
        try:
            preprocessing = cls(**values)
        except TypeError as error:
            raise PickleCorruptError(
                f"The model's preprocessing constants do not match this version: {error}."
            ) from error

        if not preprocessing._is_valid():
            raise PickleCorruptError(
                f"The model's preprocessing constants are invalid: {values!r:.500}."
            )
        return preprocessing

    def _is_valid(self) -> bool:
        sides = (self.height, self.width)
        factors = (self.scale, self.offset)
        return (
            all(type(side) is int and 8 <= side <= 1024 for side in sides)
            and self.channel_order in ("rgb", "bgr", "grey")
            and self.resampling == "bicubic"
            and type(self.antialias) is bool
            and all(type(factor) is float and math.isfinite(factor) for factor in factors)
        )
