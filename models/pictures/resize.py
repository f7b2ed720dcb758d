"""From a picture to the pixels that a network takes: size and channel order.

The trainer and the workers share this one implementation, so a network always sees what it was
trained on.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.pictures.decode import decode, decode_fitting
from models.pictures.preprocessing import Preprocessing


def read_pixels(data: bytes, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Decodes an image file to uint8 (height, width, 3) in the network's channel order.

    Raises:
        ImageError: as `decode`.
    """
    grey = preprocessing.channel_order == "grey"

    fitting = decode_fitting(data, preprocessing.size, grey=grey)
    if fitting is None:
        return resize(decode(data, preprocessing.size, grey=grey), preprocessing)

    pixels = np.repeat(fitting, 3, axis=2) if grey else fitting
    return pixels[..., ::-1] if preprocessing.channel_order == "bgr" else pixels


def resize(image: Image.Image, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Resizes a picture, RGB or L, to uint8 (height, width, 3) in the network's channel order."""
    if preprocessing.channel_order == "grey":
        image = image.convert("L")
    if preprocessing.antialias and image.size != preprocessing.size:
        image = image.resize(preprocessing.size, Image.Resampling.BICUBIC)

    pixels = np.asarray(image.convert("RGB"))
    if not preprocessing.antialias:
        pixels = _resize_like_opencv(pixels, preprocessing.height, preprocessing.width)
    return pixels[..., ::-1] if preprocessing.channel_order == "bgr" else pixels


def _resize_like_opencv(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    if pixels.shape[:2] == (height, width):
        return pixels
    rows, row_weights = _opencv_taps(pixels.shape[0], height)
    columns, column_weights = _opencv_taps(pixels.shape[1], width)

    # (4, height, 4, width, 3): only the pixels that contribute are copied from a large picture.
    taps = pixels[rows[:, :, None, None], columns].astype(np.float32)
    resized = np.einsum("kh,lw,khlwc->hwc", row_weights, column_weights, taps, optimize=True)

    rounded: NDArray[np.uint8] = np.clip(np.rint(resized), 0, 255).astype(np.uint8)
    return rounded


@lru_cache(maxsize=64)
def _opencv_taps(source: int, target: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """OpenCV's INTER_CUBIC along one axis: a = -0.75, edges replicated, no antialiasing.

    Source: OpenCV 4, modules/imgproc/src/resize.cpp, interpolateCubic.

    Returns:
        (4, target): the source pixels that each target pixel is made of, and their weights.
    """
    a = -0.75
    position = (np.arange(target) + 0.5) * source / target - 0.5
    pixels = np.floor(position).astype(np.intp) + np.arange(-1, 3)[:, None]

    d = np.abs(position - pixels)
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.clip(pixels, 0, source - 1), np.where(d <= 1, near, far).astype(np.float32)
