"""From the bytes of a file to an RGB picture. Images are hostile: formats are named, sizes capped, one frame read."""

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

from models.errors import ImageCode, ImageError

FORMATS: Final = tuple(
    plugin.format
    for plugin in (  # Imported by name, because opening with named formats imports none by itself.
        JpegImagePlugin.JpegImageFile,
        PngImagePlugin.PngImageFile,
        WebPImagePlugin.WebPImageFile,
        BmpImagePlugin.BmpImageFile,
        TiffImagePlugin.TiffImageFile,
        GifImagePlugin.GifImageFile,
        PpmImagePlugin.PpmImageFile,
    )
)
MAX_PIXELS: Final = 40_000_000
MAX_SIDE: Final = 65_535
"""What JPEG allows. A longer side is no picture's, and to resample it takes memory by its length: up to a gigabyte."""
MAX_SCANS: Final = 100
"""Times that a JPEG may go over its pixels; encoders need ten, and libtiff allows as many. Each is a whole pass."""
MAX_COMMENTS: Final = 1000
"""In a PPM or PGM written in digits. Pillow takes them out one by one, in time that grows with their number squared."""

Image.MAX_IMAGE_PIXELS = (
    MAX_PIXELS // 2
)  # Pillow refuses at twice this, wherever a size is told: frames, canvases.

_EXIF: Final = b"Exif\0"
_XMP: Final = b"http://ns.adobe.com/xap/"
"""What begins metadata that may say how a JPEG is to be turned."""
_MARKER: Final = re.compile(rb"\xff([^\x00\x01\xd0-\xd7\xff])(..)?", re.DOTALL)
"""A JPEG's next segment: its kind and length. What lies between, compressed data, holds no such bytes."""
_START_OF_SCAN, _END = b"\xda", b"\xd9"
_WIDE = ("I", "I;16", "I;16B", "I;16L", "F")


def decode(data: bytes, target: tuple[int, int], *, grey: bool = False) -> Image.Image:
    """The first frame of an image file, upright, as RGB.

    JPEGs much larger than `target` (width, height) are decoded at reduced scale, which saves most of the time and
    memory of a photograph; never below twice the target, from where it is resampled as ever.

    Args:
        grey: give of a JPEG the luminance alone ("L"), which it stores beside its colours: that costs half.

    Raises:
        ImageError: `empty`, `not_an_image`, `too_many_pixels`, `truncated` or `undecodable`.
    """
    if not data:
        raise ImageError(ImageCode.EMPTY, "The file is empty.")
    _check_cost(data)
    size = _plain_size(data)
    reduced = size is not None and size[0] >= 4 * target[0] and size[1] >= 4 * target[1]
    if size and not reduced and (pixels := _plain_pixels(data, grey)) is not None:
        return Image.fromarray(pixels[..., 0] if grey else pixels)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # What Pillow warns of (odd metadata, large pictures) is checked below.
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                width, height = image.size
                if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
                    raise Image.DecompressionBombError
                image.draft("L" if grey else "RGB", (2 * target[0], 2 * target[1]))
                image.load()
                ImageOps.exif_transpose(image, in_place=True)
                return image if grey and image.mode == "L" else _to_rgb(image)
    except Image.DecompressionBombError:
        message = (
            f"The image has more than {MAX_PIXELS:,} pixels, or more than {MAX_SIDE:,} on a side."
        )
        raise ImageError(ImageCode.TOO_MANY_PIXELS, message) from None
    except UnidentifiedImageError:
        raise ImageError(
            ImageCode.NOT_AN_IMAGE, "The file's content is no image of an accepted format."
        ) from None
    except (OSError, SyntaxError, EOFError, ValueError) as error:
        if isinstance(error, EOFError) or "truncated" in str(error).lower():
            raise ImageError(ImageCode.TRUNCATED, "The image is cut off before its end.") from None
        raise ImageError(ImageCode.UNDECODABLE, f"The image can't be decoded: {error}.") from None
    except (
        Exception
    ) as error:  # Pillow's plug-ins raise anything on hostile bytes; one image never fails a batch.
        raise ImageError(
            ImageCode.UNDECODABLE, f"The image can't be decoded: {type(error).__name__}."
        ) from None


