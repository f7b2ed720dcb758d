"""From the bytes of a file to an RGB picture. Images are hostile: formats are named, sizes capped, one frame read."""

import io
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

from models.errors import ImageError

SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"})
"""What a scan takes for an image, by the end of its name; what it really is, its content says."""

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
MAX_BYTES: Final = 100_000_000

_TURNED: Final = (b"Exif\0", b"http://ns.adobe.com/xap/")
"""What begins metadata that may say how a JPEG is to be turned."""
_WIDE = ("I", "I;16", "I;16B", "I;16L", "F")


def decode(data: bytes, target: tuple[int, int]) -> Image.Image:
    """The first frame of an image file, upright, as RGB.

    JPEGs much larger than `target` (width, height) are decoded at reduced scale, which saves most of the time and
    memory of a photograph; never below twice the target, from where it is resampled as ever.

    Raises:
        ImageError: `empty`, `not_an_image`, `too_many_pixels`, `truncated` or `undecodable`.
    """
    if not data:
        raise ImageError("empty", "The file is empty.")
    if (plain := _plain_jpeg(data, target)) is not None:
        return plain
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # What Pillow warns of (odd metadata, large pictures) is checked below.
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                width, height = image.size
                if width * height > MAX_PIXELS:
                    raise Image.DecompressionBombError
                image.draft("RGB", (2 * target[0], 2 * target[1]))
                image.load()
                return _to_rgb(ImageOps.exif_transpose(image))
    except Image.DecompressionBombError:
        raise ImageError("too_many_pixels", f"The image has more than {MAX_PIXELS:,} pixels.") from None
    except UnidentifiedImageError:
        raise ImageError("not_an_image", "The file's content is no image of an accepted format.") from None
    except (OSError, SyntaxError, EOFError, ValueError) as error:
        if isinstance(error, EOFError) or "truncated" in str(error).lower():
            raise ImageError("truncated", "The image is cut off before its end.") from None
        raise ImageError("undecodable", f"The image can't be decoded: {error}.") from None
    except Exception as error:  # Pillow's plug-ins raise anything on hostile bytes; one image never fails a batch.
        raise ImageError("undecodable", f"The image can't be decoded: {type(error).__name__}.") from None


def _plain_jpeg(data: bytes, target: tuple[int, int]) -> Image.Image | None:
    """A small, sound JPEG of grey or YCbCr that needs no turning, as `decode` gives it; None for any other file.

    Pillow decodes with the same library to the same pixels, but spends three times as long on a small file around it;
    on one to be decoded at reduced scale it is as fast (`benchmarks/decode.py`).
    """
    if not data.startswith(b"\xff\xd8\xff"):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
        reduced = width >= 4 * target[0] and height >= 4 * target[1]
        if (
            reduced
            or width * height > MAX_PIXELS
            or colours not in ("YCbCr", "Gray")
            or any(m in data for m in _TURNED)
        ):
            return None
        return Image.fromarray(simplejpeg.decode_jpeg(data, "RGB"))
    except Exception:  # Whatever is wrong with it, Pillow names it; one image never fails a batch.
        return None


def _to_rgb(image: Image.Image) -> Image.Image:
    """RGB, transparency laid over white, 16 bits and floats brought to 8."""
    if image.mode in _WIDE:
        return _to_8_bits(np.asarray(image, np.float32)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    return image.convert("RGB")


def _to_8_bits(pixels: NDArray[np.float32]) -> Image.Image:
    """Grey of 16 bits (0 to 65535) or floating point (0 to 1, or 0 to 255); which range it is, the pixels say."""
    highest = float(pixels.max(initial=0.0))
    top = 1.0 if highest <= 1.0 else 255.0 if highest <= 255.0 else 65535.0
    return Image.fromarray(np.nan_to_num(np.clip(pixels * (255.0 / top), 0, 255)).astype(np.uint8))
