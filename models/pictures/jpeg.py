"""What JPEG files declare: how costly and how whole they are, and which ones simplejpeg decodes."""

import re
from collections.abc import Iterator
from typing import Final

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from models.errors import ImageCode, ImageError

START: Final = b"\xff\xd8"
END: Final = b"\xff\xd9"

MAX_SCANS: Final = 100
"""Passes over the pixels in a progressive JPEG. Encoders use ten; libtiff's limit is a hundred too.
Decoding each takes as long as a whole image."""

MAX_MISSING: Final = 0.1
"""How much of a picture may be missing at the bottom: a share of its rows.

On cropped faces it costs 4 points of accuracy; strong compression costs 5, and twice as many rows
10. A progressive JPEG without its last scan loses 3 (`benchmarks/robustness.py`)."""

_EXIF: Final = b"Exif\0"
_XMP: Final = b"http://ns.adobe.com/xap/"

_MARKER: Final = re.compile(rb"\xff([^\x00\x01\xd0-\xd7\xff])(..)?", re.DOTALL)
"""A segment's marker and length. Compressed data between segments cannot match it."""

_START_OF_SCAN: Final = 0xDA
_END_OF_IMAGE: Final = 0xD9
_SEQUENTIAL: Final = (0xC0, 0xC1)
_PROGRESSIVE: Final = 0xC2
_LOSSLESS: Final = 0xC3

_COEFFICIENTS: Final = 64
_NOT_CODED: Final = 99
_FILL: Final = (126, 129)
"""libjpeg's grey, with which it fills what is missing, after any conversion of colours."""


def check_scans(data: bytes) -> None:
    """Refuses a JPEG of too many scans.

    Raises:
        ImageError: `undecodable`.
    """
    # Counting bytes is fast, but they may occur by chance, as in a video appended to a photograph.
    # Only a suspicious file is parsed.
    if data.count(b"\xff\xda") <= MAX_SCANS:
        return
    scans = 0
    for marker, _, _ in _segments(data):
        scans += marker == _START_OF_SCAN
        if scans > MAX_SCANS:
            raise ImageError(
                ImageCode.UNDECODABLE, f"The JPEG has more than {MAX_SCANS} scans, the limit."
            )


def is_lossless(data: bytes) -> bool:
    """Whether a JPEG is lossless: libjpeg can neither reduce it nor convert its colours."""
    for marker, _, _ in _segments(data):
        if marker == _LOSSLESS:
            return True
        if marker == _START_OF_SCAN:
            break
    return False


def with_end(data: bytes) -> bytes | None:
    """A JPEG that was cut, with an end; None if more than the last rows or detail may be missing.

    A sequential JPEG has one scan, of which only the last rows can be missing. Of a progressive
    one, only the finest detail may be: the last bit of precision, and what the last scan adds.
    """
    if not data.startswith(START):
        return None

    end = len(data)
    is_progressive = False
    scans = first = earlier = 0
    missing: dict[int, list[int]] = {}  # Bits not yet coded of each component's coefficients.

    for marker, start, content in _segments(data):
        if content is None:
            end = start  # The segment itself was cut.
        elif marker in (*_SEQUENTIAL, _PROGRESSIVE) and len(content) >= 6:
            is_progressive = marker == _PROGRESSIVE
            missing = {number: [_NOT_CODED] * _COEFFICIENTS for number in content[6::3]}
        elif marker == _START_OF_SCAN and len(content) >= 6:
            scans += 1
            first, last, precision = content[-3:]
            earlier = precision >> 4
            for number in content[1 : 1 + 2 * content[0] : 2]:
                for index in range(first, min(last, _COEFFICIENTS - 1) + 1):
                    missing.get(number, [])[index : index + 1] = [precision & 0xF]

    if is_progressive:
        is_detail = first > 0 or earlier > 0
        may_end = is_detail and all(bits <= 1 for left in missing.values() for bits in left)
    else:
        may_end = scans == 1
    return data[:end] + END if may_end and missing else None


def check_rest(image: Image.Image) -> None:
    """Refuses a picture of a cut JPEG of which more than `MAX_MISSING` is missing.

    Args:
        image: as libjpeg gives it.

    Raises:
        ImageError: `truncated`.
    """
    pixels = np.asarray(image).reshape(image.height, image.width, -1)
    fill = pixels[-1, -1]
    if fill.min() < _FILL[0] or fill.max() > _FILL[1]:
        return

    is_filled = (pixels == fill).all(axis=(1, 2))[::-1]
    rows = image.height if is_filled.all() else int(is_filled.argmin())
    if rows > MAX_MISSING * image.height:
        raise ImageError(
            ImageCode.TRUNCATED,
            f"The image file is truncated: {100 * rows / image.height:.0f} % is missing; at most "
            f"{100 * MAX_MISSING:.0f} % may be.",
        )


def simple_size(data: bytes, max_pixels: int) -> tuple[int, int] | None:
    """The (width, height) of a JPEG that simplejpeg decodes as Pillow does; None for other files.

    These are JPEGs in grey or YCbCr without metadata that may rotate them. Pillow gives the same
    pixels, from the same library, but takes three times as long for a small file. At reduced scale
    it is as fast (`benchmarks/decode.py`).
    """
    if not data.startswith(b"\xff\xd8\xff"):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except Exception:  # Pillow reports what is wrong with the file.
        return None

    if width * height > max_pixels or colours not in ("YCbCr", "Gray"):
        return None
    if _EXIF in data or _XMP in data:
        return None
    return width, height


def decode_simple(data: bytes, grey: bool) -> NDArray[np.uint8] | None:
    """Pixels as uint8 (height, width, 1 if grey, else 3); None if the file is damaged."""
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "GRAY" if grey else "RGB")
    except Exception:  # Pillow reports what is wrong with the file.
        return None
    return pixels


def _segments(data: bytes) -> Iterator[tuple[int, int, bytes | None]]:
    """A JPEG's segments up to its end: marker, position and content; None if it is cut there."""
    position = len(START)
    while segment := _MARKER.search(data, position):
        marker = segment[1][0]
        if marker == _END_OF_IMAGE:
            return
        position = segment.end(1) + int.from_bytes(segment[2] or b"", "big")
        is_whole = segment[2] is not None and position <= len(data)
        yield marker, segment.start(), data[segment.end() : position] if is_whole else None