def decode_fitting(
    data: bytes, size: tuple[int, int], *, grey: bool = False
) -> NDArray[np.uint8] | None:
    """A plain JPEG of just this size (width, height), as cut-out faces are: uint8 (height, width, 1 if grey, else 3).

    The pixels are those of `decode`, without the cost of a Pillow image around them. None for any other file.

    Raises:
        ImageError: `undecodable`.
    """
    if _plain_size(data) != size:
        return None
    _check_cost(data)
    return _plain_pixels(data, grey)


def _check_cost(data: bytes) -> None:
    """Refuses what would take minutes to decode, whatever its size in bytes or pixels.

    Raises:
        ImageError: `undecodable`.
    """
    # Counting is quick, and what it counts may be chance, such as in a film behind a photograph: then it is looked at.
    if (
        data.startswith(b"\xff\xd8")
        and data.count(b"\xff" + _START_OF_SCAN) > MAX_SCANS
        and _scans(data) > MAX_SCANS
    ):
        raise ImageError(
            ImageCode.UNDECODABLE, f"The JPEG goes over its pixels more than {MAX_SCANS} times."
        )
    if data.startswith((b"P1", b"P2", b"P3")) and data.count(b"#") > MAX_COMMENTS:
        raise ImageError(
            ImageCode.UNDECODABLE, f"The image holds more than {MAX_COMMENTS} comments."
        )


def _scans(data: bytes) -> int:
    """How many scans a JPEG has; it looks no further than MAX_SCANS."""
    at, found = 2, 0
    while (
        found <= MAX_SCANS
        and (marker := _MARKER.search(data, at)) is not None
        and marker[1] != _END
    ):
        found += marker[1] == _START_OF_SCAN
        at = marker.end(1) + int.from_bytes(marker[2] or b"", "big")
    return found


def _plain_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) of a JPEG of grey or YCbCr that needs no turning; None of any other file.

    Pillow decodes those with the same library to the same pixels, but spends three times as long on a small file around
    it; on one to be decoded at reduced scale it is as fast (`benchmarks/decode.py`).
    """
    if not data.startswith(b"\xff\xd8\xff"):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except Exception:  # Whatever is wrong with it, Pillow names it; one image never fails a batch.
        return None
    turned = _EXIF in data or _XMP in data
    plain = width * height <= MAX_PIXELS and colours in ("YCbCr", "Gray") and not turned
    return (width, height) if plain else None


def _plain_pixels(data: bytes, grey: bool) -> NDArray[np.uint8] | None:
    """uint8 (height, width, 1 if grey, else 3); None if they aren't sound."""
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "GRAY" if grey else "RGB")
    except Exception:  # As above.
        return None
    return pixels


def _to_rgb(image: Image.Image) -> Image.Image:
    """RGB, transparency laid over white, 16 bits and floats brought to 8."""
    if image.mode in _WIDE:
        return _to_8_bits(np.array(image, np.float32)).convert("RGB")
    if image.has_transparency_data:
        rgba = image if image.mode == "RGBA" else image.convert("RGBA")
        white = Image.new("RGB", rgba.size, "white")
        white.paste(rgba, mask=rgba)  # Takes half the memory that `alpha_composite` would.
        return white
    return image.convert("RGB")


def _to_8_bits(pixels: NDArray[np.float32]) -> Image.Image:
    """Grey of 16 bits (0 to 65535) or floating point (0 to 1, or 0 to 255); which range it is, the pixels say.

    It works in place: of 40 million pixels, each copy takes 160 MB.
    """
    highest = float(pixels.max(initial=0.0))
    pixels *= 255.0 / (1.0 if highest <= 1.0 else 255.0 if highest <= 255.0 else 65535.0)
    np.nan_to_num(np.clip(pixels, 0, 255, out=pixels), copy=False)
    return Image.fromarray(pixels.astype(np.uint8))
