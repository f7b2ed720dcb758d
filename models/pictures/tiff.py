"""TIFF files: which layouts are read. Pillow reads others, but not all of them rightly."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import TiffImagePlugin
from PIL.TiffTags import TAGS_V2

from models.errors import ImageCode, ImageError

# Pillow reads uncompressed pixels itself, and reads planes of 16 bits wrongly. libtiff does not.
TiffImagePlugin.READ_LIBTIFF = True

_PHOTOMETRIC: Final = 262
_BITS: Final = 258
_SAMPLES: Final = 277
_PLANAR: Final = 284
_COLOUR_MAP: Final = 320
_INK_SET: Final = 332
_EXTRA_SAMPLES: Final = 338
_SAMPLE_FORMAT: Final = 339

_WHITE_IS_ZERO: Final = 0
_BLACK_IS_ZERO: Final = 1
_PALETTE: Final = 3
_SEPARATED: Final = 5
_LAYOUTS: Final = {
    _WHITE_IS_ZERO: (1, (1, 2, 4, 8, 16)),
    _BLACK_IS_ZERO: (1, (1, 2, 4, 8, 12, 16)),
    2: (3, (8, 16)),  # RGB
    _PALETTE: (1, (1, 2, 4, 8)),
    _SEPARATED: (4, (8, 16)),
    6: (3, (8,)),  # YCbCr
    8: (3, (8,)),  # CIE L*a*b*
}
"""Samples without extra ones, and bits a sample, by photometric interpretation."""

_UNSIGNED: Final = 1
_SIGNED: Final = 2
_FLOAT: Final = 3
_CMYK: Final = 1
_WIDE_BYTES: Final = 4


def check_layout(image: TiffImagePlugin.TiffImageFile) -> None:
    """Refuses a layout that is not known to be read rightly.

    Raises:
        ImageError: `undecodable`.
    """
    tags = image.tag_v2
    photometric = tags.get(_PHOTOMETRIC, _WHITE_IS_ZERO)
    bits = set(tags.get(_BITS, (1,)))
    formats = set(tags.get(_SAMPLE_FORMAT, (_UNSIGNED,)))
    samples = tags.get(_SAMPLES, 1)
    colours, depths = _LAYOUTS.get(photometric, (0, ()))

    if formats == {_UNSIGNED}:
        is_known = len(bits) == 1 and bits.issubset(depths)
    else:
        # Scientific pictures and Pillow's own have one sample of 32 bits.
        is_known = photometric == _BLACK_IS_ZERO and bits == {32} and len(formats) == 1
        is_known = is_known and formats.issubset((_SIGNED, _FLOAT))

    if tags.get(_PLANAR, 1) != 1 and samples != colours:
        # Pillow takes the fourth plane for transparency that is multiplied in, unless it is named,
        # and never finds a second one.
        is_known = is_known and colours > 1 and _EXTRA_SAMPLES in tags
    if photometric == _SEPARATED:
        is_known = is_known and tags.get(_INK_SET, _CMYK) == _CMYK

    if not is_known:
        names = TAGS_V2[_PHOTOMETRIC].enum
        name = next((name for name, value in names.items() if value == photometric), photometric)
        depth = "/".join(map(str, sorted(bits)))
        raise ImageError(
            ImageCode.UNDECODABLE,
            f"The TIFF has a layout that is not read: {name}, {samples} samples of {depth} bits, "
            f"sample format {'/'.join(map(str, sorted(formats)))}.",
        )


def mend_palette(image: TiffImagePlugin.TiffImageFile) -> None:
    """Takes a palette of 8 bits for what it is: the standard says 16, but libtiff accepts both."""
    colours = image.tag_v2.get(_COLOUR_MAP, ())
    if image.mode == "P" and colours and max(colours) < 256:
        image.putpalette(np.reshape(colours, (3, -1)).T.astype(np.uint8).tobytes())


def read_values(image: TiffImagePlugin.TiffImageFile) -> tuple[NDArray[np.float32], float | None]:
    """The pixels of a picture of one sample of more than 8 bits, black being 0.

    Returns:
        float32 (height, width), and the value of white; None = the file does not say it.
    """
    tags = image.tag_v2
    pixels = np.array(image)
    if pixels.dtype.itemsize == _WIDE_BYTES:
        # libtiff gives them in this machine's order of bytes, but Pillow takes them for the file's.
        is_swapped = tags.prefix == b"MM"
        return (pixels.byteswap() if is_swapped else pixels).astype(np.float32), None

    white = float((1 << tags[_BITS][0]) - 1)
    values = pixels.astype(np.float32)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        np.subtract(white, values, out=values)
    return values, white
