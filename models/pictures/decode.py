"""Decodes image files, which are untrusted: formats are listed, sizes limited, one frame read."""

import io
import re
import warnings
from typing import Final

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from models.errors import ImageCode, ImageError, PlaceError
from models.sources.read import PLACE_ERRORS

# The plug-ins are imported by name, because opening a file with `formats` imports none.
FORMATS: Final = (
    JpegImagePlugin.JpegImageFile.format,
    PngImagePlugin.PngImageFile.format,
    WebPImagePlugin.WebPImageFile.format,
    BmpImagePlugin.BmpImageFile.format,
    TiffImagePlugin.TiffImageFile.format,
    GifImagePlugin.GifImageFile.format,
    PpmImagePlugin.PpmImageFile.format,
)

MAX_PIXELS: Final = 40_000_000

SMALL_PIXELS: Final = 4_000_000
"""Of a picture that may be held twice for a moment."""

MAX_SIDE: Final = 65_535
"""JPEG's limit. Resampling a longer side would take memory in proportion: up to a gigabyte."""

MAX_SCANS: Final = 100
"""Passes over the pixels in a progressive JPEG. Encoders use ten; libtiff's limit is a hundred too.
Decoding each takes as long as a whole image."""

MAX_COMMENTS: Final = 1000
"""In a plain-text PPM or PGM. Pillow removes them one by one, in quadratic time."""

# Pillow refuses images with more than twice this, wherever a size is declared: frames, canvases.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2

_EXIF: Final = b"Exif\0"
_XMP: Final = b"http://ns.adobe.com/xap/"

_MARKER: Final = re.compile(rb"\xff([^\x00\x01\xd0-\xd7\xff])(..)?", re.DOTALL)
"""A JPEG segment's marker and length. Compressed data between segments cannot match it."""

_START_OF_SCAN: Final = b"\xda"
_END_OF_IMAGE: Final = b"\xd9"

_WIDE_MODES: Final = ("I", "I;16", "I;16B", "I;16L", "F")


def decode(data: bytes, target: tuple[int, int], *, grey: bool = False) -> Image.Image:
    """Decodes the first frame of an image file as an upright RGB picture.

    A JPEG much larger than `target` (width, height) is decoded at reduced scale, which saves most
    of a photograph's time and memory. The result is never smaller than twice the target.

    Args:
        grey: decode only a JPEG's luminance ("L"), which it stores separately, at half the cost.

    Raises:
        ImageError: `empty`, `not_an_image`, `too_many_pixels`, `truncated` or `undecodable`.
        PlaceError: the host has too little memory, or too few files.
    """
    if not data:
        raise ImageError(ImageCode.EMPTY, "The file is empty.")
    _check_cost(data)

    size = _simple_jpeg_size(data)
    if size is not None and _suits_simplejpeg(size, target):
        pixels = _decode_simple_jpeg(data, grey)
        if pixels is not None:
            return Image.fromarray(pixels[..., 0] if grey else pixels)

    try:
        return _decode_with_pillow(data, target, grey)
    except Exception as error:
        raise _explain(error) from None


def decode_fitting(
    data: bytes, size: tuple[int, int], *, grey: bool = False
) -> NDArray[np.uint8] | None:
    """Decodes a JPEG of exactly this size, as cropped faces are; None for any other file.

    The pixels are those of `decode`, without the cost of a Pillow image.

    Args:
        size: (width, height).

    Returns:
        uint8 (height, width, 1 if grey, else 3).

    Raises:
        ImageError: `undecodable`.
    """
    if _simple_jpeg_size(data) != size:
        return None
    _check_cost(data)
    return _decode_simple_jpeg(data, grey)


def read_size(data: bytes) -> tuple[int, int]:
    """The (width, height) that an image file declares, before it is turned upright.

    Raises:
        ImageError: as `decode`, as far as the file's header shows it.
    """
    size = _simple_jpeg_size(data)
    if size is not None:
        return size
    if not data:
        raise ImageError(ImageCode.EMPTY, "The file is empty.")

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # As when it is decoded.
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                return image.size
    except Exception as error:
        raise _explain(error) from None


def _check_cost(data: bytes) -> None:
    """Refuses files that would take minutes to decode, whatever their size.

    Raises:
        ImageError: `undecodable`.
    """
    # Counting bytes is fast, but they may occur by chance, as in a video appended to a photograph.
    # Only a suspicious file is parsed.
    if (
        data.startswith(b"\xff\xd8")
        and data.count(b"\xff" + _START_OF_SCAN) > MAX_SCANS
        and _count_scans(data) > MAX_SCANS
    ):
        raise ImageError(
            ImageCode.UNDECODABLE, f"The JPEG has more than {MAX_SCANS} scans, the limit."
        )
    if data.startswith((b"P1", b"P2", b"P3")) and data.count(b"#") > MAX_COMMENTS:
        raise ImageError(
            ImageCode.UNDECODABLE, f"The image has more than {MAX_COMMENTS} comments, the limit."
        )


