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
        equalise: whether each image gets a flat histogram, in training and in use: the brightest
            pixels become white and the darkest black, whatever the light and the skin. Grey only.
        scale, offset: input = pixel * scale + offset. The defaults are MobileNetV2's x / 127.5 - 1,
            so [-1, 1].
    """

    height: int = 48
    width: int = 48
    channel_order: Literal["rgb", "bgr", "grey"] = "rgb"
    resampling: Literal["bicubic"] = "bicubic"
    antialias: bool = True
    equalise: bool = False
    scale: float = 1 / 127.5
    offset: float = -1.0

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), in Pillow's order."""
        return self.width, self.height

    def to_input(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Scales pixels to the network's range, and equalises them before that if it has to.

        Args:
            pixels: uint8 (n, height, width, 3).

        Returns:
            float32 of the same shape, in [-1, 1] with the default constants.
        """
        if self.equalise:
            pixels = _equalise(pixels)

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
            and type(self.equalise) is bool
            and (self.channel_order == "grey" or not self.equalise)
            and all(type(factor) is float and math.isfinite(factor) for factor in factors)
        )


def _equalise(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Flattens the histogram of each image of equal channels, uint8 (n, height, width, 3).

    A level becomes the share of the pixels up to it, without those of the darkest level, as in
    OpenCV's equalizeHist. An image of one grey stays as it is.
    """
    if not len(pixels):
        return pixels
    grey = pixels[..., 0].reshape(len(pixels), -1)
    count, size = grey.shape

    # In one call for all images, whose levels get indices of their own: four times as fast.
    levels = grey + 256 * np.arange(count)[:, None]
    up_to = np.bincount(levels.ravel(), minlength=256 * count).reshape(count, 256).cumsum(axis=1)
    darkest = up_to[np.arange(count), grey.min(axis=1)][:, None]

    share = np.maximum(up_to - darkest, 0) / np.maximum(size - darkest, 1)
    table = np.where(darkest < size, np.rint(255 * share), np.arange(256)).astype(np.uint8)
    equalised = table.ravel()[levels].reshape(pixels.shape[:-1])
    return np.repeat(equalised[..., None], pixels.shape[-1], axis=-1)
