"""Decodes image files, which are untrusted: formats are listed, sizes limited, one frame read."""

import io
import warnings
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageOps,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from models.errors import ImageCode, ImageError, PlaceError
from models.pictures import jpeg, tiff
from models.pictures.depth import WIDE_MODES, to_8_bits
from models.pictures.heic import HEIC
from models.pictures.signatures import describe
from models.sources.read import PLACE_ERRORS

# The plug-ins are imported by name, because opening a file with `formats` imports none.
FORMATS: Final = (
    JpegImagePlugin.JpegImageFile.format,
    PngImagePlugin.PngImageFile.format,
    WebPImagePlugin.WebPImageFile.format,
    BmpImagePlugin.BmpImageFile.format,
    BmpImagePlugin.DibImageFile.format,
    TiffImagePlugin.TiffImageFile.format,
    GifImagePlugin.GifImageFile.format,
    PpmImagePlugin.PpmImageFile.format,
    AvifImagePlugin.AvifImageFile.format,
    Jpeg2KImagePlugin.Jpeg2KImageFile.format,
    *HEIC,
)

MAX_PIXELS: Final = 40_000_000

SMALL_PIXELS: Final = 4_000_000
"""Of a picture that may be held twice for a moment."""

MAX_SIDE: Final = 65_535
"""JPEG's limit. Resampling a longer side would take memory in proportion: up to a gigabyte."""

MAX_COMMENTS: Final = 1000
"""In a plain-text PBM, PGM or PPM. Pillow removes them one by one, in quadratic time."""

# Pillow refuses images with more than twice this, wherever a size is declared: frames, canvases.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2
AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # There is a worker process for each core.

_SHORT_KEYS: Final = {"1": 255, "L;2": 85, "L;4": 17}
"""By which Pillow multiplies grey values of few bits, but not the one that is transparent."""


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

    size = jpeg.simple_size(data, MAX_PIXELS)
    if size is not None and _suits_simplejpeg(size, target):
        pixels = jpeg.decode_simple(data, grey)
        if pixels is not None:
            return Image.fromarray(pixels[..., 0] if grey else pixels)

    try:
        return _decode_with_pillow(data, target, grey)
    except Exception as error:
        explained = _explain(error, data)

    mended = jpeg.with_end(data) if explained.code == ImageCode.TRUNCATED else None
    if mended is None:
        raise explained
    try:
        return _decode_with_pillow(mended, target, grey, is_cut=True)
    except Exception as error:
        raise _explain(error, data) from None


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
    if jpeg.simple_size(data, MAX_PIXELS) != size:
        return None
    _check_cost(data)
    return jpeg.decode_simple(data, grey)


def read_size(data: bytes) -> tuple[int, int]:
    """The (width, height) that an image file declares, before it is turned upright.

    Raises:
        ImageError: as `decode`, as far as the file's header shows it.
    """
    size = jpeg.simple_size(data, MAX_PIXELS)
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
        raise _explain(error, data) from None


def _suits_simplejpeg(size: tuple[int, int], target: tuple[int, int]) -> bool:
    """Whether a JPEG is to be decoded in full, and is not so large that a copy costs memory."""
    in_full = size[0] < 4 * target[0] or size[1] < 4 * target[1]
    return in_full and size[0] * size[1] <= SMALL_PIXELS


def _check_cost(data: bytes) -> None:
    """Refuses files that would take minutes to decode, whatever their size.

    Raises:
        ImageError: `undecodable`.
    """
    if data.startswith(jpeg.START):
        jpeg.check_scans(data)
    if data.startswith((b"P1", b"P2", b"P3")) and data.count(b"#") > MAX_COMMENTS:
        raise ImageError(
            ImageCode.UNDECODABLE, f"The image has more than {MAX_COMMENTS} comments, the limit."
        )


def _decode_with_pillow(
    data: bytes, target: tuple[int, int], grey: bool, is_cut: bool = False
) -> Image.Image:
    """Any accepted format; raises nearly any exception on a hostile file.

    Args:
        is_cut: it is a JPEG to which an end was added.
    """
    with warnings.catch_warnings():
        # Pillow warns about odd metadata, which is harmless, and about large images, which are
        # refused below.
        warnings.simplefilter("ignore")

        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
                raise Image.DecompressionBombError
            if isinstance(image, TiffImagePlugin.TiffImageFile):
                tiff.check_layout(image)
            elif isinstance(image, PngImagePlugin.PngImageFile):
                _mend_key(image)

            if not (data.startswith(jpeg.START) and jpeg.is_lossless(data)):
                image.draft("L" if grey else "RGB", (2 * target[0], 2 * target[1]))
            image.load()
            if is_cut:
                jpeg.check_rest(image)
            if isinstance(image, TiffImagePlugin.TiffImageFile):
                tiff.mend_palette(image)

            ImageOps.exif_transpose(image, in_place=True)
            return image if grey and image.mode == "L" else _to_rgb(image)


def _mend_key(image: PngImagePlugin.PngImageFile) -> None:
    """Scales the grey value that is transparent as Pillow scales the pixels."""
    key = image.info.get("transparency")
    if isinstance(key, int) and image.tile:
        image.info["transparency"] = key * _SHORT_KEYS.get(str(image.tile[0].args), 1)


def _explain(error: Exception, data: bytes) -> ImageError | PlaceError:
    """What an exception from Pillow means for the image."""
    if isinstance(error, MemoryError):
        return PlaceError("The host has too little memory to decode it.", ImageCode.OUT_OF_MEMORY)

    # Decoding opens no file, but Pillow imports its plug-ins, and may be refused the file for that.
    if isinstance(error, OSError) and error.errno in PLACE_ERRORS:
        return PlaceError(f"The image cannot be decoded: {error.strerror}.", ImageCode.READ_ERROR)
    return _blame(error, data)


def _blame(error: Exception, data: bytes) -> ImageError:
    match error:
        case ImageError():
            return error
        case Image.DecompressionBombError():
            return ImageError(
                ImageCode.TOO_MANY_PIXELS,
                f"The image has more than {MAX_PIXELS:,} pixels, or a side of more than "
                f"{MAX_SIDE:,}.",
            )
        case UnidentifiedImageError():
            code, message = ImageCode.NOT_AN_IMAGE, describe(data)
        case EOFError():
            code, message = ImageCode.TRUNCATED, "The image file is truncated."
        case OSError() | SyntaxError() | ValueError():
            if "truncated" in str(error).lower():
                code, message = ImageCode.TRUNCATED, "The image file is truncated."
            else:
                code, message = ImageCode.UNDECODABLE, f"The image cannot be decoded: {error}."
        case _:
            # Pillow's plug-ins raise anything on hostile bytes. One image never fails a batch.
            code = ImageCode.UNDECODABLE
            message = f"The image cannot be decoded: {type(error).__name__}."
    return ImageError(code, message)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Converts any mode to RGB: transparency over white, 16-bit and float values to 8 bits."""
    if image.mode in WIDE_MODES:
        return to_8_bits(image).convert("RGB")
    if not image.has_transparency_data:
        # Pillow would copy a picture that is RGB already.
        return image if image.mode == "RGB" else image.convert("RGB")

    rgba = image if image.mode == "RGBA" else image.convert("RGBA")
    white = Image.new("RGB", rgba.size, "white")
    white.paste(rgba, mask=rgba)  # `alpha_composite` would take twice the memory.
    return white