def _count_scans(data: bytes) -> int:
    """The number of scans in a JPEG; stops counting after MAX_SCANS + 1."""
    position, scans = 2, 0
    while scans <= MAX_SCANS:
        segment = _MARKER.search(data, position)
        if segment is None or segment[1] == _END_OF_IMAGE:
            break
        scans += segment[1] == _START_OF_SCAN
        position = segment.end(1) + int.from_bytes(segment[2] or b"", "big")
    return scans


def _simple_jpeg_size(data: bytes) -> tuple[int, int] | None:
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

    if width * height > MAX_PIXELS or colours not in ("YCbCr", "Gray"):
        return None
    if _EXIF in data or _XMP in data:
        return None
    return width, height


def _suits_simplejpeg(size: tuple[int, int], target: tuple[int, int]) -> bool:
    """Whether a JPEG is to be decoded in full, and is not so large that a copy costs memory."""
    in_full = size[0] < 4 * target[0] or size[1] < 4 * target[1]
    return in_full and size[0] * size[1] <= SMALL_PIXELS


def _decode_simple_jpeg(data: bytes, grey: bool) -> NDArray[np.uint8] | None:
    """Pixels as uint8 (height, width, 1 if grey, else 3); None if the file is damaged."""
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "GRAY" if grey else "RGB")
    except Exception:  # Pillow reports what is wrong with the file.
        return None
    return pixels


def _decode_with_pillow(data: bytes, target: tuple[int, int], grey: bool) -> Image.Image:
    """Any accepted format; raises nearly any exception on a hostile file."""
    with warnings.catch_warnings():
        # Pillow warns about odd metadata, which is harmless, and about large images, which are
        # refused below.
        warnings.simplefilter("ignore")

        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
                raise Image.DecompressionBombError

            image.draft("L" if grey else "RGB", (2 * target[0], 2 * target[1]))
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            return image if grey and image.mode == "L" else _to_rgb(image)


def _explain(error: Exception) -> ImageError | PlaceError:
    """What an exception from Pillow means for the image."""
    if isinstance(error, MemoryError):
        return PlaceError("The host has too little memory to decode it.", ImageCode.OUT_OF_MEMORY)

    # Decoding opens no file, but Pillow imports its plug-ins, and may be refused the file for that.
    if isinstance(error, OSError) and error.errno in PLACE_ERRORS:
        return PlaceError(f"The image cannot be decoded: {error.strerror}.", ImageCode.READ_ERROR)
    return _blame(error)


def _blame(error: Exception) -> ImageError:
    if isinstance(error, Image.DecompressionBombError):
        return ImageError(
            ImageCode.TOO_MANY_PIXELS,
            f"The image has more than {MAX_PIXELS:,} pixels, or a side of more than {MAX_SIDE:,}.",
        )

    if isinstance(error, UnidentifiedImageError):
        return ImageError(
            ImageCode.NOT_AN_IMAGE, "The file's content is not an image in an accepted format."
        )

    if isinstance(error, EOFError):
        return ImageError(ImageCode.TRUNCATED, "The image file is truncated.")

    if isinstance(error, (OSError, SyntaxError, ValueError)):
        if "truncated" in str(error).lower():
            return ImageError(ImageCode.TRUNCATED, "The image file is truncated.")
        return ImageError(ImageCode.UNDECODABLE, f"The image cannot be decoded: {error}.")

    # Pillow's plug-ins raise anything on hostile bytes. One image never fails a batch.
    return ImageError(
        ImageCode.UNDECODABLE, f"The image cannot be decoded: {type(error).__name__}."
    )


def _to_rgb(image: Image.Image) -> Image.Image:
    """Converts any mode to RGB: transparency over white, 16-bit and float values to 8 bits."""
    if image.mode in _WIDE_MODES:
        return _to_8_bits(np.array(image, np.float32)).convert("RGB")
    if not image.has_transparency_data:
        # Pillow would copy a picture that is RGB already.
        return image if image.mode == "RGB" else image.convert("RGB")

    rgba = image if image.mode == "RGBA" else image.convert("RGBA")
    white = Image.new("RGB", rgba.size, "white")
    white.paste(rgba, mask=rgba)  # `alpha_composite` would take twice the memory.
    return white


def _to_8_bits(pixels: NDArray[np.float32]) -> Image.Image:
    """Converts 16-bit grey (0 to 65535) or floats (0 to 1 or 0 to 255), told apart by maximum.

    It works in place, because each copy of 40 million pixels takes 160 MB.
    """
    maximum = float(pixels.max(initial=0.0))
    if maximum <= 1.0:
        white = 1.0
    elif maximum <= 255.0:
        white = 255.0
    else:
        white = 65535.0

    pixels *= 255.0 / white
    np.clip(pixels, 0, 255, out=pixels)
    np.nan_to_num(pixels, copy=False)
    return Image.fromarray(pixels.astype(np.uint8))
