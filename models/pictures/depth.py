"""Pictures of one channel and more than 8 bits: which value is white."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from models.errors import ImageCode, ImageError
from models.pictures import tiff

WIDE_MODES: Final = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")

_WHITE: Final = 65_535.0
_WHITES: Final = (1.0, 255.0, _WHITE)
_SLACK: Final = 1.1
"""Processing makes some values of floats a little darker than black, or brighter than white."""


def to_8_bits(image: Image.Image) -> Image.Image:
    """Converts values of 16 or 32 bits to 8 bits, transparency to white.

    The white of 16 bits is that of the format. No format says what is white in floats, or in
    integers of 32 bits: it is the least of 1, 255 and 65,535 that no value is far above.

    It works in place, because each copy of 40 million pixels takes 160 MB.

    Raises:
        ImageError: `undecodable`: values are outside all of these ranges.
    """
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        pixels, white = tiff.read_values(image)
    else:
        pixels = np.array(image, np.float32)
        white = None if image.mode == "F" else _WHITE  # Pillow scales other depths to 16 bits.

    key = image.info.get("transparency")
    transparent = pixels == key if isinstance(key, int) else None
    white = white or _guess_white(pixels)

    pixels *= 255.0 / white
    np.clip(pixels, 0, 255, out=pixels)
    np.nan_to_num(pixels, copy=False)
    if transparent is not None:
        pixels[transparent] = 255
    return Image.fromarray(pixels.astype(np.uint8))


def _guess_white(pixels: NDArray[np.float32]) -> float:
    with np.errstate(invalid="ignore"):
        highest = float(np.nanmax(pixels, initial=0.0))
        lowest = float(np.nanmin(pixels, initial=0.0))

    white = next((white for white in _WHITES if highest <= white * _SLACK), _WHITE)
    if highest > white * _SLACK or lowest < -white * (_SLACK - 1):
        raise ImageError(
            ImageCode.UNDECODABLE,
            f"The image has values from {lowest:g} to {highest:g}. Expected 0 to 1, 0 to 255 or 0 "
            "to 65,535.",
        )
    return white
