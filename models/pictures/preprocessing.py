"""From decoded pixels to the network's input: one implementation for trainer and workers.

What a network expects is data, kept in its pickle: a network of ours wants RGB and antialiased resizing, the
reference's wants OpenCV's channel order and OpenCV's bicubic, which doesn't antialias.
"""

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.errors import PickleCorruptError
from models.pictures.decode import decode, decode_fitting


@dataclass(frozen=True)
class Preprocessing:
    """What is done to an image before the network sees it.

    Attributes:
        height, width: input size in pixels.
        channel_order: of the last axis; grey = luminance, three times, for networks that have seen no colour.
        antialias: True = Pillow's bicubic, which averages when it shrinks; False = OpenCV's (a = -0.75), which doesn't.
        scale, offset: input = pixel * scale + offset. The defaults are MobileNetV2's x / 127.5 - 1, so [-1, 1].
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
        """(width, height), as Pillow has it."""
        return self.width, self.height

    def read(self, data: bytes) -> NDArray[np.uint8]:
        """An image file's bytes to uint8 (height, width, 3) in `channel_order`.

        Raises:
            ImageError: as `decode`.
        """
        grey = self.channel_order == "grey"
        fitting = decode_fitting(data, self.size, grey=grey)
        if fitting is None:
            return self.resize(decode(data, self.size, grey=grey))
        pixels = np.repeat(fitting, 3, axis=2) if grey else fitting
        return pixels[..., ::-1] if self.channel_order == "bgr" else pixels

    def resize(self, image: Image.Image) -> NDArray[np.uint8]:
        """A picture of any size, RGB or L, to uint8 (height, width, 3) in `channel_order`."""
        if self.channel_order == "grey":
            image = image.convert("L")
        if self.antialias and image.size != self.size:
            image = image.resize(self.size, Image.Resampling.BICUBIC)
        pixels = np.asarray(image.convert("RGB"))
        if not self.antialias:
            pixels = _resize_like_opencv(pixels, self.height, self.width)
        return pixels[..., ::-1] if self.channel_order == "bgr" else pixels

    def to_input(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 (n, height, width, 3) to float32 of the same shape, in [-1, 1] with the default constants."""
        scaled = pixels.astype(np.float32)
        scaled *= np.float32(
            self.scale
        )  # In place: a new array each would take four times as long.
        scaled += np.float32(self.offset)
        return scaled

    def to_plain(self) -> dict[str, Any]:
        """Plain values for the pickle."""
        return asdict(self)

    @classmethod
    def from_plain(cls, values: Any) -> Self:
        """The inverse of `to_plain`, with every constant checked.

        Raises:
            PickleCorruptError: a constant is missing, unknown, or not one this program can follow.
        """
        try:
            made = cls(**values)
            sound = (
                all(type(n) is int and 8 <= n <= 1024 for n in (made.height, made.width))
                and made.channel_order in ("rgb", "bgr", "grey")
                and made.resampling == "bicubic"
                and type(made.antialias) is bool
                and all(type(x) is float and np.isfinite(x) for x in (made.scale, made.offset))
            )
        except TypeError as error:
            raise PickleCorruptError(
                f"The model's preprocessing constants don't fit this program: {error}."
            ) from error
        if not sound:
            raise PickleCorruptError(
                f"The model's preprocessing constants make no sense: {values!r:.500}."
            )
        return made


@lru_cache(maxsize=64)
def _opencv_taps(source: int, target: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """OpenCV's INTER_CUBIC along one axis: a = -0.75, edges replicated, no antialiasing.

    Source: OpenCV 4, modules/imgproc/src/resize.cpp, interpolateCubic.

    Returns:
        (4, target): which pixels each new one is made of, and their weights.
    """
    a = -0.75
    position = (np.arange(target) + 0.5) * source / target - 0.5
    pixels = np.floor(position).astype(np.intp) + np.arange(-1, 3)[:, None]
    d = np.abs(position - pixels)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.clip(pixels, 0, source - 1), np.where(d <= 1, near, far).astype(np.float32)


def _resize_like_opencv(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    if pixels.shape[:2] == (height, width):
        return pixels
    rows, row_weights = _opencv_taps(pixels.shape[0], height)
    columns, column_weights = _opencv_taps(pixels.shape[1], width)
    # (4, height, 4, width, 3): of a large picture, only the pixels that count are taken out.
    taken = pixels[rows[:, :, None, None], columns]
    out = np.einsum(
        "kh,lw,khlwc->hwc", row_weights, column_weights, taken.astype(np.float32), optimize=True
    )
    rounded: NDArray[np.uint8] = np.clip(np.rint(out), 0, 255).astype(np.uint8)
    return rounded
